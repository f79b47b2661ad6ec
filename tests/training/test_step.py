"""The compiled step against the ordinary one: the same numbers to rounding, whatever is trained."""

import math
import shutil
from functools import partial

import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from fashionreg.models.optimization import make_rates_tensors
from fashionreg.training.step import OPTIMIZERS, decide

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")

#: Everything at once: 4 batches of 64 and one of 44 images, a scheduler, clipping, an average, two kinds of penalty.
ALL = {
    "name": "all",
    "seeds": 3,
    "model": {
        "class_path": "RegularizedMLP",
        "init_args": {
            "hidden_sizes": [8],
            "batch_norm": True,
            "dropout": 0.3,
            "regularizers": {
                "decay": {"class_path": "WeightDecay", "init_args": {"strength": 0.02}},
                "ema": {"class_path": "EMA", "init_args": {"decay": 0.9}},
            },
            "optimizer": {
                "class_path": "torch.optim.SGD",
                "init_args": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.001},
            },
            "lr_scheduler": {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1}},
        },
    },
    "data": {"class_path": "SyntheticDataModule", "init_args": {"train_size": 300, "test_size": 60, "batch_size": 64}},
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "gradient_clip_val": 1.0},
}

#: A user's own regularizer with the two hooks that change a step most, and Python in them.
SHARPNESS = """
from fashionreg.regularizers import Regularizer
from fashionreg.regularizers.base import per_replica

class Sharpness(Regularizer):
    def __init__(self, rho: float = 0.05):
        super().__init__()
        self.rho = rho

    def batch(self, images, targets, key):
        return images + 0.1 * key.normal(*images.shape[1:]), targets

    def gradients(self, compute, parameters, key):
        here = compute(parameters)
        squares = sum(x.flatten(1).square().sum(dim=1) for x in here.values())
        scale = self.rho / squares.sqrt()
        moved = {name: x + per_replica(scale, x) * here[name] for name, x in parameters.items()}
        return compute(moved)
"""


@pytest.fixture
def fit(run, workplace):
    """Fits with `--compile` and returns record and console."""
    (workplace / "all.yaml").write_text(yaml.safe_dump(ALL))
    (workplace / "sharpness.py").write_text(SHARPNESS)

    def fit(*options, config="all.yaml"):
        code, out, err = run("fit", "--config", config, *options)
        assert code == 0, err
        folder = next(line.split()[1] for line in out.splitlines() if line.startswith("logs"))
        return pd.read_csv(f"{folder}/record.csv"), out

    return fit


def assert_same_to_rounding(compiled, plain):
    # float32 sums of up to 784 terms in another order, over a dozen steps; an accuracy changes by whole images
    pd.testing.assert_frame_equal(compiled.drop(columns="value"), plain.drop(columns="value"))
    assert compiled.value.to_numpy() == pytest.approx(plain.value.to_numpy(), rel=1e-4, abs=1e-5)


def test_a_compiled_fit_has_the_numbers_of_an_ordinary_one_and_is_resumed_as_it_began(fit):
    from torch._dynamo.utils import counters

    plain, out = fit("--compile", "false")
    assert "compiled" not in out
    counters.clear()
    compiled, out = fit("--compile", "true")
    assert "threads 1, compiled" in out or "threads 2, compiled" in out
    assert_same_to_rounding(compiled, plain)
    # losses with gradients, and the update with the optimizer's first step apart from the others
    assert counters["stats"]["unique_graphs"] <= 3
    assert not counters["recompiles"]

    # one seed alone computes what it computes among three
    alone, _ = fit("--compile", "true", "--seeds", "[1]")
    assert_same_to_rounding(alone, compiled[compiled.seed == 1].reset_index(drop=True))

    # exact: the same graph, from cache, on the same numbers
    fit("--compile", "true", "--trainer.max_epochs", 1, "--name", "cut")
    resumed, out = fit("--ckpt_path", "last", "--name", "cut", "--trainer.max_epochs", 3, config="all.yaml")
    assert ", compiled" in out
    assert resumed.equals(compiled)


def test_hooks_of_a_users_regularizer_are_compiled_too(fit):
    changes = ["--model.init_args.regularizers", "{sharp: {class_path: sharpness.Sharpness}}"]
    plain, _ = fit("--compile", "false", *changes)
    compiled, out = fit("--compile", "true", *changes)
    assert ", compiled" in out
    assert_same_to_rounding(compiled, plain)


@pytest.mark.parametrize(
    "make",
    [
        torch.optim.SGD,
        partial(torch.optim.SGD, momentum=0.9),
        partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.01),
        torch.optim.Adam,
        partial(torch.optim.AdamW, weight_decay=0.1),
        partial(torch.optim.RMSprop, momentum=0.5),
        torch.optim.Adagrad,
    ],
    ids=lambda make: getattr(make, "__name__", None) or make.func.__name__,
)
def test_a_compiled_update_is_that_of_the_optimizer_and_follows_its_scheduler(make):
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, 4, generator=generator)
    gradients = torch.randn(6, 2, 3, 4, generator=generator)
    ends = []
    for compiling in (False, True):
        parameter = nn.Parameter(start.clone())
        optimizer = make([parameter], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        step = optimizer.step
        if compiling:
            make_rates_tensors(optimizer)
            step = torch.compile(step, dynamic=False)
            counters.clear()
        for gradient in gradients:
            parameter.grad = gradient.clone()
            step()
            scheduler.step()
        ends.append(parameter.detach())
    assert type(optimizer) in OPTIMIZERS
    assert counters["stats"]["unique_graphs"] <= 2
    # six updates of some ten operations each
    torch.testing.assert_close(ends[1], ends[0], rtol=60 * 2**-23, atol=60 * 2**-23)


def test_without_a_compiler_a_fit_goes_on_and_says_so(fit, capfd, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    monkeypatch.setattr("torch._inductor.config.fx_graph_cache", False)
    plain, _ = fit("--compile", "false", "--trainer.max_epochs", 1)
    code_less, out = fit("--compile", "true", "--trainer.max_epochs", 1)
    assert code_less.equals(plain)
    _, out = fit("--trainer.max_epochs", 1)
    assert "compiled" not in out


def test_what_cannot_be_compiled_is_trained_the_ordinary_way(fit):
    plain, _ = fit("--compile", "false", "--trainer.precision", "64-true")
    asked, _ = fit("--compile", "true", "--trainer.precision", "64-true")
    assert asked.equals(plain)


def test_only_long_fits_are_compiled_by_themselves(fit):
    _, out = fit()
    assert "compiled" not in out
    assert not decide("auto", 938 * 5, 64, on_cpu=True)
    assert decide("auto", 150 * 100, 10 * 32, on_cpu=True)
    assert not decide("auto", math.inf, 1, on_cpu=False)
    assert decide("auto", math.inf, 1, on_cpu=True)
    assert decide(True, 1, 1, on_cpu=False)
