"""`fashionreg fit` as a user runs it, on synthetic data."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from fashionreg import callbacks
from fashionreg.models import RegularizedMLP
from fashionreg.training.estimate import useful_threads
from samples import LAST, files

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
    assert len(table) == 3 * 2 * len(["train loss", "train acc", "test loss", "test acc", "test ece"])
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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_memory_grows_with_the_seeds_by_their_parameters_and_one_batch_not_by_the_images(workplace):
    code = """
import re
from pathlib import Path
import torch
from fashionreg.cli import main
from fashionreg.data.datamodules import synthetic
from fashionreg.data.images import LabelledImages
# noise: drawing garments takes seconds
images = torch.randint(256, (8000, 28, 28), dtype=torch.uint8)
synthetic.draw_garments = lambda count, seed: LabelledImages(images, torch.arange(count) % 10)
for seeds in (1, 100):
    options = f"--config tiny.yaml --data.init_args.train_size 4000 --trainer.max_epochs 1 --seeds {seeds}"
    options += " --data.init_args.test_size 4000 --model.init_args.hidden_sizes [64,32]"
    options += " --trainer.limit_train_batches 16"
    assert main(["fit", *options.split()]) == 0
    print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    one, hundred = (int(kilobytes) * 1024 for kilobytes in re.findall(r"peak (\d+)", out))
    parameters, batch = 4 * (784 * 64 + 64 * 32 + 32 * 10 + 298), 4 * 64 * 784
    # the images as floats, once for each seed, would be 2.5 GB, the test images evaluated at once 160 MB
    assert hundred - one < 100 * (4 * parameters + 4 * batch)
    assert len(pd.read_csv("logs/tiny/version_1/record.csv").seed.unique()) == 100


def test_a_list_of_seeds_trains_those_seeds(run):
    assert run("fit", "--config", "tiny.yaml", "--seeds", "[2, 0]")[0] == 0
    assert run("fit", "--config", "tiny.yaml", "--seeds", 3)[0] == 0
    listed, counted = (pd.read_csv(f"logs/tiny/version_{n}/record.csv") for n in (0, 1))
    keys = ["seed", "epoch", "split", "metric"]
    both = listed.merge(counted, on=keys)
    assert len(both) == len(listed) == 2 * 2 * 5
    loss = both.metric == "loss"
    assert (both.value_x - both.value_y)[loss].abs().max() < 1e-4


def test_an_lr_scheduler_is_stepped_after_every_epoch(run, monkeypatch):
    rates = []
    step = torch.optim.SGD.step

    def noting(self, closure=None):
        if self.param_groups[0]["params"][0].numel() > 1:  # the estimate of memory makes a step of a single number
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


@pytest.mark.parametrize(
    "precision", ["16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", "64", "32", "16", "bf16"]
)
@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU", "ignore:.*for historical reasons")
def test_every_precision_of_the_trainer_trains_tests_and_is_watched(run, precision):
    # Lightning turns a short name into the long one: what watches the run is not told which of them was given
    watching = callbacks.__all__ if "-" in precision else []
    words = [f"--trainer.callbacks+=fashionreg.callbacks.{name}" for name in watching]
    code, out, err = run("fit", "--config", "tiny.yaml", "--trainer.precision", precision, *words)
    assert code == 0, err
    assert "test accuracy after 2 epochs" in out
    table = pd.read_csv("logs/tiny/version_0/record.csv")
    # 200 images: only rounding may tell the precisions apart, so the first epoch's loss is near that of a guess
    assert table[table.metric == "loss"].value.between(1, 3).all()
    assert run("test", "--ckpt_path", LAST)[0] == 0


@pytest.mark.parametrize(
    ("words", "length"),
    [
        (["--trainer.max_steps", "2"], "2 steps"),
        (["--trainer.max_steps", "6"], "6 steps"),
        (["--trainer.max_steps", "8"], "2 epochs"),
        (["--trainer.max_steps", "6", "--trainer.max_epochs", "-1"], "6 steps"),
        (["--trainer.max_time", "00:00:00:01", "--trainer.max_epochs", "-1"], r"\d+ (epochs|steps)"),
    ],
)
def test_a_fit_that_ends_within_an_epoch_ends_with_a_result_that_is_in_the_record(run, words, length):
    code, out, err = run("fit", "--config", "tiny.yaml", *words)
    assert (code, err) == (0, "")
    shown = re.search(rf"test accuracy after {length} on synthetic garments: ([\d.]+)%", out)
    table = pd.read_csv("logs/tiny/version_0/record.csv").query("split == 'test' and metric == 'acc'")
    assert f"{100 * table.value.iloc[-1]:.2f}" == shown[shown.lastindex]
    assert table.epoch.iloc[-1] == pd.read_csv("logs/tiny/version_0/record.csv").epoch.max()
    assert "/-1" not in out


def test_a_fit_that_is_told_not_to_evaluate_says_so(run):
    code, out, _ = run("fit", "--config", "tiny.yaml", "--trainer.limit_val_batches", 0)
    assert code == 0
    assert "test accuracy after 2 epochs: not evaluated" in out


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
    assert model.describe() == "784-8-10, batch norm, dropout 0.2"


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


def test_last_is_the_newest_run_of_that_name(run):
    assert run("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 1)[0] == 0
    for number in range(1, 11):
        shutil.copytree("logs/tiny/version_0", f"logs/tiny/version_{number}")
    code, out, _ = run("fit", "--config", "tiny.yaml", "--ckpt_path", "last")
    assert code == 0
    assert out.splitlines()[0] == f"resume: {LAST.replace('version_0', 'version_10')} (the newest run's)"
    assert out.splitlines()[1] == "resume: after 1 epoch on SyntheticDataModule"
    config = torch.load("logs/tiny/version_11/checkpoints/last.ckpt")
    assert config["epoch"] == 1


def test_nothing_left_to_do_is_said(fitted, refusal):
    before = files("logs")
    _, line = refusal("fit", "--ckpt_path", LAST)
    assert "has done 2 epochs, and trainer.max_epochs is 2: nothing is left to do" in line
    assert files("logs") == before


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


def test_a_single_epoch_is_one_epoch(run):
    short = ["fit", "--config", "tiny.yaml", "--trainer.max_epochs", 1]
    assert "test accuracy after 1 epoch on synthetic garments" in run(*short)[1]
    assert re.search("test accuracy after 1 step(:| on)", run(*short, "--trainer.max_steps", 1)[1])


def test_the_last_run_of_a_name_is_not_resumed_on_other_data(run, refusal):
    others = ["--data", "SklearnDataModule", "--data.init_args.dataset", "iris"]
    assert run("fit", "--config", "tiny.yaml", *others)[0] == 0
    words = ["--ckpt_path", "last", "--trainer.max_epochs", 3]
    line = refusal("fit", "--config", "tiny.yaml", *words)[1]
    assert "data.class_path: the run in logs/tiny/version_0/checkpoints/last.ckpt has" in line
    assert (
        "SklearnDataModule, not fashionreg.data.datamodules.SyntheticDataModule; a resumed run is the same run" in line
    )
    out = run("fit", "--name", "tiny", *words)[1]
    assert out.splitlines()[1] == "resume: after 2 epochs on SklearnDataModule"
    assert "\ndata    scikit-learn iris" in out
