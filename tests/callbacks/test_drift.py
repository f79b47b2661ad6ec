"""Activation drift against NumPy on what plain torch layers are given."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.models import RegularizedMLP
from samples import PIXELS, rounding

DRIFT = """\
trainer:
  callbacks+:
    - class_path: fashionreg.callbacks.drift.ActivationDrift
      init_args: {every_n_steps: 3, images: 64}
"""
KEYS = ["seed", "step", "layer", "statistic"]


@pytest.fixture
def drifting(run, workplace):
    """Fits `tiny.yaml` with two hidden layers, three seeds and the callback; returns the table."""
    (workplace / "drift.yaml").write_text(DRIFT)

    def drifting(*arguments, name="tiny", version=0):
        options = ["--model.init_args.hidden_sizes", "[8, 6]", "--seeds", 3, "--name", name]
        code, _, err = run("fit", "--config", "tiny.yaml", "--config", "drift.yaml", *options, *arguments)
        assert code == 0, err
        return pd.read_csv(f"logs/{name}/version_{version}/drift.csv").set_index(KEYS).value.sort_index()

    return drifting


def data():
    return SyntheticDataModule(train_size=200, test_size=50, batch_size=64).splits.train


@pytest.mark.parametrize("batch_norm", [False, True])
def test_pre_activations_are_the_inputs_of_the_relus_of_the_plain_network(batch_norm):
    torch.manual_seed(0)
    model = RegularizedMLP(hidden_sizes=[8, 6], batch_norm=batch_norm, dropout=0.4, seeds=[3, 1]).build(784, 10)
    images = torch.rand(20, 784)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = model.network.pre_activations(images)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for replica in range(2):
        given = []

        def keep(module, inputs, given=given):
            given.append(inputs[0].detach())

        plain = model.network.replica(replica).train()
        for layer in plain:
            if isinstance(layer, nn.Dropout):
                layer.eval()
            if isinstance(layer, nn.ReLU):
                layer.register_forward_pre_hook(keep)
        plain(images)
        assert len(found) == len(given) == 2
        for ours, theirs in zip(found.values(), given, strict=True):
            # with batch norm, a sum over the pixels is divided by its standard deviation, here at least a tenth
            torch.testing.assert_close(ours[replica], theirs, rtol=0, atol=rounding(PIXELS, 10 * theirs.abs().max()))


def test_statistics_of_the_first_measurement_are_numpys(drifting):
    table = drifting()
    images = data().images[:64].flatten(1).float() / 255
    model = RegularizedMLP(hidden_sizes=[8, 6], batch_norm=True, dropout=0.2, seeds=[0, 1, 2]).build(784, 10)
    for layer, x in enumerate(model.network.pre_activations(images).values(), start=1):
        for seed in range(3):
            values = x[seed].numpy()
            row = table[seed, 0, f"hidden{layer}"]
            expected = np.percentile(values[:, 0], [15, 50, 85])
            # six digits in the file, and a sum over the pixels divided by its standard deviation
            tolerance = 1e-5 + rounding(PIXELS, 3 * np.abs(values).max())
            assert row[["p15", "p50", "p85"]].to_numpy() == pytest.approx(expected, abs=tolerance)
            assert row["dead"] == pytest.approx((values <= 0).all(axis=0).mean())
            assert row[["mean_drift", "std_drift"]].tolist() == [0, 0]
            assert row["gradient_norm"] > 0


def test_where_weights_are_computed_from_others_those_are_observed_that_the_network_uses(drifting, workplace):
    norm = "model: {init_args: {regularizers: {spectral: SpectralNorm}, batch_norm: false}}\n"
    (workplace / "norm.yaml").write_text(norm)
    table = drifting("--config", "norm.yaml", "--trainer.max_epochs", 1)
    images = data().images[:64].flatten(1).float() / 255
    plain = RegularizedMLP(hidden_sizes=[8, 6], seeds=[0, 1, 2]).build(784, 10).network
    weight, bias = plain.layers[0].weight.detach(), plain.layers[0].bias.detach()
    for seed in range(3):
        x = images @ (weight[seed] / torch.linalg.matrix_norm(weight[seed], 2)) + bias[seed]
        found = table[seed, 0, "hidden1"][["p15", "p50", "p85"]]
        # six digits in the file, and a sum over the pixels
        tolerance = 1e-5 + rounding(PIXELS, 3 * x.abs().max())
        assert found.to_numpy() == pytest.approx(np.percentile(x[:, 0].numpy(), [15, 50, 85]), abs=tolerance)


def test_drift_is_the_distance_from_the_first_measurement_in_its_standard_deviations(drifting):
    table = drifting("--trainer.max_epochs", 1)
    images = data().images[:64].flatten(1).float() / 255
    start = RegularizedMLP(hidden_sizes=[8, 6], batch_norm=True, dropout=0.2, seeds=[0, 1, 2]).build(784, 10).network
    end = RegularizedMLP(hidden_sizes=[8, 6], batch_norm=True, dropout=0.2, seeds=[0, 1, 2]).build(784, 10)
    drifting("--trainer.max_steps", 3, "--trainer.max_epochs", 1, name="short")
    state = torch.load("logs/short/version_0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    end.load_state_dict(state)
    for layer, (first, last) in enumerate(
        zip(start.pre_activations(images).values(), end.network.pre_activations(images).values(), strict=True), start=1
    ):
        scale = first.std(dim=1)
        # six digits in the file; means of sums over the pixels, divided by the smallest standard deviation
        off = rounding(PIXELS, 2 * max(first.abs().max(), last.abs().max()) / scale.min())
        mean = ((last.mean(dim=1) - first.mean(dim=1)).abs() / scale).mean(dim=1)
        std = ((last.std(dim=1) - scale).abs() / scale).mean(dim=1)
        for seed in range(3):
            # the measurement of step 3 is made before its update: after three updates
            row = table[seed, 3, f"hidden{layer}"]
            assert row["mean_drift"] == pytest.approx(mean[seed].item(), rel=1e-5, abs=off)
            assert row["std_drift"] == pytest.approx(std[seed].item(), rel=1e-5, abs=off)


def test_measurements_are_made_at_the_chosen_steps_and_tensorboard_has_their_means(drifting):
    table = drifting()
    assert sorted(table.index.unique("step")) == [0, 3, 6]
    assert len(table) == 3 * 3 * 2 * 7
    events = EventAccumulator("logs/tiny/version_0").Reload()
    points = [(event.step, event.value) for event in events.Scalars("drift/hidden2/p50")]
    assert [step for step, _ in points] == [0, 3, 6]
    for step, value in points:
        assert value == pytest.approx(table.xs((step, "hidden2", "p50"), level=KEYS[1:]).mean(), rel=1e-4)


def test_measuring_changes_nothing(drifting, run):
    drifting()
    run("fit", "--config", "tiny.yaml", "--model.init_args.hidden_sizes", "[8, 6]", "--seeds", 3, "--name", "blind")
    record, blind = (Path(f"logs/{name}/version_0/record.csv").read_text() for name in ("tiny", "blind"))
    assert record == blind
    assert json.loads(Path("logs/tiny/version_0/record.json").read_text())["status"] == "finished"


def test_a_resumed_run_has_the_measurements_of_an_uninterrupted_one(drifting, run):
    whole = drifting("--trainer.max_epochs", 4)
    drifting("--trainer.max_epochs", 2, name="stopped")
    last = "logs/stopped/version_0/checkpoints/last.ckpt"
    assert run("fit", "--ckpt_path", last, "--trainer.max_epochs", 4)[0] == 0
    resumed = pd.read_csv("logs/stopped/version_1/drift.csv").set_index(KEYS).value.sort_index()
    pd.testing.assert_series_equal(resumed, whole)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("every_n_steps: 0", "ActivationDrift: every_n_steps: must be at least 1, got 0"),
        ("images: 1", "ActivationDrift: images: must be at least 2, got 1"),
        ("unit: 8", "ActivationDrift: unit: must be from 0 to 7 (the narrowest hidden layer has 8 units), got 8"),
    ],
)
def test_arguments_that_cannot_be_are_refused(refusal, workplace, option, expected):
    (workplace / "drift.yaml").write_text(DRIFT.replace("every_n_steps: 3, images: 64", option))
    _, line = refusal("fit", "--config", "tiny.yaml", "--config", "drift.yaml")
    assert expected in line
