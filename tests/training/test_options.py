"""Every option of every shipped class, on the command line and in YAML, reaches the object that it belongs to."""

import functools
import inspect
import json
from typing import get_args, get_type_hints

import pytest
import yaml

from fashionreg import callbacks, regularizers
from fashionreg.config import read_layers, split_arguments
from fashionreg.data.csv_files import write_csv
from fashionreg.data.datamodules import (
    ArrayDataModule,
    CSVDataModule,
    FashionMNISTDataModule,
    SklearnDataModule,
    SyntheticDataModule,
)
from fashionreg.models import BaselineMLP, RegularizedMLP, StackedClassifier
from fashionreg.regularizers import EMA, BatchNorm, Dropout, Regularizer, WeightDecay
from fashionreg.training.fit import resolve
from samples import random_images

SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.3}}
STEP = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 2}}
SIZES = [0, 0.25, 60]
DATA = {
    "val_size": SIZES,
    "batch_size": [7],
    "normalize": [True, False],
    "evaluate_train": [True, False],
    "split_seed": [3],
    "split": ["fixed", "by_seed"],
}
MODEL = {"hidden_sizes": [[], [8], [8, 6]], "optimizer": [SGD], "lr_scheduler": [None, STEP]}

#: For each class, each option with a value of each kind that its docstring documents; seeds come from --seeds.
EXAMPLES = {
    FashionMNISTDataModule: DATA
    | {"root": [None, "somewhere"], "mirror": [None, "http://127.0.0.1:9/"], "train_size": [None, 2000, 0.5, 1.0]},
    CSVDataModule: DATA
    | {"path": ["small.csv"], "test_size": [0.5, 100], "test": ["own", "official"]}
    | {"root": [None, "somewhere"], "mirror": [None, "http://127.0.0.1:9/"]}
    | {"class_names": [None, ["a", "b"]], "label": ["species", None], "kind": ["features", "pixels"]}
    # only pixels can be normalized, or tested on the official images
    | {"normalize": [False, True]},
    SyntheticDataModule: DATA | {"train_size": [300], "test_size": [70], "data_seed": [4]},
    ArrayDataModule: {name: values for name, values in DATA.items() if name != "normalize"}
    | {"path": ["a.npy"], "labels_path": ["b.npy"], "images": [None], "labels": [None], "test_size": [0.5, 100]}
    | {"class_names": [None, ["a", "b"]], "standardize": [True, False]},
    SklearnDataModule: {name: values for name, values in DATA.items() if name != "normalize"}
    | {"dataset": ["digits", "breast_cancer", "wine", "iris"], "test_size": [0.5, 100]},
    BaselineMLP: MODEL,
    RegularizedMLP: MODEL
    | {"batch_norm": [True, False], "dropout": [0, 0.3], "regularizers": [None]}
    # layers of one width, where there is anything to add
    | {"hidden_sizes": [[], [8, 8], [8, 6]], "residual": [False, True]},
    StackedClassifier: {
        "network": [{"class_path": "torch.nn.Linear", "init_args": {"bias": False}}],
        "optimizer": [SGD],
        "lr_scheduler": [None, STEP],
        "regularizers": [None],
    },
    BatchNorm: {"eps": [1e-4], "momentum": [0.2], "place": ["before_activation", "after_activation"]},
    Dropout: {"p": [0.0, 0.3]},
    WeightDecay: {"strength": [0.0, 0.01], "biases": [True, False]},
    EMA: {"decay": [0.0, 0.9]},
    regularizers.ActivationNoise: {"std": [0.3]},
    regularizers.ConfidencePenalty: {"strength": [0.5]},
    regularizers.CutMix: {"alpha": [0.7], "p": [0.3]},
    regularizers.Cutout: {"size": [5]},
    regularizers.GaussianDropout: {"p": [0.3]},
    regularizers.GradientNoise: {"eta": [0.3], "gamma": [0.4]},
    regularizers.HorizontalFlip: {"p": [0.3]},
    regularizers.InputDropout: {"p": [0.3]},
    regularizers.InputNoise: {"std": [0.3]},
    regularizers.LabelNoise: {"p": [0.3], "fixed": [True, False]},
    regularizers.LabelSmoothing: {"smoothing": [0.05]},
    regularizers.Mixup: {"alpha": [0.4]},
    regularizers.RandomErasing: {"p": [0.3], "smallest": [0.1], "largest": [0.2], "ratio": [0.5]},
    regularizers.RandomShift: {"pixels": [3]},
    regularizers.Rotation: {"degrees": [20.0]},
    regularizers.L1: {"strength": [0.0, 0.01], "biases": [True, False]},
    regularizers.DecoupledWeightDecay: {"strength": [0.0, 0.01], "biases": [True, False]},
    regularizers.MaxNorm: {"limit": [2.0]},
    regularizers.OrthogonalPenalty: {"strength": [0.0, 0.01]},
    regularizers.SpectralNorm: {"iterations": [2]},
    regularizers.WeightClipping: {"limit": [0.5]},
    regularizers.WeightNorm: {},
    regularizers.DropConnect: {"p": [0.0, 0.4]},
    regularizers.LayerNorm: {"eps": [1e-4], "place": ["before_activation", "after_activation"]},
    regularizers.GhostBatchNorm: {
        "size": [8],
        "eps": [1e-4],
        "momentum": [0.2],
        "place": ["before_activation", "after_activation"],
    },
    regularizers.StochasticDepth: {"p": [0.0, 0.4]},
    regularizers.TestTimeFlip: {},
    regularizers.SWA: {"start": [0, 3]},
    regularizers.Lookahead: {"steps": [1, 6], "rate": [0.8]},
    regularizers.SAM: {"rho": [0.0, 0.1]},
    regularizers.GradientClipping: {"limit": [0.5], "kind": ["norm", "value", "adaptive"]},
    regularizers.BestCheckpoint: {"metric": ["val/loss", "val/acc", "val/ece"]},
    regularizers.EarlyStopping: {
        "patience": [2],
        "min_delta": [0.0, 0.01],
        "metric": ["val/loss", "val/acc", "val/ece"],
    },
    callbacks.TrainingImages: {},
    callbacks.TestFigures: {},
    callbacks.Histograms: {"every_n_epochs": [2], "replica": [1]},
    callbacks.ActivationDrift: {"every_n_steps": [7], "images": [9], "unit": [2]},
}
#: All options of a class at once: the first values of all, the second ones, ...; the shorter lists begin again.
CASES = [
    (kind, {name: values[turn % len(values)] for name, values in options.items()})
    for kind, options in EXAMPLES.items()
    for turn in range(max(map(len, options.values()), default=1))
]
IDS = [f"{kind.__name__}-{number}" for number, (kind, _) in enumerate(CASES)]


def made(words):
    # the images are not looked at: some of the options ask for more of them than there are
    configs, options = split_arguments(["--config", "tiny.yaml", *words])
    return resolve(read_layers(configs), options)


def test_every_option_has_an_example():
    assert {kind.__name__ for kind in EXAMPLES} >= set(callbacks.__all__)
    # not what a user's own classes derive from
    shipped = {name for name in regularizers.__all__ if issubclass(getattr(regularizers, name), Regularizer)}
    assert {kind.__name__ for kind in EXAMPLES} >= shipped - {"Regularizer"}
    for kind, options in EXAMPLES.items():
        parameters = {} if kind.__init__ is object.__init__ else inspect.signature(kind).parameters
        assert options.keys() == parameters.keys() - {"seeds"}, kind


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_no_type_of_an_option_depends_on_what_the_process_did_before(kind):
    # jsonargparse wraps a type that includes None in Optional; of two equal unions `typing.Optional` returns the one
    # that it saw first, so that after another class's `float | int | None` a plain union would read 2000 as 2000.0
    hints = {} if kind.__init__ is object.__init__ else get_type_hints(kind.__init__)
    assert [name for name, hint in hints.items() if int in get_args(hint) and float in get_args(hint)] == []


@pytest.mark.parametrize("way", ["command line", "yaml"])
@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_options_reach_the_object_and_the_stored_configuration(workplace, monkeypatch, way, kind, options):
    write_csv(random_images(30), workplace / "small.csv")
    given = {}
    create = kind.__init__

    @functools.wraps(create)
    def watched(self, *args, **kwargs):
        given.update(kwargs)
        create(self, *args, **kwargs)

    monkeypatch.setattr(kind, "__init__", watched)
    monkeypatch.setattr("fashionreg.training.cli.shape_of", lambda datamodule: (784, 10))
    path = f"{kind.__module__}.{kind.__name__}"
    section = kind.__module__.split(".")[1]
    content = {"class_path": path, "init_args": options}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in options.items()}
    if section == "callbacks":
        tree, words = {"trainer": {"callbacks": [content]}}, ["--trainer.callbacks+", path]
        words += [f"--trainer.callbacks.{name}={text}" for name, text in texts.items()]
    elif section == "regularizers":
        model = {"class_path": "RegularizedMLP", "init_args": {"regularizers": {"mine": content}}}
        place = "--model.init_args.regularizers"
        tree, words = {"model": model}, ["--model", "RegularizedMLP", f"{place}={{mine: {{class_path: {path}}}}}"]
        words += [f"{place}.mine.{name}={text}" for name, text in texts.items()]
        (workplace / "tiny.yaml").write_text(yaml.safe_dump({"data": {"class_path": "SyntheticDataModule"}}))
    else:
        section = section.removesuffix("s")
        tree, words = {section: content}, [f"--{section}", path]
        words += [f"--{section}.init_args.{name}={text}" for name, text in texts.items()]
        # the options of the class in tiny.yaml do not go with every other class
        base = {"model": {"class_path": "BaselineMLP"}, "data": {"class_path": "SyntheticDataModule"}}
        (workplace / "tiny.yaml").write_text(yaml.safe_dump({key: base[key] for key in base.keys() - {section}}))
    if way == "yaml":
        (workplace / "option.yaml").write_text(yaml.safe_dump(tree))
        words = ["--config", "option.yaml"]
    config = yaml.safe_load(made(words).config_text())
    if section == "callbacks":
        stored = config["trainer"]["callbacks"][0]
    else:
        stored = config["model"]["init_args"]["regularizers"]["mine"] if section == "regularizers" else config[section]
    for name, value in options.items():
        shown = stored.get("init_args", {})[name]
        if isinstance(value, dict):
            assert callable(given[name])
            assert shown["class_path"] == value["class_path"]
            assert shown["init_args"].items() >= value["init_args"].items()
        else:
            # 2000 stays 2000; only what is a float by its type is stored as one
            expected = repr(float(value) if name == "dropout" else value)
            assert repr(given[name]) == repr(shown) == expected, name


@pytest.mark.parametrize(
    ("option", "value", "stored"),
    [
        ("name", "other", "other"),
        ("seeds", 2, 2),
        ("seeds", [3, 7], [3, 7]),
        ("threads", 1, 1),
        ("threads", None, None),
        ("compile", True, True),
    ],
)
def test_the_options_of_a_fit_reach_it_from_both(workplace, option, value, stored):
    (workplace / "option.yaml").write_text(yaml.safe_dump({option: value}))
    text = value if isinstance(value, str) else json.dumps(value)
    for words in ([f"--{option}={text}"], ["--config", "option.yaml"]):
        made_run = made(words)
        assert yaml.safe_load(made_run.config_text())[option] == stored
        if option == "seeds":
            expected = [0, 1] if value == 2 else value
            assert made_run.model.seeds == made_run.datamodule.seeds == expected
