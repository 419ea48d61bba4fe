"""The page of all studies, and the files beside it: the same bytes whenever it is made of the same runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.files import whole_or_nothing
from soilcast.provenance import versions
from soilcast.reporting import html
from soilcast.reporting.tables import plain
from soilcast.reproducing.figures import show_consistency, show_series, show_zones
from soilcast.reproducing.judging import Judged
from soilcast.reproducing.plans import StudyPlan, code_in_use
from soilcast.reproducing.readings import show_readings
from soilcast.reproducing.section import Section, csv, listed, nothing
from soilcast.reproducing.tables import main_sentences, show_table
from soilcast.training.run import open_run

PAGE, MARKDOWN, MARK = "report.html", "report.md", "dossier.json"

SHOWS: dict[str, Callable[[Judged], Section]] = {
    "table": show_table,
    "zones": show_zones,
    "consistency": show_consistency,
    "series": show_series,
    "readings": show_readings,
}
"""How a study can be shown, by its key ``show``."""

_KINDS = (
    ("synthetic", "The data are synthetic: what follows holds for this made world, and nothing follows for real soil."),
    (
        "reanalysis",
        "The data are a reanalysis: soil moisture there is computed by a land model under analysed weather, not "
        "measured. What follows says how well that model is forecast, not soil in the field.",
    ),
    (
        "model",
        "The data are the output of a land model under observed weather: what follows says how well that model is "
        "imitated, not how well soil in the field is forecast.",
    ),
)
_OTHER_KIND = "What the data are is not known to soilcast beyond these words: judge yourself what follows from them."


@dataclass(frozen=True)
class Findings:
    """All that a dossier is made of.

    Parameters
    ----------
    cube
        Path of the cube.
    runs
        Folder of the runs.
    plans
        The studies, in the order of the page.
    judged
        The same, scored; None where no row came to a forecast.
    faults
        Name of each run that failed -> why.
    quick
        Whether the studies were cut down.
    settings
        What was set beside the studies.
    """

    cube: Path
    runs: Path
    plans: Sequence[StudyPlan]
    judged: Sequence[Judged | None]
    faults: Mapping[str, SoilcastError]
    quick: bool
    settings: Sequence[str]


def write_dossier(findings: Findings, out: Path) -> Path:
    """Write the folder of the dossier: the page, and the tables (CSV) and figures (PDF, PNG) that stand in it.

    Returns
    -------
    The path of the page.

    Raises
    ------
    SoilcastError
        ``out`` is a folder of something else, or cannot be written.
    """
    sections = [_section(plan, judged, findings) for plan, judged in zip(findings.plans, findings.judged, strict=True)]
    files = {name: content for section in sections for name, content in section.files.items()}
    runs = runs_frame(findings)
    files["runs.csv"] = csv(runs)
    about, made = _about(findings), _made_of(findings)
    files[PAGE] = _page(findings, about, made, [section.body for section in sections], runs).encode()
    files[MARKDOWN] = _markdown(about, [section.markdown for section in sections]).encode()
    files[MARK] = (json.dumps({"soilcast_kind": "dossier", **made}, indent=2) + "\n").encode()
    with whole_or_nothing(out, overwrite=True) as partial:
        partial.mkdir()
        for name, content in files.items():
            (partial / name).write_bytes(content)
    return out / PAGE


def runs_frame(findings: Findings) -> pd.DataFrame:
    """List every row of every study with its runs: which were trained, skipped or failed, and why."""
    records: list[dict[str, object]] = []
    for plan in findings.plans:
        for row in plan.rows.values():
            about: dict[str, object] = {"study": plan.name, "model": row.name}
            if row.skipped:
                records.append(about | {"status": "skipped", "why": row.skipped})
            for seed, name in enumerate(row.runs, row.config.train.seed):
                records.append(about | {"seed": seed, "run": name} | _training(findings, name))
    names = ("study", "model", "seed", "run", "status", "epochs", "best_epoch", "best_validation_loss", "why")
    return pd.DataFrame(records, columns=list(names)).astype(
        {name: "Int64" for name in ("seed", "epochs", "best_epoch")}
    )


def skipped(plan: StudyPlan) -> Iterator[str]:
    """Say which rows are skipped, those of one reason together."""
    rows = [row for row in plan.rows.values() if row.skipped]
    for reason in dict.fromkeys(row.skipped for row in rows):
        names = [row.name for row in rows if row.skipped == reason]
        yield f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} skipped: {reason}"


def _training(findings: Findings, name: str) -> dict[str, object]:
    if name in findings.faults:
        return {"status": "failed", "why": str(findings.faults[name])}
    record = open_run(findings.runs / name).record
    return {key: record[key] for key in ("status", "epochs", "best_epoch", "best_validation_loss")}


def _section(plan: StudyPlan, judged: Judged | None, findings: Findings) -> Section:
    missing = list(skipped(plan))
    missing += [
        f"{row.name} (run {name}) failed: {findings.faults[name]}"
        for row in plan.rows.values()
        for name in row.runs
        if name in findings.faults
    ]
    shown = SHOWS[plan.study.show](judged) if judged is not None else nothing("No row could be run.")
    heading = f'<h2 id="{escape(plan.name)}">{escape(plan.study.title)}</h2>'
    told = html.paragraph("Not in it:") + html.listed(missing) if missing else ""
    markdown = f"## {plain(plan.study.title)}\n\n{shown.markdown}\n{listed(missing)}"
    return Section(f'<section class="data">{heading}{shown.body}{told}</section>', markdown, shown.files)


@dataclass(frozen=True)
class _About:
    """What stands at the top.

    Parameters
    ----------
    title
        Of the cube.
    content
        What kind of data it holds.
    verdict
        The first sentences of the first table.
    warnings
        What does not follow, what was left out.
    facts
        What was done, in short.
    """

    title: str
    content: str
    verdict: str
    warnings: list[str]
    facts: dict[str, str]


def _about(findings: Findings) -> _About:
    with open_cube(findings.cube) as cube:
        title, content, source = (str(cube.attrs.get(name, "")) for name in ("title", "content", "source"))
        size = f"{cube.sizes['cell']} cells, {cube.sizes['time']} days"
    left_out = sorted({name for one in findings.plans for name in one.left_out})
    warnings = [_what_follows(content)]
    if left_out:
        warnings.append(f"Inputs of the paper that the cube lacks, left out of all runs: {', '.join(left_out)}.")
    if findings.quick:
        warnings.append("Quick: every training was cut short (see the studies); nothing is to be concluded.")
    tables = [one for one in findings.judged if one is not None and one.plan.study.show == "table"]
    plan = findings.plans[0]
    config = plan.rows[plan.study.reference].config
    facts = {
        "Cube": f"{title} ({size})",
        "Source": source,
        "Target": f"{config.inputs.target}, next day",
        "Inputs": ", ".join((*config.inputs.dynamic, *config.inputs.static)),
        "Training": f"at most {config.train.epochs} epochs of {config.train.batches_per_epoch} batches of "
        f"{config.train.batch_size}, patience {config.train.patience} x {config.train.validate_every} epochs",
        **{name: text.replace(":", " to ") for name, text in _periods(findings).items()},
        "Settings": " ".join(findings.settings),
    }
    verdict = " ".join(itertools.islice(main_sentences(tables[0]), 2)) if tables else ""
    return _About(title, content or "of unknown kind", verdict, warnings, facts)


def _page(
    findings: Findings, about: _About, made_of: Mapping[str, object], bodies: Sequence[str], trained: pd.DataFrame
) -> str:
    links = "".join(
        f'<a href="#{escape(one.name)}">{escape(one.study.title)}</a>' for one in findings.plans
    ) + '<a href="#runs">Runs</a><a href="#provenance">Provenance</a>'  # fmt: skip
    top = (
        f'<div style="height:26px"></div><span class="badge">Data: {escape(about.content)}</span>'
        f'<div class="verdict">{html.paragraph(about.verdict)}{html.paragraph(" ".join(about.warnings))}</div>'
        f'{html.facts(about.facts)}<nav class="jump">{links}</nav>'
    )
    runs = f'<section class="data"><h2 id="runs">Runs</h2>{_runs_table(trained)}</section>'
    made = f'<section class="data"><h2 id="provenance">Provenance</h2>{html.keys(_flat(made_of))}</section>'
    packages = ", ".join(f"{package} {number}" for package, number in versions().items())
    footer = f"Made by soilcast reproduce ({packages}). Coast: Natural Earth, public domain."
    subtitle = "Geng et al. (2024), doi:10.3389/ffgc.2024.1353011, on other data, beside baselines"
    return html.page(f"The paper, reproduced: {about.title}", subtitle, top + "".join(bodies) + runs + made, footer)


def _markdown(about: _About, sections: Sequence[str]) -> str:
    facts = listed(f"{name}: {text}" for name, text in about.facts.items() if text)
    warnings = " ".join(about.warnings)
    return f"# {plain(about.title)}\n\nData: {plain(about.content)}. {plain(warnings)}\n\n{facts}\n" + "\n".join(
        sections
    )


def _what_follows(content: str) -> str:
    return next((words for kind, words in _KINDS if kind in content.lower()), _OTHER_KIND)


def _periods(findings: Findings) -> dict[str, str]:
    for judged in findings.judged:
        if judged is not None:
            label = next(iter(judged.rows[judged.networks[0]].values()))
            record = open_run(findings.runs / label).record
            named = {"Training days": "train_period", "Validation": "validation_period", "Test": "test_period"}
            return {name: str(record[key]) for name, key in named.items()}
    return {}


def _made_of(findings: Findings) -> dict[str, object]:
    with open_cube(findings.cube) as cube:
        content = cube.attrs["content_sha256"]
    return {
        "studies": [plan.name for plan in findings.plans],
        "settings": list(findings.settings),
        "quick": findings.quick,
        "cube_sha256": content,
        "code_sha256": code_in_use(),
        "versions": versions(),
    }


def _flat(content: Mapping[str, object]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}


def _runs_table(frame: pd.DataFrame) -> str:
    shown = frame.astype(object).where(frame.notna(), "")
    heads = "".join(f"<th scope=col>{escape(name.replace('_', ' '))}</th>" for name in shown.columns)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(_text(value))}</td>' for value in row)}</tr>" for row in shown.to_numpy()
    )
    table = f'<table class="runs"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    return html.folded(f"{len(shown)} lines", f'<div class="scroll">{table}</div>')


def _text(value: object) -> str:
    return f"{value:.5f}" if isinstance(value, float) else str(value)
