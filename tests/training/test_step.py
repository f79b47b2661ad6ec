"""The compiled step against the ordinary one: the same numbers to rounding, whatever is trained."""

import json
import math
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from torch._inductor import config as inductor

from fashionreg.training import step as step_module
from fashionreg.training.decision import decide, has_compiler
from fashionreg.training.updates import rates_of, update_of

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
        return pd.read_csv(f"{folder}/record.csv"), out + err

    return fit


def read_record(out):
    """The record of the fit that printed `out`."""
    folder = next(line.split()[1] for line in out.splitlines() if line.startswith("logs"))
    return json.loads(Path(folder, "record.json").read_text())


def children():
    """The processes that this one has started and that are still there, by id (Linux)."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # after the name, which may hold spaces: state, parent
            if path.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(path.parent.name)
    return found


def assert_same_to_rounding(compiled, plain):
    # float32 sums of up to 784 terms in another order, over a dozen steps; an accuracy changes by whole images
    pd.testing.assert_frame_equal(compiled.drop(columns="value"), plain.drop(columns="value"))
    assert compiled.value.to_numpy() == pytest.approx(plain.value.to_numpy(), rel=1e-4, abs=1e-5)


def test_a_compiled_fit_has_the_numbers_of_an_ordinary_one_and_is_resumed_as_it_began(fit):
    from torch._dynamo.utils import counters

    before = children()
    plain, out = fit("--compile", "false")
    assert "compiled" not in out
    record = read_record(out)
    assert (record["config"]["compile"], record["compiled_steps"]) == (False, 0)
    counters.clear()
    compiled, out = fit("--compile", "true")
    assert "threads 1, compiled" in out or "threads 2, compiled" in out
    assert_same_to_rounding(compiled, plain)
    # one graph, whatever the epoch, the learning rate and the size of its last batch
    assert counters["stats"]["unique_graphs"] == 1, (counters, out)
    record = read_record(out)
    assert (record["config"]["compile"], record["compiled_steps"]) == (True, 3 * 3)
    assert children() <= before

    # other rates and strengths: what is compiled is there already
    counters.clear()
    model = "--model.init_args."
    rates = [
        f"{model}dropout",
        0.4,
        f"{model}optimizer.init_args.lr",
        0.05,
        f"{model}optimizer.init_args.momentum",
        0.8,
    ]
    strengths = [f"{model}regularizers.decay.strength", 0.1, f"{model}regularizers.ema.decay", 0.95]
    other, _ = fit("--compile", "true", *rates, *strengths)
    assert not other.equals(compiled)
    caches = counters["aot_autograd"]["autograd_cache_hit"] + counters["inductor"]["fxgraph_cache_hit"]
    misses = counters["inductor"]["fxgraph_cache_miss"]
    assert caches >= 1, counters
    assert not misses, counters

    # one seed alone computes what it computes among three
    alone, _ = fit("--compile", "true", "--seeds", "[1]")
    assert_same_to_rounding(alone, compiled[compiled.seed == 1].reset_index(drop=True))

    # exact: the same graph, from cache, on the same numbers
    fit("--compile", "true", "--trainer.max_epochs", 1, "--name", "cut")
    resumed, out = fit("--ckpt_path", "last", "--name", "cut", "--trainer.max_epochs", 3, config="all.yaml")
    assert ", compiled" in out
    assert resumed.equals(compiled)


def test_groups_of_replicas_take_the_step_of_all_of_them(fit, monkeypatch):
    changes = ["--seeds", 4, "--model.init_args.regularizers.ema", "null", "--model.init_args.optimizer"]
    adam = "{class_path: torch.optim.AdamW, init_args: {lr: 0.01}}"
    plain, _ = fit("--compile", "false", *changes, adam)
    # 6,394 parameters of four bytes in a replica
    monkeypatch.setattr("fashionreg.training.step.GROUP_BYTES", 60_000)
    calls = []
    make = step_module.replica_groups
    monkeypatch.setattr(step_module, "replica_groups", lambda model: calls.append(make(model)) or calls[-1])
    divided, out = fit("--compile", "true", *changes, adam)
    assert ", compiled" in out
    assert calls == [[slice(0, 2), slice(2, 4)]]
    assert_same_to_rounding(divided, plain)


def test_callbacks_see_gradients_and_rates_whatever_is_compiled(fit, workplace):
    callbacks = yaml.safe_dump(
        {
            "trainer": {
                "callbacks+": [
                    {
                        "class_path": "fashionreg.callbacks.drift.ActivationDrift",
                        "init_args": {"every_n_steps": 3, "images": 20},
                    },
                    {
                        "class_path": "lightning.pytorch.callbacks.LearningRateMonitor",
                        "init_args": {"logging_interval": "step"},
                    },
                ]
            }
        }
    )
    (workplace / "callbacks.yaml").write_text(callbacks)
    drifts = []
    for compiling in ("false", "true"):
        _, out = fit("--compile", compiling, "--config", "callbacks.yaml")
        folder = next(line.split()[1] for line in out.splitlines() if line.startswith("logs"))
        drifts.append(pd.read_csv(f"{folder}/drift.csv"))
    plain, compiled = drifts
    assert sorted(set(compiled.step)) == [0, 3, 6, 9, 12]
    assert_same_to_rounding(compiled, plain)


def test_a_callback_of_a_user_with_a_hook_in_every_step_is_given_ordinary_steps(fit, workplace):
    (workplace / "watching.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Watcher(Callback):\n"
        "    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):\n"
        "        assert all(x.grad is not None for x in module.network.parameters())\n"
    )
    (workplace / "watching.yaml").write_text("trainer: {callbacks+: [{class_path: watching.Watcher}]}")
    plain, _ = fit("--compile", "false")
    watched, said = fit("--compile", "true", "--config", "watching.yaml")
    assert watched.equals(plain)
    assert "compile: Watcher takes part in every step; training goes on without it" in said


def test_hooks_of_a_users_regularizer_are_compiled_too(fit):
    changes = ["--model.init_args.regularizers", "{sharp: {class_path: sharpness.Sharpness}}"]
    plain, _ = fit("--compile", "false", *changes)
    compiled, out = fit("--compile", "true", *changes)
    assert ", compiled" in out
    assert_same_to_rounding(compiled, plain)


#: Each kind of optimizer that is compiled, with options that change what it computes.
OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, weight_decay=0.1),
    "SGD with momentum": partial(torch.optim.SGD, momentum=0.9, dampening=0.2),
    "SGD with Nesterov momentum": partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": partial(torch.optim.Adam, weight_decay=0.1),
    "AdamW": partial(torch.optim.AdamW, weight_decay=0.1, betas=(0.8, 0.95)),
    "RMSprop": partial(torch.optim.RMSprop, weight_decay=0.1),
    "RMSprop with momentum": partial(torch.optim.RMSprop, momentum=0.5),
    "Adagrad": partial(torch.optim.Adagrad, lr_decay=0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_update_of_tensors_is_that_of_torch_and_follows_schedulers_of_rate_and_momentum(kind):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, 4, generator=generator)
    gradients = torch.randn(7, 2, 3, 4, generator=generator)
    ends = []
    for ours in (False, True):
        parameter = nn.Parameter(start.clone())
        optimizer = OPTIMIZERS[kind]([parameter], lr=0.1)
        cycle = bool({"momentum", "betas"} & optimizer.defaults.keys()) and optimizer.defaults.get("momentum") != 0
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=8, cycle_momentum=cycle)
        for number, gradient in enumerate(gradients):
            # torch's optimizer makes its state in its first step, and the two can alternate
            if ours and number and number != 4:
                (group,) = optimizer.param_groups
                update = update_of(optimizer, group)
                rates = torch.tensor(rates_of(update, group), dtype=torch.float64)
                state = optimizer.state[parameter]
                with torch.no_grad():
                    update.apply(parameter, gradient, state, dict(zip(update.rates, rates, strict=True)))
                if "step" in state:
                    state["step"] += 1
            else:
                parameter.grad = gradient.clone()
                optimizer.step()
            scheduler.step()
        ends.append([parameter.detach(), *(x for x in optimizer.state[parameter].values() if x is not None)])
    assert len(ends[0]) == len(ends[1])
    for own, torchs in zip(*ends, strict=True):
        # seven updates of some ten roundings each
        torch.testing.assert_close(own, torchs, rtol=70 * 2**-23, atol=70 * 2**-23)


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.Adam, amsgrad=True),
        partial(torch.optim.SGD, maximize=True),
        partial(torch.optim.RMSprop, centered=True),
        torch.optim.NAdam,
    ],
)
def test_an_optimizer_that_computes_something_else_is_not_compiled(make):
    optimizer = make([nn.Parameter(torch.zeros(2))], lr=0.1)
    assert update_of(optimizer, optimizer.param_groups[0]) is None


def test_an_option_that_is_not_known_must_be_off():
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(2))], lr=0.1, fused=False, foreach=True)
    (group,) = optimizer.param_groups
    group["initial_lr"] = 0.1  # a scheduler's own, which no optimizer reads
    for value, known in ((None, True), (0.0, True), (0.5, False)):
        optimizer.defaults["of_a_later_torch"] = group["of_a_later_torch"] = value
        assert (update_of(optimizer, group) is not None) == known


def test_without_a_compiler_a_fit_goes_on_and_says_so(fit):
    plain, _ = fit("--compile", "false", "--trainer.max_epochs", 1)
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False}):
        code_less, out = fit("--compile", "true", "--trainer.max_epochs", 1)
        # long enough to be compiled, and decided without a word
        assert not decide("auto", math.inf, 1, on_cpu=True)
    assert code_less.equals(plain)
    (line,) = (line for line in out.splitlines() if line.startswith("compile: "))
    assert "InvalidCxxCompiler" in line
    assert line.endswith("; training goes on without it")
    record = read_record(out)
    assert (record["config"]["compile"], record["compiled_steps"]) == (True, 0)


@pytest.mark.parametrize(
    ("command", "found"), [("g++", True), ("g++ -pipe", True), ("no-such-compiler", False), ("", False)]
)
def test_a_compiler_is_looked_for_as_torch_looks_for_it(command, found):
    # what torch reads from the variable CXX when it is imported
    with inductor.patch({"cpp.cxx": (None, command)}):
        assert has_compiler() == found


def test_what_cannot_be_compiled_is_trained_the_ordinary_way(fit):
    plain, _ = fit("--compile", "false", "--trainer.precision", "64-true")
    asked, said = fit("--compile", "true", "--trainer.precision", "64-true")
    assert asked.equals(plain)
    assert "compile: precision, profiler" in said


def test_only_long_fits_are_compiled_by_themselves(fit):
    _, out = fit()
    assert "compiled" not in out
    assert not decide("auto", 938 * 5, 64, on_cpu=True)
    assert decide("auto", 150 * 100, 10 * 32, on_cpu=True)
    assert not decide("auto", math.inf, 1, on_cpu=False)
    assert decide("auto", math.inf, 1, on_cpu=True)
    assert decide(True, 1, 1, on_cpu=False)
