"""The sections of a page: what is drawn of scores, and of the forecast of an issue day."""
