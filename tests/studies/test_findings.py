"""Findings follow from the records, and the verdict says what they show and no more."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.studies.findings import find
from fashionreg.studies.notes import notes
from fashionreg.studies.results import read_results
from fashionreg.studies.statistics import holm
from fashionreg.studies.verdict import verdict
from sample_studies import write_study


@pytest.fixture
def findings(tmp_path):
    """The findings of a fake study, after `change` has been made to the value column of each variant's record."""

    def findings(change=None, **options):
        folder = write_study(tmp_path / "study", **options)
        for path in folder.glob("*/version_0/record.csv"):
            if change is not None:
                table = pd.read_csv(path)
                table["value"] = change(path.parts[-3], table)
                table.to_csv(path, index=False, na_rep="nan")
        return find(read_results(folder))

    return findings


def final(found, variant, split="test", metric="acc"):
    table = found.results.table
    rows = table.query("variant == @variant and split == @split and metric == @metric and epoch == @found.epochs")
    return rows.sort_values("seed").value.to_numpy()


def test_numbers_of_variants_are_those_of_scipy(findings):
    found = findings()
    for variant in found.variants:
        values = final(found, variant.name)
        estimate = variant.final["test/acc"]
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert (estimate.mean, estimate.std) == pytest.approx((values.mean(), values.std(ddof=1)))
        assert (estimate.low, estimate.high) == pytest.approx((low, high))
        gap = final(found, variant.name, "train") - values
        assert variant.final["gap"].mean == pytest.approx(gap.mean())
        np.testing.assert_array_equal(variant.values, values)


def test_comparisons_are_paired_by_seed(findings):
    found = findings()
    p_values = []
    for name in ("bn", "dropout"):
        difference = final(found, name) - final(found, "plain")
        comparison = found.comparisons[name]
        assert comparison.difference.mean == pytest.approx(difference.mean())
        assert comparison.t_p == pytest.approx(stats.ttest_rel(final(found, name), final(found, "plain")).pvalue)
        p_values.append(comparison.t_p)
    assert found.comparisons["bn"].t_p_holm == pytest.approx(min(2 * min(p_values), max(p_values), 1), rel=1e-6)
    assert "plain" not in found.comparisons


def test_variants_of_different_length_are_compared_at_the_end_of_each_and_it_is_said(tmp_path):
    folder = write_study(tmp_path / "study", epochs=4)
    longer = write_study(tmp_path / "longer", epochs=6)
    shutil.rmtree(folder / "bn")
    shutil.copytree(longer / "bn", folder / "bn")
    found = find(read_results(folder))
    table = found.results.table.query("split == 'test' and metric == 'acc'")
    bn, plain = (
        table.query("variant == @variant and epoch == @epoch").value.to_numpy()
        for variant, epoch in (("bn", 6), ("plain", 4))
    )
    assert found.comparisons["bn"].difference.mean == pytest.approx((bn - plain).mean())
    assert any("plain 4, bn 6, dropout 4 epochs" in note.text for note in notes(found))


def test_a_variant_is_compared_on_the_seeds_that_it_shares_with_the_reference(findings):
    found = findings(absent={"bn": [3, 4]})
    assert {name: comparison.n for name, comparison in found.comparisons.items()} == {"bn": 8, "dropout": 10}
    present = [seed for seed in range(10) if seed not in (3, 4)]
    difference = final(found, "bn") - final(found, "plain")[present]
    p_values = [stats.ttest_1samp(difference, 0).pvalue]
    p_values.append(stats.ttest_rel(final(found, "dropout"), final(found, "plain")).pvalue)
    assert found.comparisons["bn"].t_p == pytest.approx(p_values[0])
    assert [comparison.t_p_holm for comparison in found.comparisons.values()] == pytest.approx(holm(p_values))
    assert any("bn has no results for 2 of 10 seeds" in note.text for note in notes(found))


def test_a_clear_difference_is_said_with_its_direction(findings):
    found = findings()
    sentence = next(sentence for sentence in verdict(found) if sentence.startswith("bn improves"))
    difference = found.comparisons["bn"].difference
    assert sentence == (
        f"bn improves test accuracy over plain by 2.45 points (95% CI {100 * difference.low:.2f} to "
        f"{100 * difference.high:.2f}, paired t test with Holm's correction, p < 0.001, 10 seeds)."
    )


def test_a_correction_is_named_where_there_is_one(findings):
    sentence = verdict(findings(variants=["plain", "bn"]))[0]
    assert "paired t test, p < 0.001, 10 seeds)" in sentence


def shifted(change):
    """The record's values, with the accuracy on test of one variant replaced by that of `plain` and a change."""
    plain = {}

    def change_values(variant, table):
        chosen = (table.split == "test") & (table.metric == "acc")
        base = pd.Series([0.8 + 0.01 * ((7 * seed) % 10) for seed in table.seed])
        plain[variant] = change(variant, table.seed)
        return table.value.where(~chosen, base + plain[variant])

    return change_values


def test_where_nothing_can_be_shown_the_verdict_names_what_would_have_been_missed(findings):
    found = findings(shifted(lambda variant, seed: 0 if variant == "plain" else (seed % 2 - 0.5) * 0.01))
    sentence = verdict(found)[0]
    assert sentence.startswith("No difference in test accuracy between bn and plain was shown (")
    assert "p = 1.00, 10 seeds; " in sentence
    missed = found.comparisons["bn"].detectable
    assert f"minimum detectable effect with 80% power: {100 * missed:.2f} points)." in sentence
    assert not any(" improves " in sentence for sentence in verdict(found)[:2])


def test_a_worse_variant_is_called_worse(findings):
    found = findings(shifted(lambda variant, seed: -(variant == "bn") * (0.05 + 0.001 * seed)))
    assert verdict(found)[0].startswith("bn worsens test accuracy compared with plain by 5.45 points (95% CI 5.2")


def test_an_interval_has_the_direction_of_its_effect(findings):
    found = findings(metric="loss", targets=[])
    name, comparison = next((name, one) for name, one in found.comparisons.items() if one.difference.mean < 0)
    low, high = -comparison.difference.high, -comparison.difference.low
    sentence = next(sentence for sentence in verdict(found) if sentence.startswith(f"{name} improves test loss"))
    assert f"by {-comparison.difference.mean:.4f} nats (95% CI {low:.4f} to {high:.4f}, " in sentence


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_too_few_seeds_are_said_and_not_tested(findings, seeds):
    found = findings(seeds=seeds)
    text = " ".join(verdict(found))
    assert "nan" not in text
    assert ("1 seed is too few to test bn" if len(seeds) == 1 else "2 seeds are too few to test bn") in text
    assert "95% CI" not in text


def test_lower_is_better_for_losses(findings):
    found = findings(metric="loss", targets=[])
    better = found.comparisons["bn"].difference.mean < 0
    sentence = next(sentence for sentence in verdict(found) if sentence.startswith("bn "))
    assert ("improves" in sentence) == better
    assert "points" not in sentence


def test_the_best_epoch_is_chosen_on_validation_images_alone(findings):
    found = findings(validation=True)
    table = found.results.table
    for variant in found.variants:
        rows = table[(table.variant == variant.name) & (table.metric == "acc")]
        chosen = [
            (group.set_index("epoch").value.idxmax(), seed) for seed, group in rows[rows.split == "val"].groupby("seed")
        ]
        assert variant.best_epoch.mean == pytest.approx(np.mean([epoch for epoch, _ in chosen]))
        test = rows[rows.split == "test"].set_index(["seed", "epoch"]).value
        assert variant.best.mean == pytest.approx(np.mean([test[seed, epoch] for epoch, seed in chosen]))
    assert any("the best epoch is chosen on validation images" in note.text for note in notes(found))


def test_without_validation_images_there_is_no_best_epoch(findings):
    assert all(variant.best_epoch is None and variant.best is None for variant in findings().variants)


def test_targets_and_the_references_final_value_are_reached_or_not(findings):
    found = findings(targets=[0.1, 0.999])
    for name, reached in found.reaching_epochs.items():
        assert [reaching.target for reaching in reached[:2]] == [0.1, 0.999]
        assert (reached[0].reached, reached[0].median) == (10, 1)
        assert (reached[1].reached, reached[1].median) == (0, np.inf)
        assert reached[2].target == pytest.approx(final(found, "plain").mean())
        assert len(found.reaching_seconds[name]) == 3
    assert any(sentence.startswith("Epochs to the final test accuracy of plain (") for sentence in verdict(found))


LEVELS = {
    " + ".join(factor for factor, on in zip("abc", combination, strict=True) if on) or "none": dict(
        zip("abc", combination, strict=True)
    )
    for combination in itertools.product([False, True], repeat=3)
}


def factorial(interaction):
    def value(variant, seed):
        on = LEVELS[variant]
        noise = 0.001 * np.sin(seed + 10 * len(variant))
        return 0.02 * on["a"] - 0.01 * on["b"] + interaction * (on["a"] and on["b"]) + noise

    return shifted(value)


def test_effects_of_a_factorial_are_found(findings):
    found = findings(factorial(0.04), variants=LEVELS)
    effects = {effect.factors: effect.estimate.mean for effect in found.effects}
    assert len(effects) == 7
    # the mean with a on minus the mean with a off: its own 0.02, and half of the interaction
    assert effects["a",] == pytest.approx(0.04, abs=1e-3)
    assert effects["b",] == pytest.approx(0.01, abs=1e-3)
    assert effects["a", "b"] == pytest.approx(0.02, abs=1e-3)
    assert effects["c",] == pytest.approx(0, abs=1e-3)
    assert any(
        sentence.startswith("The effects are not additive: interaction of a x b +2.0") for sentence in verdict(found)
    )


def test_effects_that_add_up_are_said_to(findings):
    found = findings(factorial(0), variants=LEVELS)
    assert any("No interaction was shown" in sentence for sentence in verdict(found))


def test_a_study_that_is_no_factorial_has_no_effects(findings):
    assert findings().effects == []


def test_a_loss_that_is_no_number_is_noted_and_not_averaged(findings):
    def diverge(variant, table):
        return table.value.where((variant != "bn") | (table.metric != "loss") | (table.seed != 3))

    found = findings(diverge)
    variant = next(variant for variant in found.variants if variant.name == "bn")
    assert np.isnan(variant.final["test/loss"].mean)
    assert variant.final["test/acc"].mean > 0
    diverged = "Diverged: the loss of bn is infinite or not a number for 1 seed (3)."
    assert any(note.text == diverged and note.warns for note in notes(found))


@pytest.mark.parametrize("source", ["synthetic fibres", "/home/synthetic/images.csv", "synthetic garments 2"])
def test_data_of_other_names_are_not_called_drawn_garments(findings, source):
    assert "synthetic" not in {note.kind for note in notes(findings(source=source))}


def test_synthetic_data_and_running_means_are_noted(findings):
    found = findings(source=SyntheticDataModule().source, evaluate_train=False)
    assert any("nothing here is about Fashion-MNIST" in note.text for note in notes(found))
    assert {note.kind: note.warns for note in notes(found)} == {
        "synthetic": True,
        "selection": False,
        "running_means": False,
    }


def test_findings_need_no_more_than_the_records(findings, tmp_path):
    found = findings()
    again = find(read_results(tmp_path / "study"))
    assert verdict(again) == verdict(found)
    assert json.dumps([c.t_p for c in again.comparisons.values()]) == json.dumps(
        [c.t_p for c in found.comparisons.values()]
    )


def test_where_the_reference_diverges_no_target_is_called_its_end(findings):
    def diverge(variant, table):
        return table.value.where((variant != "plain") | (table.metric != "loss") | (table.seed != 3))

    found = findings(diverge, metric="loss", targets=[0.5])
    assert np.isnan(found.reference_end)
    assert len(found.reaching_epochs["bn"]) == 1
    assert not any("final test loss of plain" in sentence for sentence in verdict(found))
