"""What a study has found, in sentences as a statistician writes them."""

import math

import numpy as np

from fashionreg.studies import images, tried
from fashionreg.studies.answer import (
    answer,
    better,
    interval_name,
    is_equivalent,
    listed,
    matters,
    sample,
    shown,
    tested,
    unadjusted,
)
from fashionreg.studies.curves import Rise
from fashionreg.studies.findings import Findings
from fashionreg.studies.statistics import ALPHA, Comparison, Estimate, Reaching, SeedsToDecide, seeds_to_decide
from fashionreg.studies.statistics.equivalence import MAX_SEEDS
from fashionreg.text import METRIC_NAMES, NATS, counted, epochs_or_never, p_value, unit_of, unit_of_difference

#: How the detailed sentences say that an outcome is better or worse than the reference's.
VERBS = {"gap": ("reduces", "increases"), "acc": ("improves", "worsens")}


def verdict(found: Findings) -> list[str]:
    """Return the answer to the study's question, what was shown of the primary outcome, and what else matters."""
    answered = answer(found)
    differences = [
        _shown(found, name, one)
        for name, one in found.comparisons.items()
        if shown(one) and not is_equivalent(found, name)
    ]
    return [*([answered] if answered else []), *differences, *details(found)]


def details(found: Findings) -> list[str]:
    """Return what a table of differences does not say: doubts, what seeds would show, convergence, effects, drift."""
    plan, sentences = found.plan, _unconfirmed(found)
    open_ones = {
        n: c for n, c in found.comparisons.items() if tested(c) and not shown(c) and not is_equivalent(found, n)
    }
    sentences += tried.chosen(found)
    sentences += _equivalent(found)
    sentences += _not_shown(found, open_ones)
    sentences += _would_decide(found)
    sentences += [_untested(found, name, one) for name, one in found.comparisons.items() if not tested(one)]
    sentences += _over_splits(found)
    sentences += _not_finite(found)
    sentences += _few_seeds(found)
    sentences += images.sentences(found.results, found.over_images, found.compared)
    sentences += [_risen(plan.reference, found.rise)] if found.rise is not None and found.rise.strong else []
    sentences += _convergence(found)
    sentences += _additivity(found)
    sentences += _covariate_shift(found)
    if plan.reference not in {variant.name for variant in found.variants}:
        sentences.insert(0, f"Nothing can be compared yet: the reference {plan.reference} has no results.")
    return sentences


def _adjusted(found: Findings, value: float) -> str:
    """Return the test with its p value, which is called adjusted where it is."""
    test = "paired t test"
    if found.results.cells is not None:
        test = "t test over splits and seeds" if found.plan.splits > 1 else "corrected t test over folds"
    if len(found.comparisons) > 1:
        return f"{test} with Holm's correction, adjusted {p_value(value)}"
    return f"{test}, {p_value(value)}"


def _shown(found: Findings, name: str, one: Comparison) -> str:
    """Say what was shown of one variant against the reference, with the interval, the test and the number of seeds."""
    plan, difference, primary = found.plan, one.difference, found.plan.primary
    # the largest number of the sentence decides how many decimals they all have
    unit = unit_of_difference(primary).rounded_for(difference.mean, *one.simultaneous)
    # the size of the effect and its interval, both in the direction of the effect
    sign = math.copysign(1, difference.mean)
    low, high = sorted(sign * end for end in one.simultaneous)
    interval = f"{interval_name(found)} {unit.ends(low, high)}, "
    good = better(found, primary, one)
    verb = VERBS.get(primary, VERBS["acc"])[not good]
    than = "over" if verb == "improves" else "compared with"
    return (
        f"{name} {verb} {'the ' * (primary == 'gap')}{plan.label(primary)} {than} {plan.reference} by "
        f"{unit.text(abs(difference.mean))} ({interval}{_adjusted(found, one.t_p_holm)}, {sample(found, one)})."
    )


def _unconfirmed(found: Findings) -> list[str]:
    """Say which shown differences the rank test does not confirm, where it could."""
    what = found.plan.label(found.plan.primary)
    return [
        f"Wilcoxon's signed-rank test does not confirm the difference in {what} between {name} and "
        f"{found.plan.reference} (adjusted {p_value(one.wilcoxon_p_holm)})."
        for name, one in found.comparisons.items()
        # with few seeds and many comparisons no ranks at all could be significant
        if shown(one) and 2 * len(found.comparisons) / 2**one.n < found.level <= one.wilcoxon_p_holm
    ]


def _untested(found: Findings, name: str, one: Comparison) -> str:
    """Say why there is no test: no spread, or too few seeds."""
    plan, difference = found.plan, one.difference
    what, signed = plan.label(plan.primary), unit_of_difference(plan.primary).text(difference.mean, signed=True)
    if difference.std == 0:
        every = sample(found, one)
        return f"The {what} of {name} differs from that of {plan.reference} by {signed} for every one of {every}."
    # however many the splits, it is seeds that are lacking
    few = one.n // plan.splits
    few_words = counted(few, "seed") if plan.splits > 1 else sample(found, one)
    return (
        f"{few_words} {'is' if few == 1 else 'are'} too few to test {name} against {plan.reference} "
        f"(difference in {what}: {signed}); run at least 5, better 10."
    )


def _not_shown(found: Findings, ones: dict[str, Comparison]) -> list[str]:
    """Say in one sentence for which variants no difference was shown, and which difference would have been."""
    if not ones:
        return []
    plan, primary = found.plan, found.plan.primary
    unit, few = unit_of_difference(primary), [f"{n} (adjusted {p_value(c.t_p_holm)})" for n, c in ones.items()]
    if len(found.comparisons) == 1:
        few = [f"{name} ({p_value(one.t_p_holm)})" for name, one in ones.items()]
    sentence = f"No difference in {plan.label(primary)} between {plan.reference} and {listed(few, 'or')} was shown"
    if measured := [one for one in ones.values() if not math.isnan(one.detectable)]:
        widest = max(measured, key=lambda one: one.detectable)
        sentence += f"; if the true spread equals the observed one, {sample(found, widest)} show differences from "
        sentence += f"{unit.text(widest.detectable)} on with 80% power"
        size, words = matters(plan)
        if widest.detectable > size and widest.difference.independent:
            needed = seeds_to_decide(widest.difference.std, widest.n, size, comparisons=len(found.comparisons))
            sentence += f", and {seeds_text(needed)} seeds would show {words}"
    return [sentence + "."]


def seeds_text(needed: SeedsToDecide) -> str:
    """Return a number of seeds with its uncertainty, that of the spread: `42 (20 to 140)`."""
    first, low, high = (
        f"{number:,.0f}" if math.isfinite(number) else f"over {MAX_SEEDS:,}"
        for number in (needed.seeds, needed.low, needed.high)
    )
    return f"{first} ({low} to {high})"


def _equivalent(found: Findings) -> list[str]:
    """Say which differences were shown to be too small to matter."""
    unit, (_, words) = unit_of_difference(found.plan.primary), matters(found.plan)
    adjusted = "adjusted " * (len(found.comparisons) > 1)
    ones = [
        f"{name} ({unit.text(found.comparisons[name].difference.mean, signed=True)}, 90% interval "
        f"{unit.ends(*one.equivalence.interval, signed=True)}, {adjusted}{p_value(one.equivalence_p)})"
        for name, one in found.evidence.items()
        if one.equivalence is not None and is_equivalent(found, name)
    ]
    if not ones:
        return []
    correction = " with Holm's correction" if len(found.comparisons) > 1 else ""
    what = f"in {found.plan.label(found.plan.primary)} from {found.plan.reference}"
    return [
        f"The difference {what} is within ±{words}, too small to matter, for {listed(ones)} (two one-sided t "
        f"tests{correction})."
    ]


def _would_decide(found: Findings) -> list[str]:
    """Say how many seeds would decide what is undecided, where it is declared what matters."""
    ones = [f"{seeds_text(one.seeds)} for {name}" for name, one in found.evidence.items() if one.seeds is not None]
    if not ones:
        return []
    return [
        f"If the true differences in {found.plan.label(found.plan.primary)} and their spread equal the observed ones, "
        "this many seeds would decide between better, worse and equivalent with 80% power (95% interval from the "
        f"uncertainty of the spread): {listed(ones)}."
    ]


def _not_finite(found: Findings) -> list[str]:
    """Say which variants are not compared, as the primary outcome of some of their seeds is no finite number."""
    primary = found.plan.primary
    values = {variant.name: variant.values[primary] for variant in found.variants if primary in variant.values}
    names = [name for name, each in values.items() if not np.isfinite(each).all()]
    what = f"{METRIC_NAMES.get(primary, primary)} is infinite or not a number for some seeds"
    if found.plan.reference in names:
        return [f"By {found.plan.label(primary)} nothing is compared: the reference's {what}."]
    return [f"{name} is not compared: its {what}." for name in names]


def _over_splits(found: Findings) -> list[str]:
    """Say over what the tests and intervals of a study on several splits are."""
    if found.results.cells is None or not any(map(tested, found.comparisons.values())):
        return []
    if found.plan.splits == 1:
        return [
            "These answers are over folds: tests and intervals allow for the overlap of the folds' training images "
            "(corrected resampled t test, Nadeau and Bengio 2003)."
        ]
    return [
        f"These answers are over splits and seeds: each seed was trained on {counted(found.plan.splits, 'split')} of "
        "the images, and they describe other splits of the same images and other seeds."
    ]


def _few_seeds(found: Findings) -> list[str]:
    """Say where mean, interquartile mean and median of the differences lead to different answers."""
    unit, what, sentences = unit_of_difference(found.plan.primary), found.plan.label(found.plan.primary), []
    for name, one in found.evidence.items():
        if one.robust is not None and one.robust.disagree:
            three = (one.robust.mean, one.robust.interquartile_mean, one.robust.median)
            mean, trimmed, middle = (unit.with_interval(each.mean, each.low, each.high) for each in three)
            sentences.append(
                f"Three summaries lead to different answers on {name}: the difference in {what} is {mean} by the mean, "
                f"{trimmed} by the interquartile mean and {middle} by the median "
                f"({f'in{unit.name}; ' if unit.name else ''}95% intervals{unadjusted(found.comparisons)})."
            )
    return sentences


def _risen(name: str, rise: Rise) -> str:
    """Say how far the reference's test loss has risen since its minimum: a sign of overfitting."""
    times = rise.end / rise.lowest
    how = "doubles" if 1.9 <= times < 2.15 else f"rises {times:.1f}-fold" if times >= 2 else f"rises by {times - 1:.0%}"
    return (
        f"The test loss of {name} {how} after its minimum: {NATS.short(rise.lowest)} after epoch {rise.epoch}, "
        f"{NATS.short(rise.end)} after epoch {rise.last} (means over seeds)."
    )


def _convergence(found: Findings) -> list[str]:
    """Say how many epochs each variant takes to the final value of the reference, and whom the log-rank test tells."""
    plan, arrived = found.plan, found.arrivals
    if math.isnan(found.reference_end) or arrived is None or len(arrived.epochs) < 2:
        return []
    said = "; ".join(
        f"{name} {_epochs(reached[-1], arrived.restricted[name][-1], arrived.end)}"
        for name, reached in arrived.epochs.items()
    )
    ending = unit_of(plan.metric).text(found.reference_end)
    target = f"the final {plan.label(plan.metric)} of {plan.reference} ({ending})"
    interval = "" if all(math.isnan(reached[-1].low) for reached in arrived.epochs.values()) else " with 95% CI"
    sentence = f"Epochs to {target}, median over seeds{interval}: {said}."
    tests = {name: each[-1] for name, each in arrived.log_rank.items() if not math.isnan(each[-1])}
    if not tests:
        return [sentence]
    test = "log-rank test with Holm's correction" if len(tests) > 1 else "log-rank test"
    if found.results.cells is not None:
        test += f", over seeds, on curves that are means over {'splits' if plan.splits > 1 else 'folds'}"
    adjusted = "adjusted " * (len(tests) > 1)
    apart = [f"{name} ({adjusted}{p_value(p)})" for name, p in tests.items() if p < ALPHA]
    if apart:
        return [f"{sentence} These times differ from those of {plan.reference} for {listed(apart)} ({test})."]
    return [f"{sentence} No difference from {plan.reference} in these times was shown ({test})."]


def _epochs(reached: Reaching, restricted: Estimate, end: int) -> str:
    """Return `21.4 (14.9 to 23.8)`, `at most 1`, `never`, or `in 4 of 10 seeds only (mean within 100 epochs: 71.2)`."""
    if reached.reached == 0:
        return "never"
    if math.isinf(reached.median):
        return f"in {reached.reached} of {reached.n} seeds only (mean within {end:,} epochs: {restricted.mean:.1f})"
    if reached.median <= 1:  # nothing is known of a network before its first epoch is over
        return "at most 1"
    interval = f" ({epochs_or_never(reached.low)} to {epochs_or_never(reached.high)})"
    return epochs_or_never(reached.median) + ("" if math.isnan(reached.low) else interval)


def _additivity(found: Findings) -> list[str]:
    primary = found.plan.primary
    interactions = [effect for effect in found.effects if len(effect.factors) > 1]
    if not interactions or all(math.isnan(effect.p_holm) for effect in interactions):
        return []
    unit = unit_of_difference(primary)
    significant = [effect for effect in interactions if effect.simultaneous.excludes_zero]
    if not significant:
        return ["No interaction was shown: as far as these seeds can tell, the effects are additive."]
    terms = []
    for effect in significant:
        size = unit.text(effect.estimate.mean, signed=True)
        terms.append(f"{' x '.join(effect.factors)} {size} (adjusted {p_value(effect.p_holm)})")
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
