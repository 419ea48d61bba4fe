"""The report: tables, figures, maps and the one HTML page that holds them."""

from soilcast.reporting.page import report
from soilcast.reporting.scores import open_scores
from soilcast.reporting.tables import markdown_leads, markdown_table
from soilcast.reporting.verdict import verdict

__all__ = ["markdown_leads", "markdown_table", "open_scores", "report", "verdict"]
