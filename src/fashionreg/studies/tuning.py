"""Tuning: the options of each variant are chosen on validation images, with separate seeds, before the study.

What is chosen on the images that it is tested on, or with the seeds that it is tested with, looks better than it is.
So the networks of the winning trial are not reported: it is trained anew with the seeds of the study, which tuning
never used, and only then tested.
"""

import itertools
import math
import random
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fashionreg.errors import UserError
from fashionreg.runs.record import METRICS, Metric
from fashionreg.runs.schema import SchemaError
from fashionreg.studies.curves import best_epochs, curves_of
from fashionreg.studies.results import TUNING, StudyPlan, StudyResults, read_results

#: The first seed of trials: no study counts so far.
FIRST_SEED = 1_000_000

#: Seeds of each trial, where a study file does not say.
SEEDS = 3

#: How many trials a variant has at most.
MOST_TRIALS = 1000

#: Settings of a trial: the value of each tuned option.
Settings = dict[str, Any]


@dataclass(frozen=True)
class Tuning:
    """What a study file says under `tune`.

    Attributes:
        grid: For every variant, the values of each option; with `draws` also a range, `{from: 1e-4, to: 0.1}`.
        variants: Further options of single variants.
        draws: How many random combinations are tried; None for all.
        seeds: How many seeds each trial has.
        metric: Of validation images: `acc`, `loss` or `ece`.
    """

    grid: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    draws: int | None
    seeds: int
    metric: Metric

    def options(self, variant: str) -> dict[str, Any]:
        """Return the options that are tuned for a variant, with what they may be."""
        return self.grid | self.variants.get(variant, {})

    def trials(self, variant: str) -> list[Settings]:
        """Return the settings to try for a variant, always the same for the same file."""
        options = self.options(variant)
        if self.draws is None:
            return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]
        # another order of options or another variant has other draws; the same file has the same
        draw, found = random.Random(f"{variant} {list(options)}"), dict[str, Settings]()
        for _ in range(100 * self.draws):
            settings = {name: _drawn(values, draw) for name, values in options.items()}
            found.setdefault(str(settings), settings)
            if len(found) == self.draws:
                break
        return list(found.values())


@dataclass(frozen=True)
class UntunedPlan(StudyPlan):
    """A study whose variants are still to be tuned.

    Attributes:
        trials: A study of all trials. `levels` of a trial are its variant, as `variant`, and its settings.
    """

    trials: StudyPlan | None = None


def read_tuning(content: Any, variants: list[str]) -> Tuning:
    """Check what a study file says under `tune`.

    Args:
        content: What it says.
        variants: Names of the variants.

    Raises:
        SchemaError: With the key and what would be right.
    """
    if not isinstance(content, dict):
        raise SchemaError(f"tune: must be a mapping, got {content!r:.60}")
    known = [field.name for field in fields(Tuning)]
    if unknown := [key for key in content if key not in known]:
        raise SchemaError(f"tune: {unknown[0]}: unknown; there are {', '.join(known)}")
    grid, own = content.get("grid", {}), content.get("variants", {})
    draws, seeds, metric = content.get("draws"), content.get("seeds", SEEDS), content.get("metric", "acc")
    if not isinstance(own, dict):
        raise SchemaError(f"tune: variants: must be a mapping of variants to options, got {own!r:.60}")
    if strange := [name for name in own if name not in variants]:
        raise SchemaError(f"tune: variants: there is no variant {strange[0]!r}; there are {', '.join(variants)}")
    for where, options in {"grid": grid, **{f"variants: {name}": each for name, each in own.items()}}.items():
        if not isinstance(options, dict):
            raise SchemaError(f"tune: {where}: must be a mapping of options to lists of values, got {options!r:.60}")
        for option, values in options.items():
            _check_values(f"tune: {where}: {option}", values, drawn=draws is not None)
    for key, value, most in (("draws", draws, MOST_TRIALS), ("seeds", seeds, 1000)):
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise SchemaError(f"tune: {key}: must be a whole number from 1 to {most:,}, got {value!r:.60}")
    if metric not in get_args(Metric):
        raise SchemaError(f"tune: metric: there is no {metric!r:.60}; there are {', '.join(METRICS)}")
    tuning = Tuning(grid, own, draws, seeds, metric)
    if empty := [name for name in variants if not tuning.options(name)]:
        raise SchemaError(f"tune: {empty[0]}: nothing is tuned for it; give options in tune.grid or tune.variants")
    budgets = {name: _budget(tuning, name) for name in variants}
    if max(budgets.values(), default=0) > MOST_TRIALS:
        raise SchemaError(f"tune: must be at most {MOST_TRIALS:,} trials of a variant; give draws")
    if len(set(budgets.values())) > 1:
        (least, few), (most_of, many) = (pick(budgets.items(), key=lambda item: item[1]) for pick in (min, max))
        raise SchemaError(
            f"tune: every variant must have as many trials: {least} has {few}, {most_of} has {many}; give draws, or as "
            "many values"
        )
    return tuning


def _budget(tuning: Tuning, variant: str) -> int:
    """Return how many trials a variant has, without listing those of a grid."""
    if tuning.draws is None:
        return math.prod(len(values) for values in tuning.options(variant).values())
    return len(tuning.trials(variant))


def _check_values(where: str, values: Any, *, drawn: bool) -> None:
    """Refuse what is neither a list of different values nor, for draws, a range."""
    if isinstance(values, dict) and set(values) <= {"from", "to", "log"}:
        low, high, log = values.get("from"), values.get("to"), values.get("log", False)
        if not drawn:
            raise SchemaError(f"{where}: a range needs draws, the number of random trials")
        numbers = [end for end in (low, high) if isinstance(end, int | float) and math.isfinite(end)]
        if len(numbers) < 2 or numbers != sorted(set(numbers)) or type(log) is not bool or (log and numbers[0] <= 0):
            raise SchemaError(
                f"{where}: must be {{from: LOW, to: HIGH}} with LOW below HIGH, and above 0 with log: true, got "
                f"{values!r:.60}"
            )
    elif not isinstance(values, list) or not values:
        raise SchemaError(f"{where}: must be a list of values, got {values!r:.60}")
    elif len({str(value) for value in values}) < len(values):
        raise SchemaError(f"{where}: the same value twice in {values!r:.60}")


def _drawn(values: Any, draw: random.Random) -> Any:
    """Draw one of a list, or from a range; three digits are enough for what is only tried."""
    if isinstance(values, list):
        return draw.choice(values)
    low, high = float(values["from"]), float(values["to"])
    if values.get("log", False):
        return float(f"{math.exp(draw.uniform(math.log(low), math.log(high))):.3g}")
    return float(f"{draw.uniform(low, high):.3g}")


@dataclass(frozen=True)
class Score:
    """What a trial came to.

    Attributes:
        trial: Its name.
        variant: The variant that it is a trial of.
        settings: The value of each tuned option.
        mean: Of the tuning's metric on validation images, over seeds; not finite if the loss of any seed is not.
        sd: Standard deviation over seeds; NaN for a single one.
        chosen: Whether it is the best of its variant; of equal ones the first.
    """

    trial: str
    variant: str
    settings: Settings
    mean: float
    sd: float
    chosen: bool = False


def scores(results: StudyResults) -> list[Score]:
    """Return what tuning found for each trial, in the order of the trials.

    Args:
        results: Those of the trials.
    """
    plan, found, best = results.plan, list[Score](), dict[str, Score]()
    for trial in plan.variants:
        curves = curves_of(results.table[results.table.variant == trial.name])
        best_ones = best_epochs(curves)
        values, losses = (plan.estimate.of(curves[plan.key(metric)], best_ones) for metric in (plan.metric, "loss"))
        # a network without a finite loss still guesses a class, which may be right more often than a slow one
        values = values.where(np.isfinite(losses))
        settings = {name: value for name, value in trial.levels.items() if name != "variant"}
        mean, sd = float(values.mean(skipna=False)), float(values.std(skipna=False))
        one = Score(trial.name, trial.levels["variant"], settings, mean, sd)
        found.append(one)
        leader = best.setdefault(one.variant, one)
        improved = mean > leader.mean if plan.metric == "acc" else mean < leader.mean
        if math.isfinite(mean) and (improved or not math.isfinite(leader.mean)):
            best[one.variant] = one
    return [replace(one, chosen=one is best[one.variant] and math.isfinite(one.mean)) for one in found]


def tuned(plan: UntunedPlan, folder: Path) -> StudyPlan:
    """Train what trials still lack, and return the study of the winners; trials are kept in the folder `tuning`.

    Args:
        plan: The study.
        folder: Where its results are or will be.

    Raises:
        UserError: If a trial fails, or all trials of a variant diverge.
    """
    from fashionreg.studies.run import run_study

    assert plan.trials is not None
    if failures := run_study(plan.trials, folder / TUNING):
        name, error = next(iter(failures.items()))
        raise UserError(f"tuning: {len(failures)} of {len(plan.trials.variants)} trials failed: {name}: {error}")
    winners = {score.variant: score.trial for score in scores(read_results(folder / TUNING)) if score.chosen}
    trials = {trial.name: trial for trial in plan.trials.variants}
    variants = []
    for variant in plan.variants:
        if variant.name not in winners:
            raise UserError(f"tuning: {variant.name}: every trial diverged; try other values")
        won = trials[winners[variant.name]]
        variants.append(replace(variant, key=won.key, config=won.config | {"seeds": variant.config["seeds"]}))
    own = {field.name: getattr(plan, field.name) for field in fields(StudyPlan)}
    return StudyPlan(**own | {"variants": variants, "tuned": True})
