"""What a study has found, in sentences as a statistician writes them."""

import math

import numpy as np

from fashionreg.studies.findings import Findings
from fashionreg.studies.statistics import ALPHA, Comparison, Reaching
from fashionreg.text import METRIC_NAMES, counted, epochs_or_never, p_value, unit_of, unit_of_difference


def verdict(found: Findings) -> list[str]:
    """Return what follows from the findings: comparisons, overfitting, convergence, effects, drift; a sentence each."""
    plan = found.plan
    sentences = [_compared(found, name, comparison) for name, comparison in found.comparisons.items()]
    sentences += [
        f"{variant.name} is not compared: its {METRIC_NAMES[plan.metric]} is infinite or not a number for some seeds."
        for variant in found.variants
        if found.comparisons and variant.name not in (plan.reference, *found.comparisons)
    ]
    sentences += _overfitting(found)
    sentences += _convergence(found)
    sentences += _additivity(found)
    sentences += _covariate_shift(found)
    if plan.reference not in {variant.name for variant in found.variants}:
        sentences.insert(0, f"Nothing can be compared yet: the reference {plan.reference} has no results.")
    return sentences


def _compared(found: Findings, name: str, comparison: Comparison) -> str:
    """Compare one variant with the reference: what was shown, with the interval, the test and the number of seeds."""
    plan, difference, seeds = found.plan, comparison.difference, counted(comparison.n, "seed")
    metric = f"{plan.split} {METRIC_NAMES[plan.metric]}"
    # the largest number of the sentence decides how many decimals they all have
    unit = unit_of_difference(plan.metric).rounded_for(difference.mean, difference.low, difference.high)
    signed = unit.text(difference.mean, signed=True)
    if math.isnan(comparison.t_p_holm) and difference.std == 0:
        return f"The {metric} of {name} differs from that of {plan.reference} by {signed} for every one of {seeds}."
    if math.isnan(comparison.t_p_holm):
        return (
            f"{seeds} {'is' if comparison.n == 1 else 'are'} too few to test {name} against {plan.reference} "
            f"(difference in {metric}: {signed}); run at least 5, better 10."
        )
    correction = " with Holm's correction" if len(found.comparisons) > 1 else ""
    test = f"paired t test{correction}, {p_value(comparison.t_p_holm)}, {seeds}"
    if comparison.t_p_holm >= ALPHA:
        return _not_shown(found, name, comparison, test)
    better = (difference.mean > 0) == (plan.metric == "acc")
    # the size of the effect and its interval, both in the direction of the effect
    sign = math.copysign(1, difference.mean)
    low, high = sorted((sign * difference.low, sign * difference.high))
    interval = "" if math.isnan(low) else f"95% CI {unit.number(low)} to {unit.number(high)}, "
    verb, than = ("improves", "over") if better else ("worsens", "compared with")
    size = unit.text(abs(difference.mean))
    sentence = f"{name} {verb} {metric} {than} {plan.reference} by {size} ({interval}{test})."
    # with few seeds and many comparisons no ranks at all could be significant
    if 2 * len(found.comparisons) / 2**comparison.n < ALPHA <= comparison.wilcoxon_p_holm:
        sentence += f" Wilcoxon's signed-rank test does not confirm it ({p_value(comparison.wilcoxon_p_holm)})."
    return sentence


def _not_shown(found: Findings, name: str, comparison: Comparison, test: str) -> str:
    plan, difference = found.plan, comparison.difference
    unit = unit_of_difference(plan.metric)
    interval = "" if math.isnan(difference.low) else f"95% CI {unit.interval(difference.low, difference.high)}, "
    facts = f"{unit.text(difference.mean, signed=True)}, {interval}{test}"
    if not math.isnan(comparison.detectable):
        facts += f"; minimum detectable effect with 80% power: {unit.text(comparison.detectable)}"
    metric = f"{plan.split} {METRIC_NAMES[plan.metric]}"
    sentence = f"No difference in {metric} between {name} and {plan.reference} was shown ({facts})."
    if comparison.t_p < ALPHA:
        sentence += f" Without the correction for {len(found.comparisons)} comparisons: {p_value(comparison.t_p)}."
    return sentence


def _overfitting(found: Findings) -> list[str]:
    reference, unit = found.plan.reference, unit_of("gap")
    gaps = {variant.name: variant.final["gap"].mean for variant in found.variants if "gap" in variant.final}
    tested = {name: c for name, c in found.gap_comparisons.items() if not math.isnan(c.t_p_holm)}
    if reference not in gaps or not tested:
        return []
    said = [f"Generalization gap after {counted(found.epochs, 'epoch')}: {reference} {unit.text(gaps[reference])}"]
    for word, sign in (("smaller", -1), ("larger", 1)):
        shown = [n for n, c in tested.items() if c.t_p_holm < ALPHA and np.sign(c.difference.mean) == sign]
        if shown:
            said.append(f"{word} with " + ", ".join(f"{name} ({unit.text(gaps[name])})" for name in shown))
    if same := [name for name, c in tested.items() if c.t_p_holm >= ALPHA]:
        said.append("no difference shown for " + ", ".join(f"{name} ({unit.text(gaps[name])})" for name in same))
    return ["; ".join(said) + "."]


def _convergence(found: Findings) -> list[str]:
    """Say how many epochs each variant takes to the final value of the reference."""
    plan, reaching = found.plan, found.reaching_epochs
    if math.isnan(found.reference_end) or len(reaching) < 2:
        return []
    said = "; ".join(f"{name} {_epochs(reached[-1])}" for name, reached in reaching.items())
    metric = f"{plan.split} {METRIC_NAMES[plan.metric]}"
    target = f"the final {metric} of {plan.reference} ({unit_of(plan.metric).text(found.reference_end)})"
    interval = "" if all(math.isnan(reached[-1].low) for reached in reaching.values()) else " with 95% CI"
    return [f"Epochs to {target}, median over seeds{interval}: {said}."]


def _epochs(reached: Reaching) -> str:
    """Return `21.4 (14.9 to 23.8)`, `at most 1`, `never`, `in 5 of 10 seeds only`."""
    if reached.reached == 0:
        return "never"
    if math.isinf(reached.median):
        return f"in {reached.reached} of {reached.n} seeds only"
    if reached.median <= 1:  # nothing is known of a network before its first epoch is over
        return "at most 1"
    interval = f" ({epochs_or_never(reached.low)} to {epochs_or_never(reached.high)})"
    return epochs_or_never(reached.median) + ("" if math.isnan(reached.low) else interval)


def _additivity(found: Findings) -> list[str]:
    interactions = [effect for effect in found.effects if len(effect.factors) > 1]
    if not interactions or all(math.isnan(effect.p_holm) for effect in interactions):
        return []
    unit = unit_of_difference(found.plan.metric)
    shown = [effect for effect in interactions if effect.p_holm < ALPHA]
    if not shown:
        return ["No interaction was shown: as far as these seeds can tell, the effects are additive."]
    terms = [
        f"{' x '.join(effect.factors)} {unit.text(effect.estimate.mean, signed=True)} ({p_value(effect.p_holm)})"
        for effect in shown
    ]
    return [f"The effects are not additive: interaction of {'; '.join(terms)}."]


def _covariate_shift(found: Findings) -> list[str]:
    """Say how far the input of the last hidden layer has moved when training ends, where that was recorded."""
    drift = found.results.drift
    if drift.empty or drift.step.nunique() == 1:
        return []
    deepest = max(drift.layer.unique(), key=lambda layer: int(layer.removeprefix("hidden")))
    rows = drift[(drift.layer == deepest) & (drift.statistic == "mean_drift")]
    ends = rows[rows.step == rows.groupby("variant").step.transform("max")].groupby("variant", sort=False).value
    means = {name: float(values.to_numpy().mean()) for name, values in ends}
    moved = [f"{means[v.name]:.2g} in {v.name}" for v in found.variants if math.isfinite(means.get(v.name, math.nan))]
    if not moved:
        return []
    return [
        "Internal covariate shift: from the first to the last step the mean input of a unit in the last hidden layer "
        f"({deepest}) moves by this many of its initial standard deviations (means over units and seeds): "
        f"{', '.join(moved)}."
    ]
