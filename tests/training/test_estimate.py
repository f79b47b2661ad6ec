"""What a run will need is known before it is made, and what the machine cannot hold is not begun."""

import gc
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fashionreg.data.batches import chunk_size
from fashionreg.errors import UserError
from fashionreg.models import RegularizedMLP
from fashionreg.models.optimizers import state_of_a_parameter
from fashionreg.randomness import Key
from fashionreg.training.estimate import Shapes, available_memory, in_bytes, memory_needed, refuse_oversize

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
        (["--data.init_args.train_size", "1000000000000"], "needs about 784 TB"),
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
    code, _, err = run(*FIT, "--data.init_args.batch_size", 10**15)
    assert code == 0, err


CASES = [
    Shapes((784, 64, 32, 10), 0, 5, 500, 2000, 0),
    Shapes((784, 256, 10), 0, 3, 1000, 2000, 0, batch_norm=True, dropout=True, optimizer_state=2),
    Shapes((784, 1000, 500, 10), 0, 2, 32, 2000, 0, dropout=True, optimizer_state=1),
]


@pytest.mark.parametrize("case", CASES)
def test_the_estimate_of_a_step_is_within_a_factor_of_two_of_what_is_allocated(case, tmp_path):
    seeds = list(range(case.replicas))
    makers = [torch.optim.SGD, lambda p: torch.optim.SGD(p, momentum=0.9), torch.optim.Adam]
    model = RegularizedMLP(list(case.sizes[1:-1]), case.batch_norm, 0.5 * case.dropout, seeds=seeds).build(784, 10)
    optimizer = makers[case.optimizer_state](model.parameters())
    assert state_of_a_parameter(makers[case.optimizer_state]) == case.optimizer_state
    keys = {name: Key(torch.zeros(case.replicas, 2, dtype=torch.int32)) for name in model.network.draws}

    def step():
        images = torch.rand(case.replicas, case.batch_size, 784)
        optimizer.zero_grad()
        model.network(images, keys).square().mean().backward()
        optimizer.step()

    step()
    for parameter in model.parameters():
        parameter.grad = None
    gc.collect()
    held = sum(tensor.nbytes for tensor in model.state_dict().values())
    held += sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    measured = held + _peak(step, tmp_path / "trace.json")
    parameters = sum(tensor[0].numel() for tensor in model.state_dict().values() if tensor.dim())
    estimate = memory_needed(replace(case, parameters=parameters, chunk_size=0))
    assert measured / 2 < estimate < measured * 2


def _peak(step, trace):
    """The most bytes that were allocated at once in a step, as torch's profiler traces it in the file `trace`."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    profiler.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    changes = [event["args"]["Bytes"] for event in sorted(events, key=lambda event: event["ts"])]
    return max(itertools.accumulate(changes))


def test_more_of_anything_needs_more_memory():
    small = Shapes((784, 64, 10), 50_890, 2, 64, chunk_size(2), 1000)
    assert memory_needed(small) > 0
    for change in ({"replicas": 200}, {"images": 10**6}, {"batch_size": 10**5}, {"parameters": 10**7}):
        assert memory_needed(Shapes(**vars(small) | change)) > 2 * memory_needed(small)


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
