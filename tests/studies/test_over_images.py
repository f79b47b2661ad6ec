"""Over what a difference holds: from `correct.npy` of a study's runs to the table and the sentence of its report."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from fashionreg.runs.correct import packed, write_correct
from fashionreg.studies.findings import find
from fashionreg.studies.images import NEITHER, NEW, THESE, sentences
from fashionreg.studies.report import write_report
from fashionreg.studies.results import read_results
from fashionreg.studies.statistics import seeds_and_images
from sample_studies import write_study

IMAGES, SEEDS = 500, 8


def recorded(folder, shares, *, by_seed=(), spread=0.0, images=IMAGES):
    """Give each variant's run a `correct.npy`, and the record its accuracies; returns the answers by variant."""
    answers = {}
    hard = np.random.default_rng(1).random(images)
    for position, (name, share) in enumerate(shares.items()):
        generator = np.random.default_rng([2, position])
        # each image is easier or harder for a variant than for another one, for all of its seeds
        own = generator.normal(0, spread, images)
        right = hard + own + generator.normal(0, 0.05, (SEEDS, images)) < share
        answers[name] = right
        run = folder / name / "version_0"
        about = json.loads((run / "record.json").read_text())
        about["data"]["sizes"]["test"] = images
        about["data"]["by_seed"] = list(by_seed)
        (run / "record.json").write_text(json.dumps(about))
        lines = (run / "record.csv").read_text().splitlines()
        last = len(about["epoch_seconds"])
        for number, line in enumerate(lines):
            if found := re.fullmatch(rf"(\d+),{last},test,acc,.*", line):
                lines[number] = f"{found[1]},{last},test,acc,{right[int(found[1])].mean():.15g}"
        (run / "record.csv").write_text("\n".join(lines) + "\n")
        write_correct(run, packed(right))
    return answers


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "fake", seeds=range(SEEDS), epochs=3, estimate={"kind": "last"})


def test_intervals_are_those_of_the_answers_paired_by_seed_and_image(study):
    answers = recorded(study, {"plain": 0.8, "bn": 0.86, "dropout": 0.81})
    found = find(read_results(study)).over_images
    assert list(found) == ["bn", "dropout"]
    for name, one in found.items():
        expected = seeds_and_images(answers[name], answers["plain"])
        assert (one.seeds, one.interval, one.images) == (expected.seeds, expected.interval, IMAGES)


def test_a_difference_that_other_images_may_not_show_is_said_to_be_of_these_images(study):
    # bn is better on most images; dropout on some images and worse on others, and all seeds agree on which
    recorded(study, {"plain": 0.8, "bn": 0.9, "dropout": 0.785}, spread=0.15)
    found = find(read_results(study))
    assert {name: one.holds for name, one in found.over_images.items()} == {"bn": NEW, "dropout": THESE}
    (sentence,) = sentences(found.results, found.over_images, found.compared)
    assert sentence == (
        "Differences in accuracy on 500 test images after the last epoch are shown on new images too: bn; on these "
        "images: dropout."
    )
    write_report(study)
    page = (study / "report.md").read_text()
    assert sentence in page
    assert "On these images, or on new ones" in page
    assert f"| {NEW} |" in page


def test_equal_networks_show_nothing(study):
    answers = recorded(study, {"plain": 0.8, "bn": 0.8, "dropout": 0.8})
    write_correct(study / "bn" / "version_0", packed(answers["plain"]))
    lines = (study / "plain" / "version_0" / "record.csv").read_text()
    (study / "bn" / "version_0" / "record.csv").write_text(lines)
    found = find(read_results(study))
    assert found.over_images["bn"].holds == NEITHER
    assert sentences(found.results, {"bn": found.over_images["bn"]}, found.compared) == []


def test_with_own_test_images_the_second_interval_is_that_of_nadeau_and_bengio(study):
    answers = recorded(study, {"plain": 0.8, "bn": 0.86, "dropout": 0.81}, by_seed=["train", "test"])
    found = find(read_results(study)).over_images["bn"]
    differences = answers["bn"].mean(axis=1) - answers["plain"].mean(axis=1)
    for interval, variance in (
        ((found.seeds.low, found.seeds.high), 1 / SEEDS),
        (found.interval, 1 / SEEDS + 500 / 60000),
    ):
        half = stats.t.ppf(0.975, SEEDS - 1) * differences.std(ddof=1) * variance**0.5
        assert interval == pytest.approx((differences.mean() - half, differences.mean() + half))
    write_report(study)
    page = (study / "report.md").read_text()
    assert "Each seed has its own split into training and test images." in page
    assert "Nadeau and Bengio" in page


@pytest.mark.parametrize("change", ["no file", "other images", "own images", "another size", "one seed"])
def test_what_cannot_be_compared_has_no_interval(study, change):
    recorded(study, {"plain": 0.8, "bn": 0.86})
    run = study / "bn" / "version_0"
    about = json.loads((run / "record.json").read_text())
    if change == "no file":
        (run / "correct.npy").unlink()
    elif change == "other images":
        about["data"]["fingerprints"]["test"] = "0" * 16
    elif change == "own images":
        about["data"]["by_seed"] = ["train", "test"]
    elif change == "another size":
        recorded(study, {"bn": 0.86}, images=400)
        about["data"]["sizes"]["test"] = 400
    else:
        plan = json.loads((study / "study.json").read_text())
        (study / "study.json").write_text(json.dumps(plan | {"seeds": [3]}))
    (run / "record.json").write_text(json.dumps(about))
    assert find(read_results(study)).over_images == {}
    write_report(study)
    assert "On these images, or on new ones" not in (study / "report.md").read_text()


def test_records_of_earlier_versions_have_no_such_table(study):
    found = find(read_results(study))
    assert found.over_images == {}
    write_report(study)
    assert "Intervals describe other seeds on the same images, not other images." in (study / "report.md").read_text()
