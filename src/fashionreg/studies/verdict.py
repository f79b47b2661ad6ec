"""Findings in plain sentences, true to the statistics, and numbers as they are printed."""

import math
from collections.abc import Sequence

import numpy as np

from fashionreg.studies.findings import Findings
from fashionreg.studies.statistics import ALPHA, Comparison, Reaching

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


def verdict(found: Findings) -> list[str]:
    """What follows from the findings: comparisons, overfitting, convergence, effects, drift; a sentence each."""
    plan = found.plan
    sentences = [_compared(found, name, comparison) for name, comparison in found.comparisons.items()]
    sentences += [
        f"{variant.name} is not compared: its {METRIC_NAMES[plan.metric]} is no number for some seeds."
        for variant in found.variants
        if found.comparisons and variant.name not in (plan.reference, *found.comparisons)
    ]
    sentences += _overfitting(found)
    sentences += _convergence(found)
    sentences += _additivity(found)
    sentences += _moving_target(found)
    if plan.reference not in {variant.name for variant in found.variants}:
        sentences.insert(0, f"Nothing can be compared yet: the reference {plan.reference} has no results.")
    return sentences


def _compared(found: Findings, name: str, comparison: Comparison) -> str:
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
        # with few seeds and many comparisons no ranks at all could be significant
        possible = 2 * len(found.comparisons) / 2**n < ALPHA
        if possible and comparison.wilcoxon_p_holm >= ALPHA:
            sentence += f" The rank test does not confirm it ({in_p(comparison.wilcoxon_p_holm)})."
        return sentence
    sentence = (
        f"No difference between {name} and {plan.reference} could be shown with {n} seeds: {difference} {metric} "
        f"{when} ({interval}; {in_p(comparison.t_p_holm)})"
    )
    if comparison.t_p < ALPHA:
        sentence += f"; on its own it would count ({in_p(comparison.t_p)}), among {len(found.comparisons)} it does not"
    if math.isnan(comparison.detectable):
        return f"{sentence}."
    seen = in_units(comparison.detectable, plan.metric, difference=True)
    return f"{sentence}; an effect of {seen} would have been shown with 80% probability, a smaller one less surely."


def _overfitting(found: Findings) -> list[str]:
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


def _convergence(found: Findings) -> list[str]:
    plan = found.plan
    if plan.reference not in found.reaching_epochs:
        return []
    last = found.reaching_epochs[plan.reference][-1].target
    others = [name for name in found.reaching_epochs if name != plan.reference]
    if math.isnan(found.reaching_epochs[plan.reference][-1].target) or not others:
        return []
    said = [f"{plan.reference} itself {_first(found.reaching_epochs[plan.reference][-1])}"]
    said += [f"{name} {_first(found.reaching_epochs[name][-1])}" for name in others]
    return [
        f"When the {plan.split} {METRIC_NAMES[plan.metric]} that {plan.reference} has after {found.epochs} epochs "
        f"({in_units(last, plan.metric)}) is first touched (medians over seeds, 95% intervals): {'; '.join(said)}."
    ]


def _first(reached: Reaching) -> str:
    """`after 21.4 epochs (14.9 to 23.8)`, `never`, `in 5 of 10 seeds only`."""
    if reached.reached == 0:
        return "never"
    if math.isinf(reached.median):
        return f"in {reached.reached} of {reached.n} seeds only"
    # nothing is known of a network before its first epoch is over
    text = f"after {reached.median:.1f} epochs" if reached.median > 1 else "after 1 epoch at most"
    if reached.median > 1 and not math.isnan(reached.low):
        text += f" ({reached.low:.1f} to {'never' if math.isinf(reached.high) else f'{reached.high:.1f}'})"
    return text


def _additivity(found: Findings) -> list[str]:
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


def _moving_target(found: Findings) -> list[str]:
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


def notes(found: Findings) -> list[str]:
    """What a reader must know before believing the rest."""
    plan, said = found.plan, []
    for name, seeds in found.results.missing().items():
        said.append(f"Incomplete: {name} has no results for {len(seeds)} of {len(plan.seeds)} seeds.")
    for what, pick in (("versions", "versions"), ("git commits", "git_commit"), ("devices", "device")):
        if len({str(getattr(run, pick)) for run in found.results.runs}) > 1:
            said.append(f"Mixed: the runs were made with different {what}; see Where.")
    table = found.results.table
    for name, rows in table[~np.isfinite(table.value)].groupby("variant", sort=False):
        diverged = sorted({int(seed) for seed in rows.seed})
        said.append(f"Diverged: {name} reached a loss that is no number with {seeds_in_words(diverged)}.")
    sources = {run.data.source for run in found.results.runs}
    if any("synthetic" in source for source in sources):
        said.append("Trained on synthetic garments: nothing here is about Fashion-MNIST.")
    lengths = table.groupby("variant", sort=False).epoch.max()
    if lengths.nunique() > 1:
        ends = ", ".join(f"{name} {epochs}" for name, epochs in lengths.items())
        said.append(f"The variants were not all trained equally long; the last epoch of each counts: {ends} epochs.")
    fingerprints = {str(sorted(run.data.fingerprints.items())) for run in found.results.runs}
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
