"""Findings in plain sentences, true to the statistics, and numbers as they are printed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fashionreg.study.statistics import ALPHA, Comparison

if TYPE_CHECKING:
    from fashionreg.study.findings import Findings

#: What stands where there is no number.
NOTHING = "\N{EN DASH}"

#: Full names of the metrics.
METRIC_NAMES = {"acc": "accuracy", "loss": "loss", "ece": "calibration error", "gap": "generalization gap"}


def in_units(value: float, metric: str, *, signed: bool = False, difference: bool = False) -> str:
    """A value with its unit: `81.25%`, a difference as `+0.31 points`; loss in nats without a unit's name."""
    if math.isnan(value):
        return NOTHING
    sign = "+" if signed else ""
    if metric == "loss":
        return f"{value:{sign}.4f}".replace("-", "\N{MINUS SIGN}")
    unit = " points" if difference or metric == "gap" else "%"
    return f"{100 * value:{sign}.2f}".replace("-", "\N{MINUS SIGN}") + unit


def in_p(value: float) -> str:
    """A p value: `p = 0.031`, `p < 0.001`, or that there is none."""
    if math.isnan(value):
        return "not tested"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _interval(low: float, high: float, metric: str) -> str:
    if math.isnan(low):
        return "no interval: too few seeds"
    start, end = (in_units(end, metric, signed=True, difference=True) for end in (low, high))
    return f"95% interval {start.removesuffix(' points')} to {end}"


def verdict(found: "Findings") -> list[str]:
    """What follows from the findings: comparisons, overfitting, convergence, effects, drift; a sentence each."""
    plan = found.plan
    sentences = [_compared(found, name, comparison) for name, comparison in found.comparisons.items()]
    sentences += _overfitting(found)
    sentences += _convergence(found)
    sentences += _additivity(found)
    sentences += _moving_target(found)
    if plan.reference not in {variant.name for variant in found.variants}:
        sentences.insert(0, f"Nothing can be compared yet: the reference {plan.reference} has no results.")
    return sentences


def _compared(found: "Findings", name: str, comparison: Comparison) -> str:
    plan, n = found.plan, comparison.n
    metric = f"{plan.split} {METRIC_NAMES[plan.metric]}"
    difference = in_units(comparison.difference.mean, plan.metric, signed=True, difference=True)
    interval = _interval(comparison.difference.low, comparison.difference.high, plan.metric)
    when = f"after {found.epochs} epochs"
    if math.isnan(comparison.t_p_holm) and comparison.difference.std == 0:
        return f"{name} and {plan.reference} differ by {difference} {metric} {when} for every one of {n} seeds."
    if math.isnan(comparison.t_p_holm):
        return (
            f"{name} and {plan.reference}: {n} {'seed is' if n == 1 else 'seeds are'} too few for a test "
            f"(difference in {metric} {when}: {difference}); run at least 5, better 10."
        )
    if comparison.t_p_holm < ALPHA:
        higher, p = comparison.difference.mean > 0, comparison.probability_better
        better = higher == (plan.metric == "acc")
        wins = f"{'better' if better else 'worse'} in {n * (p if better else 1 - p):g} of {n} seeds"
        sentence = (
            f"{name} is {'better' if better else 'worse'} than {plan.reference}: {difference} {metric} {when} "
            f"({interval}; {wins}; {in_p(comparison.t_p_holm)})."
        )
        if comparison.wilcoxon_p_holm >= ALPHA:
            sentence += f" The rank test does not confirm it ({in_p(comparison.wilcoxon_p_holm)})."
        return sentence
    sentence = (
        f"No difference between {name} and {plan.reference} could be shown with {n} seeds: {difference} {metric} "
        f"{when} ({interval}; {in_p(comparison.t_p_holm)})"
    )
    if math.isnan(comparison.detectable):
        return f"{sentence}."
    missed = in_units(comparison.detectable, plan.metric, difference=True)
    return f"{sentence}; an effect below {missed} would probably have been missed."


def _overfitting(found: "Findings") -> list[str]:
    reference = found.plan.reference
    gaps = {variant.name: variant.final["gap"] for variant in found.variants if "gap" in variant.final}
    tested = {name: c for name, c in found.gap_comparisons.items() if not math.isnan(c.t_p_holm)}
    if reference not in gaps or not tested:
        return []
    said = [f"Generalization gap after {found.epochs} epochs: {reference} {in_units(gaps[reference].mean, 'gap')}"]
    for word, sign in (("smaller", -1), ("larger", 1)):
        shown = [n for n, c in tested.items() if c.t_p_holm < ALPHA and np.sign(c.difference.mean) == sign]
        if shown:
            said.append(f"{word} with " + ", ".join(f"{name} ({in_units(gaps[name].mean, 'gap')})" for name in shown))
    if same := [name for name, c in tested.items() if c.t_p_holm >= ALPHA]:
        said.append(
            "no difference shown for " + ", ".join(f"{name} ({in_units(gaps[name].mean, 'gap')})" for name in same)
        )
    return ["; ".join(said) + "."]


def _convergence(found: "Findings") -> list[str]:
    plan = found.plan
    if plan.reference not in found.reaching_epochs:
        return []
    last = found.reaching_epochs[plan.reference][-1].target
    said = []
    for name, reached in found.reaching_epochs.items():
        r = reached[-1]
        if name == plan.reference:
            continue
        if r.reached == 0:
            said.append(f"{name} never does")
        elif math.isinf(r.median):
            said.append(f"{name} does in {r.reached} of {r.n} seeds only")
        else:
            never = f" ({r.n - r.reached} of {r.n} seeds never)" if r.reached < r.n else ""
            # nothing is known of a network before its first epoch is over
            epochs = f"{r.median:.1f} epochs" if r.median > 1 else "1 epoch at most"
            said.append(f"{name} takes {epochs}{never}")
    target = in_units(last, plan.metric)
    return [
        f"To reach the {plan.split} {METRIC_NAMES[plan.metric]} that {plan.reference} has after {found.epochs} epochs "
        f"({target}; medians over seeds): {', '.join(said)}."
    ] * bool(said)


def _additivity(found: "Findings") -> list[str]:
    interactions = [effect for effect in found.effects if len(effect.factors) > 1]
    if not interactions or all(math.isnan(effect.p_holm) for effect in interactions):
        return []
    metric = found.plan.metric
    shown = [effect for effect in interactions if effect.p_holm < ALPHA]
    if not shown:
        return ["The effects add up as far as these seeds can tell: no interaction could be shown."]
    terms = [
        f"{' x '.join(effect.factors)} {in_units(effect.estimate.mean, metric, signed=True, difference=True)} "
        f"({in_p(effect.p_holm)})"
        for effect in shown
    ]
    return [f"The effects do not simply add up: interaction of {'; '.join(terms)}."]


def _moving_target(found: "Findings") -> list[str]:
    """How far the input of the last hidden layer has moved when training ends, where that was watched."""
    drift = found.results.drift
    if drift.empty or drift.step.nunique() == 1:
        return []
    deepest = max(drift.layer.unique(), key=lambda layer: int(layer.removeprefix("hidden")))
    rows = drift[(drift.layer == deepest) & (drift.statistic == "mean_drift")]
    ends = rows[rows.step == rows.groupby("variant").step.transform("max")].groupby("variant", sort=False).value
    names = [variant.name for variant in found.variants if variant.name in ends.groups]
    moved = ", ".join(f"{ends.get_group(name).mean():.2g} in {name}" for name in names)
    return [
        f"The moving target: by the end of training the mean input of a unit in the last hidden layer ({deepest}) has "
        f"moved by this many of its initial standard deviations (means over units and seeds): {moved}."
    ]


def notes(found: "Findings") -> list[str]:
    """What a reader must know before believing the rest."""
    plan, said = found.plan, []
    for name, seeds in found.results.missing().items():
        said.append(f"Incomplete: {name} has no results for {len(seeds)} of {len(plan.seeds)} seeds.")
    table = found.results.table
    for name, rows in table[~np.isfinite(table.value)].groupby("variant", sort=False):
        diverged = sorted({int(seed) for seed in rows.seed})
        said.append(f"Diverged: {name} reached a loss that is no number with {seeds_in_words(diverged)}.")
    sources = {run["data"]["source"] for run in found.results.runs}
    if any("synthetic" in source for source in sources):
        said.append("Trained on synthetic garments: nothing here is about Fashion-MNIST.")
    lengths = table.groupby("variant", sort=False).epoch.max()
    if lengths.nunique() > 1:
        ends = ", ".join(f"{name} {epochs}" for name, epochs in lengths.items())
        said.append(f"The variants were not all trained equally long; the last epoch of each counts: {ends} epochs.")
    fingerprints = {str(sorted(run["data"]["fingerprints"].items())) for run in found.results.runs}
    if len(fingerprints) > 1:
        said.append("The variants were not all trained and tested on the same images.")
    if plan.split == "test":
        said.append(
            "Test results are shown for every epoch, and nothing was selected by them: the last epoch counts"
            + (", and the best epoch is chosen on validation images." if found.variants[0].best else ".")
        )
    if not found.train_evaluated:
        said.append(
            "Training numbers are means over each epoch's own steps (dropout on, weights moving), so the "
            "generalization gap is only roughly that of the trained network."
        )
    return said


def seeds_in_words(seeds: Sequence[int]) -> str:
    """`10 seeds (0 to 9)`, `2 seeds (3, 7)`, `1 seed (0)`."""
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    named = f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))
    return f"{len(seeds)} seed{'s' * (len(seeds) > 1)} ({named})"
