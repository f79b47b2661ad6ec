"""The statistics on simulated studies with the records' own noise: `make simulate` in small."""

import math

import numpy as np
import pytest
from simulations import coverage, errors
from simulations.__main__ import main
from simulations.noise import draw, noises

STUDIES = 500
KINDS = noises()


def band(share, studies=STUDIES):
    """Four standard errors of a simulated share."""
    return 4 * math.sqrt(share * (1 - share) / studies)


@pytest.mark.parametrize("name", KINDS)
def test_noise_has_mean_0_and_standard_deviation_1(name):
    noise = draw(KINDS[name], np.random.default_rng(0), 100_000)
    # kurtosis of the records' noise is below 12: the error of the spread is below sqrt(11) / 2 / sqrt(100,000)
    assert noise.mean() == pytest.approx(0, abs=4 / math.sqrt(100_000))
    assert noise.std() == pytest.approx(1, abs=4 * math.sqrt(11) / 2 / math.sqrt(100_000))


#: Studies of whose seeds a few collapsed, as their report says.
COLLAPSED = ["batch_norm_tuned's seeds"]


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("name", KINDS)
def test_intervals_cover_what_they_say(name, n):
    found = coverage.of_one_interval(KINDS[name], n, STUDIES, seed=0)
    assert found.pop("difference, 90% (TOST)") == pytest.approx(0.9, abs=0.02 + band(0.9))
    exact = found.pop("difference, median (order statistics)")
    assert math.isnan(exact) if n < 6 else exact > 0.95 - band(0.95)
    # the t distribution is that of normal values: up to two percent where they are skewed or trimmed
    for what, share in found.items():
        if name in COLLAPSED and what.startswith("mean"):
            # differences of two such variants are symmetric, their own means are not
            assert 0.7 < share < 0.95 + band(0.95)
        else:
            assert share == pytest.approx(0.95, abs=0.02 + band(0.95))


@pytest.mark.parametrize("variants", [4, 20])
def test_families_err_in_at_most_5_percent(variants):
    studies = 1600 // variants
    for source in KINDS.values():
        alone, together = errors.false_positives(source, variants, 10, studies, seed=0)
        assert together < 0.05 + band(0.05, studies)
        assert alone > together


@pytest.mark.parametrize("name", KINDS)
def test_the_stopping_rule_errs_in_at_most_5_percent(name):
    studies = 400
    idle = errors.stopping_rule(KINDS[name], 0.0, 0.5, 50, studies, seed=0)
    assert idle.better + idle.worse < 0.05 + band(0.05, studies)
    relevant = errors.stopping_rule(KINDS[name], 0.5, 0.5, 50, studies, seed=0)
    assert relevant.equivalent < 0.05 + band(0.05, studies)
    assert relevant.better > 0.7


def test_power_is_as_stated():
    stated, found = errors.power(10, STUDIES, seed=0)
    assert stated == pytest.approx(0.8, abs=1e-4)
    assert found == pytest.approx(0.8, abs=band(0.8))


def test_the_page_has_every_table(tmp_path):
    assert main(["--studies", "4", "--out", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert page.count("\n## ") == 7
    assert "from 4 simulated studies" in page
