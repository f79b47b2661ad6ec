"""`fashionreg fit|validate|test|predict` as a user runs them, on synthetic data."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from fashionreg.data.csv_files import write_csv
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.data.images import CLASS_NAMES
from fashionreg.launch import BY_DESIGN
from fashionreg.models import RegularizedMLP
from fashionreg.training import useful_threads

LAST = "logs/tiny/version_0/checkpoints/last.ckpt"


@pytest.fixture
def fitted(run):
    """A finished run of three seeds; returns the runner."""
    code, _, err = run("fit", "--config", "tiny.yaml", "--seeds", 3)
    assert code == 0, err
    return run


def files(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(folder).rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------------- fit


def test_fit_prints_a_line_for_every_epoch(run):
    code, out, err = run("fit", "--config", "tiny.yaml")
    assert (code, err) == (0, "")
    number = r"\d+\.\d+"
    line = rf"epoch {{}}/2   train loss {number} acc {number}%   test loss {number} acc {number}%   {number} s"
    for epoch in (1, 2):
        assert re.search(line.format(epoch), out)
    assert "synthetic garments (train 200, test 50)" in out
    assert "RegularizedMLP 784-8-10, batch norm, dropout 0.2" in out
    assert "test accuracy after 2 epochs on synthetic garments" in out


def test_fit_leaves_config_record_checkpoint_and_events(fitted):
    names = {path.name for path in files("logs/tiny/version_0")}
    assert {"config.yaml", "record.csv", "record.json", "last.ckpt"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)


def test_record_holds_every_number_of_every_seed(fitted):
    table = pd.read_csv("logs/tiny/version_0/record.csv")
    assert list(table.columns) == ["seed", "epoch", "split", "metric", "value"]
    assert len(table) == 3 * 2 * 2 * 2
    assert not table.duplicated(["seed", "epoch", "split", "metric"]).any()
    assert table[table.metric == "acc"].value.between(0, 1).all()
    about = json.loads(Path("logs/tiny/version_0/record.json").read_text())
    assert about["status"] == "finished"
    assert about["seeds"] == [0, 1, 2]
    assert len(about["epoch_seconds"]) == 2
    assert about["config"]["model"]["init_args"]["optimizer"]["init_args"]["weight_decay"] == 0.001
    assert about["data"]["source"] == "synthetic garments"
    assert {"fashionreg", "torch", "lightning", "python"} <= about["versions"].keys()


def test_printed_numbers_are_those_of_the_record(run):
    _, out, _ = run("fit", "--config", "tiny.yaml", "--seeds", 3)
    table = pd.read_csv("logs/tiny/version_0/record.csv")
    final = table[(table.epoch == 2) & (table.split == "test") & (table.metric == "acc")].value * 100
    assert f"synthetic garments: {final.mean():.2f} ± {final.std():.2f}%" in out
    for seed, value in enumerate(final):
        assert f"{seed}: {value:.2f}" in out


def test_the_same_command_again_makes_the_next_version_with_the_same_numbers(fitted):
    before = files("logs/tiny/version_0")
    code, _, _ = fitted("fit", "--config", "tiny.yaml", "--seeds", 3)
    assert code == 0
    assert files("logs/tiny/version_0") == before
    assert Path("logs/tiny/version_1/record.csv").read_text() == Path("logs/tiny/version_0/record.csv").read_text()


def test_the_saved_config_repeats_the_run(fitted):
    assert fitted("fit", "--config", "logs/tiny/version_0/config.yaml")[0] == 0
    assert Path("logs/tiny/version_1/record.csv").read_text() == Path("logs/tiny/version_0/record.csv").read_text()
    assert Path("logs/tiny/version_1/config.yaml").read_text() == Path("logs/tiny/version_0/config.yaml").read_text()


def test_flags_win_over_later_configs_over_earlier_ones(run, workplace):
    (workplace / "more.yaml").write_text("name: more\ntrainer: {max_epochs: 1}\ndata: {init_args: {batch_size: 32}}")
    assert run("fit", "--config", "tiny.yaml", "--config", "more.yaml", "--data.init_args.batch_size", 16)[0] == 0
    config = yaml.safe_load(Path("logs/more/version_0/config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 1
    assert config["data"]["init_args"]["batch_size"] == 16


def test_a_list_of_seeds_trains_those_seeds(run):
    assert run("fit", "--config", "tiny.yaml", "--seeds", "[2, 0]")[0] == 0
    assert run("fit", "--config", "tiny.yaml", "--seeds", 3)[0] == 0
    listed, counted = (pd.read_csv(f"logs/tiny/version_{n}/record.csv") for n in (0, 1))
    keys = ["seed", "epoch", "split", "metric"]
    both = listed.merge(counted, on=keys)
    assert len(both) == len(listed) == 16
    loss = both.metric == "loss"
    assert (both.value_x - both.value_y)[loss].abs().max() < 1e-4


def test_an_lr_scheduler_is_stepped_after_every_epoch(run, monkeypatch):
    rates = []
    step = torch.optim.SGD.step

    def noting(self, closure=None):
        rates.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    scheduler = ["--model.init_args.lr_scheduler", "torch.optim.lr_scheduler.ExponentialLR"]
    assert run("fit", "--config", "tiny.yaml", *scheduler, "--model.init_args.lr_scheduler.gamma", 0.5)[0] == 0
    assert rates == [0.1] * 4 + [0.05] * 4


def test_a_plateau_scheduler_follows_its_monitor_with_one_seed(run):
    words = ["--model.init_args.lr_scheduler", "lightning.pytorch.cli.ReduceLROnPlateau"]
    words += ["--model.init_args.lr_scheduler.monitor", "val/loss", "--data.init_args.val_size", 50]
    words += ["--model.init_args.lr_scheduler.patience", 0, "--model.init_args.lr_scheduler.threshold", 100]
    words += ["--trainer.callbacks+", "LearningRateMonitor", "--trainer.max_epochs", 3, "--trainer.logger", "CSVLogger"]
    assert run("fit", "--config", "tiny.yaml", *words, "--trainer.logger.save_dir", "elsewhere")[0] == 0
    rates = pd.read_csv(next(Path("elsewhere").rglob("metrics.csv")))["lr-SGD"].dropna()
    assert rates.iloc[-1] == pytest.approx(0.001)


def test_a_callback_and_a_logger_can_be_added_by_flags(run):
    words = ["--trainer.callbacks+", "LearningRateMonitor", "--trainer.logger", "CSVLogger"]
    assert run("fit", "--config", "tiny.yaml", *words, "--trainer.logger.save_dir", "elsewhere")[0] == 0
    metrics = next(Path("elsewhere").rglob("metrics.csv")).read_text()
    assert "lr-SGD" in metrics
    assert "test/acc" in metrics
    assert Path("logs/tiny/version_0/record.csv").exists()


def test_early_stopping_and_best_checkpoint_by_val(run):
    words = ["--data.init_args.val_size", 50, "--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor"]
    words += ["val/acc", "--trainer.callbacks.mode", "max", "--trainer.callbacks.patience", 0]
    words += ["--trainer.callbacks+", "ModelCheckpoint", "--trainer.callbacks.monitor", "val/loss"]
    code, out, err = run("fit", "--config", "tiny.yaml", *words, "--trainer.max_epochs", 30)
    assert code == 0, err
    assert "val loss" in out
    assert len(pd.read_csv("logs/tiny/version_0/record.csv").epoch.unique()) < 30
    assert len(list(Path("logs/tiny/version_0/checkpoints").glob("*.ckpt"))) == 2


def test_a_dry_run_keeps_nothing(run):
    code, out, _ = run("fit", "--config", "tiny.yaml", "--trainer.fast_dev_run", "true")
    assert code == 0
    assert "nothing is kept" in out
    assert not files("logs")


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.enable_checkpointing", "false"],
        ["--trainer.logger", "false"],
        ["--trainer.limit_train_batches", "2"],
        ["--trainer.check_val_every_n_epoch", "2"],
        ["--trainer.val_check_interval", "0.5"],
        ["--trainer.accumulate_grad_batches", "2", "--trainer.gradient_clip_val", "1"],
        ["--trainer.precision", "bf16-mixed"],
        ["--trainer.max_steps", "5"],
        ["--name", "group/member"],
    ],
    ids=" ".join,
)
def test_the_trainers_own_options_work(run, words):
    code, out, err = run("fit", "--config", "tiny.yaml", "--seeds", 2, *words)
    assert (code, err) == (0, "")
    folder = Path("logs/group/member" if "--name" in words else "logs/tiny") / "version_0"
    table = pd.read_csv(folder / "record.csv")
    assert set(table.split) == {"train", "test"}
    assert ("report:" in out) == (folder / "checkpoints" / "last.ckpt").exists()


def test_threads_follow_the_size_of_a_step_or_the_flag(run, monkeypatch):
    with monkeypatch.context() as eight_cores:
        eight_cores.setattr(torch, "get_num_threads", lambda: 8)
        assert [useful_threads(count) for count in (10, 4_999_999, 12_000_000, 10**12)] == [1, 1, 2, 8]
    before = torch.get_num_threads()
    assert "device  cpu, threads 1\n" in run("fit", "--config", "tiny.yaml")[1]
    assert "device  cpu, threads 2\n" in run("fit", "--config", "tiny.yaml", "--threads", 2)[1]
    assert json.loads(Path("logs/tiny/version_1/record.json").read_text())["threads"] == 2
    assert torch.get_num_threads() == before


def test_one_module_can_be_loaded_in_python(fitted):
    model = RegularizedMLP.load_from_checkpoint(LAST, map_location="cpu", weights_only=True)
    assert model.seeds == [0, 1, 2]
    assert model.network.describe() == "784-8-10, batch norm, dropout 0.2"


# ---------------------------------------------------------------------------------------------------- resume


def test_a_resumed_run_equals_one_that_was_never_stopped(run):
    assert run("fit", "--config", "tiny.yaml", "--seeds", 2, "--trainer.max_epochs", 5, "--name", "whole")[0] == 0
    assert run("fit", "--config", "tiny.yaml", "--seeds", 2, "--trainer.max_epochs", 2)[0] == 0
    code, out, err = run("fit", "--ckpt_path", "last", "--name", "tiny", "--trainer.max_epochs", 5)
    assert code == 0, err
    assert "epoch 2/" not in out
    assert Path("logs/tiny/version_1/record.csv").read_text() == Path("logs/whole/version_0/record.csv").read_text()
    a, b = (torch.load(f"logs/{n}/checkpoints/last.ckpt") for n in ("tiny/version_1", "whole/version_0"))
    for name, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][name]), name


def test_ctrl_c_keeps_the_finished_epochs_and_says_how_to_go_on(workplace):
    command = [sys.executable, "-m", "fashionreg", "fit", "--config", "tiny.yaml", "--trainer.max_epochs", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch      2/"):
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(err.splitlines()) == 1
    assert re.search(r"interrupted after \d+ of 100000 epochs; go on with: fashionreg fit --ckpt_path logs/tiny", err)
    about = json.loads(Path("logs/tiny/version_0/record.json").read_text())
    assert about["status"] == "interrupted"
    assert len(about["epoch_seconds"]) >= 1


def test_last_is_the_newest_run_of_that_name(run):
    for _ in range(11):
        assert run("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 1)[0] == 0
    assert run("fit", "--config", "tiny.yaml", "--ckpt_path", "last")[0] == 0
    config = torch.load("logs/tiny/version_11/checkpoints/last.ckpt")
    assert config["epoch"] == 1


def test_nothing_left_to_do_is_said(fitted, refusal):
    before = files("logs")
    _, line = refusal("fit", "--ckpt_path", LAST)
    assert "has done 2 epochs, and trainer.max_epochs is 2: nothing is left to do" in line
    assert files("logs") == before


# ------------------------------------------------------------------------------------- validate, test, predict


def plain_answers(checkpoint, data, index):
    """Predictions of one replica, computed by plain torch from the checkpoint."""
    network = RegularizedMLP.load_from_checkpoint(checkpoint, map_location="cpu").network.eval()
    with torch.no_grad():
        return network.replica(index)(data.images.flatten(1).float() / 255)


def test_test_reports_what_scikit_learn_computes(fitted):
    code, out, err = fitted("test", "--ckpt_path", LAST)
    assert code == 0, err
    splits = SyntheticDataModule(train_size=200, test_size=50).splits
    metrics = pd.read_csv("logs/tiny/test_0/metrics.csv").set_index(["seed", "split", "metric"]).value
    by_class = pd.read_csv("logs/tiny/test_0/by_class.csv").set_index("split")
    for split in ("test", "train"):
        data = getattr(splits, split)
        logits = [plain_answers(LAST, data, k) for k in range(3)]
        for seed in range(3):
            accuracy = accuracy_score(data.labels, logits[seed].argmax(dim=1))
            assert metrics[str(seed), split, "acc"] == pytest.approx(accuracy)
            loss = torch.nn.functional.cross_entropy(logits[seed], data.labels)
            assert metrics[str(seed), split, "loss"] == pytest.approx(loss.item(), rel=1e-5)
        ensemble = torch.stack(logits).softmax(dim=2).mean(dim=0).argmax(dim=1)
        assert metrics["ensemble", split, "acc"] == pytest.approx(accuracy_score(data.labels, ensemble))
        pooled = torch.cat([each.argmax(dim=1) for each in logits])
        expected = precision_recall_fscore_support(data.labels.repeat(3), pooled, labels=range(10), zero_division=0)
        table = by_class.loc[split]
        for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
            assert table[name].tolist() == pytest.approx((values / (3 if name == "images" else 1)).tolist(), abs=1e-6)
    assert "generalization gap" in out
    assert all(name in out for name in CLASS_NAMES)
    with Image.open("logs/tiny/test_0/confusion_matrix.png") as picture:
        assert picture.size[0] > 500


@pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in BY_DESIGN))
def test_confusion_matrix_counts_as_scikit_learn_counts(fitted, workplace):
    from lightning.pytorch import Trainer

    from fashionreg.callbacks.evaluation import Evaluation

    evaluation = Evaluation()
    model = RegularizedMLP.load_from_checkpoint(LAST, map_location="cpu")
    data = SyntheticDataModule(train_size=200, test_size=50)
    trainer = Trainer(accelerator="cpu", callbacks=[evaluation], logger=False, enable_progress_bar=False)
    trainer.test(model, datamodule=data, verbose=False)
    pooled = torch.cat([plain_answers(LAST, data.splits.test, k).argmax(dim=1) for k in range(3)])
    expected = confusion_matrix(data.splits.test.labels.repeat(3), pooled, labels=range(10))
    assert evaluation.confusion["test"].tolist() == expected.tolist()


def test_test_and_validate_do_not_touch_the_run(fitted):
    before = files("logs/tiny/version_0")
    assert fitted("test", "--ckpt_path", LAST)[0] == 0
    assert fitted("test", "--config", "tiny.yaml", "--seeds", 3, "--ckpt_path", "last")[0] == 0
    assert fitted("validate", "--ckpt_path", LAST)[0] == 0
    assert files("logs/tiny/version_0") == before
    assert sorted(path.name for path in Path("logs/tiny").iterdir()) == ["test_0", "test_1", "version_0"]


def test_test_and_validate_agree_with_the_fit(fitted):
    final = re.search(r"test accuracy after .*: (.*)\n", fitted("fit", "--config", "tiny.yaml", "--seeds", 3)[1])[1]
    assert f"accuracy {final}" in fitted("test", "--ckpt_path", LAST)[1]
    assert f"accuracy {final}" in fitted("validate", "--ckpt_path", LAST)[1]


def test_a_flag_wins_over_the_config_in_the_checkpoint(fitted):
    assert fitted("test", "--ckpt_path", LAST, "--data.init_args.test_size", 80)[0] == 0
    assert pd.read_csv("logs/tiny/test_0/by_class.csv").query("split == 'test'").images.sum() == 80


def test_predict_writes_class_names_and_probabilities(fitted, workplace):
    data = SyntheticDataModule(train_size=200, test_size=50).splits.test
    write_csv(data[:20], workplace / "some.csv")
    for k in range(2):
        Image.fromarray(data.images[k].numpy()).save(f"image{k}.png")
    words = ["--images", "some.csv", "image0.png", "image1.png", "--out", "out.csv"]
    code, out, err = fitted("predict", "--ckpt_path", LAST, *words)
    assert code == 0, err
    table = pd.read_csv("out.csv")
    logits = torch.stack([plain_answers(LAST, data[:20], k) for k in range(3)])
    probabilities = logits.softmax(dim=2).mean(dim=0)
    torch.testing.assert_close(
        torch.tensor(table[list(CLASS_NAMES)].to_numpy()[:20]).float(), probabilities, atol=1e-5, rtol=0
    )
    assert table["class"][:20].tolist() == [CLASS_NAMES[k] for k in probabilities.argmax(dim=1)]
    assert table["probability"][:20].tolist() == pytest.approx(probabilities.amax(dim=1).tolist(), abs=1e-5)
    assert table["image"].tolist() == [f"some.csv:{row}" for row in range(1, 21)] + ["image0.png", "image1.png"]
    # the same pixels as a picture get the same answer
    pd.testing.assert_frame_equal(
        table.loc[[0, 1], list(CLASS_NAMES)], table.loc[[20, 21], list(CLASS_NAMES)].set_axis([0, 1])
    )
    assert "22 images: written to out.csv" in out


def test_predict_overwrites_only_when_told(fitted, workplace, refusal):
    Image.new("L", (28, 28)).save("black.png")
    Path("out.csv").write_text("mine")
    _, line = refusal("predict", "--ckpt_path", LAST, "--images", "black.png", "--out", "out.csv")
    assert "out.csv: exists" in line
    assert Path("out.csv").read_text() == "mine"
    assert fitted("predict", "--ckpt_path", LAST, "--images", "black.png", "--out", "out.csv", "--force")[0] == 0
    assert Path("out.csv").read_text() != "mine"


# --------------------------------------------------------------------------------------------- what is refused

PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"
ONE_CYCLE = ["--model.init_args.lr_scheduler", "torch.optim.lr_scheduler.OneCycleLR"]
ONE_CYCLE += ["--model.init_args.lr_scheduler.max_lr", "0.1"]
TEST_MONITOR = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor"]

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
    "scheduler": (["fit", "--config", "tiny.yaml", *ONE_CYCLE], 1, "lr_scheduler: You must define either total_steps"),
    "strategy": (["fit", "--config", "tiny.yaml", "--trainer.strategy", "foo"], 1, "foo"),
    "several devices": (["fit", "--config", "tiny.yaml", "--trainer.devices", "2"], 1, "trainer.devices: all replicas"),
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
        "batch norm needs at least two",
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
    "no checkpoint named": (["test", "--config", "tiny.yaml"], 1, "needs --ckpt_path FILE"),
    "missing checkpoint": (["test", "--ckpt_path", "no.ckpt"], 1, "ckpt_path: no.ckpt: no such file"),
    "no last": (
        ["fit", "--config", "tiny.yaml", "--ckpt_path", "last"],
        1,
        "there is no logs/tiny/version_*/checkpoints/last.ckpt",
    ),
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
    assert not list(Path("logs").rglob("version_*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said(refusal):
    assert (
        "No supported gpu backend found" in refusal("fit", "--config", "tiny.yaml", "--trainer.accelerator", "gpu")[1]
    )


class Boom:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


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
    assert "does not stand at the end of an epoch" in line


# -------------------------------------------------------------------------------------- the synthetic fallback


@pytest.fixture
def without_data(monkeypatch, workplace):
    """Fashion-MNIST is missing, and the address to download it from does not answer."""
    monkeypatch.setenv("FASHIONREG_DATA", str(workplace / "nowhere"))
    return [
        "--data",
        "fashionreg.data.datamodules.FashionMNISTDataModule",
        "--data.init_args.mirror",
        "http://127.0.0.1:9/",
    ]


def test_missing_data_is_never_replaced_unasked(without_data, run):
    code, _, err = run("fit", "--config", "tiny.yaml", *without_data)
    assert code == 1
    assert "Three ways on" in err.splitlines()[-1]
    assert not files("logs")


def test_missing_data_is_replaced_loudly_when_asked(without_data, run):
    code, out, _ = run(
        "fit", "--config", "tiny.yaml", *without_data, "--synthetic_if_missing", "true", "--trainer.max_epochs", 1
    )
    assert code == 0
    loud = [line for line in out.splitlines() if "SYNTHETIC DATA" in line]
    assert len(loud) == 1
    assert "could not be downloaded from http://127.0.0.1:9/" in loud[0]
    assert "run     tiny-synthetic" in out
    assert "on synthetic garments:" in out
    config = yaml.safe_load(Path("logs/tiny-synthetic/version_0/config.yaml").read_text())
    assert config["data"]["class_path"].endswith("SyntheticDataModule")
    assert fitted_again(run)


def fitted_again(run):
    return run("test", "--ckpt_path", "logs/tiny-synthetic/version_0/checkpoints/last.ckpt")[0] == 0
