"""What stands beside a difference: its relevance, whether a few seeds make it, and what pairing bought."""

import numpy as np
import pytest
from scipy import stats

from fashionreg.studies.differences import tables
from fashionreg.studies.methods import methods
from fashionreg.studies.notes import notes
from fashionreg.studies.statistics import holm, seeds_to_decide
from fashionreg.studies.verdict import verdict

MINUS = "\N{MINUS SIGN}"

#: Differences of ten seeds from their mean, in units of their standard deviation 1.
NOISE = np.array([0.3, -1.2, 0.8, -0.5, 1.6, -0.9, 0.1, -1.4, 0.9, 0.3])
NOISE = (NOISE - NOISE.mean()) / NOISE.std(ddof=1)


def differing(of):
    """Accuracies where each variant differs from `plain` by mean + std * NOISE, given as `of[variant]`."""

    def accuracy(variant, seeds, _epochs):
        mean, std = of.get(variant, (0, 0))
        return 0.8 + 0.01 * np.sin(seeds) + mean + std * NOISE[seeds]

    return accuracy


@pytest.fixture
def four_answers(of_accuracies):
    """Findings where 0.5 points matter: one variant each is better, worse, equivalent and undecided."""
    of = {"up": (0.03, 0.004), "down": (-0.03, 0.004), "same": (0.001, 0.002), "open": (0.004, 0.006)}
    return of_accuracies(differing(of), variants=["plain", *of], relevant=0.5, outcomes=["acc"])


def test_each_variant_is_better_worse_equivalent_or_undecided(four_answers):
    decisions = {name: one.decision for name, one in four_answers.evidence.items()}
    assert decisions == {"up": "better", "down": "worse", "same": "equivalent", "open": "undecided"}


def test_equivalence_is_tested_by_two_one_sided_tests_with_holms_correction(four_answers):
    reference = next(v.values["acc"] for v in four_answers.variants if v.name == "plain")
    p = []
    for variant in four_answers.variants[1:]:
        difference = (variant.values["acc"] - reference).to_numpy()
        sides = [stats.ttest_1samp(difference, bound).statistic for bound in (-0.005, 0.005)]
        p.append(max(stats.t.sf(sides[0], 9), stats.t.cdf(sides[1], 9)))
        one = four_answers.evidence[variant.name]
        assert one.equivalence.interval == pytest.approx(
            stats.t.interval(0.9, 9, difference.mean(), stats.sem(difference))
        )
    assert [one.equivalence_p for one in four_answers.evidence.values()] == pytest.approx(holm(p).tolist())


def test_the_verdict_says_what_is_too_small_to_matter_and_how_many_seeds_would_decide(four_answers):
    answer, *sentences = verdict(four_answers)
    assert answer == (
        "Compared with plain, after 12 epochs, up raises test accuracy (+3.0 points); down lowers test accuracy "
        f"({MINUS}3.0 points); the effect of same on test accuracy is too small to matter (within ±0.5 points); no "
        "effect was shown of open on test accuracy."
    )
    assert sum(sentence.startswith(("up improves", "down worsens")) for sentence in sentences) == 2
    assert not any(sentence.startswith("same ") for sentence in sentences)
    one = four_answers.evidence["same"]
    low, high = (f"{100 * end:+.2f}".replace("-", MINUS) for end in one.equivalence.interval)
    assert any(
        sentence.startswith(
            "The difference in test accuracy from plain is within ±0.5 points, too small to matter, for same (+0.10 "
            f"points, 90% interval {low} to {high}, adjusted p "
        )
        for sentence in sentences
    )
    needed = seeds_to_decide(0.006, 10, 0.004, 0.005, comparisons=4)
    (sentence,) = (sentence for sentence in sentences if "would decide" in sentence)
    assert sentence.endswith(f": {needed.seeds:,.0f} ({needed.low:,.0f} to {needed.high:,.0f}) for open.")


def test_a_table_has_the_decisions_where_it_is_declared_what_matters(four_answers):
    _, relevance, _ = tables(four_answers)
    assert relevance.caption == "Does the difference in test accuracy matter? Relevant: 0.5 points"
    assert {row[0]: row[1] for row in relevance.rows} == {n: one.decision for n, one in four_answers.evidence.items()}
    assert [row[-1] == "\N{EN DASH}" for row in relevance.rows] == [True, True, True, False]


def test_without_a_relevant_difference_no_table_is_about_it(findings):
    assert len(tables(findings())) == 2


def test_a_relevant_difference_of_a_loss_is_in_nats(findings):
    found = findings(metric="loss", targets=[], relevant=0.5)
    assert {one.equivalence.relevant for one in found.evidence.values()} == {0.5}
    assert "within ±0.5 nats" in " ".join(verdict(found))


@pytest.mark.parametrize(
    ("variants", "scope"),
    [(["plain", "bn"], ""), (["plain", "bn", "l2"], ", not adjusted for the number of comparisons")],
)
def test_a_collapsed_seed_is_named_and_the_verdict_says_that_it_makes_the_answer(of_accuracies, variants, scope):
    def accuracy(variant, seeds, _epochs):
        usual = 0.8 + 0.003 * NOISE[seeds] + 0.02 * (variant == "bn")
        return np.where((variant == "bn") & (seeds == 7), 0.1, usual)

    found = of_accuracies(accuracy, variants=variants)
    (note,) = (note for note in notes(found) if note.kind == "collapsed")
    usual = np.median(np.append(0.82 + 0.003 * np.delete(NOISE, 7), 0.1))
    assert note.warns
    assert note.text == (
        f"Collapsed: 1 seed of bn (7): test accuracy 10.00%, where the median of its seeds is {100 * usual:.2f}%. "
        "Median and interquartile mean stand beside the mean."
    )
    robust = found.evidence["bn"].robust
    # nine differences are 2 points, one is far below
    assert (robust.median.mean, robust.interquartile_mean.mean) == pytest.approx((0.02, 0.02))
    assert robust.mean.mean < 0
    (sentence,) = (sentence for sentence in verdict(found) if "different answers" in sentence)
    assert sentence.startswith("Three summaries lead to different answers on bn: the difference in test accuracy is ")
    assert sentence.endswith(f"+2.00 (+2.00 to +2.00) by the median (in points; 95% intervals{scope}).")
    assert tables(found)[-1].caption == (f"Difference in test accuracy by three summaries (95% intervals{scope})")


def test_seeds_that_all_train_have_not_collapsed(findings):
    found = findings()
    assert "collapsed" not in {note.kind for note in notes(found)}


def test_what_pairing_bought_is_printed_and_not_claimed(of_accuracies):
    found = of_accuracies(differing({"bn": (0.01, 0.01), "l2": (0.01, 0.001)}), variants=["plain", "bn", "l2"])
    plain, *others = (variant.values["acc"].to_numpy() for variant in found.variants)
    measured = {}
    for name, values in zip(("bn", "l2"), others, strict=True):
        paired = stats.ttest_rel(values, plain).confidence_interval()
        welch = stats.ttest_ind(values, plain, equal_var=False).confidence_interval()
        measured[name] = np.corrcoef(values, plain)[0, 1], (paired.high - paired.low) / (welch.high - welch.low)
    (low, name), (high, other) = sorted((r, name) for name, (r, _) in measured.items())
    short, long = sorted(ratio for _, ratio in measured.values())
    (said,) = (fact for fact in methods(found)[0].texts if "by design" in fact)
    low, high = (f"{value:+.2f}".replace("-", MINUS) for value in (low, high))
    assert said == (
        "Variants are compared seed by seed, by design. What this gains: the correlation of a seed's result with that "
        f"of the reference is from {low} ({name}) to {high} ({other}); intervals of paired differences are "
        f"{short:.2f} to {long:.2f} times as long as unpaired ones (Welch)."
    )
