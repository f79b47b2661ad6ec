"""Test-time flip against a loop over plain networks, pictures turned by torchvision."""

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torchvision.transforms.v2.functional import horizontal_flip

from fashionreg.models import RegularizedMLP
from fashionreg.regularizers import EMA, TestTimeFlip
from fashionreg.regularizers.base import TrainingData
from fashionreg.runs.export import load_classifier
from samples import LAST

S, B, SHAPE, K = 2, 5, (3, 4, 6), 10


def model_with_flip():
    model = RegularizedMLP([8], regularizers={"flip": TestTimeFlip(), "ema": EMA(0.5)}, seeds=[0, 1]).build(72, K)
    model.regularizers["flip"].attach_data(TrainingData(SHAPE, K))
    return model.double()


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("axes", [(S, B), (B,)])
def test_probabilities_are_means_over_image_and_mirror_image_and_training_is_as_before(axes):
    model, x = model_with_flip(), images(*axes, 72)
    trained = model.network(x)
    torch.testing.assert_close(model.train()(x), trained, rtol=0, atol=0)
    flipped = horizontal_flip(x.unflatten(-1, SHAPE)).flatten(-3)
    with model.evaluating() as network:
        found = model(x).softmax(dim=-1)
        for k in range(S):
            plain = network.replica(k)
            own, other = (each[k] if each.dim() == 3 else each for each in (x, flipped))
            expected = (plain(own).softmax(dim=-1) + plain(other).softmax(dim=-1)) / 2
            torch.testing.assert_close(found[k], expected)
            torch.testing.assert_close(model.plain(k)(own).softmax(dim=-1), expected)


def test_it_is_recorded_tested_and_exported(run):
    words = ["--model.init_args.regularizers.flip", "TestTimeFlip", "--seeds", 2]
    code, _, err = run("fit", "--config", "tiny.yaml", *words)
    assert code == 0, err
    assert run("test", "--ckpt_path", LAST)[0] == 0
    record = pd.read_csv("logs/tiny/version_0/record.csv")
    last = record[(record.split == "test") & (record.epoch == record.epoch.max())].set_index(["seed", "metric"]).value
    tested = pd.read_csv("logs/tiny/test_0/metrics.csv").query("split == 'test' and seed != 'ensemble'")
    for row in tested.itertuples():
        # six digits in the record
        assert row.value == pytest.approx(last[int(row.seed), row.metric], rel=1e-5, abs=1e-6)
    assert run("export", "--ckpt_path", LAST, "--seed", 1, "--out", "net.onnx")[0] == 0
    model, _ = load_classifier(Path(LAST))
    x = torch.rand(3, 784)
    with model.evaluating(), torch.no_grad():
        expected = model(x)[1]
    logits = onnxruntime.InferenceSession("net.onnx").run(None, {"images": x.numpy()})[0]
    # float32 sums of 784 terms in another order
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-5)
