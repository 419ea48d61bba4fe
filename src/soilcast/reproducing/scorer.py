"""Studies are scored while other runs are trained: each as its own last run ends."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from soilcast.errors import SoilcastError
from soilcast.progress import Log
from soilcast.reproducing.dossier import Findings, show_fault, show_study, write_dossier
from soilcast.reproducing.plans import StudyPlan
from soilcast.reproducing.section import Section
from soilcast.reproducing.study_scores import score_study


class StudyScorer:
    """Scores each study once its runs have ended, and writes the dossier of those that are scored.

    As a context it waits, when it is left, for the studies whose runs have ended.

    Parameters
    ----------
    findings
        The studies.
    out
        Folder of the dossier.
    untrained
        Names of the runs that are still to be trained.
    aside
        Score in a thread, beside trainings in other processes, rather than between those of this one.
    log
        Called with a line of each study.
    """

    def __init__(self, findings: Findings, out: Path, untrained: Collection[str], *, aside: bool, log: Log) -> None:
        self._findings, self._out, self._log = findings, out, log
        self._untrained = set(untrained)
        self._sections = {plan.name: show_study(plan, [], {}) for plan in findings.plans if not plan.runs}
        self._thread = ThreadPoolExecutor(1) if aside else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def on_run_end(self, name: str, outcome: Path | SoilcastError) -> None:
        """Record a run that has ended, and score the studies that waited for no other."""
        findings = self._findings
        if isinstance(outcome, SoilcastError):
            self._findings = findings = replace(findings, faults={**findings.faults, name: outcome})
        else:
            self._findings = findings = replace(findings, forecasts={**findings.forecasts, name: outcome})
        self._untrained.discard(name)
        if not self._untrained or not findings.forecasts:  # all that is left is scored at once when all have ended
            return
        ended = {*findings.forecasts, *findings.faults}
        for plan in findings.plans:
            if name in plan.runs and ended.issuperset(plan.runs):
                if self._thread is None:
                    self._score_early(plan, findings)
                else:
                    self._thread.submit(self._score_early, plan, findings)

    def finish(self, *, progress: bool = False) -> Path:
        """Score the studies that are left when all runs have ended, and write the whole dossier.

        Returns
        -------
        The path of the page.

        Raises
        ------
        SoilcastError
            No study can be scored, or the dossier cannot be written.
        """
        faults: dict[str, SoilcastError] = {}
        plans = self._findings.plans
        for plan in plans:
            try:
                if plan.name not in self._sections:
                    self._sections[plan.name] = self._score(plan, self._findings, progress=progress)
            except SoilcastError as error:
                self._log(f"{plan.name} cannot be scored: {error}")
                faults[plan.name] = error
        if faults and all(plan.name in faults for plan in plans if plan.runs):
            raise next(iter(faults.values()))
        unscored = {plan.name: show_fault(plan, faults[plan.name]) for plan in plans if plan.name in faults}
        return write_dossier(replace(self._findings, sections={**self._sections, **unscored}), self._out)

    def _score_early(self, plan: StudyPlan, findings: Findings) -> None:
        try:
            self._sections[plan.name] = self._score(plan, findings)
            partial = replace(findings, sections=dict(self._sections))
            page = write_dossier(partial, self._out)
        except Exception as error:  # whatever it is, `finish` raises it again; until then the runs continue
            self._log(f"{plan.name} cannot be scored yet: {error}")
        else:
            self._log(
                f"{page}: {plan.name} is included; to come: {', '.join(plan.name for plan in partial.open_studies)}"
            )

    @staticmethod
    def _score(plan: StudyPlan, findings: Findings, *, progress: bool = False) -> Section:
        scored = score_study(plan, findings.forecasts, findings.cube, findings.runs, progress=progress)
        return show_study(plan, scored, findings.faults)
