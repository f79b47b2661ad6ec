"""Nothing in a checkpoint, a record or a study's file runs code or chooses where files are written."""

import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from conftest import TINY
from fashionreg.cli import main
from fashionreg.runs.checkpoint import CONFIG_KEY
from sample_studies import write_study
from samples import LAST, files

#: What each command needs besides the checkpoint.
COMMANDS = {
    "fit": ["--trainer.max_epochs", 2],
    "validate": [],
    "test": [],
    "predict": ["--images", "black.png", "--out", "out.csv"],
    "export": ["--out", "net.pt"],
}

#: A module of the working folder that shows when it is imported.
MODULE = """
from pathlib import Path
Path("PWNED").touch()
from fashionreg.callbacks import Histograms as Look
from fashionreg.data.datamodules import SyntheticDataModule as Data
from fashionreg.models import RegularizedMLP
from torch.optim import SGD as Foo
foo = print
class Net(RegularizedMLP):
    pass
"""

#: Runs a command as soon as it is made, wherever any object may stand.
MOCK = {
    "class_path": "unittest.mock.MagicMock",
    "init_args": {
        "return_value": {"class_path": "subprocess.Popen", "init_args": {"args": "touch PWNED", "shell": True}}
    },
}
NETWORK = "fashionreg.models.RegularizedMLP"
LAMBDA_LR = "torch.optim.lr_scheduler.LambdaLR"
SYNTHETIC = "fashionreg.data.datamodules.SyntheticDataModule"


def model(**arguments):
    return {"model": {"class_path": NETWORK, "init_args": arguments}}


def scheduler(class_path, **arguments):
    return model(lr_scheduler={"class_path": class_path, "init_args": arguments})


def callback(class_path, **arguments):
    return {"trainer": {"callbacks": [{"class_path": class_path, "init_args": arguments}]}}


def given(option, class_path, **arguments):
    return {"trainer": {option: {"class_path": class_path, "init_args": arguments}}}


def sgd(**arguments):
    return model(optimizer={"class_path": "torch.optim.SGD", "init_args": arguments})


#: What a stranger could write where the configuration says what to compute: refused by every command.
IN_MODEL_AND_DATA = {
    "a model of the working folder": {"model": {"class_path": "mymodule.Net"}},
    "a model by name alone": {"model": "mymodule.Net"},
    "a function as model": {"model": {"class_path": "fashionreg.models.classifier.torch.hub.load"}},
    "a module reached through torch": {"model": {"class_path": "torch.optim.sys.modules"}},
    "a model of torch": {"model": {"class_path": "torch.nn.Sequential"}},
    "a class of another kind": {"model": {"class_path": "torch.optim.SGD"}},
    "data of the working folder": {"data": {"class_path": "mymodule.Data"}},
    "an optimizer of the working folder": model(optimizer={"class_path": "mymodule.Foo"}),
    "an optimizer by name alone": model(optimizer="mymodule.Foo"),
    "an optimizer reached through torch.optim": model(optimizer={"class_path": "torch.optim.lr_scheduler.types.Foo"}),
    "an optimizer in a file": model(optimizer="evil.yaml"),
    "an optimizer as YAML within YAML": model(optimizer='{class_path: "mymodule\\x2eFoo"}'),
    "an optimizer with a dotted key": model(**{"optimizer.class_path": "mymodule.Foo"}),
    "a scheduler of the working folder": scheduler("mymodule.Foo"),
    "a scheduler with a function": scheduler(LAMBDA_LR, lr_lambda="mymodule.foo"),
    "a scheduler with a mock": scheduler(LAMBDA_LR, lr_lambda=MOCK),
    "an argument of an optimizer": sgd(lr=MOCK),
    "an argument deep inside": sgd(lr=0.1, betas=[[{"a": MOCK}]]),
    "an argument of the model": model(dropout=MOCK),
    "an argument of the data": {"data": {"class_path": SYNTHETIC, "init_args": {"train_size": MOCK}}},
    "arguments that nobody checks": {"model": {"class_path": NETWORK, "dict_kwargs": {"a": MOCK}}},
}  # fmt: skip

#: What is no configuration, with or without trust.
MALFORMED = {
    "a name above the results": {"name": "../outside"},
    "an absolute name": {"name": "/tmp/outside"},
    "a name that no folder can have": {"name": "a\0b"},
    "no name": {"name": None},
    "a class as seeds": {"seeds": MOCK},
    "text as seeds": {"seeds": ["x"]},
    "a list as arguments": {"model": {"init_args": [1]}},
    "a number as data": {"data": 3},
    "a list as trainer": {"trainer": [1]},
}

#: What the trainer could be given: refused when a run goes on, and read by no other command.
IN_TRAINER = {
    "the callback of the issue": callback("lightning.pytorch.callbacks.LambdaCallback", setup=MOCK),
    "a callback of the working folder": callback("mymodule.Look"),
    "a callback by name alone": {"trainer": {"callbacks": ["mymodule.Look"]}},
    "one callback without a list": {"trainer": {"callbacks": {"class_path": "mymodule.Look"}}},
    "an argument of a callback": callback("fashionreg.callbacks.Histograms", replica=MOCK),
    "a callback that writes": callback("lightning.pytorch.callbacks.ModelCheckpoint", dirpath="outside"),
    "our own callback that writes": callback(
        "fashionreg.callbacks.run_record.RunRecord", folder="outside", about={"config": "a: 1"}
    ),
    "a logger": given("logger", "lightning.pytorch.loggers.CSVLogger", save_dir="outside"),
    "loggers": {"trainer": {"logger": [{"class_path": "mymodule.Foo"}]}},
    "a profiler": given("profiler", "lightning.pytorch.profilers.SimpleProfiler", dirpath="outside", filename="x"),
    "plugins": {"trainer": {"plugins": [{"class_path": "mymodule.Foo"}]}},
    "a strategy": {"trainer": {"strategy": {"class_path": "mymodule.Foo"}}},
    "an accelerator": {"trainer": {"accelerator": {"class_path": "mymodule.Foo"}}},
}  # fmt: skip


@pytest.fixture(scope="module")
def good_checkpoint(tmp_path_factory):
    """A checkpoint of a small run, as plain data."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "tiny.yaml").write_text(TINY.replace("max_epochs: 2", "max_epochs: 1"))
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "--config", "tiny.yaml"]) == 0
    finally:
        os.chdir(before)
    return torch.load(folder / LAST, weights_only=True)


def merged(config, change):
    if not isinstance(config, dict) or not isinstance(change, dict):
        return change
    return config | {name: merged(config.get(name), value) for name, value in change.items()}


def dumped(config):
    """The text of a configuration; by libyaml, which takes a twentieth of the time where it is long."""
    return yaml.dump(config, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))


@pytest.fixture
def stranger(good_checkpoint, workplace, monkeypatch):
    """Writes a checkpoint whose configuration was changed, in a folder with things that a stranger could count on."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mymodule", raising=False)
    (workplace / "mymodule.py").write_text(MODULE)
    for name in ("evil.yaml", "evil", "cpu"):
        (workplace / name).write_text("class_path: mymodule.Foo")
    Image.new("L", (28, 28)).save("black.png")

    def stranger(*changes, **others):
        config = yaml.safe_load(good_checkpoint[CONFIG_KEY])
        for change in changes:
            config = merged(config, change)
        content = good_checkpoint | {CONFIG_KEY: dumped(config)} | others
        Path(LAST).parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, LAST)

    return stranger


def nothing_happened():
    assert "mymodule" not in sys.modules
    names = {path.name for path in Path().iterdir()}
    assert names <= {
        "mymodule.py",
        "evil.yaml",
        "evil",
        "cpu",
        "black.png",
        "tiny.yaml",
        "logs",
        "out.csv",
        "net.pt",
        "data",
    }
    assert not Path("../outside").exists()
    assert not Path("/tmp/outside").exists()
    assert {path.name for path in Path("logs").iterdir()} == {"tiny"}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", IN_MODEL_AND_DATA)
def test_a_checkpoint_that_names_code_or_places_is_refused(stranger, run, command, case):
    stranger(IN_MODEL_AND_DATA[case])
    code, _, err = run(command, "--ckpt_path", LAST, *COMMANDS[command])
    nothing_happened()
    assert code == 1
    assert err.startswith(f"fashionreg: error: ckpt_path: {LAST}: refused: ")
    assert len(err.splitlines()) == 1
    assert [path.name for path in Path("logs/tiny").iterdir()] == ["version_0"]


@pytest.mark.parametrize("command", ["fit", "test", "export"])
@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("trust", [[], ["--trust_checkpoint"]], ids=["untrusted", "trusted"])
def test_a_malformed_configuration_in_a_checkpoint_is_one_line(stranger, refusal, command, case, trust):
    stranger(MALFORMED[case])
    code, line = refusal(command, "--ckpt_path", LAST, *COMMANDS[command], *trust)
    nothing_happened()
    assert code == 1
    assert f"ckpt_path: {LAST}: the configuration in it: " in line


@pytest.mark.parametrize("case", IN_TRAINER)
def test_a_run_does_not_go_on_with_what_a_checkpoint_gives_the_trainer(stranger, run, case):
    stranger(IN_TRAINER[case])
    code, _, err = run("fit", "--ckpt_path", LAST, *COMMANDS["fit"])
    nothing_happened()
    assert code == 1
    assert err.startswith(f"fashionreg: error: ckpt_path: {LAST}: refused: trainer.")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["validate", "test", "predict", "export"])
def test_a_checkpoint_does_not_start_processes(stranger, run, command):
    for devices in (3, "9" * 5000, [0, 1]):
        stranger({"trainer": {"devices": devices, "num_nodes": 2, "strategy": "ddp"}})
        code, _, err = run(command, "--ckpt_path", LAST, *COMMANDS[command], *(["--force"] * (command == "predict")))
        assert (code, err) == (0, "")
        Path("net.pt").unlink(missing_ok=True)
    nothing_happened()


#: What takes minutes to make, and is written in a line.
LONG = {
    "layers": model(hidden_sizes=[1] * 40_000),
    "some layers": model(hidden_sizes=[1] * 3000),
    "seeds": {"seeds": list(range(40_000))},
    "a count of seeds": {"seeds": 20_000},
    "callbacks": {"trainer": {"callbacks": 3000 * ["fashionreg.callbacks.TrainingImages"]}},
    "milestones": scheduler("torch.optim.lr_scheduler.MultiStepLR", milestones=[1] * 40_000),
}


@pytest.mark.parametrize(
    ("command", "case"),
    # callbacks are no concern of the other commands
    [
        (command, case)
        for command in ("fit", "test", "export")
        for case in LONG
        if command == "fit" or case != "callbacks"
    ],
)
def test_a_long_configuration_in_a_checkpoint_is_refused_before_anything_is_made(stranger, refusal, command, case):
    stranger(LONG[case])
    start = time.perf_counter()
    _, line = refusal(command, "--ckpt_path", LAST, *COMMANDS[command])
    assert time.perf_counter() - start < 10
    if case == "seeds":
        assert "seeds must be at most 10,000, found 40,000" in line
    elif case != "a count of seeds":
        assert "must be of at most 600 values, where a text counts as 10, found " in line


@pytest.mark.parametrize("command", ["validate", "test", "predict", "export"])
def test_what_only_a_fit_uses_is_not_even_read_by_other_commands(stranger, run, command):
    trainer = {}
    for case in IN_TRAINER.values():
        trainer |= {name: [*trainer.get(name, []), value] for name, value in case["trainer"].items()}
    stranger({"trainer": trainer})
    code, _, err = run(command, "--ckpt_path", LAST, *COMMANDS[command])
    assert (code, err) == (0, "")
    nothing_happened()


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_a_checkpoint_does_not_say_where_to_write(stranger, run, command):
    Path("mine.csv").write_text("mine")
    stranger({"trainer": {"default_root_dir": "outside"}, "out": "mine.csv", "force": True, "images": ["mine.csv"]})
    code, _, err = run(command, "--ckpt_path", LAST, *COMMANDS[command])
    assert (code, err) == (0, "")
    assert not Path("outside").exists()
    assert Path("mine.csv").read_text() == "mine"
    made = {"fit": "logs/tiny/version_1", "test": "logs/tiny/test_0", "predict": "out.csv"}[command]
    assert Path(made).exists()


def test_results_go_to_where_the_checkpoint_lies(stranger, run, workplace):
    stranger({"trainer": {"default_root_dir": "outside"}})
    Path("logs").rename("moved")
    assert run("test", "--ckpt_path", f"moved/{Path(LAST).relative_to('logs')}")[0] == 0
    assert Path("moved/tiny/test_0/metrics.csv").exists()
    Path("moved/tiny/version_0/checkpoints/last.ckpt").rename("alone.ckpt")
    assert run("test", "--ckpt_path", "alone.ckpt")[0] == 0
    assert Path("logs/tiny/test_0/metrics.csv").exists()


#: The key of a `ModelCheckpoint` with the options that `keep_best` gives it.
KEY = "ModelCheckpoint{{'monitor': {!r}, 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1, {}}}"
KEY = KEY.format("train/loss", "'train_time_interval': None")


@pytest.mark.parametrize("place", ["mine/work.ckpt", "mine/other", "mine/../precious"])
@pytest.mark.parametrize("way", ["--ckpt_path", "--config"])
def test_a_checkpoint_does_not_say_what_to_remove(stranger, good_checkpoint, run, place, way):
    work = [Path("mine/work.ckpt"), Path("mine/other/work.ckpt"), Path("precious/work.ckpt")]
    for path in work:
        path.parent.mkdir(exist_ok=True)
        path.write_text("work")
    here = Path.cwd()
    state = {"monitor": "train/loss", "dirpath": str(here / "mine"), "last_model_path": str(here / place)}
    state |= {name: torch.tensor(9.0) for name in ("best_model_score", "current_score", "kth_value")}
    state |= {"best_model_path": str(here / place), "kth_best_model_path": str(here / place)}
    state["best_k_models"] = {str(here / place): torch.tensor(9.0)}
    states = good_checkpoint["callbacks"]
    stranger(callbacks=states | {KEY: state, "EpochCheckpoint": states["EpochCheckpoint"] | state})
    own = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}
    own["init_args"] = {"dirpath": "mine", "monitor": "train/loss", "save_top_k": 1, "save_last": True}
    config = {"trainer": {"callbacks": [own], "max_epochs": 2}} | ({"ckpt_path": LAST} if way == "--config" else {})
    Path("own.yaml").write_text(yaml.safe_dump(config))
    words = ["--config", "tiny.yaml"] if way == "--config" else ["--ckpt_path", LAST]
    code, _, err = run("fit", *words, "--config", "own.yaml")
    assert (code, err) == (0, "")
    assert [path.read_text() for path in work] == ["work"] * 3
    # the callback of the user has worked
    assert len(list(Path("mine").glob("*.ckpt"))) == 3


def test_a_checkpoint_does_not_say_where_to_download_from_or_to(stranger, run, monkeypatch):
    monkeypatch.setattr(
        "fashionreg.data.sources._download", lambda folder, names, mirror: asked.append((folder, mirror))
    )
    monkeypatch.delenv("FASHIONREG_DATA", raising=False)
    asked = []
    source = "fashionreg.data.datamodules.FashionMNISTDataModule"
    stranger(
        {"data": None},
        {"data": {"class_path": source, "init_args": {"root": "outside", "mirror": "http://127.0.0.1:9/"}}},
    )
    assert run("test", "--ckpt_path", LAST)[0] == 1
    assert {(str(folder), mirror) for folder, mirror in asked} == {("data/FashionMNIST/raw", None)}
    nothing_happened()


def test_the_hyperparameters_in_a_checkpoint_make_nothing(stranger, good_checkpoint, run):
    hostile = {"_instantiator": "lightning.pytorch.cli.instantiate_module", "optimizer": {"class_path": "mymodule.Foo"}}
    stranger(hyper_parameters=good_checkpoint["hyper_parameters"] | hostile)
    for command in ("fit", "export"):
        assert run(command, "--ckpt_path", LAST, *COMMANDS[command])[0] == 0
    nothing_happened()


@pytest.mark.parametrize(
    "text",
    [
        "&a {model: *a}",
        "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
        "{a: " * 3000,
        "model: " + "[" * 400 + "]" * 400,
        "!!python/object/apply:os.system ['touch PWNED']",
        "[1, 2]",
        "name: 2020-99-99",
        "model: {class_path: !!binary aGVsbG8=}",
        17,
    ],
    ids=["circle", "billion", "braces", "brackets", "python", "list", "date", "binary", "number"],
)
@pytest.mark.parametrize("command", ["test", "export"])
def test_a_configuration_that_is_none_ends_in_one_line(stranger, refusal, command, text):
    stranger(**{CONFIG_KEY: text})
    code, line = refusal(command, "--ckpt_path", LAST)
    assert code == 1
    assert len(line) < 500
    nothing_happened()


# ----------------------------------------------------------------------------------------------- the user's word

OWN = {"model": {"class_path": "mymodule.Net"}}


def test_a_refusal_names_class_place_reason_and_both_ways_on(stranger, refusal):
    stranger(OWN)
    assert refusal("test", "--ckpt_path", LAST)[1] == (
        f"fashionreg: error: ckpt_path: {LAST}: refused: model names 'mymodule.Net', which a checkpoint alone may not "
        "name here: only the models, data modules, regularizers and callbacks of fashionreg and the optimizers and "
        "schedulers of torch may stand there; name it yourself (in a --config, or as an option such as --model CLASS), "
        "or give --trust_checkpoint if you know who made it"
    )


@pytest.mark.parametrize(
    "words",
    [["--model", "mymodule.Net"], ["--model=mymodule.Net"], ["--config", "own.yaml"], ["--trust_checkpoint"]],
    ids=" ".join,
)
def test_a_class_of_the_user_comes_with_the_users_word(stranger, run, words):
    Path("base.yaml").write_text(yaml.safe_dump(OWN))
    Path("own.yaml").write_text("base: base.yaml")
    stranger(OWN)
    for command in ("fit", "predict"):
        code, _, err = run(command, "--ckpt_path", LAST, *COMMANDS[command], *words)
        assert (code, err) == (0, ""), command


def test_export_takes_a_class_of_the_user_from_a_trusted_checkpoint(stranger, run):
    stranger(OWN)
    assert run("export", "--ckpt_path", LAST, "--out", "net.pt", "--trust_checkpoint")[0] == 0
    assert Path("net.pt").exists()


def test_a_word_is_not_read_as_the_name_of_a_file(stranger, run):
    stranger(scheduler(LAMBDA_LR, lr_lambda="evil"), {"trainer": {"accelerator": "cpu"}})
    run("test", "--ckpt_path", LAST)
    nothing_happened()


def test_the_name_of_a_file_is_no_word_of_the_user(stranger, refusal):
    stranger(OWN)
    Path(LAST).rename("mymodule.Net")
    words = ["--images", "black.png", "mymodule.Net", "--name", "mymodule.Net"]
    assert "names 'mymodule.Net'" in refusal("predict", "--ckpt_path", "mymodule.Net", *words)[1]
    assert "mymodule" not in sys.modules


@pytest.mark.parametrize("arguments", [{"dropout": 5}, {"hidden_sizes": [-1]}, {"hidden_sizes": "x"}, {"nonsense": 1}])
@pytest.mark.parametrize("command", ["test", "export"])
def test_arguments_that_will_not_do_end_in_one_line(stranger, refusal, command, arguments):
    stranger(model(**arguments))
    refusal(command, "--ckpt_path", LAST, *COMMANDS[command])


def test_the_word_for_one_class_is_none_for_another(stranger, refusal):
    stranger(OWN, {"data": {"class_path": "mymodule.Data"}})
    _, line = refusal("test", "--ckpt_path", LAST, "--model", "mymodule.Net")
    assert "data names 'mymodule.Data'" in line


@pytest.mark.parametrize("option", ["--trainer.callbacks+", "--trainer.callbacks+=", "--config"])
def test_the_users_word_for_a_callback_is_none_for_the_arguments_in_a_checkpoint(stranger, refusal, option):
    checkpoint = "lightning.pytorch.callbacks.ModelCheckpoint"
    stranger(callback(checkpoint, dirpath="outside"))
    Path("own.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": [{"class_path": checkpoint}]}}))
    words = {"--config": ["--config", "own.yaml"], "--trainer.callbacks+": [option, checkpoint]}
    _, line = refusal("fit", "--ckpt_path", LAST, *COMMANDS["fit"], *words.get(option, [option + checkpoint]))
    assert f"trainer.callbacks[0] names '{checkpoint}'" in line
    assert "set --trainer.callbacks yourself, or give --trust_checkpoint" in line
    assert not Path("outside").exists()


def test_callbacks_of_the_user_take_the_place_of_refused_ones(stranger, run):
    stranger(callback("lightning.pytorch.callbacks.ModelCheckpoint", dirpath="outside"))
    words = ["--trainer.callbacks", "fashionreg.callbacks.TrainingImages"]
    assert run("fit", "--ckpt_path", LAST, *COMMANDS["fit"], *words)[0] == 0
    assert not Path("outside").exists()
    config = yaml.safe_load(Path("logs/tiny/version_1/config.yaml").read_text())
    assert config["trainer"]["callbacks"]["class_path"] == "fashionreg.callbacks.TrainingImages"


def test_a_resumed_run_keeps_the_callbacks_that_only_look(stranger, run):
    kept = ["fashionreg.callbacks.TrainingImages", "lightning.pytorch.callbacks.LearningRateMonitor"]
    stranger({"trainer": {"callbacks": [{"class_path": class_path} for class_path in kept]}})
    assert run("fit", "--ckpt_path", LAST, *COMMANDS["fit"])[0] == 0
    config = yaml.safe_load(Path("logs/tiny/version_1/config.yaml").read_text())
    assert [each["class_path"] for each in config["trainer"]["callbacks"]] == kept


# ------------------------------------------------------------------------------------------- records and studies


@pytest.fixture
def hostile_study(stranger):
    """A study whose files name code wherever they name anything, and hold HTML wherever they hold text."""
    script = "<script>alert(1)</script>"
    folder = write_study(Path("hostile"), ("plain <script>alert(1)", "bn"), seeds=range(5), epochs=3, question=script)
    config = {
        "trainer": {"callbacks": [MOCK], "logger": MOCK, "default_root_dir": "outside"},
        "model": {"class_path": "mymodule.Net", "init_args": {"optimizer": MOCK}},
        "data": {"class_path": "mymodule.Data", "init_args": {"a": MOCK}},
    }
    plan = json.loads((folder / "study.json").read_text())
    for variant in plan["variants"]:
        variant["config"] = config
    (folder / "study.json").write_text(json.dumps(plan | {"source": script}))
    for path in folder.rglob("record.json"):
        about = json.loads(path.read_text()) | {"config": config, "device": script}
        path.write_text(json.dumps(about))
        (path.parent / "config.yaml").write_text("!!python/object/apply:os.system ['touch PWNED']")
    return folder


def test_a_report_runs_nothing_that_records_name_and_shows_no_html_of_theirs(hostile_study, run):
    write_study(Path("outer"), ("plain", "bn"), seeds=range(5), epochs=3, name="../outside")
    write_study(Path("good"), ("plain", "bn"), seeds=range(5), epochs=3, name="other")
    before = files(hostile_study)
    code, _, err = run("report", "hostile", "outer", "--out", "both")
    assert (code, "name: '../outside' cannot be the name of a folder" in err) == (1, True)
    code, _, err = run("report", "hostile", "good", "--out", "both")
    assert code == 0, err
    assert "mymodule" not in sys.modules
    assert not Path("PWNED").exists()
    assert not list(Path().rglob("outside*"))
    assert "alert(1)" in (page := Path("both/report.html").read_text())
    assert "<script>alert" not in page
    text = re.sub(r"```.*?```", "", Path("both/report.md").read_text(), flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<script>", text)
    assert {path: content for path, content in files(hostile_study).items() if path in before} == before


def test_a_study_goes_on_by_its_own_file_and_not_by_what_its_folder_says(hostile_study, run):
    study = """
    name: fake
    question: Does everything work?
    seeds: 1
    reference: a
    shared: [tiny.yaml]
    variants:
      a: [{trainer: {max_epochs: 1}}]
      bn: [{trainer: {max_epochs: 1}, model: {init_args: {batch_norm: false}}}]
    """
    Path("study.yaml").write_text(study)
    # the user's own `accelerator: cpu` would be read from it
    Path("cpu").unlink()
    code, _, err = run("study", "study.yaml", "--out", "hostile")
    assert code == 0, err
    assert "mymodule" not in sys.modules
    assert not Path("PWNED").exists()
    assert not Path("outside").exists()
