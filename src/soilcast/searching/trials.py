"""How trials are trained, and entered in the journal as each ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soilcast.errors import SoilcastError
from soilcast.experiments.searches import Parameters, Search, config_of
from soilcast.files import remove
from soilcast.progress import Log
from soilcast.searching.journal import Trial, best_of, limits_of, trial_of, write_journal
from soilcast.training.config import Config
from soilcast.training.jobs import train_runs
from soilcast.training.run import Run
from soilcast.workplace import clear_workplace

_GO_ON = "--resume"
"""In a fault of the machine: with it the trial is not over."""


def trained_as(config: Config, seed: int) -> Config:
    """Give how a trial is trained: without a refit, which would see the validation days, and with a thread.

    A training of more threads ends with other bits, so that the choice of values would depend on ``--jobs``.
    """
    train = config.train
    changed = {"seed": train.seed + seed, "refit": False, "threads": train.threads or 1}
    return config.model_copy(update={"train": train.model_copy(update=changed)})


@dataclass
class Trials:
    """The trials of a search.

    Parameters
    ----------
    plan
        The search.
    settings
        Of all trials, over those of the search.
    cube, out
        What they are trained on, and the folder of the search.
    done
        Number -> trial, of those that are over; grows.
    weather
        Archive of weather forecasts that they are trained with.
    jobs, memory, progress
        See `soilcast.training.jobs.train_runs`.
    keep
        Whether the runs of all trials are kept, and not those of the best alone.
    log
        Called with a line for each trial.
    """

    plan: Search
    settings: Sequence[str]
    cube: Path
    out: Path
    done: dict[int, Trial]
    weather: Path | None
    jobs: int
    memory: int | None
    progress: bool
    keep: bool
    log: Log

    def train(self, before: Sequence[Trial], chosen: Mapping[int, Parameters]) -> None:
        """Train some trials together.

        Parameters
        ----------
        before
            Trials that say where these are pruned.
        chosen
            Number of each -> its values.

        Raises
        ------
        SoilcastError
            A fault of the machine, and not of a trial.
        """
        configs: dict[Path, Config] = {}
        for number, parameters in chosen.items():
            try:
                config = config_of(self.plan, parameters, self.settings)
            except SoilcastError as error:
                self._enter(Trial(trial=number, parameters=dict(parameters), status="failed", reason=str(error)))
                continue
            configs |= {run: trained_as(config, seed) for seed, run in enumerate(self._runs(number))}
        outcomes: dict[Path, Run | SoilcastError] = {}

        def on_run_end(run: Path, outcome: Run | SoilcastError) -> None:
            if isinstance(outcome, SoilcastError) and _GO_ON in str(outcome):
                raise outcome
            outcomes[run] = outcome
            number = next(one for one in chosen if run in self._runs(one))
            if all(one in outcomes for one in self._runs(number)):
                runs = [outcomes[one] for one in self._runs(number)]
                self._enter(trial_of(number, chosen[number], runs, self.plan.objective))

        plan, limits = self.plan, {}
        if plan.pruning == "median":
            limits = limits_of(before, plan.warm_up_trials, plan.warm_up_epochs)
        if configs:
            train_runs(
                self.cube,
                configs,
                jobs=self.jobs,
                resume=True,
                memory=self.memory,
                weather={} if self.weather is None else dict.fromkeys(configs, self.weather),
                limits=dict.fromkeys(configs, limits),
                progress=self.progress,
                ended=on_run_end,
            )
        self._tidy()

    def _runs(self, number: int) -> list[Path]:
        return [self.out / "runs" / f"trial-{number:04d}-s{seed}" for seed in range(self.plan.seeds)]

    def _enter(self, trial: Trial) -> None:
        self.done[trial.trial] = trial
        write_journal(self.out, self.done)
        values = ", ".join(f"{key} {value}" for key, value in trial.parameters.items())
        found = f"{self.plan.objective} {trial.value:.4g}" if trial.value is not None else trial.status
        why = f" ({trial.reason})" if trial.reason else ""
        self.log(f"trial {trial.trial}: {found}{why}; {values}")

    def _tidy(self) -> None:
        """Remove the runs of trials that are over, but those of the best."""
        best = best_of([*self.done.values()])
        for number in () if self.keep else self.done:
            if best is None or number != best.trial:
                for run in self._runs(number):
                    remove(run)
                    clear_workplace(run)
