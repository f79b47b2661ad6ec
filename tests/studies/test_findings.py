"""Findings follow from the records, and the verdict says what they show and no more."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.studies.findings import find
from fashionreg.studies.notes import notes
from fashionreg.studies.results import read_results
from fashionreg.studies.statistics import holm
from fashionreg.studies.verdict import verdict
from sample_studies import write_study


def final(found, variant, split="test", metric="acc"):
    table = found.results.table
    rows = table.query("variant == @variant and split == @split and metric == @metric and epoch == @found.epochs")
    return rows.sort_values("seed").value.to_numpy()


def test_numbers_of_variants_are_those_of_scipy(findings):
    found = findings()
    for variant in found.variants:
        values = final(found, variant.name)
        estimate = variant.final["test/acc"]
        # a t interval on the logit scale, by the delta method
        mean, error = values.mean(), stats.sem(values)
        logit = stats.t.interval(0.95, len(values) - 1, np.log(mean / (1 - mean)), error / mean / (1 - mean))
        low, high = (1 / (1 + np.exp(-end)) for end in logit)
        assert (estimate.mean, estimate.std) == pytest.approx((values.mean(), values.std(ddof=1)))
        assert (estimate.low, estimate.high) == pytest.approx((low, high))
        gap = final(found, variant.name, "train") - values
        assert variant.final["gap"].mean == pytest.approx(gap.mean())
        np.testing.assert_array_equal(variant.values["acc"], values)


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
    difference = final(found, "bn") - final(found, "plain")
    # two comparisons: 97.5% for each
    low, high = stats.t.interval(0.975, 9, difference.mean(), stats.sem(difference))
    assert sentence == (
        f"bn improves test accuracy over plain by 2.45 points (95% simultaneous interval {100 * low:.2f} to "
        f"{100 * high:.2f}, paired t test with Holm's correction, adjusted p < 0.001, 10 seeds)."
    )


def test_a_correction_is_named_where_there_is_one(findings):
    sentence = verdict(findings(variants=["plain", "bn"]))[1]
    assert sentence.startswith("bn improves test accuracy over plain by ")
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
    sentence = next(sentence for sentence in verdict(found) if sentence.startswith("No difference"))
    p_values = [f"{name} (adjusted p = 1.00)" for name in ("bn", "dropout")]
    missed = max(one.detectable for one in found.comparisons.values())
    assert sentence == (
        f"No difference in test accuracy between plain and {p_values[0]} or {p_values[1]} was shown; if the true "
        f"spread equals the observed one, 10 seeds show differences from {100 * missed:.2f} points on with 80% power."
    )
    assert "no effect was shown on test accuracy" in verdict(found)[0]
    assert not any(" improves " in sentence for sentence in verdict(found))


def test_how_many_seeds_would_show_a_point_is_that_of_the_power_of_the_t_test(findings):
    found = findings(shifted(lambda variant, seed: 0 if variant == "plain" else (seed % 2 - 0.5) * 0.04))
    (sentence,) = (sentence for sentence in verdict(found) if sentence.startswith("No difference"))
    needed = int(sentence.rpartition(", and ")[2].partition(" (")[0])
    assert sentence.endswith(") seeds would show 1 point.")
    std = max(one.difference.std for one in found.comparisons.values())

    def power(n):
        """P(|T| > critical) of the t test at 5% over two comparisons, from its numerator and denominator."""
        critical, mean = stats.t.ppf(1 - 0.05 / 4, n - 1), 0.01 / std * n**0.5

        def beyond(spread):
            density = stats.chi.pdf(spread * (n - 1) ** 0.5, n - 1) * (n - 1) ** 0.5
            return (stats.norm.sf(critical * spread - mean) + stats.norm.cdf(-critical * spread - mean)) * density

        return integrate.quad(beyond, 0, 10, points=[0.5, 1, 1.5])[0]

    assert power(needed - 1) < 0.8 <= power(needed)


def test_a_worse_variant_is_called_worse(findings):
    found = findings(shifted(lambda variant, seed: -(variant == "bn") * (0.05 + 0.001 * seed)))
    assert "bn lowers test accuracy (\N{MINUS SIGN}5.5 points)" in verdict(found)[0]
    low, high = (100 * end for end in stats.t.interval(0.975, 9, 0.0545, stats.sem(0.001 * np.arange(10))))
    assert verdict(found)[1].startswith(
        "bn worsens test accuracy compared with plain by 5.45 points "
        f"(95% simultaneous interval {low:.2f} to {high:.2f}, "
    )


def test_an_interval_has_the_direction_of_its_effect(findings):
    found = findings(metric="loss", targets=[])
    name, comparison = next((name, one) for name, one in found.comparisons.items() if one.difference.mean < 0)
    low, high = -comparison.simultaneous.high, -comparison.simultaneous.low
    sentence = next(sentence for sentence in verdict(found) if sentence.startswith(f"{name} improves test loss"))
    assert f"by {-comparison.difference.mean:.4f} nats (95% simultaneous interval {low:.4f} to {high:.4f}, " in sentence


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_too_few_seeds_are_said_and_not_tested(findings, seeds):
    found = findings(seeds=seeds)
    text = " ".join(verdict(found))
    assert "nan" not in text
    assert ("1 seed is too few to test bn" if len(seeds) == 1 else "2 seeds are too few to test bn") in text
    assert "95%" not in text


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
    (said,) = (note.text for note in notes(found) if note.kind == "selection")
    assert said.endswith("; beside it stands the epoch that is best on validation images.")


def test_without_validation_images_there_is_no_best_epoch(findings):
    assert all(variant.best_epoch is None and variant.best is None for variant in findings().variants)


def test_targets_and_the_references_final_value_are_reached_or_not(findings):
    found = findings(targets=[0.1, 0.999])
    for name, reached in found.reaching_epochs.items():
        assert [reaching.target for reaching in reached[:2]] == [0.1, 0.999]
        assert (reached[0].reached, reached[0].median) == (10, 1)
        assert (reached[1].reached, reached[1].median) == (0, np.inf)
        assert reached[2].target == pytest.approx(final(found, "plain").mean())
        assert len(found.arrivals.seconds[name]) == 3
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


@pytest.mark.parametrize(
    ("estimate", "length", "phrase"),
    [
        ({"kind": "last"}, 1, "after 40 epochs"),
        ({"kind": "tail"}, 4, "in the mean of the last 4 of 40 epochs"),
        ({"kind": "tail", "epochs": 7}, 7, "in the mean of the last 7 of 40 epochs"),
        ({"kind": "tail", "share": 0.25}, 10, "in the mean of the last 10 of 40 epochs"),
    ],
)
def test_every_number_is_that_of_the_estimand(findings, estimate, length, phrase):
    found = findings(epochs=40, estimate=estimate, outcomes=["gap", "loss", "acc", "ece"])
    table = found.results.table.query(f"epoch > {40 - length}")
    tails = table.groupby(["variant", "split", "metric", "seed"]).value.mean()
    for variant in found.variants:
        name = variant.name
        expected = {metric: tails[name, "test", metric] for metric in ("acc", "loss", "ece")}
        expected["gap"] = tails[name, "train", "acc"] - expected["acc"]
        for outcome, values in expected.items():
            assert variant.values[outcome].to_numpy() == pytest.approx(values.to_numpy())
            assert variant.final[found.plan.key(outcome)].mean == pytest.approx(values.mean())
            if name != "plain":
                reference = next(v for v in found.variants if v.name == "plain").values[outcome]
                difference = found.compared[outcome][name].difference
                assert difference.mean == pytest.approx((values - reference).mean(), abs=1e-12)
    assert found.phrase == phrase
    assert f"Compared with plain, {phrase}, " in verdict(found)[0]
    assert found.reference_end == pytest.approx(tails["plain", "test", "acc"].mean())


def test_the_best_epoch_by_validation_counts_where_it_was_declared(findings, tmp_path):
    found = findings(estimate={"kind": "best"}, validation=True)
    for variant in found.variants:
        assert variant.final["test/acc"] == variant.best
    assert ", at the best epoch by validation accuracy, " in verdict(found)[0]
    folder = write_study(tmp_path / "without", estimate={"kind": "best"})
    with pytest.raises(UserError, match="estimate: best needs validation accuracy"):
        find(read_results(folder))


def test_what_could_have_been_chosen_is_compared_too(findings):
    found = findings(epochs=40, estimate={"kind": "tail"}, validation=True)
    phrases = [estimand.phrase([40]) for estimand in found.alternatives]
    assert phrases == [
        "after 40 epochs",
        "in the mean of the last 4 of 40 epochs",
        "at the best epoch by validation accuracy",
    ]
    last, tail, best = found.alternatives.values()
    assert tail == found.compared
    assert last["acc"]["bn"].difference.mean == pytest.approx((final(found, "bn") - final(found, "plain")).mean())
    chosen = {variant.name: variant.best.mean for variant in found.variants}
    assert best["acc"]["bn"].difference.mean == pytest.approx(chosen["bn"] - chosen["plain"])


def test_each_outcome_has_its_own_correction_and_the_first_is_primary(findings):
    found = findings(outcomes=["loss", "gap", "acc"])
    assert list(found.compared) == ["loss", "gap", "acc"]
    assert found.comparisons is found.compared["loss"]
    for compared in found.compared.values():
        corrected = holm([one.t_p for one in compared.values()])
        assert [one.t_p_holm for one in compared.values()] == pytest.approx(corrected.tolist())


def test_the_gap_is_tested_without_being_asked_for_only_where_training_images_are_evaluated(findings):
    assert list(findings().compared) == ["acc", "gap"]


def test_a_gap_of_running_means_is_tested_only_if_asked_for(findings):
    assert list(findings(evaluate_train=False).compared) == ["acc"]


def test_the_answer_is_one_sentence_of_plain_words(findings):
    def change(variant, table):
        lower = {"plain": 0, "bn": 0.05, "dropout": -0.04}[variant] + 0.001 * ((table.seed * (1 + len(variant))) % 5)
        accuracy = np.where(table.split == "train", 0.9, 0.8 - lower)
        return np.where(table.metric == "acc", accuracy, 0.5 + 0.01 * len(variant) * (-1) ** table.seed)

    answer = verdict(findings(change, outcomes=["gap", "acc", "loss"]))[0]
    assert answer == (
        "Compared with plain, after 12 epochs, bn increases overfitting (gap +5.0 points) and lowers test accuracy "
        "(\N{MINUS SIGN}5.0 points); dropout reduces overfitting (gap \N{MINUS SIGN}4.0 points) and raises test "
        "accuracy (+4.0 points); no effect was shown on test loss."
    )


def test_a_learning_rate_that_all_variants_share_is_part_of_the_answer(findings, tmp_path):
    findings()
    path = tmp_path / "study" / "study.json"
    plan = json.loads(path.read_text())
    for variant in plan["variants"]:
        variant["config"]["model"]["init_args"]["optimizer"] = {"init_args": {"lr": 0.001}}
    path.write_text(json.dumps(plan))
    start = "Compared with plain at learning rate 0.001, after 12 epochs, "
    assert verdict(find(read_results(tmp_path / "study")))[0].startswith(start)
    plan["variants"][1]["config"]["model"]["init_args"]["optimizer"]["init_args"]["lr"] = 0.1
    path.write_text(json.dumps(plan))
    start = "Compared with plain, after 12 epochs, "
    assert verdict(find(read_results(tmp_path / "study")))[0].startswith(start)


def test_a_test_loss_that_rises_strongly_from_its_minimum_is_said(findings):
    def rising(factor):
        def change(variant, table):
            loss = 0.5 * (1 + (factor - 1) * np.abs(table.epoch - 3) / 9)
            return table.value.where(table.metric != "loss", loss + 0.001 * table.seed)

        return change

    sentences = verdict(findings(rising(2)))
    assert (
        "The test loss of plain doubles after its minimum: 0.50 nats after epoch 3, 1.0 nats after epoch 12 (means "
        "over seeds)."
    ) in sentences


def test_a_test_loss_that_rises_little_is_not_said(findings):
    assert not any("after its minimum" in sentence for sentence in verdict(findings()))


def test_times_are_medians_and_stalls_are_counted_and_named(findings, tmp_path):
    findings()
    path = tmp_path / "study" / "bn" / "version_0" / "record.json"
    about = json.loads(path.read_text())
    usual = find(read_results(tmp_path / "study"))
    about["epoch_seconds"][6] *= 40
    path.write_text(json.dumps(about))
    found = find(read_results(tmp_path / "study"))
    (stall,) = found.stalls
    assert (stall.variant, stall.epoch) == ("bn", 7)
    seconds = np.array(about["epoch_seconds"]) / 10
    assert stall.times == pytest.approx(seconds[6] / np.median(seconds))
    bn = found.variants[1]
    assert bn.seconds == pytest.approx(np.median(seconds))
    assert bn.seconds == pytest.approx(usual.variants[1].seconds, rel=0.05)
    taken, time = found.reaching_epochs["bn"][1], found.arrivals.seconds["bn"][1]
    assert time.median == pytest.approx(taken.median * np.median(seconds))
    assert any(
        "Stalls: 1 epoch took more than 3 times the median of the run: bn epoch 7 (" in n.text for n in notes(found)
    )
    assert usual.stalls == []
