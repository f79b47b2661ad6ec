"""The section of a report on tuning: what was tried for each variant, what was chosen, and what it cost."""

import math

from fashionreg.studies.answer import listed
from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings
from fashionreg.studies.grid import level
from fashionreg.studies.page import Block, Section, Table, Text
from fashionreg.studies.results import StudyResults
from fashionreg.studies.tuning import Settings, scores
from fashionreg.text import counted, unit_of


def tuning_sentence(found: Findings) -> str:
    """Return how the options of the variants were chosen, for the methods."""
    trials = found.results.trials
    if trials is None:
        return "The options of each variant were chosen on validation images, with other seeds; the trials are missing."
    options = dict.fromkeys(name for trial in trials.plan.variants for name in trial.levels if name != "variant")
    each = len(trials.plan.variants) // len(found.plan.variants)
    better = "highest" if trials.plan.metric == "acc" else "lowest"
    return (
        f"Tuned for each variant: {', '.join(options)}; {counted(each, 'trial')} each, with "
        f"{counted(len(trials.plan.seeds), 'seed')} that the comparison does not use. The trial with the {better} mean "
        f"{trials.plan.label(trials.plan.metric)} won, and was trained anew with the seeds of the comparison; only "
        "these networks were tested. Options that were not tuned have one value."
    )


def chosen(found: Findings) -> list[str]:
    """Return which settings tuning chose for each variant, in a sentence; none where nothing was tuned."""
    trials = found.results.trials
    if trials is None:
        return []
    winners = [f"{_settings(score.settings)} for {score.variant}" for score in scores(trials) if score.chosen]
    return [f"By {trials.plan.label(trials.plan.metric)}, tuning chose {listed(winners)}."]


def section(found: Findings) -> list[Section]:
    """Return the section; none where nothing was tuned, or the trials are gone."""
    trials = found.results.trials
    if trials is None:
        return []
    unit, tried = unit_of(trials.plan.metric), scores(trials)
    label = trials.plan.label(trials.plan.metric)
    cost = _seconds(trials) / max(_seconds(found.results), 1e-9)
    hint = (
        f"Each variant was tried with {counted(len(tried) // len(found.plan.variants), 'setting')} and "
        f"{counted(len(trials.plan.seeds), 'seed')} that the comparison does not use. What won was trained anew with "
        f"the seeds of the comparison. Trials took {cost:.2g} times the training time of the comparison."
    )
    rows = [
        [
            row.variant,
            _settings(row.settings),
            "diverged" if not math.isfinite(row.mean) else unit.with_spread(row.mean, row.sd),
            "chosen" if row.chosen else "",
        ]
        for row in tried
    ]
    caption = f"Tuning: {label} of each trial, {title(trials.plan.estimate.phrase(_lengths(trials))).lower()}"
    head = ["variant", "setting", f"{label}, mean ± sd over seeds", "choice"]
    blocks: list[Block] = [Text(hint, True), Table(caption, head, rows)]
    return [Section("Tuning", blocks)]


def _settings(settings: Settings) -> str:
    return ", ".join(f"{name} {level(value)}" for name, value in settings.items())


def _seconds(results: StudyResults) -> float:
    return float(results.seconds.seconds.sum())


def _lengths(results: StudyResults) -> list[int]:
    return [len(run.epoch_seconds) for run in results.runs]
