"""Rewrite the parts of the docs that follow from the code, between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.

    python -m tools.document

tests/test_docs.py fails when one of them is out of date.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import typer

from soilcast.cli import app
from soilcast.cube.contract import VARIABLES
from soilcast.training.config import PRESETS, Config
from soilcast.training.keys import describe_keys
from soilcast.verify import METRICS
from soilcast.weather.scores import load_scores

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "soilcast"

PUBLIC = "the public functions"


def contract_table() -> str:
    """Every variable of a cube, from `soilcast.cube.contract.VARIABLES`."""
    return _table(
        ("name", "what", "CF standard name", "unit", "lowest", "highest", "kind", "dimensions"),
        [
            (
                f"`{row.name}`",
                row.long_name,
                f"`{row.standard_name}`" if row.standard_name else "",
                row.units,
                f"{row.valid_min:g}",
                f"{row.valid_max:g}",
                row.kind,
                ", ".join(row.dims),
            )
            for row in VARIABLES.values()
        ],
    )


def key_table() -> str:
    """Every key of the config, from `soilcast.training.keys.describe_keys`."""
    parts = []
    for heading, keys in describe_keys().items():
        section, _, description = heading.partition(": ")
        rows = [(f"`{key.key}`", f"`{key.default}`", key.meaning, key.choices) for key in keys]
        parts.append(
            f"**{section}**: {description}\n\n" + _table(("key", "default", "meaning [unit]", "allowed"), rows)
        )
    return "\n\n".join(parts)


def model_table() -> str:
    """Every preset, from `soilcast.training.config.PRESETS`."""
    balances = {"none": "none", "single": "W1 (Eq. 10)", "multi": "W2 (Eq. 11)"}
    rows = []
    for name in PRESETS:
        config = Config(model=name)
        loss, leads = config.loss, config.task.lead_days
        ahead = "1" if leads == 1 else f"1 to {leads}"
        weights = ", ".join(f"{weight:g}" for weight in loss.weights)
        rows.append((f"`{name}`", config.label, ahead, f"`{loss.name}`", balances[loss.balance], weights))
    return _table(("`--model`", "label", "leads [d]", "loss of the data", "water balance", "l1, l2"), rows)


def metric_table() -> str:
    """Every metric of the scores, from `soilcast.verify.METRICS`."""
    rows = [(f"`{row.name}`", row.symbol, row.long_name, row.units, row.best) for row in METRICS.values()]
    return _table(("name", "symbol", "what", "unit", "better"), rows)


def weather_score_table() -> str:
    """Correlations of weather forecasts by lead, from `soilcast.weather.scores.PUBLISHED`."""
    table = load_scores()
    leads = range(1, max(len(kind.correlation) for kind in table.values()) + 1)
    rows = [
        (name, ", ".join(kind.variables) or "all others", *(f"{one:.3f}" for one in kind.correlation))
        for name, kind in table.items()
    ]
    return _table(("kind", "variables", *(f"{lead} d" for lead in leads)), rows)


def command_help() -> str:
    """Usage, arguments and options of every command, from `soilcast.cli`."""
    lines = []
    for name, command in commands_of(typer.main.get_group(app)):
        context = typer.Context(command, info_name=name)
        records = [record for parameter in command.params if (record := parameter.get_help_record(context))]
        usage = " ".join(["soilcast", name, *command.collect_usage_pieces(context)])
        rows = [(f"`{names}`", meaning.replace("  [", " [")) for names, meaning in records]
        lines += [f"## {name}", command.help or "", f"```text\n{usage}\n```", _table(("parameter", "meaning"), rows)]
    return "\n\n".join(lines)


def commands_of(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Give each command of a group and of the groups in it, such as ``download era5-land``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def import_table() -> str:
    """What each room of the package imports, ground floor first.

    Raises
    ------
    graphlib.CycleError
        Rooms import each other.
    """
    rooms: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if not room.startswith("__"):
            rooms.setdefault(room, set()).update(_imported(path))
    graph = {room: imported - {room, PUBLIC} for room, imported in rooms.items()}
    upper = {room for room, imported in rooms.items() if PUBLIC in imported}
    order = _floor_by_floor(
        {room: needed | (graph.keys() - upper if room in upper else set()) for room, needed in graph.items()}
    )
    position = {room: number for number, room in enumerate(order)}
    rows = []
    for room in order:
        imported = [f"`{name}`" for name in sorted(graph[room], key=position.__getitem__)]
        rows.append((f"`{room}`", ", ".join(imported + [PUBLIC] * (PUBLIC in rooms[room])) or "nothing"))
    return _table(("room", "imports"), rows)


REGIONS: dict[tuple[str, str], Callable[[], str]] = {
    ("docs/architecture.md", "imports"): import_table,
    ("docs/commands.md", "commands"): command_help,
    ("docs/configuration.md", "keys"): key_table,
    ("docs/cube.md", "contract"): contract_table,
    ("docs/method.md", "metrics"): metric_table,
    ("docs/method.md", "models"): model_table,
    ("docs/multi-day.md", "weather-scores"): weather_score_table,
}
"""File and name of each region -> the function that writes it."""


def rewritten(text: str, region: str, content: str) -> str:
    """Put the content between the marks of a region.

    Raises
    ------
    ValueError
        The text does not have each mark of the region exactly once, in order.
    """
    begin, end = f"<!-- {region}:begin -->", f"<!-- {region}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"expected {begin} and {end} once each, in this order")
    return f"{text[: text.index(begin)]}{begin}\n{content}\n{text[text.index(end) :]}"


def main() -> None:
    """Rewrite every region."""
    for (file, region), make in REGIONS.items():
        path = ROOT / file
        path.write_text(rewritten(path.read_text(encoding="utf-8"), region, make()), encoding="utf-8")
        print(f"{file}: {region}")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "soilcast":
            names = [f"soilcast.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "soilcast":
                yield rest.partition(".")[0] or PUBLIC


def _floor_by_floor(graph: dict[str, set[str]]) -> list[str]:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        floor = sorted(sorter.get_ready())
        order += floor
        sorter.done(*floor)
    return order


if __name__ == "__main__":
    main()
