"""What is left of the configuration in a checkpoint."""

import enum
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml

from fashionreg.data.sources import FILES
from fashionreg.errors import UserError
from fashionreg.runs import allowed, trust
from fashionreg.runs.contents import without_paths
from fashionreg.runs.folder import results_root
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
    assert allowed.is_plain("os.system", hint)


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
    assert not allowed.is_plain("os.system", hint)
    assert not allowed.is_plain("{class_path: a}", hint)
    assert not allowed.is_plain("file.yaml", hint)


def test_a_word_is_plain_where_nothing_is_declared():
    assert allowed.is_plain("relu", Any)


def test_the_allow_list_holds_what_is_defined_here_and_nothing_else():
    assert {path.rpartition(".")[2] for path in allowed.MODELS} == {
        "Classifier",
        "BaselineMLP",
        "RegularizedMLP",
        "StackedClassifier",
    }
    assert {"torch.optim.SGD", "torch.optim.AdamW", "torch.optim.sgd.SGD"} <= allowed.OPTIMIZATION.keys()
    assert {"torch.optim.lr_scheduler.StepLR", "lightning.pytorch.cli.ReduceLROnPlateau"} <= allowed.OPTIMIZATION.keys()
    ours = [*allowed.MODELS.items(), *allowed.DATA.items(), *allowed.OPTIMIZATION.items()]
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
        ("devices", 4),
        ("devices", [0, 1]),
        ("devices", "9" * 30),
        ("num_nodes", 2),
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
        ({"train.size": 3}, "has 'train.size' where an argument name is expected"),
        ({3: 3}, "has 3 where an argument name is expected"),
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


def test_a_folder_in_which_all_data_are_whole_is_read_and_no_other(tmp_path):
    source = "fashionreg.data.datamodules.FashionMNISTDataModule"

    def kept(root=str(tmp_path)):
        arguments = {"root": root, "mirror": "http://example.org", "train_size": 10}
        return trust.as_data({"data": {"class_path": source, "init_args": arguments}}, "x")["data"]["init_args"]

    assert kept() == {"train_size": 10}
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, axes in FILES.items():
        (raw / name).write_bytes(bytes((0, 0, 8, axes)) + 4 * axes * b"\0")
    assert kept() == {"train_size": 10, "root": str(tmp_path)}
    for odd in (5, ["a"], "a\0b", "a" * 5000):
        assert kept(odd) == {"train_size": 10}
    # a fit would replace what is damaged
    (raw / name).write_text("of the user")
    assert kept() == {"train_size": 10}


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
    assert results_root(Path(path), name, "default") == root


def test_the_users_own_words_count_for_model_and_data():
    layer = {"data": {"class_path": "my.Data"}, "trainer": {"logger": False, "callbacks": ["my.Stop"]}}
    arguments = ["--model=my.Net", "--model.init_args.optimizer", '{"class_path": "my.Optimizer"}']
    named = trust.named_by_user([layer], [*arguments, "--trainer.callbacks+", "my.Look"])
    assert {"my.Net", "my.Data", "my.Optimizer", "trainer.logger", "trainer.callbacks+"} <= named
    assert not {"my.Look", "my.Stop"} & named


@pytest.mark.parametrize(
    "text", ["&a {model: *a}", "a: &b [1]\nmodel: [" + "*b, " * 60_000 + "]", "{a: " * 500, "a: b: c"]
)
def test_arguments_without_end_name_nothing_within_them(text):
    assert trust.named_by_user([], ["--model", text]) <= {text}


def test_a_configuration_is_no_larger_than_a_file_may_be():
    with pytest.raises(UserError, match="is larger than 1,000,000 bytes"):
        trust.configuration("name: x\n" + "#\n" * 600_000, "x")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": None}, "name: is None, not a folder below that of the results"),
        ({"name": ".."}, "name: is '..', not a folder"),
        ({"seeds": "x"}, "seeds: must be a count or a list of whole numbers, got x"),
        ({"seeds": [True]}, "seeds: must be a count or a list of whole numbers"),
        ({"seeds": None}, "seeds: must be a count or a list of whole numbers, got None"),
        ({"model": 5}, "model: must name a class by class_path, got 5"),
        ({"data": {"class_path": 7}}, "data: must name a class by class_path, got a mapping of 1"),
        ({"model": {"class_path": "a", "init_args": [1]}}, "model.init_args: must be a mapping, got a list of 1"),
        ({"trainer": [1]}, "trainer: must be a mapping, got a list of 1"),
    ],
)
def test_a_configuration_of_another_shape_is_one_line(change, fault):
    with pytest.raises(UserError) as error:
        trust.configuration(yaml.safe_dump(change), "x.ckpt")
    assert message(error).startswith(f"x.ckpt: the configuration in it: {fault}")


@pytest.mark.parametrize(
    "state",
    [
        {"dirpath": "a"},
        {"best_k_models": {"a": 1}},
        {"best_model_path": "a"},
        {"kth_best_model_path": "a"},
        {"my_model_path": "a"},
    ],
)
def test_states_that_keep_paths_are_dropped(state):
    other = {"EarlyStopping": {"wait_count": 1}, "Mine": [1]}
    assert without_paths(other | {"Any{'key': 1}": state | {"monitor": "x"}}) == other


def test_a_mapping_that_names_a_class_stays_a_mapping_wherever_checkpoints_are_loaded():
    code = (
        "from typing import Any\n"
        "import fashionreg.runs.trust\n"
        "from jsonargparse import ArgumentParser\n"
        "parser = ArgumentParser()\n"
        "parser.add_argument('--a', type=Any)\n"
        "parsed = parser.parse_object({'a': {'class_path': 'collections.OrderedDict'}})\n"
        "print(type(parser.instantiate_classes(parsed).a).__name__)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() != "OrderedDict"
    assert "fashionreg.runs import trust" in (CHECKOUT / "src/fashionreg/runs/export.py").read_text()
