"""What a user can get wrong ends in one line, and leaves nothing behind."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from samples import LAST

PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"
ONE_CYCLE = ["--model.init_args.lr_scheduler", "torch.optim.lr_scheduler.OneCycleLR"]
ONE_CYCLE += ["--model.init_args.lr_scheduler.max_lr", "0.1"]
TEST_MONITOR = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor"]

SWA = ["--trainer.callbacks+", "StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.1"]

BAD_WORDS = {
    "no config": (["fit"], 2, "give --config FILE"),
    "missing config": (["fit", "--config", "no.yaml"], 1, "no.yaml: no such configuration file"),
    "unknown command": (["fti"], 2, "invalid choice: 'fti'"),
    "unknown option": (["fit", "--config", "tiny.yaml", "--trainer.max_epoch", "3"], 2, "trainer.max_epoch"),
    "unknown data option": (
        ["fit", "--config", "tiny.yaml", "--data.init_args.sz", "3"],
        2,
        "Option 'sz' is not accepted",
    ),
    "wrong type": (
        ["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "x"],
        2,
        "trainer.max_epochs: expected int; got x",
    ),
    "wrong type of a number of images": (
        ["fit", "--config", "tiny.yaml", "--data.init_args.val_size", "x"],
        2,
        "val_size: expected int; expected float; got x",
    ),
    "unknown class": (["fit", "--config", "tiny.yaml", "--model", "Nonsense"], 2, "Nonsense"),
    "dropout": (
        ["fit", "--config", "tiny.yaml", "--model.init_args.dropout", "1.5"],
        1,
        "dropout: must be at least 0 and below 1, got 1.5",
    ),
    "name": (
        ["fit", "--config", "tiny.yaml", "--name", "../out"],
        1,
        "name: must be a folder below logs, got '../out'",
    ),
    "scheduler": (
        ["fit", "--config", "tiny.yaml", *ONE_CYCLE, "--model.init_args.lr_scheduler.total_steps", "-1"],
        1,
        "lr_scheduler: Expected positive integer total_steps, but got -1",
    ),
    "strategy": (["fit", "--config", "tiny.yaml", "--trainer.strategy", "foo"], 1, "foo"),
    "several devices": (["fit", "--config", "tiny.yaml", "--trainer.devices", "2"], 1, "trainer.devices: all replicas"),
    "stochastic weight averaging": (
        ["fit", "--config", "tiny.yaml", *SWA],
        1,
        "StochasticWeightAveraging: the results would be those of the weights before averaging; use the regularizer",
    ),
    "weight averaging": (
        ["fit", "--config", "tiny.yaml", "--trainer.callbacks+", "WeightAveraging"],
        1,
        "WeightAveraging: the results",
    ),
    "EMA of Lightning": (
        ["fit", "--config", "tiny.yaml", "--trainer.callbacks+", "EMAWeightAveraging"],
        1,
        "EMAWeightAveraging: the results",
    ),
    "overfit": (["fit", "--config", "tiny.yaml", "--trainer.overfit_batches", "1"], 1, "trainer.overfit_batches"),
    "clip": (["fit", "--config", "tiny.yaml", "--trainer.gradient_clip_val", "-1"], 1, "trainer.gradient_clip_val"),
    "trainer": (["fit", "--config", "tiny.yaml", "--trainer.devices", "0"], 1, "devices"),
    "seeds": (["fit", "--config", "tiny.yaml", "--seeds", "0"], 2, "seeds: a count must be at least 1, got 0"),
    "seed twice": (["fit", "--config", "tiny.yaml", "--seeds", "[1,1]"], 2, "seeds: 1 is named twice"),
    "threads": (["fit", "--config", "tiny.yaml", "--threads", "0"], 2, "threads: "),
    "batch size": (
        ["fit", "--config", "tiny.yaml", "--data.init_args.batch_size", "0"],
        1,
        "batch_size: must be at least 1, got 0",
    ),
    "last batch of one": (
        ["fit", "--config", "tiny.yaml", "--data.init_args.batch_size", "199"],
        1,
        "would hold 1 image, and the network needs at least 2 (batch norm needs 2)",
    ),
    "learning rate": (
        ["fit", "--config", "tiny.yaml", "--model.init_args.optimizer.lr", "-1"],
        1,
        "optimizer: Invalid learning rate: -1.0",
    ),
    "optimizer": (
        ["fit", "--config", "tiny.yaml", "--seeds", "2", "--model.init_args.optimizer", "torch.optim.Adafactor"],
        1,
        "optimizer: Adafactor mixes the seeds",
    ),
    "plateau": (
        ["fit", "--config", "tiny.yaml", "--seeds", "2", "--model.init_args.lr_scheduler", PLATEAU],
        1,
        "lr_scheduler: ReduceLROnPlateau would set the learning rate of every seed",
    ),
    "test monitor": (
        ["fit", "--config", "tiny.yaml", *TEST_MONITOR, "test/acc"],
        1,
        "would select by test results; set data.init_args.val_size",
    ),
    "absent monitor": (
        ["fit", "--config", "tiny.yaml", *TEST_MONITOR, "val/acc"],
        1,
        "val/* needs data.init_args.val_size",
    ),
    "no epoch": (["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "0"], 1, "nothing was trained: "),
    "no step": (["fit", "--config", "tiny.yaml", "--trainer.max_steps", "0"], 1, "nothing was trained: "),
    "no batch": (["fit", "--config", "tiny.yaml", "--trainer.limit_train_batches", "0"], 1, "nothing was trained: "),
    "no time": (["fit", "--config", "tiny.yaml", "--trainer.max_time", "00:00:00:00"], 1, "nothing was trained: "),
    "precision not installed": (
        ["fit", "--config", "tiny.yaml", "--trainer.precision", "transformer-engine"],
        1,
        "pip install -U 'transformer_engine",
    ),
    "no checkpoint named": (["test", "--config", "tiny.yaml"], 1, "needs --ckpt_path FILE"),
    "missing checkpoint": (["test", "--ckpt_path", "no.ckpt"], 1, "ckpt_path: no.ckpt: no such file"),
    "no last": (
        ["fit", "--config", "tiny.yaml", "--ckpt_path", "last"],
        1,
        "there is no logs/tiny/version_*/checkpoints/last.ckpt",
    ),
    "device that is not there": (["fit", "--config", "tiny.yaml", "--trainer.accelerator", "tpu"], 1, "torch_xla"),
    "odd time": (["fit", "--config", "tiny.yaml", "--name", "a/b", "--trainer.max_time", "soon"], 1, "not a valid"),
    "missing csv": (
        [
            "fit",
            "--config",
            "tiny.yaml",
            "--data",
            "fashionreg.data.datamodules.CSVDataModule",
            "--data.init_args.path",
            "no.csv",
        ],
        1,
        "no.csv: no such file",
    ),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_what_a_user_can_get_wrong_ends_in_one_line_and_leaves_nothing(case, refusal):
    words, code, fault = BAD_WORDS[case]
    got, line = refusal(*words)
    assert got == code
    assert fault in line
    parts = line.split("; ")
    assert len(set(parts)) == len(parts)
    assert not list(Path("logs").glob("*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said(refusal):
    assert (
        "No supported gpu backend found" in refusal("fit", "--config", "tiny.yaml", "--trainer.accelerator", "gpu")[1]
    )


class Boom:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("option", ["--trainer.devices", "--trainer.num_nodes"])
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_no_command_is_computed_by_several_processes(command, option, fitted, refusal):
    extra = ["--images", "x.png"] if command == "predict" else []
    _, line = refusal(command, "--ckpt_path", LAST, "--trainer.max_epochs", 9, option, 2, *extra)
    assert "trainer.devices: all replicas are computed on one device, side by side" in line


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.devices", "9" * 30],
        ["--trainer.val_check_interval", "1.0e+300"],
        ["--trainer.val_check_interval", "1000"],
        ["--trainer.max_time", "1:99999999999999:0:0"],
    ],
)
def test_whatever_lightning_refuses_is_one_line_and_leaves_no_run(refusal, words):
    refusal("fit", "--config", "tiny.yaml", *words)
    assert not list(Path().glob("logs/*/version_*"))


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_that_carries_code_is_refused_and_not_run(command, fitted, refusal):
    checkpoint = torch.load(LAST)
    torch.save(checkpoint | {"callbacks": {"x": Boom()}}, "evil.ckpt")
    extra = ["--images", "x.png"] if command == "predict" else []
    _, line = refusal(command, "--ckpt_path", "evil.ckpt", "--trainer.max_epochs", 9, *extra)
    assert "evil.ckpt: refused: it asks to run" in line
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.write_bytes(Path(LAST).read_bytes()[:5000]), "is not a whole checkpoint"),
        (lambda path: path.write_text("hello"), "is not"),
        (lambda path: path.write_bytes(pickle.dumps([1])), ""),
        (lambda path: torch.save({"a": 1}, path), "is not a Lightning checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(fitted, refusal, workplace, make, fault):
    make(workplace / "bad.ckpt")
    _, line = refusal("test", "--ckpt_path", "bad.ckpt")
    assert "ckpt_path: bad.ckpt: " in line
    assert fault in line


@pytest.mark.parametrize(
    "words",
    [
        ["--model.init_args.hidden_sizes", "[9]"],
        ["--seeds", "2"],
        ["--seeds", "[5,6,7]"],
        ["--model.init_args.batch_norm", "false"],
    ],
)
def test_a_checkpoint_of_another_network_or_other_seeds_is_refused(fitted, refusal, words):
    _, line = refusal("test", "--ckpt_path", LAST, *words)
    assert "the checkpoint is of" in line


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--model.init_args.optimizer.lr", "0.5"], "model.init_args.optimizer.init_args.lr: the run in"),
        (["--data.init_args.batch_size", "32"], "data.init_args.batch_size: the run in"),
        (["--model.init_args.optimizer", "torch.optim.Adam"], "model.init_args.optimizer.class_path: the run in"),
        (["--seeds", "2"], "seeds: the checkpoint is of seeds [0, 1, 2], not [0, 1]"),
    ],
)
def test_a_resumed_run_is_the_same_run(fitted, refusal, words, fault):
    _, line = refusal("fit", "--ckpt_path", LAST, "--trainer.max_epochs", 5, *words)
    assert fault in line
    assert not Path("logs/tiny/version_1").exists()


def test_a_run_goes_on_only_from_the_end_of_an_epoch(run, refusal):
    assert run("fit", "--config", "tiny.yaml", "--trainer.max_steps", 6)[0] == 0
    _, line = refusal("fit", "--ckpt_path", LAST, "--trainer.max_steps", 12, "--trainer.max_epochs", 3)
    assert "was not saved at the end of an epoch" in line


def test_averages_of_weights_are_found_by_the_dry_run_of_a_study(run):
    Path("study.yaml").write_text("name: s\nvariants:\n  a: [tiny.yaml]\n  b: [tiny.yaml, {seeds: 3}]\n")
    code, _, err = run("study", "study.yaml", "--dry_run", *SWA)
    assert code == 1
    assert "a: StochasticWeightAveraging: the results would be" in err
