"""The scores of single images in `fashionreg compare` and `fr.compare`: on these images, or on new ones."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fashionreg as fr
from fashionreg.errors import UserError
from fashionreg.studies.elsewhere import results_of_table
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.findings import find, most_telling

SEEDS, IMAGES = 6, 40


def scores(bn=1.0, spread=0.0):
    """A row for each variant, seed and image; of `bn` higher by this, and by more or less for single images."""
    generator = np.random.default_rng(3)
    hard, own = generator.normal(0, 3, IMAGES), generator.normal(0, spread, IMAGES)
    rows = [
        (
            variant,
            seed,
            f"img {image:03d}",
            hard[image] + (variant == "bn") * (bn + own[image]) + generator.normal(0, 0.5),
        )
        for variant in ("plain", "bn")
        for seed in range(SEEDS)
        for image in range(IMAGES)
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "image", "value"])


def intervals(frame):
    """The mean difference, its interval over seeds, and that over seeds and images, by hand."""
    wide = frame.pivot(index=["seed", "image"], columns="variant", values="value")
    d = (wide.bn - wide.plain).unstack("image").to_numpy()
    n, m = d.shape
    mean, rows, columns = d.mean(), d.mean(axis=1), d.mean(axis=0)
    ms_seeds, ms_images = m * np.var(rows, ddof=1), n * np.var(columns, ddof=1)
    ms_rest = ((d - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (m - 1))
    total = ms_seeds + ms_images - ms_rest
    freedom = total**2 / (ms_seeds**2 / (n - 1) + ms_images**2 / (m - 1) + ms_rest**2 / ((n - 1) * (m - 1)))
    over_seeds = stats.t.interval(0.95, n - 1, mean, stats.sem(rows))
    over_both = stats.t.interval(0.95, freedom, mean, (total / (n * m)) ** 0.5)
    return mean, over_seeds, over_both


@pytest.mark.parametrize(("spread", "holds"), [(0.5, "on new images too"), (6.0, "on these images")])
def test_intervals_over_seeds_and_over_images_are_those_of_a_hand_calculation(run, drawn, spread, holds):
    frame = scores(spread=spread)
    mean, over_seeds, over_both = intervals(frame)
    assert (over_both[0] > 0) == (holds == "on new images too")
    one = fr.compare(frame.sample(frac=1, random_state=0), "plain").loc["bn"]
    assert (one.n, one.images, one.holds) == (SEEDS, IMAGES, holds)
    assert (one.difference, one.low, one.high) == pytest.approx((mean, *over_seeds), rel=1e-9)
    assert (one.images_low, one.images_high) == pytest.approx(over_both, rel=1e-9)
    frame.to_csv("results.csv", index=False)
    code, out, err = run("compare", "results.csv", "--metric", "margin", "--out", "out")
    assert (code, err) == (0, "")
    assert f"Differences in margin on 40 images are shown {holds}: bn." in out
    page = Path("out/report.md").read_text()
    assert f"Differences in margin on 40 images are shown {holds}: bn." in page
    assert "Intervals describe other seeds on the same images, not other images, for which a table has" in page
    assert "2 variants, 6 seeds (0 to 5) each, on 40 images" in page
    table = page.partition("**Difference in margin from plain**")[2]
    cells = [cell.strip() for cell in re.search(r"\| bn \|.*", table)[0].strip("|").split("|")]
    assert [cells[0], cells[1], cells[2], cells[-1]] == ["bn", "6", "40", holds]
    for cell, interval in zip(cells[4:6], (over_seeds, over_both), strict=True):
        ends = [float(end.replace("\N{MINUS SIGN}", "-")) for end in cell.split(" to ")]
        # four significant digits of the larger end
        assert ends == pytest.approx(interval, abs=6e-4)
    # of any kind of name
    numbered = frame.assign(image=frame.image.str.slice(4).astype(int))
    pd.testing.assert_frame_equal(fr.compare(numbered, "plain"), fr.compare(frame, "plain"))
    # the table that is written is one that is read
    assert run("compare", "out/results.csv", "--out", "again")[0] == 0
    assert Path("again/results.csv").read_text() == Path("out/results.csv").read_text()


def test_right_and_wrong_answers_are_accuracies_in_points(run, drawn):
    frame = scores(2.0)
    frame = frame.assign(value=(frame.value > 0).astype(int))
    frame.to_csv("right.csv", index=False)
    code, out, err = run("compare", "right.csv", "--metric", "acc", "--relevant", 0.5, "--out", "out")
    assert (code, err) == (0, "")
    mean, _, (low, high) = intervals(frame)
    page = Path("out/report.md").read_text()
    assert "difference (points)" in page
    assert f"bn raises accuracy (+{100 * mean:.1f} points)" in out
    table = page.partition("**Difference in accuracy from plain**")[2]
    assert f"| +{100 * low:.2f} to +{100 * high:.2f} | on new images too |" in table
    assert fr.compare(frame, "plain", metric="acc", relevant=0.5).decision["bn"] == "better"


def test_with_epochs_the_mean_of_the_last_ones_counts_for_each_image(run, drawn):
    frame = scores()
    # of 21 epochs the last three count, which are alike
    early = 50 * (frame.variant == "bn")
    curves = pd.concat([frame.assign(epoch=epoch, value=frame.value + (epoch < 19) * early) for epoch in range(1, 22)])
    expected = fr.compare(frame, "plain")
    for estimate in ("last", "tail"):
        found = fr.compare(curves, "plain", estimate=estimate)
        columns = ["n", "difference", "low", "high", "images_low", "images_high"]
        assert found.loc["bn", columns].tolist() == pytest.approx(expected.loc["bn", columns].tolist(), rel=1e-9)
    curves.to_csv("curves.csv", index=False)
    code, out, err = run("compare", "curves.csv", "--out", "out")
    assert (code, err) == (0, "")
    assert "on 40 images are shown on new images too: bn." in out


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda frame: frame.drop(index=300),
            "variant bn, seed 1: has results of 39 of 40 images, not of img 020; every seed needs the same images",
        ),
        (lambda frame: pd.concat([frame, frame[7:8]]), "variant plain, seed 0, image img 007: appears twice"),
        (lambda frame: frame[frame.image == "img 000"], "image: there is only img 000; two or more are compared"),
        (
            lambda frame: frame.assign(image=frame.image.str.slice(4).astype(int)).drop(index=300),
            "variant bn, seed 1: has results of 39 of 40 images, not of 20; every seed needs the same images",
        ),
        (lambda frame: frame.assign(fold=0), "fold, image: there are both; keep one of these columns"),
    ],
)
def test_scores_that_are_not_crossed_are_refused(refusal, change, fault):
    frame = change(scores())
    frame.to_csv("scores.csv", index=False)
    line = refusal("compare", "scores.csv")[1]
    assert line.startswith("fashionreg: error: scores.csv: ")
    assert fault in line
    with pytest.raises(UserError, match=re.escape(fault)):
        fr.compare(frame, "plain")


@pytest.mark.parametrize(
    ("column", "value", "fault", "in_python"),
    [
        ("value", "high", "row 9: value: must be a number, got high", "seed 0: value must be a number, got high"),
        ("value", None, "row 9: value: is empty", "variant plain: has a value that is not finite"),
        ("image", None, "row 9: image: is empty", "image: is missing in row 7"),
        (
            "image",
            "a\x1b[2J",
            "row 9: image: must be 1 to 200 printable characters",
            "every seed needs the same images",
        ),
    ],
)
def test_bad_cells_are_refused(refusal, column, value, fault, in_python):
    frame = scores().astype({"value": object})
    frame.loc[7, column] = value
    frame.to_csv("scores.csv", index=False)
    assert f"scores.csv: {fault}" in refusal("compare", "scores.csv")[1]
    with pytest.raises(UserError, match=in_python):
        fr.compare(frame, "plain")


def test_a_variant_with_a_score_that_is_not_a_number_is_named_and_not_compared(run, drawn):
    frame = pd.concat([scores(), scores().query("variant == 'bn'").assign(variant="dropout")], ignore_index=True)
    frame.loc[frame.variant == "dropout", "value"] = frame.value.where(frame.index != len(frame) - 1)
    frame.to_csv("scores.csv", index=False, na_rep="nan")
    code, out, err = run("compare", "scores.csv", "--out", "out")
    assert (code, err) == (0, "")
    assert "dropout is not compared: its value is infinite or not a number for some seeds." in out
    assert "are shown on new images too: bn." in out


def test_findings_on_some_variants_keep_the_scores_of_those(tmp_path):
    scores().to_csv(tmp_path / "scores.csv", index=False)
    found = find(results_of_table(tmp_path / "scores.csv", "plain", estimand=Estimand()))
    assert set(found.results.numbers.variant) == {"plain", "bn"}
    assert set(most_telling(found, 1).results.numbers.variant) == {"plain"}


def test_one_seed_is_too_few_whatever_the_number_of_images(run, drawn):
    scores().query("seed == 0").to_csv("scores.csv", index=False)
    code, out, err = run("compare", "scores.csv", "--out", "out")
    assert (code, err) == (0, "")
    assert "1 seed is too few to test bn against plain" in out
    assert "on new images" not in out
