"""What is left of the configuration in a checkpoint."""

import enum
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml

from fashionreg.errors import UserError
from fashionreg.runs import trust
from fashionreg.training.cli import CALLBACKS
from samples import message

CHECKOUT = Path(__file__).parents[2]


class Level(enum.Enum):
    low = 1


@pytest.mark.parametrize(
    "hint",
    [
        str,
        str | None,
        Path,
        Literal["a", "b"],
        list[str],
        Mapping[str, str | int],
        tuple[str, ...],
        Sequence[str],
        Level,
    ],
)
def test_a_text_stays_a_text_where_a_text_is_declared(hint):
    assert trust.is_plain("os.system", hint)


@pytest.mark.parametrize(
    "hint",
    [
        Any,
        object,
        type,
        Callable,
        Callable[[int], str],
        type[torch.nn.Module],
        torch.Tensor,
        str | Callable[[], int],
        list[Callable[[], int]],
        Mapping[str, Any],
        float | torch.Tensor,
    ],
)
def test_a_text_that_could_be_imported_is_none(hint):
    assert not trust.is_plain("os.system", hint)
    assert not trust.is_plain("{class_path: a}", hint)
    assert not trust.is_plain("file.yaml", hint)


def test_a_word_is_plain_where_nothing_is_declared():
    assert trust.is_plain("relu", Any)


def test_the_allow_list_holds_what_is_defined_here_and_nothing_else():
    assert {path.rpartition(".")[2] for path in trust.MODELS} == {"Classifier", "BaselineMLP", "RegularizedMLP"}
    assert {"torch.optim.SGD", "torch.optim.AdamW", "torch.optim.sgd.SGD"} <= trust.OPTIMIZATION.keys()
    assert {"torch.optim.lr_scheduler.StepLR", "lightning.pytorch.cli.ReduceLROnPlateau"} <= trust.OPTIMIZATION.keys()
    ours = [*trust.MODELS.items(), *trust.DATA.items(), *trust.OPTIMIZATION.items()]
    for path, cls in ours:
        assert f"{cls.__module__}.".startswith(("fashionreg.", "torch.optim.", "lightning.pytorch.cli.")), path
    assert not [path for path in CALLBACKS if "Record" in path or "Checkpoint" in path or "Lambda" in path]


@pytest.mark.parametrize("path", sorted(CHECKOUT.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_pass_unchanged(path):
    from fashionreg.config import read_layers

    for content in read_layers(path):
        # a file that builds on another may leave the class to it
        config = {name: value for name, value in content.items() if "class_path" in value or name == "trainer"}
        kept = trust.as_data(config, "x", callbacks=CALLBACKS)
        for name in {"model", "data"} & config.keys():
            config[name] = {"init_args": {}} | config[name]
        callbacks = [callback | {"init_args": {}} for callback in config.get("trainer", {}).get("callbacks", [])]
        expected = {"trainer": config.get("trainer", {}) | ({"callbacks": callbacks} if callbacks else {})}
        assert kept == config | expected


def test_every_argument_of_a_shipped_callback_and_scheduler_passes():
    config = yaml.safe_load("""
    seeds: [3, 7]
    model:
      class_path: fashionreg.models.RegularizedMLP
      init_args:
        hidden_sizes: [8, 4]
        optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.1, betas: [0.9, 0.99], foreach: null}}
        lr_scheduler:
          class_path: lightning.pytorch.cli.ReduceLROnPlateau
          init_args: {monitor: val/loss, mode: min, factor: 0.5}
    data: {class_path: fashionreg.data.datamodules.CSVDataModule, init_args: {path: ../some/data.csv, val_size: 0.1}}
    trainer:
      max_epochs: 3
      precision: bf16-mixed
      accelerator: gpu
      devices: [0]
      gradient_clip_algorithm: norm
      max_time: '00:00:12:00'
      logger: false
      callbacks:
      - {class_path: fashionreg.callbacks.drift.ActivationDrift, init_args: {every_n_steps: 50}}
      - {class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {monitor: val/acc, mode: max}}
    """)
    assert trust.as_data(config, "x", callbacks=CALLBACKS) == config
    assert "callbacks" not in trust.as_data(config, "x")["trainer"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("accelerator", "mymodule.Foo"),
        ("strategy", "ddp"),
        ("profiler", "simple"),
        ("default_root_dir", "/etc"),
        ("model_registry", "x"),
        ("logger", "CSVLogger"),
        ("callbacks+", [{"class_path": "a.B"}]),
        ("precision", "evil.yaml"),
    ],
)
def test_places_and_names_that_change_no_result_are_left_out(option, value):
    assert trust.as_data({"trainer": {option: value}}, "x")["trainer"] == {}


def test_what_is_no_part_of_a_run_is_left_out():
    config = {"name": "a/b", "seeds": 3, "out": "x", "force": True, "ckpt_path": "y", "threads": 2, "fit": {"a": 1}}
    assert trust.as_data(config, "x") == {"name": "a/b", "seeds": 3, "trainer": {}}


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ({"path": "a.csv"}, None),
        ({"train.size": 3}, "has 'train.size' where the name of an argument stands"),
        ({3: 3}, "has 3 where the name of an argument stands"),
        ({"train_size": b"x"}, "is a bytes, not plain data"),
        ({"train_size": "os.system"}, "names 'os.system'"),
    ],
)
def test_arguments_are_plain(argument, fault):
    config = {"data": {"class_path": "fashionreg.data.datamodules.CSVDataModule", "init_args": argument}}
    if fault is None:
        assert trust.as_data(config, "x")["data"]["init_args"] == argument
        return
    with pytest.raises(UserError) as error:
        trust.as_data(config, "x")
    assert fault in message(error)


def test_a_folder_that_has_the_data_is_read_and_no_other(tmp_path):
    source = "fashionreg.data.datamodules.FashionMNISTDataModule"

    def kept():
        arguments = {"root": str(tmp_path), "mirror": "http://example.org", "train_size": 10}
        config = {"data": {"class_path": source, "init_args": arguments}}
        return trust.as_data(config, "x")["data"]["init_args"]

    assert kept() == {"train_size": 10}
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in trust.FILES:
        (raw / name).touch()
    assert kept() == {"train_size": 10, "root": str(tmp_path)}


@pytest.mark.parametrize(
    ("path", "name", "root"),
    [
        ("logs/bn/version_0/checkpoints/last.ckpt", "bn", "logs"),
        ("logs/group/bn/version_12/checkpoints/best.ckpt", "group/bn", "logs"),
        ("bn/version_0/checkpoints/last.ckpt", "bn", "."),
        ("/a/b/bn/version_0/checkpoints/last.ckpt", "bn", "/a/b"),
        ("logs/other/version_0/checkpoints/last.ckpt", "bn", "default"),
        ("logs/bn/test_0/checkpoints/last.ckpt", "bn", "default"),
        ("version_0/checkpoints/last.ckpt", "bn", "default"),
        ("checkpoints/last.ckpt", "bn", "default"),
        ("last.ckpt", "bn", "default"),
    ],
)
def test_results_go_beside_the_run_of_the_checkpoint(path, name, root):
    assert trust.results_root(Path(path), name, "default") == root


def test_the_users_own_words_are_found_wherever_they_stand():
    words = ["--model=my.Net", "--config", "data: {class_path: my.Data}\ntrainer: {logger: false}"]
    words += ["--model.init_args.optimizer", '{"class_path": "my.Optimizer"}', "--trainer.callbacks+", "my.Look"]
    named = trust.named_by_user(words)
    assert {"my.Net", "my.Data", "my.Optimizer", "my.Look", "trainer.logger", "trainer.callbacks+"} <= named
    assert "trainer.callbacks" not in named
