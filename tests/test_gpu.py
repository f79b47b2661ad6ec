"""What holds on a CUDA GPU too."""

from pathlib import Path

import pandas as pd
import pytest
import torch

CONFIGS = Path(__file__).parents[1] / "configs"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and there is none"),
]


@pytest.fixture
def fit(run, real_data, monkeypatch):
    """Fits a shipped configuration with five seeds; returns final test accuracies by seed."""
    monkeypatch.setenv("FASHIONREG_DATA", str(real_data))
    assert run("data", "subset", "--size", 6000, "--seed", 0, "--out", "data/fmnist_small.csv")[0] == 0

    def fit(config, name, *words):
        options = ["--config", CONFIGS / f"{config}.yaml", "--name", name, "--seeds", 5, "--trainer.max_epochs", 3]
        code, out, err = run("fit", *options, *words)
        assert (code, err) == (0, "")
        assert "device  cuda" in out or "--trainer.accelerator" in words
        table = pd.read_csv(f"logs/{name}/version_0/record.csv").query("split == 'test' and metric == 'acc'")
        return table[table.epoch == 3].set_index("seed").value

    return fit


@pytest.mark.realdata
@pytest.mark.parametrize("config", [path.stem for path in sorted(CONFIGS.glob("*.yaml"))])
def test_every_configuration_fits_tests_and_predicts(fit, run, config):
    fit(config, "gpu")
    last = "logs/gpu/version_0/checkpoints/last.ckpt"
    assert run("test", "--ckpt_path", last)[0] == 0
    assert run("predict", "--ckpt_path", last, "--images", "data/fmnist_small.csv")[0] == 0


@pytest.mark.realdata
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_lower_precision_keeps_the_accuracy_within_the_spread_over_seeds(fit, precision):
    full = fit("bn", "full", "--trainer.precision", "32-true")
    lower = fit("bn", "lower", "--trainer.precision", precision)
    assert abs((lower - full).mean()) < full.std()


@pytest.mark.realdata
def test_a_gpu_computes_what_the_cpu_computes_but_for_rounding(fit):
    gpu = fit("bn", "gpu")
    cpu = fit("bn", "cpu", "--trainer.accelerator", "cpu")
    assert abs((gpu - cpu).mean()) < cpu.std() / 2


@pytest.mark.realdata
@pytest.mark.parametrize(("first", "then"), [("gpu", "cpu"), ("cpu", "gpu")])
def test_checkpoints_move_between_gpu_and_cpu(fit, run, first, then):
    fit("bn", "moving", "--trainer.accelerator", first)
    last = "logs/moving/version_0/checkpoints/last.ckpt"
    assert run("test", "--ckpt_path", last, "--trainer.accelerator", then)[0] == 0
    assert run("fit", "--ckpt_path", last, "--trainer.accelerator", then, "--trainer.max_epochs", 4)[0] == 0
