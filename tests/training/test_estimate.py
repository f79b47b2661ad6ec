"""What a run will need is known before it is made, and what the machine cannot hold is not begun."""

import gc
import itertools
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from fashionreg.data.batches import chunk_size
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.models import RegularizedMLP, StackedClassifier
from fashionreg.models.objective import logits_of, weights_key
from fashionreg.randomness import Key
from fashionreg.regularizers import EMA, DropConnect, SpectralNorm, WeightNorm
from fashionreg.runs.contents import outline
from fashionreg.training.estimate import (
    CORE_RATE,
    Shapes,
    available_memory,
    in_bytes,
    memory_needed,
    planned_steps,
    refuse_oversize,
    seconds_needed,
    shapes_of,
)

FIT = ["fit", "--config", "tiny.yaml"]


@pytest.fixture
def of_16_gb(monkeypatch):
    """The tests' machine has 16 GB, whatever the machine has that runs them."""
    monkeypatch.setattr("fashionreg.training.estimate.available_memory", lambda: 16 * 10**9)


@pytest.mark.usefixtures("of_16_gb")
@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--seeds", "1000000"], "memory: 1,000,000 x 784-8-10"),
        (["--seeds", "1000000000"], "memory: 1,000,000,000 x 784-8-10"),
        (["--model.init_args.hidden_sizes", "[1000000, 1000000]"], "needs about 12 TB"),
        (["--data.init_args.train_size", "1000000000000"], "needs about 1.57 PB"),
        (["--trainer.max_epochs", "1000000000000"], "3,000,000,000,000 steps takes about 19 years or more"),
        (["--trainer.max_epochs", "1" + "0" * 400], "more than 10^15 steps takes about 1,000,000,000 years"),
        (["--threads", "1000000"], "threads: must be at most"),
    ],
)
def test_what_the_machine_cannot_hold_is_refused_before_it_is_made(arguments, fault, refusal):
    _, line = refusal(*FIT, *arguments)
    assert fault in line
    assert not Path("logs").exists()


@pytest.mark.usefixtures("of_16_gb")
def test_a_study_that_the_machine_cannot_hold_is_found_by_the_dry_run(run):
    Path("study.yaml").write_text("name: s\nvariants:\n  a: [tiny.yaml]\n  b: [tiny.yaml, {seeds: 3, threads: 1}]\n")
    code, _, err = run("study", "study.yaml", "--seeds", 1_000_000, "--dry_run")
    assert code == 1
    assert "a: memory: 1,000,000 x 784-8-10" in err


def test_allow_oversize_is_accepted_for_a_fit_and_needed_again_for_its_checkpoint(run, refusal, monkeypatch):
    monkeypatch.setattr("fashionreg.training.estimate.available_memory", lambda: 1000)
    assert "1 kB is available" in refusal(*FIT)[1]
    code, _, err = run(*FIT, "--allow_oversize", "true")
    assert code == 0, err
    assert "memory: " in refusal("test", "--ckpt_path", "logs/tiny/version_0/checkpoints/last.ckpt")[1]


def test_a_batch_cannot_be_larger_than_the_images(run):
    code, out, err = run(*FIT, "--data.init_args.batch_size", 10**15)
    assert code == 0, err
    # two steps of 200 images are no reason to compile
    assert "compiled" not in out


class Own(nn.Sequential):
    """A user's network, whose layers nobody here knows."""

    def __init__(self, inputs, classes):
        super().__init__(
            nn.Linear(inputs, 300), nn.LayerNorm(300), nn.GELU(), nn.Linear(300, 90), nn.Tanh(), nn.Linear(90, classes)
        )


SGD, MOMENTUM = torch.optim.SGD, partial(torch.optim.SGD, momentum=0.9)
MLP = partial(RegularizedMLP, [64, 32])
COMPUTED = {"norm": WeightNorm(), "spectral": SpectralNorm(), "drop": DropConnect(), "again": DropConnect(0.1)}
CASES = {
    "plain": (MLP, SGD, {}, 5, 500),
    "all": (partial(RegularizedMLP, [256], True, 0.5), torch.optim.Adam, {}, 3, 1000),
    "wide": (partial(RegularizedMLP, [1000, 500], dropout=0.5), MOMENTUM, {}, 2, 32),
    "batch norm": (partial(RegularizedMLP, [256, 256, 256], True), SGD, {}, 4, 500),
    "average": (partial(RegularizedMLP, [1000, 1000]), SGD, {"ema": EMA(0.9)}, 5, 16),
    "computed weights": (partial(RegularizedMLP, [1000, 1000]), SGD, COMPUTED, 3, 4),
    "own": (partial(StackedClassifier, Own), MOMENTUM, {}, 4, 500),
}


@pytest.mark.parametrize("case", CASES)
def test_the_estimate_of_a_step_is_within_a_factor_of_two_of_what_is_allocated(case, tmp_path):
    make, maker, regularizers, replicas, batch_size = CASES[case]
    model = make(regularizers=regularizers, optimizer=maker, seeds=list(range(replicas)))
    data = SyntheticDataModule(train_size=1, test_size=1, batch_size=batch_size)
    network = outline(model, 784, 10, 0)
    shapes = shapes_of(network, (784, 10), replicas, data, maker, list(model.regularizers.values()))
    shapes = replace(shapes, batch_size=batch_size, images=0, chunk_size=0)
    model.build(784, 10)
    optimizer = maker(model.network.parameters())
    hooks = model.objective.weight_hooks
    draws = [*model.network.draws, *map(weights_key, hooks)]
    keys = {name: Key(torch.zeros(replicas, 2, dtype=torch.int32)) for name in draws}

    def step():
        images = torch.rand(replicas, batch_size, 784)
        optimizer.zero_grad()
        logits_of(model.network, hooks, images, keys).square().mean().backward()
        optimizer.step()
        model.after_step()

    step()
    for parameter in model.parameters():
        parameter.grad = None
    gc.collect()
    held = sum(tensor.nbytes for tensor in model.state_dict().values())
    held += sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    measured = held + _peak(step, tmp_path / "trace.json")
    assert measured / 2 < memory_needed(shapes) < measured * 2


def _peak(step, trace):
    """The most bytes that were allocated at once in a step, as torch's profiler traces it in the file `trace`."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    profiler.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    changes = [event["args"]["Bytes"] for event in sorted(events, key=lambda event: event["ts"])]
    return max(itertools.accumulate(changes))


def test_more_of_anything_needs_more_memory():
    small = Shapes(784, 50_890, 2, 64, chunk_size(2), 1000, kept=600, widest=256)
    assert memory_needed(small) > 0
    for change in (
        {"replicas": 200},
        {"images": 10**6},
        {"batch_size": 10**5},
        {"mapped": 10**9},
        {"parameters": 10**7},
        {"kept": 10**6},
        {"widest": 10**5},
        {"regularizer_state": 10**7},
    ):
        assert memory_needed(replace(small, **change)) > 2 * memory_needed(small)
    for change in ({"gradients": 3}, {"optimizer_state": 2}):
        assert memory_needed(replace(small, **change)) > memory_needed(small)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 5 * 40),
        ({"max_epochs": -1}, 0),
        ({"max_epochs": None}, 1000 * 40),
        ({"max_epochs": None, "max_steps": 70}, 70),
        ({"max_steps": 70}, 70),
        ({"max_steps": 700}, 200),
        ({"limit_train_batches": 3}, 15),
        ({"limit_train_batches": 0.5}, 100),
        ({"max_time": "00:01:00:00"}, 0),
        ({"fast_dev_run": True}, 0),
    ],
)
def test_planned_steps_are_those_that_the_trainer_makes(options, steps):
    given = {"max_epochs": 5, "max_steps": -1, "max_time": None, "limit_train_batches": None, "fast_dev_run": False}
    assert planned_steps(given | options, 40) == steps


def test_the_estimate_of_time_is_a_lower_bound_and_not_far_from_the_benchmark():
    # the batch norm study, S = 50 and S = 1, on 2 cores (benchmarks/results.md): 6.25 and 0.96 seconds an epoch
    for replicas, seconds in ((50, 6.25), (1, 0.96)):
        shapes = Shapes(784, 52_850, replicas, 64, 800, 70_000)
        # a hundred epochs, as the estimate has whole seconds
        estimate = seconds_needed(shapes, 100 * 938, 2 * CORE_RATE) / 100
        assert seconds / 10 < estimate < seconds


def test_available_memory_is_what_control_groups_leave(tmp_path):
    assert available_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 10 kB\nMemAvailable:   8 kB\n")
    assert available_memory(tmp_path) == 8192
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("3000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    (group / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == 8192
    (group / "memory.max").write_text("5000\n")
    assert available_memory(tmp_path) == 2500


def test_unknown_available_memory_refuses_nothing():
    refuse_oversize(10**30, None, "x")
    refuse_oversize(80, 100, "x")
    with pytest.raises(UserError, match="x needs about 81 bytes; 100 bytes is available"):
        refuse_oversize(81, 100, "x")
    assert in_bytes(12_345_678) == "12.3 MB"
