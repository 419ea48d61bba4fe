"""The page of all studies, and the files beside it: the same runs give the same bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write
from soilcast.provenance import versions
from soilcast.reporting import html
from soilcast.reporting.artifacts import flat
from soilcast.reporting.tables import plain
from soilcast.reproducing.claims import with_adjusted_p
from soilcast.reproducing.figures import show_consistency, show_series, show_zones
from soilcast.reproducing.plans import StudyPlan, code_in_use
from soilcast.reproducing.readings import show_readings
from soilcast.reproducing.routes import show_routes
from soilcast.reproducing.section import Section, csv, listed, placeholder
from soilcast.reproducing.study_scores import StudyScores
from soilcast.reproducing.tables import main_sentences, show_table
from soilcast.training.build import plugins_of
from soilcast.training.run_folder import read_record
from soilcast.training.run_record import NOT_CONVERGED

PAGE, MARKDOWN, MARK = "report.html", "report.md", "dossier.json"

SHOWS: dict[str, Callable[..., Section]] = {
    "table": show_table,
    "zones": show_zones,
    "consistency": show_consistency,
    "series": show_series,
    "readings": show_readings,
    "routes": show_routes,
}
"""How a study can be shown, by its key ``show``: of its `StudyScores` at a lead, of several those of each part."""

_KINDS = (
    ("synthetic", "The data are synthetic: the results hold for this synthetic world and not for real soil."),
    (
        "reanalysis",
        "The data are a reanalysis: soil moisture there is computed by a land model under analysed weather, not "
        "measured. The results show how well that model is forecast, not soil in the field.",
    ),
    (
        "model",
        "The data are the output of a land model under observed weather: the results show how well that model is "
        "emulated, not how well soil in the field is forecast.",
    ),
)
_TRAINED = ("epochs", "best_epoch", "best_is_last", "best_validation_loss")
_OTHER_KIND = "soilcast knows only this description of the data: interpret the results accordingly."


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
    quick
        Whether the studies were cut down.
    settings
        What was set beside the studies.
    forecasts
        Name of each run that has ended -> its forecast.
    faults
        Name of each run that failed -> why.
    sections
        Name of each study of which all runs have ended -> its section.
    """

    cube: Path
    runs: Path
    plans: Sequence[StudyPlan]
    quick: bool
    settings: Sequence[str]
    forecasts: Mapping[str, Path] = field(default_factory=dict)
    faults: Mapping[str, SoilcastError] = field(default_factory=dict)
    sections: Mapping[str, Section] = field(default_factory=dict)

    @property
    def open_studies(self) -> list[StudyPlan]:
        """Studies whose runs have not all ended."""
        return [plan for plan in self.plans if plan.name not in self.sections]


def write_dossier(findings: Findings, out: Path) -> Path:
    """Write the folder of the dossier: the page, and the tables (CSV) and figures (PDF, PNG) that it shows.

    Returns
    -------
    The path of the page.

    Raises
    ------
    SoilcastError
        ``out`` is a folder of something else, or cannot be written.
    """
    sections = [findings.sections.get(plan.name) or _still_running(plan) for plan in findings.plans]
    files = {name: content for section in sections for name, content in section.files.items()}
    runs = runs_frame(findings)
    files["runs.csv"] = csv(runs)
    summary, provenance = _summary(findings, runs), _provenance(findings)
    files[PAGE] = _page(findings, summary, provenance, [section.body for section in sections], runs).encode()
    files[MARKDOWN] = _markdown(summary, [section.markdown for section in sections]).encode()
    mark = {"soilcast_kind": "dossier", "files": sorted(files), **provenance}
    files[MARK] = (json.dumps(mark, indent=2) + "\n").encode()
    with atomic_write(out, kind="dossier", overwrite=True) as partial:
        partial.mkdir()
        for name, content in files.items():
            (partial / name).write_bytes(content)
    return out / PAGE


def show_study(plan: StudyPlan, scored: Sequence[StudyScores], faults: Mapping[str, SoilcastError]) -> Section:
    """Draw a study, lead by lead.

    Parameters
    ----------
    plan
        What was to be run.
    scored
        The study at each lead; nothing if no row came to a forecast.
    faults
        Name of each run that failed -> why.
    """
    missing = list(skipped(plan))
    missing += [
        f"{row.full_name} (run {name}) failed: {faults[name]}"
        for row in plan.rows.values()
        for name in row.runs
        if name in faults
    ]
    if not scored:
        return _headed(plan.name, plan.study.title, placeholder("No row could be run."), missing)
    scored, sections = with_adjusted_p(scored), []
    show = SHOWS[plan.study.show]
    for lead in dict.fromkeys(scores.lead for scores in scored):
        of_lead = [scores for scores in scored if scores.lead == lead]
        left_out = missing if scored[-1] in of_lead else []
        sections.append(_headed(of_lead[0].name, of_lead[0].title, show(*of_lead), left_out))
    return Section(
        html.joined(section.body for section in sections),
        "\n".join(section.markdown for section in sections),
        {name: content for section in sections for name, content in section.files.items()},
        _verdict(scored) if plan.study.show == "table" else "",
    )


def show_fault(plan: StudyPlan, error: SoilcastError) -> Section:
    """Section of a study that could not be scored."""
    return _headed(plan.name, plan.study.title, placeholder(f"It could not be scored: {error}"), ())


def runs_frame(findings: Findings) -> pd.DataFrame:
    """List every row of every study with its runs: which were trained, skipped or failed, and why."""
    records: list[dict[str, object]] = []
    for plan in findings.plans:
        for row in plan.rows.values():
            identity: dict[str, object] = {"study": plan.name, "model": row.full_name}
            if row.skipped:
                records.append(identity | {"status": "skipped", "why": row.skipped})
            for seed, name in enumerate(row.runs, row.config.train.seed):
                records.append(identity | {"seed": seed, "run": name} | _training(findings, name))
    names = ("study", "model", "seed", "run", "status", *_TRAINED, "why")
    return pd.DataFrame(records, columns=list(names)).astype(
        {name: "Int64" for name in ("seed", "epochs", "best_epoch")}
    )


def skipped(plan: StudyPlan) -> Iterator[str]:
    """Sentences on the rows that are skipped, those of one reason together."""
    rows = [row for row in plan.rows.values() if row.skipped]
    for reason in dict.fromkeys(row.skipped for row in rows):
        names = _named_shortly(plan, {row.full_name for row in rows if row.skipped == reason})
        yield f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} skipped: {reason}"


def _named_shortly(plan: StudyPlan, full_names: set[str]) -> list[str]:
    """Name rows: by their amount of training data where all of it are meant, by their name alone with every amount."""
    names = []
    all_skipped = {row.full_name for row in plan.rows.values() if row.skipped}
    whole = [
        *((part.amount, part.rows.values()) for part in plan.parts if part.amount),
        *((name, [row for row in plan.rows.values() if row.name == name]) for name in plan.study.rows),
    ]
    left = set(full_names)
    for name, rows in whole:
        group = {row.full_name for row in rows}
        if group <= all_skipped and group & left:
            names.append(name)
            left -= group
    return [*names, *(name for name in plan.rows if name in left)]


def _training(findings: Findings, name: str) -> dict[str, object]:
    if name in findings.faults:
        return {"status": "failed", "why": str(findings.faults[name])}
    if name not in findings.forecasts:
        return {"status": "not yet trained"}
    record = read_record(findings.runs / name)
    return {key: record[key] for key in ("status", *_TRAINED)}


def _still_running(plan: StudyPlan) -> Section:
    return _headed(
        plan.name, plan.study.title, placeholder("Its runs are not all done: run the command again to continue."), ()
    )


def _headed(name: str, title: str, section: Section, missing: Sequence[str]) -> Section:
    markdown = f"## {plain(title)}\n\n{section.markdown}\n{listed(missing)}"
    return Section(html.study(name, title, section.body, missing), markdown, section.files)


def _verdict(scored: Sequence[StudyScores]) -> str:
    """The first sentences of a table: of its nearest lead, and of its farthest."""
    sentences = []
    for scores in scored if len(scored) < 2 else (scored[0], scored[-1]):
        sentences += [f"{scores.ahead}:"] if scores.ahead else []
        sentences += itertools.islice(main_sentences(scores), 2)
    return " ".join(sentences)


@dataclass(frozen=True)
class _Summary:
    """Top of the page.

    Parameters
    ----------
    title
        Of the cube.
    content
        What kind of data it holds.
    verdict
        The first sentences of the first table.
    warnings
        Limits of the results, and what was left out.
    facts
        What was done, in short.
    """

    title: str
    content: str
    verdict: str
    warnings: list[str]
    facts: dict[str, str]


def _summary(findings: Findings, runs: pd.DataFrame) -> _Summary:
    with open_cube(findings.cube) as cube:
        title, content, source = (str(cube.attrs.get(name, "")) for name in ("title", "content", "source"))
        size = f"{cube.sizes['cell']} cells, {cube.sizes['time']} days"
    left_out = sorted({name for one in findings.plans for name in one.left_out})
    warnings = [_scope_of(content)]
    if left_out:
        others = any(plan.study.process_models for plan in findings.plans)
        lacks = "the cube, or that of a process model, lacks" if others else "the cube lacks"
        warnings.append(f"Inputs of the paper that {lacks}, left out of all runs: {', '.join(left_out)}.")
    if findings.quick:
        warnings.append("Quick: every training was shortened (see the studies); no conclusion can be drawn.")
    trained = runs.drop_duplicates("run").set_index("run")["best_is_last"].dropna().astype(bool)
    if trained.any():
        warnings.append(f"{trained.sum()} of {len(trained)} runs are {NOT_CONVERGED} (best is last, under Runs).")
    if findings.open_studies:
        titles = ", ".join(plan.study.title for plan in findings.open_studies)
        warnings.append(f"Not all runs are done: {titles} will follow.")
    plan = findings.plans[0]
    config = plan.reference.config
    if config.task.known_future:
        inputs = ", ".join(config.task.known_future)
        warnings.append(
            f"Forecasts are made with observed weather of the days ahead ({inputs}), which is not available in "
            "operation."
        )
    facts = {
        "Cube": f"{title} ({size})",
        "Source": source,
        "Target": f"{config.task.target}, {_days_ahead(config.task.lead_days)}",
        "Inputs": ", ".join((*config.task.dynamic, *config.task.static)),
        "Training": f"at most {config.train.epochs} epochs of {config.train.batches_per_epoch} batches of "
        f"{config.train.batch_size}, patience {config.train.patience} x {config.train.validate_every} epochs",
        **{name: text.replace(":", " to ") for name, text in _periods(findings).items()},
        "Settings": " ".join(findings.settings),
    }
    sections = [findings.sections[one.name] for one in findings.plans if one.name in findings.sections]
    verdict = next((section.verdict for section in sections if section.verdict), "")
    return _Summary(title, content or "of unknown kind", verdict, warnings, facts)


def _page(
    findings: Findings,
    summary: _Summary,
    made_from: dict[str, object],
    bodies: Sequence[html.Markup],
    runs: pd.DataFrame,
) -> str:
    return html.page(
        "dossier.html.j2",
        title=f"The paper, reproduced: {summary.title}",
        subtitle="Geng et al. (2024), doi:10.3389/ffgc.2024.1353011, on other data, beside baselines",
        command="soilcast reproduce",
        summary=summary,
        plans=findings.plans,
        bodies=bodies,
        runs=runs.astype(object).where(runs.notna(), ""),
        provenance=flat(made_from),
    )


def _markdown(summary: _Summary, sections: Sequence[str]) -> str:
    facts = listed(f"{name}: {text}" for name, text in summary.facts.items() if text)
    warnings = " ".join(summary.warnings)
    return f"# {plain(summary.title)}\n\nData: {plain(summary.content)}. {plain(warnings)}\n\n{facts}\n" + "\n".join(
        sections
    )


def _scope_of(content: str) -> str:
    return next((words for kind, words in _KINDS if kind in content.lower()), _OTHER_KIND)


def _days_ahead(lead_days: int) -> str:
    return "next day" if lead_days == 1 else f"1 to {lead_days} days ahead"


def _periods(findings: Findings) -> dict[str, str]:
    for plan in findings.plans:
        for run in (run for run in plan.runs if run in findings.forecasts):
            record = read_record(findings.runs / run)
            keys = {"Training days": "train_period", "Validation": "validation_period"} if not plan.study.data else {}
            return {name: str(record[key]) for name, key in {**keys, "Test": "test_period"}.items()}
    return {}


def _provenance(findings: Findings) -> dict[str, object]:
    with open_cube(findings.cube) as cube:
        content = cube.attrs["content_sha256"]
    used = [plugin for plan in findings.plans for row in plan.rows.values() for plugin in plugins_of(row.config)]
    plugins = {plugin["sha256"]: plugin for plugin in used}
    return {
        "studies": [plan.name for plan in findings.plans],
        "settings": list(findings.settings),
        "quick": findings.quick,
        **({"not_yet": [plan.name for plan in findings.open_studies]} if findings.open_studies else {}),
        "cube_sha256": content,
        "code_sha256": code_in_use(),
        **({"plugins": list(plugins.values())} if plugins else {}),
        "versions": versions(),
    }
