"""What a checkpoint from anywhere may say: numbers and names of known classes, no code to run and no place to write to.

A checkpoint carries the configuration of its run, and a configuration can name any class of any module. That of a
checkpoint is therefore reduced, before LightningCLI sees it, to what an allow-list knows; SECURITY.md says why.
"""

import enum
import importlib
import re
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fashionreg.data.datamodules import FashionMNISTDataModule, ImageDataModule
from fashionreg.data.sources import FILES, raw_folder
from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier
from fashionreg.regularizers import Regularizer
from fashionreg.runs.folder import is_folder_below
from fashionreg.yaml_files import parse_yaml

#: Options of the trainer that say what a run computes and for how long, without a class and without a place.
TRAINER_OPTIONS = frozenset(
    {"accelerator", "devices", "precision", "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time"}
    | {"limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches"}
    | {"val_check_interval", "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps", "fast_dev_run"}
    | {"accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "deterministic", "benchmark"}
    | {"inference_mode", "detect_anomaly", "reload_dataloaders_every_n_epochs", "sync_batchnorm"}
    | {"logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"}
)

#: The texts that some of them may have. Elsewhere a text could be read as the name of a class or of a file.
TRAINER_TEXTS = {
    "accelerator": r"auto|cpu|gpu|cuda|mps|tpu",
    "devices": r"auto|\d+",
    "precision": r"(bf)?\d+(-true|-mixed)?",
    "gradient_clip_algorithm": r"norm|value",
    "deterministic": r"warn",
    "max_time": r"\d+(:\d+){3}",
}

#: Types whose values are never read as the name of something to import.
PLAIN_TYPES = (str, bool, int, float, types.NoneType, Path)

#: Types that are plain if what they hold is.
CONTAINERS = (*(typing.Union, types.UnionType, list, tuple, set, dict, Sequence, Iterable, Collection, Mapping),)


def classes_of(room: str, kind: type) -> dict[str, type]:
    """The public classes of a kind that a package offers and that are defined in it, by every path that names them.

    A path outside the result is refused as a whole: nobody follows its parts, so that none of them is imported.

    Args:
        room: Name of a package or module of this project or of torch.
        kind: The class that all of them derive from.
    """
    named = {name: value for name, value in vars(importlib.import_module(room)).items() if isinstance(value, type)}
    return {
        path: value
        for name, value in named.items()
        if issubclass(value, kind) and not name.startswith("_") and f"{value.__module__}.".startswith(f"{room}.")
        for path in (f"{room}.{name}", f"{value.__module__}.{value.__qualname__}")
    }


MODELS = classes_of("fashionreg.models", Classifier)
REGULARIZERS = classes_of("fashionreg.regularizers", Regularizer)
DATA = classes_of("fashionreg.data.datamodules", ImageDataModule)
OPTIMIZATION = (
    classes_of("torch.optim", Optimizer)
    | classes_of("torch.optim.lr_scheduler", LRScheduler)
    | classes_of("lightning.pytorch.cli", LRScheduler)
)


def configuration(text: Any, source: str) -> dict[str, Any]:
    """Return the YAML that a checkpoint carries as plain data of bounded size.

    Args:
        text: What the checkpoint holds as its configuration.
        source: Where it comes from, for errors.

    Raises:
        UserError: If it is not a mapping in YAML, or one without end.
    """
    if not isinstance(text, str):
        raise UserError(f"{source}: the configuration in it must be text in YAML, found a {type(text).__name__}")
    return parse_yaml(text, f"{source}: the configuration in it")


def named_by_user(words: Sequence[str]) -> frozenset[str]:
    """The options in the words of a command line, and every text that is given to those that can name classes.

    Texts inside YAML count. Names of files do not: whoever made a checkpoint has chosen the name of its file.
    """
    named: set[str] = set()
    option = ""
    for word in words:
        text = word
        if word.startswith("--"):
            option, _, text = word.partition("=")
            named.add(option.removeprefix("--"))
        if not option.startswith(("--config", "--model", "--data", "--trainer")):
            continue
        named.add(text)
        try:
            content = yaml.safe_load(text)
            named |= set(_texts(content))
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and isinstance(trainer := content.get("trainer"), dict):
            named |= {f"trainer.{name}" for name in trainer}
    return frozenset(named)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def as_data(
    config: dict[str, Any],
    source: str,
    named: Collection[str] = (),
    way_on: str = "",
    callbacks: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """The part of a checkpoint's configuration that neither runs code nor says where to write.

    What stays is `name`, `seeds`, `model`, `data` and plain options of the trainer; for a fit the callbacks too, since
    a resumed run is the same run. What only says where results go, or how fast, is left out, and so is what the user
    has set. A class that the allow-list does not have is refused unless the user has named it.

    Args:
        config: As `configuration` returns it.
        source: Where it comes from, for errors.
        named: What the user has said, from `named_by_user`.
        way_on: How the user can name a class in this command, as the first part of a sentence.
        callbacks: For a fit, the callbacks that a checkpoint may name, by path; None for commands that use none.

    Returns:
        A new configuration, of plain values alone.

    Raises:
        UserError: If it names another class, or holds what is not plain data.
    """
    reader = _Reader(source, frozenset(named), way_on)
    kept: dict[str, Any] = {}
    if "name" in config:
        if not is_folder_below(config["name"]):
            reader.refuse("name", f"is {config['name']!r:.80}, not a folder below that of the results")
        kept["name"] = config["name"]
    if "seeds" in config:
        seeds = config["seeds"]
        if not all(type(seed) is int for seed in (seeds if isinstance(seeds, list) else [seeds])):
            reader.refuse("seeds", "is neither a count nor a list of whole numbers")
        kept["seeds"] = seeds
    if "model" in config:
        kept["model"] = reader.instance(config["model"], "model", MODELS, OPTIMIZATION | REGULARIZERS)
    if "data" in config:
        kept["data"] = reader.instance(config["data"], "data", DATA, {})
        _leave_out_places(kept["data"])
    trainer = config.get("trainer") or {}
    if not isinstance(trainer, dict):
        reader.refuse("trainer", "is not a mapping")
    kept["trainer"] = {}
    for name, value in trainer.items():
        where = f"trainer.{name}"
        if where in named:
            continue
        if name in TRAINER_OPTIONS and _is_trainer_value(name, value):
            kept["trainer"][name] = value
        elif callbacks is not None and name == "callbacks" and value:
            several = value if isinstance(value, list) else [value]
            kept["trainer"][name] = [
                reader.instance(callback, f"{where}[{position}]", callbacks, {})
                for position, callback in enumerate(several)
            ]
        elif callbacks is not None and isinstance(value, dict | list) and value:
            reader.refuse_class(where, next(_texts(value), "something"))
    return kept


class _Reader:
    """Goes through a configuration, copies plain values, and refuses what else it meets."""

    def __init__(self, source: str, named: frozenset[str], way_on: str) -> None:
        self._source = source
        self._named = named
        self._way_on = way_on

    def refuse(self, where: str, fault: str) -> NoReturn:
        raise UserError(
            f"{self._source}: refused: {where} {fault}; {self._way_on}give --trust_checkpoint if you know who made it"
        )

    def refuse_class(self, where: str, name: str) -> NoReturn:
        self.refuse(
            where,
            f"names {name!r:.120}, and a checkpoint alone may name no classes but those of fashionreg and torch.optim, "
            "since others could run anything",
        )

    def instance(self, value: Any, where: str, known: Mapping[str, type], inside: Mapping[str, type]) -> dict[str, Any]:
        """A class and its arguments; `known` are the classes it can be, `inside` those that its arguments can be."""
        if isinstance(value, str):
            value = {"class_path": value}
        if not isinstance(value, dict) or not isinstance(path := value.get("class_path"), str):
            self.refuse(where, "names no class by class_path")
        if others := [name for name in value if name not in ("class_path", "init_args")]:
            self.refuse(where, f"has {others[0]!r:.80} beside class_path and init_args")
        if path not in known and path not in self._named:
            self.refuse_class(where, path)
        cls = known.get(path) or self._import(path, where)
        arguments = {} if value.get("init_args") is None else value["init_args"]
        if not isinstance(arguments, dict):
            self.refuse(f"{where}.init_args", "is not a mapping")
        hints = _hints(cls)
        checked = {
            name: self._value(argument, f"{where}.init_args.{name!s:.80}", hints.get(name, Any), inside)
            for name, argument in self._items(arguments, f"{where}.init_args")
        }
        return {"class_path": path, "init_args": checked}

    def _import(self, path: str, where: str) -> type:
        """A class that the user has named."""
        module, _, name = path.rpartition(".")
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"{self._source}: its {where} {path!r:.120} cannot be imported: {error}") from error
        if not isinstance(cls, type):
            self.refuse(where, f"is {path!r:.120}, which is no class")
        return cls

    def _items(self, value: dict[Any, Any], where: str) -> Iterable[tuple[str, Any]]:
        for name in value:
            # the parser reads `a.b` as b within a, and `a+` as what is added to a
            if not isinstance(name, str) or not name.isidentifier():
                self.refuse(where, f"has {name!r:.80} where the name of an argument stands")
        return value.items()

    def _value(self, value: Any, where: str, hint: Any, inside: Mapping[str, type]) -> Any:
        if isinstance(value, dict):
            if "class_path" in value:
                return self.instance(value, where, inside, inside)
            return {
                name: self._value(inner, f"{where}.{name:.80}", hint, inside)
                for name, inner in self._items(value, where)
            }
        if isinstance(value, list):
            return [self._value(inner, f"{where}[{k}]", hint, inside) for k, inner in enumerate(value)]
        if isinstance(value, str) and (not is_plain(value, hint) or (hint is Any and value and Path(value).exists())):
            self.refuse_class(where, value)
        if not isinstance(value, bool | int | float | str | None):
            self.refuse(where, f"is a {type(value).__name__}, not plain data")
        return value


def is_plain(text: str, hint: Any) -> bool:
    """Whether a text for an argument of type `hint` stays a text: nothing is imported or read for it.

    Where anything may stand, a word is plain; a path such as `os.system`, YAML or the name of a file is not.
    """
    if hint is Any:
        return re.fullmatch(r"\w*", text) is not None
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return True
    if origin is None:
        return isinstance(hint, type) and (hint in PLAIN_TYPES or issubclass(hint, enum.Enum))
    return origin in CONTAINERS and all(is_plain(text, part) for part in typing.get_args(hint) if part is not ...)


def _hints(cls: type) -> dict[str, Any]:
    """The declared types of the arguments of a class, also of those that it hands to its bases."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        try:
            hints |= typing.get_type_hints(base.__init__)  # type: ignore[misc]
        except (NameError, TypeError, AttributeError):
            continue  # an argument without a known type takes words and numbers alone
    return hints


def _is_trainer_value(name: str, value: Any) -> bool:
    if isinstance(value, str):
        # the parser reads a file of that name, should there be one in the working folder, instead of the word
        known = name in TRAINER_TEXTS and re.fullmatch(TRAINER_TEXTS[name], value) is not None
        return known and not Path(value).exists()
    if isinstance(value, list):
        return name == "devices" and all(type(each) is int for each in value)
    return isinstance(value, bool | int | float | None)


def _leave_out_places(data: dict[str, Any]) -> None:
    """Take away where the checkpoint would have Fashion-MNIST downloaded from, and to."""
    if DATA.get(data["class_path"]) is not FashionMNISTDataModule:
        return
    arguments = data["init_args"]
    arguments.pop("mirror", None)
    root = arguments.get("root")
    # a folder that has all files is only read; to any other they would be downloaded
    if root is not None and not all((raw_folder(root) / name).is_file() for name in FILES):
        del arguments["root"]


def check_states(states: Any, source: str) -> None:
    """Refuse states of callbacks with paths that lead out of the folder of the checkpoints.

    Lightning's ModelCheckpoint removes the checkpoints that its state says it has written before.

    Args:
        states: The states of all callbacks, as the checkpoint holds them.
        source: Where they come from, for errors.

    Raises:
        UserError: If there is such a path.
    """
    for key, state in states.items() if isinstance(states, dict) else ():
        for name in ("best_model_path", "last_model_path", "kth_best_model_path", "best_k_models"):
            paths = state.get(name) if isinstance(state, dict) else None
            for path in _texts(list(paths) if isinstance(paths, dict) else paths):
                if ".." in Path(path).parts or "::" in path or "://" in path:
                    _Reader(source, frozenset(), "").refuse(f"{name} of {key!r:.80}", f"is {path!r:.120}")


def results_root(path: Path, name: str, default: str) -> str:
    """The folder in which the run of a checkpoint lies, from where the file is and not from what it says.

    Args:
        path: The checkpoint: `<root>/<name>/version_<n>/checkpoints/<file>` where the run has left it.
        name: Name of the run.
        default: The folder for a checkpoint that lies elsewhere.
    """
    names = Path(name).parts
    folders = path.parts[:-1]
    if folders[-1:] != ("checkpoints",) or not re.fullmatch(r"version_\d+", folders[-2] if folders[1:] else ""):
        return default
    above = folders[:-2]
    if not names or above[-len(names) :] != names:
        return default
    return str(Path(*above[: -len(names)]))
