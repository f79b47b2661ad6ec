"""Several looks at a growing study."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fashionreg.studies.evidence import gather
from fashionreg.studies.looks import Looked
from fashionreg.studies.statistics import compare, corrected, looks_levels, next_seeds
from fashionreg.studies.statistics.looks import spent

AUTO = [5, 8, 12, 18, 27, 41, 50]


def band(share, studies):
    """Four standard errors of a simulated share."""
    return 4 * math.sqrt(share * (1 - share) / studies)


def first_answers(looks, levels, effect, relevant, studies, seed, spread=None):
    """What each simulated study says first: 1 better, -1 worse, 2 equivalent, 0 undecided to the end."""
    values = np.random.default_rng(seed).normal(size=(studies, looks[-1])) if spread is None else spread
    values = values + effect
    answers = np.zeros(studies, dtype=int)
    for look, level in zip(looks, levels, strict=True):
        seen = values[:, :look]
        mean, error = seen.mean(axis=1), seen.std(axis=1, ddof=1) / look**0.5
        shown = np.abs(mean) / error > stats.t.isf(level / 2, look - 1)
        same = (relevant - np.abs(mean)) / error > stats.t.isf(level, look - 1)
        now = np.where(same, 2, np.where(shown, np.sign(mean), 0))
        answers = np.where(answers == 0, now, answers)
    return answers


def test_levels_of_many_seeds_are_the_published_ones():
    # ldbounds and gsDesign in R for five looks and 0.025 in each tail: O'Brien-Fleming type of spending function
    levels = looks_levels([2000, 4000, 6000, 8000, 10_000])
    # early looks are exact; later ones are known to the two standard errors of the simulation that are not spent
    assert stats.norm.isf(np.array(levels[:2]) / 2) == pytest.approx([4.8769, 3.3569], abs=1e-3)
    assert stats.norm.isf(np.array(levels[2:]) / 2) == pytest.approx([2.6803, 2.2898, 2.0310], abs=0.05)


def test_what_is_spent_grows_from_nothing_to_the_whole_error():
    assert spent(0.2) == pytest.approx(4 * stats.norm.sf(stats.norm.isf(0.0125) / math.sqrt(0.2)))
    shares = [spent(time) for time in np.linspace(0.01, 1, 50)]
    assert sorted(shares) == shares
    assert (spent(1), spent(1.0, 0.01)) == (0.05, 0.01)


def test_one_look_at_the_maximum_has_the_whole_level():
    assert looks_levels([10]) == looks_levels([10], 10) == [0.05]
    assert looks_levels([10], comparisons=4) == [0.05]


def test_levels_of_early_looks_do_not_depend_on_those_to_come():
    levels = looks_levels(AUTO, 50)
    for count in range(1, len(AUTO)):
        assert looks_levels(AUTO[:count], 50) == levels[:count]
    assert sorted(levels) == levels


@pytest.mark.parametrize(
    "looks", [[3, 4, 5], [5, 8, 10], [10, 20], AUTO, list(range(5, 21))], ids=lambda looks: "-".join(map(str, looks))
)
def test_looking_again_and_again_errs_in_at_most_5_percent(looks):
    studies = 40_000
    wrong = np.mean(first_answers(looks, looks_levels(looks), 0, -1, studies, seed=looks[-1]) != 0)
    assert 0.045 < wrong < 0.05 + band(0.05, studies)
    if len(looks) > 5:
        # at 5% at every look it is two to three times as many
        assert np.mean(first_answers(looks, [0.05] * len(looks), 0, -1, studies, seed=1) != 0) > 0.12


@pytest.mark.parametrize("looks", [[5, 8, 10], AUTO])
def test_the_stopping_rule_calls_a_relevant_difference_equivalent_in_at_most_5_percent(looks):
    studies = 40_000
    for relevant in (0.3, 0.8, 1.5):
        answers = first_answers(looks, looks_levels(looks), relevant, relevant, studies, seed=3)
        assert np.mean(answers == 2) < 0.05 + band(0.05, studies)
        # and the wrong way round next to never
        assert np.mean(answers == -1) < 0.025


def test_the_stopping_rule_ends_where_there_is_something_to_see():
    answers = first_answers(AUTO, looks_levels(AUTO), 1.0, 0.5, 4000, seed=4)
    assert np.mean(answers == 1) > 0.99
    answers = first_answers(AUTO, looks_levels(AUTO), 0.0, 0.6, 4000, seed=5)
    assert np.mean(answers == 2) > 0.9


@pytest.mark.parametrize("count", [4, 20])
def test_several_variants_of_one_reference_err_in_at_most_5_percent_together(count):
    looks, studies = [5, 8, 12, 18], 3000
    values = np.random.default_rng(count).normal(size=(studies, count + 1, looks[-1]))
    differences = (values[:, 1:] - values[:, :1]).reshape(studies * count, -1)
    # without effect, Holm rejects something where the smallest p value times their number is below the level
    levels = np.array(looks_levels(looks, comparisons=count)) / count
    answers = first_answers(looks, levels, 0, -1, len(differences), seed=0, spread=differences)
    assert np.mean((answers.reshape(studies, count) != 0).any(axis=1)) < 0.05 + band(0.05, studies)
    alone = np.array(looks_levels(looks))
    assert (levels * count <= alone * (1 + 1e-12)).all()


def decisions(variants, reference, looks, maximum, **options):
    """What the report of a look decides about each variant."""
    level = Looked(looks, maximum).level(len(variants))
    values = {name: pd.Series(each) for name, each in variants.items()} | {"reference": pd.Series(reference)}
    compared = corrected(compare(variants, reference), level)
    options = {"higher_is_better": True} | options
    found = gather(values, "reference", compared, alpha=level, **options)
    return {name: one.decision for name, one in found.items()}


def test_decisions_use_the_level_of_the_present_look():
    generator = np.random.default_rng(6)
    reference = generator.normal(size=12)
    variants = {
        "better": reference + 3 + 0.3 * generator.normal(size=12),
        "same": reference + 0.1 * generator.normal(size=12),
        "unclear": reference + 2 * generator.normal(size=12),
    }
    expected = {"better": "better", "same": "equivalent", "unclear": "undecided"}
    assert decisions(variants, reference, [8, 12], 18, relevant=0.5) == expected
    lower = decisions(variants, reference, [8, 12], 18, relevant=0.5, higher_is_better=False)
    assert lower == expected | {"better": "worse"}
    assert decisions(variants, reference, [12], 18)["same"] == "undecided"
    # the same p value of 3% decides at the only look, and not at the first of several
    values = generator.normal(size=12)
    values = (values - values.mean()) / values.std(ddof=1) + stats.t.isf(0.015, 11) / 12**0.5
    assert decisions({"v": values}, np.zeros(12), [12], 12) == {"v": "better"}
    assert decisions({"v": values}, np.zeros(12), [12], 50) == {"v": "undecided"}
    assert decisions({}, np.zeros(12), [12], 50) == {}


def test_the_next_look_is_half_as_many_seeds_again():
    looks = [5]
    while looks[-1] < 50:
        looks.append(next_seeds(looks[-1], 50))
    assert looks == AUTO
    assert next_seeds(50, 50) == 50


@pytest.mark.parametrize(
    ("looks", "maximum", "options", "fault"),
    [
        ([], None, {}, "looks: must be ascending"),
        ([1, 5], None, {}, "looks: must be ascending"),
        ([5, 5], None, {}, "looks: must be ascending"),
        ([5, 20], 10, {}, "looks: must not be beyond the maximum of 10 seeds, got 20"),
        ([5], None, {"comparisons": 0}, "comparisons, alpha"),
        ([5], None, {"alpha": 1.0}, "comparisons, alpha"),
    ],
)
def test_looks_that_cannot_be_are_refused(looks, maximum, options, fault):
    with pytest.raises(ValueError, match=fault):
        looks_levels(looks, maximum, **options)
