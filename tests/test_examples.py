"""The files in `examples` do all that a user's own class must do, without a change in the package."""

import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import nn

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.runs.export import load_classifier
from samples import PIXELS, rounding

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ["random_brightness", "my_network"]

#: 200 images in batches of 64: four steps an epoch. The rate is high enough that the weights move.
TINY = ["--data", "SyntheticDataModule", "--data.init_args.train_size", 200, "--data.init_args.test_size", 50]
TINY += ["--trainer.accelerator", "cpu", "--model.init_args.optimizer.lr", 0.1]

#: Without the pictures for TensorBoard, which take longer than all the rest of so short a fit.
PLAIN = [*TINY, "--trainer.callbacks", "[]"]

#: Of a logit: a sum over the pixels, in which no partial sum passes 10.
LOGITS = rounding(PIXELS, 10)

#: Of a loss after a dozen steps, each of which may carry the rounding of its gradient into the weights.
LOSSES = 12 * LOGITS


@pytest.fixture(autouse=True)
def examples_are_found(monkeypatch):
    """The modules of `examples` are imported anew, as a fresh command does."""
    monkeypatch.syspath_prepend(EXAMPLES)
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def fit(run, name):
    """Runs `fashionreg fit` with the YAML file of the example on a few drawn images; it must succeed."""

    def fit(*options, tiny=PLAIN):
        code, out, err = run("fit", "--config", EXAMPLES / f"{name}.yaml", *tiny, *options)
        assert (code, err) == (0, ""), err
        return out

    return fit


def record(name, version=0):
    """The numbers of a run: a column for each seed, a row for each epoch, split and metric."""
    table = pd.read_csv(f"logs/{name}/version_{version}/record.csv")
    return table.pivot_table(index=["epoch", "split", "metric"], columns="seed", values="value", dropna=False)


def losses(table):
    return table[table.index.get_level_values("metric") == "loss"]


def checkpoint(name, version=0):
    return f"logs/{name}/version_{version}/checkpoints/last.ckpt"


def test_the_regularizer_is_at_most_twenty_lines_with_its_docstrings():
    assert len((EXAMPLES / "random_brightness.py").read_text().splitlines()) <= 20


def test_it_trains_with_two_seeds_and_says_what_it_is(fit, name):
    out = fit("--seeds", 2, "--trainer.max_epochs", 2, tiny=TINY)
    said = {"random_brightness": "random brightness 0.2", "my_network": "MyNetwork, weight decay strength=0.001"}
    assert said[name] in out
    table = losses(record(name))
    assert list(table.columns) == [0, 1]
    train = table.xs("train", level="split")
    assert (train.iloc[-1] < train.iloc[0]).all()


@pytest.mark.parametrize("name", ["random_brightness"])
def test_it_acts_in_training_and_not_in_evaluation(fit, name):
    still = ["--trainer.max_epochs", 1, "--model.init_args.optimizer.lr", 0.0]
    for spread in (0.0, 3.0):
        fit("--model.init_args.regularizers.random_brightness.spread", spread, *still)
    without, changed = (losses(record(name, version)).xs("test", level="split") for version in (0, 1))
    assert np.array_equal(without, changed)
    without, changed = (losses(record(name, version)).xs("train", level="split") for version in (0, 1))
    assert (abs(without - changed) > LOSSES).to_numpy().all()


def test_a_replica_among_others_equals_the_same_seed_alone(fit, name):
    fit("--seeds", "[1, 3, 5]", "--trainer.max_epochs", 3)
    fit("--seeds", "[3]", "--trainer.max_epochs", 3)
    together, alone = losses(record(name, 0)), losses(record(name, 1))
    assert list(alone.columns) == [3]
    np.testing.assert_allclose(together[3], alone[3], rtol=0, atol=LOSSES)
    assert (abs(together[1] - together[3]) > LOSSES).any()


def test_a_resumed_run_equals_one_that_was_never_stopped(fit, name):
    fit("--seeds", 2, "--trainer.max_epochs", 3)
    fit("--seeds", 2, "--trainer.max_epochs", 1)
    fit("--seeds", 2, "--trainer.max_epochs", 3, "--ckpt_path", checkpoint(name, 1))
    pd.testing.assert_frame_equal(record(name, 2), record(name, 0))


def test_its_checkpoint_is_tested_where_its_class_is_named_or_the_file_is_trusted(fit, run, refusal, name):
    fit("--seeds", 2, "--trainer.max_epochs", 1)
    code, line = refusal("test", "--ckpt_path", checkpoint(name))
    assert code == 1
    assert f"'{name}." in line
    accuracy = record(name).loc[(1, "test", "acc")].mean()
    for words in (["--trust_checkpoint"], ["--config", EXAMPLES / f"{name}.yaml", *TINY]):
        code, out, err = run("test", "--ckpt_path", checkpoint(name), *words)
        assert code == 0, err
        assert f"accuracy {100 * accuracy:.2f} ±" in out


def test_the_exported_network_computes_what_the_trained_one_does(fit, run, refusal, name):
    fit("--seeds", "[4, 7]", "--trainer.max_epochs", 1)
    words = ["export", "--ckpt_path", checkpoint(name), "--seed", 7]
    assert f"'{name}." in refusal(*words, "--out", "net.onnx")[1]
    for file in ("net.onnx", "net.pt"):
        assert run(*words, "--out", file, "--trust_checkpoint")[0] == 0
    images = SyntheticDataModule(train_size=200, test_size=50).splits.test.images.flatten(1).float() / 255
    model, _ = load_classifier(Path(checkpoint(name)), trusted=True)
    with torch.no_grad(), model.evaluating() as networks:
        expected = networks(images)[1]
        if name == "my_network":
            from my_network import MyNetwork

            plain = MyNetwork(784, 10, width=32)
        else:
            plain = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        plain.load_state_dict(torch.load("net.pt", weights_only=True))
        torch.testing.assert_close(plain(images), expected, rtol=0, atol=LOGITS)
    (logits,) = onnxruntime.InferenceSession("net.onnx").run(["logits"], {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=0, atol=LOGITS)


def test_both_are_compared_in_a_study(run):
    code, _, err = run("study", EXAMPLES / "study.yaml", "--seeds", 5, "--trainer.max_epochs", 1, *PLAIN)
    assert code == 0, err
    folder = Path("logs/studies/examples")
    results = pd.read_csv(folder / "results.csv")
    assert results.groupby("variant").seed.nunique().to_dict() == {
        "baseline": 5,
        "random_brightness": 5,
        "my_network": 5,
    }
    report = (folder / "report.md").read_text()
    # among the options in which the variants differ, without the name of their module
    for cls in ("RandomBrightness", "MyNetwork"):
        assert re.search(rf"class_path \|.*\| {cls} \|", report)
    final = results.query("split == 'test' and metric == 'acc'").groupby("variant").value.mean()
    for variant, mean in final.items():
        assert re.search(rf"\| {variant} \|.* {100 * mean:.2f} ±", report)
