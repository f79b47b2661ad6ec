"""The learning rate of each step is that of the formula, with lengths that the run fills in."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim import lr_scheduler

from fashionreg.errors import UserError
from fashionreg.models.schedulers import Schedule
from fashionreg.training.cli import EpochCheckpoint
from samples import PIXELS, rounding

#: `tiny.yaml` has 2 epochs of 4 steps, and a learning rate of 0.1.
STEPS, RATE = 8, 0.1

WARM_UP = """
model:
  init_args:
    lr_scheduler:
      class_path: SequentialLR
      init_args: {milestones: [0.25], schedulers: [LinearLR, CosineAnnealingLR]}
"""

LAST = "logs/tiny/version_{}/checkpoints/last.ckpt"
OPTION = "--model.init_args.lr_scheduler"


@pytest.fixture
def rates(run, monkeypatch):
    """Trains by `fashionreg fit` with further arguments, and returns the learning rate of each step."""

    def rates(*words):
        found = []
        step = torch.optim.SGD.step

        def noting(self, closure=None):
            # before training, optimizers are tried on a few numbers
            if self.param_groups[0]["params"][0].numel() > 100:
                found.append(self.param_groups[0]["lr"])
            return step(self, closure)

        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.SGD, "step", noting)
            code, _, err = run("fit", "--config", "tiny.yaml", *words)
        assert (code, err) == (0, ""), err
        return found

    return rates


@pytest.fixture
def warm_up(workplace):
    Path("warm_up.yaml").write_text(WARM_UP)
    return ["--config", "warm_up.yaml"]


def cosine(step, steps):
    return RATE * (1 + math.cos(math.pi * step / steps)) / 2


#: Of a warm-up over a quarter of the steps, from a third of the rate, and a cosine after it.
WARM = [RATE * (1 / 3 + 2 / 3 * step / 2) for step in range(2)] + [cosine(step, 6) for step in range(6)]


def one_cycle(steps):
    """The rates of torch's own scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], RATE)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["CosineAnnealingLR"], [cosine(step, STEPS) for step in range(STEPS)]),
        (["torch.optim.lr_scheduler.CosineAnnealingLR"], [cosine(step, STEPS) for step in range(STEPS)]),
        (["CosineAnnealingLR", "T_max", 2], [RATE] * 4 + [RATE / 2] * 4),
        (["CosineAnnealingLR", "T_max", 16, "interval", "step"], [cosine(step, 16) for step in range(STEPS)]),
        (["CosineAnnealingLR", "interval", "epoch"], [RATE] * 4 + [RATE / 2] * 4),
        (["PolynomialLR"], [RATE * (1 - step / STEPS) for step in range(STEPS)]),
        (["OneCycleLR", "max_lr", 0.5], one_cycle(STEPS)),
        (["OneCycleLR", "max_lr", 0.5, "total_steps", 20], one_cycle(20)[:STEPS]),
        (
            ["CyclicLR", "base_lr", 0.1, "max_lr", 0.5, "step_size_up", 4],
            [0.1 + 0.1 * step for step in (0, 1, 2, 3, 4, 3, 2, 1)],
        ),
        (
            ["StepLR", "step_size", 3, "gamma", 0.5, "interval", "step"],
            [RATE * 0.5 ** (step // 3) for step in range(8)],
        ),
    ],
    ids=lambda value: " ".join(map(str, value[:3])) if isinstance(value[0], str) else "",
)
def test_rates_follow_the_formula_by_step_or_by_epoch(rates, words, expected):
    name, *options = words
    pairs = zip(options[::2], options[1::2], strict=True)
    options = [word for option, value in pairs for word in (f"{OPTION}.{option}", value)]
    assert rates(OPTION, name, *options) == pytest.approx(expected)


def test_a_warm_up_and_a_cosine_are_four_lines(rates, warm_up):
    assert rates(*warm_up) == pytest.approx(WARM)
    about = json.loads(Path("logs/tiny/version_0/record.json").read_text())
    assert about["rates"] == "LinearLR (total_iters 2), from 2 on CosineAnnealingLR (T_max 6), by step"


def test_a_warm_up_of_whole_epochs_is_by_epoch(rates, warm_up):
    assert rates(*warm_up, f"{OPTION}.milestones", "[1]", "--trainer.max_epochs", 3) == pytest.approx(
        [RATE / 3] * 4 + [RATE] * 4 + [RATE / 2] * 4
    )


def test_what_a_run_has_filled_in_is_said(run, warm_up):
    out = run("fit", "--config", "tiny.yaml", *warm_up, "--trainer.max_epochs", 5)[1]
    assert "\nrates   LinearLR (total_iters 5), from 5 on CosineAnnealingLR (T_max 15), by step\n" in out


def test_a_limit_of_steps_is_the_length(rates):
    assert rates(OPTION, "CosineAnnealingLR", "--trainer.max_steps", 6) == pytest.approx(
        [cosine(step, 6) for step in range(6)]
    )


def losses(version):
    table = pd.read_csv(f"logs/tiny/version_{version}/record.csv")
    return table[table.metric == "loss"].pivot_table(index=["epoch", "split"], columns="seed", values="value")


def test_a_replica_among_others_equals_the_same_seed_alone(run, warm_up):
    for seeds in ("[1, 3, 5]", "[3]"):
        assert run("fit", "--config", "tiny.yaml", *warm_up, "--seeds", seeds)[0] == 0
    # each of the steps may carry the rounding of its gradient into the weights
    np.testing.assert_allclose(losses(0)[3], losses(1)[3], rtol=0, atol=STEPS * rounding(PIXELS, 10))


@pytest.fixture
def stopped(run, monkeypatch):
    """Trains until the second epoch is finished, and fails then."""

    def stopped(*words):
        def fail(self, trainer, pl_module):
            end(self, trainer, pl_module)
            if trainer.current_epoch == 1:
                raise UserError("stopped")

        end = EpochCheckpoint.on_train_epoch_end
        with monkeypatch.context() as patch:
            patch.setattr(EpochCheckpoint, "on_train_epoch_end", fail)
            code, _, err = run("fit", "--config", "tiny.yaml", *words)
        assert "stopped" in err, err
        assert code == 1

    return stopped


@pytest.mark.parametrize("words", [[], [OPTION, "OneCycleLR", f"{OPTION}.max_lr", 0.5]], ids=["warm-up", "one cycle"])
def test_a_resumed_run_has_the_rates_of_one_that_was_never_stopped(run, rates, stopped, warm_up, words):
    words = [*(words or warm_up), "--trainer.max_epochs", 4, "--seeds", 2]
    whole = rates(*words)
    stopped(*words)
    assert rates(*words, "--ckpt_path", LAST.format(1)) == whole[8:]
    assert Path("logs/tiny/version_2/record.csv").read_bytes() == Path("logs/tiny/version_0/record.csv").read_bytes()


def test_a_run_whose_rates_follow_its_length_is_not_resumed_to_another(refusal, stopped, warm_up):
    stopped(*warm_up, "--trainer.max_epochs", 4)
    code, line = refusal("fit", "--ckpt_path", LAST.format(0), "--trainer.max_epochs", 8)
    assert code == 1
    assert "trainer.max_epochs: the run in logs/tiny/version_0/checkpoints/last.ckpt has 4, not 8" in line
    assert "its learning rates are planned for its length" in line


def test_a_study_varies_what_a_scheduler_is_given(run, warm_up):
    Path("study.yaml").write_text(
        "name: rates\nseeds: 2\nreference: half\nvariants:\n"
        + "".join(
            f"  {name}: [tiny.yaml, warm_up.yaml, {{model: {{init_args: {{lr_scheduler: {{class_path: SequentialLR, "
            f"init_args: {{milestones: [{share}]}}}}}}}}}}]\n"
            for name, share in (("half", 0.5), ("quarter", 0.25))
        )
    )
    assert run("study", "study.yaml")[0] == 0
    assert sorted(json.loads(path.read_text())["rates"] for path in Path("logs").rglob("record.json")) == [
        "LinearLR (total_iters 2), from 2 on CosineAnnealingLR (T_max 6), by step",
        "LinearLR (total_iters 4), from 4 on CosineAnnealingLR (T_max 4), by step",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("OneCycleLR", "the following arguments are required: max_lr (OneCycleLR)"),
        (
            "{class_path: OneCycleLR, init_args: {max_lr: 0.5, total_steps: 7}}",
            "OneCycleLR: total_steps: is 7, and there are 8 steps to go through; leave it out, and it is that",
        ),
        ("{class_path: StepLR, init_args: {step_size: 2, interval: week}}", "interval: expected"),
        ("SequentialLR", "SequentialLR: needs schedulers and milestones, as in schedulers: [LinearLR, Cosine"),
        (
            "{class_path: SequentialLR, init_args: {milestones: [0.1], schedulers: [LinearLR, StepLR]}}",
            "schedulers: the following arguments are required: step_size (StepLR)",
        ),
        (
            "{class_path: SequentialLR, init_args: {milestones: [0.1, 0.2], schedulers: [LinearLR, PolynomialLR]}}",
            "milestones: must be 1 for 2 schedulers, as the first begins at once; got 2",
        ),
        (
            "{class_path: SequentialLR, init_args: {milestones: [-1], schedulers: [LinearLR, PolynomialLR]}}",
            "milestones: must be shares of the run (0.1) or whole numbers, got [-1]",
        ),
        (
            "{class_path: SequentialLR, init_args: {milestones: [5], schedulers: [LinearLR, PolynomialLR]}}",
            "milestones: 5 is not within the run, which has 2 epochs; a number below 1 is a share of the run",
        ),
        (
            "{class_path: SequentialLR, init_args: {milestones: [5], schedulers: [LinearLR, {class_path: OneCycleLR, "
            "init_args: {max_lr: 0.5}}]}}",
            "some of its numbers count steps, others epochs; say which by interval: step or interval: epoch",
        ),
        (
            "{class_path: SequentialLR, init_args: {milestones: [2], interval: step, schedulers: [{class_path: "
            "LinearLR, init_args: {total_iters: 2}}, {class_path: OneCycleLR, init_args: {max_lr: 0.5, total_steps: "
            "3}}]}}",
            "OneCycleLR: total_steps: is 3, and there are 6 steps to go through",
        ),
        (
            "{class_path: SequentialLR, init_args: {milestones: [0.9, 3], interval: step, schedulers: [LinearLR, "
            "LinearLR, LinearLR]}}",
            "milestones: must increase; in this run [0.9, 3] are [7, 3]",
        ),
        (
            "{class_path: SequentialLR, init_args: {milestones: [0.2, 0.1], schedulers: [LinearLR, LinearLR, "
            "LinearLR]}}",
            "milestones: must increase, got [0.2, 0.1]",
        ),
    ],
)
def test_a_mistake_ends_in_one_line(refusal, text, fault):
    Path("bad.yaml").write_text(f"model: {{init_args: {{lr_scheduler: {text}}}}}")
    line = refusal("fit", "--config", "tiny.yaml", "--config", "bad.yaml")[1]
    assert "lr_scheduler: " in line
    assert fault in line
    assert len(line) < 300
    assert not list(Path("logs").glob("*/*"))


def test_a_run_without_an_end_leaves_no_length(refusal):
    words = [OPTION, "CosineAnnealingLR", "--trainer.max_epochs", -1]
    assert (
        "lr_scheduler: leaves its length to the run, which has no planned end"
        in refusal("fit", "--config", "tiny.yaml", *words)[1]
    )


def test_one_cycle_has_an_end_and_a_run_without_one_is_refused(refusal):
    words = [OPTION, "OneCycleLR", f"{OPTION}.max_lr", 0.5, f"{OPTION}.total_steps", 20, "--trainer.max_epochs", -1]
    line = refusal("fit", "--config", "tiny.yaml", *words)[1]
    assert "lr_scheduler: OneCycleLR has an end, and the run has no planned one; set trainer.max_epochs" in line


def test_a_factory_of_code_is_taken_as_it_is():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], RATE)
    hidden = Schedule(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 5))
    assert (hidden.interval, hidden.follows_run, hidden(optimizer, lambda _: 9).T_max) == ("epoch", False, 5)
    open_ = Schedule(partial(lr_scheduler.CosineAnnealingLR, eta_min=0.01))
    assert (open_.interval, open_.follows_run) == ("step", True)
    assert open_(optimizer, {"step": 9, "epoch": 3}.__getitem__).T_max == 9
    assert open_.without_run(optimizer).T_max > 0
    with pytest.raises(UserError, match="leaves its length to the run, and is made without one"):
        open_(optimizer)
