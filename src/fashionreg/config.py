"""Configurations: files that build on one another, layers that are merged in order, and what identifies a run."""

import copy
import hashlib
import json
import numbers
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fashionreg.errors import MAX_DEPTH, UserError, shortened
from fashionreg.yaml_files import parse_value, read_yaml

#: The commands that train or use networks, and what each does.
TRAINING_COMMANDS = {
    "fit": "train a network, one replica for each seed, and test it after every epoch",
    "validate": "evaluate a checkpoint on the val and test splits",
    "test": "report a checkpoint: test and train accuracy, per class, with a confusion matrix",
    "predict": "classify images, or the rows of a CSV file, with a checkpoint",
}

#: More files than this in a row, each the base of the one before, are taken for a mistake.
MAX_BASES = 50

#: A part of a configuration: nested mappings of plain data. Several are merged in order; what comes later wins.
Layer = dict[str, Any]

#: Where a configuration comes from: a file, a mapping, or several of these, merged in order.
Source = str | Path | Mapping[str, Any] | Sequence[str | Path | Mapping[str, Any]]

#: Options that say where and how fast a run is made and what is shown of it, not what it computes.
_CIRCUMSTANCES = re.compile(
    r"config|name|seeds|seed_everything|threads|compile|allow_oversize|ckpt_path|trust_checkpoint|synthetic_if_missing"
    r"|data\.init_args\.(root|mirror|path|labels_path)"
    r"|trainer\.(accelerator|strategy|devices|num_nodes|benchmark|inference_mode|default_root_dir|logger|callbacks"
    r"|profiler|num_sanity_val_steps|detect_anomaly|log_every_n_steps|barebones|enable_\w+|model_registry)(\..*)?"
)

#: Callbacks that change what a run computes are part of it. These only look, and so do all of this project.
_OBSERVERS = re.compile(
    r"fashionreg\.callbacks\..*|lightning\.pytorch\.callbacks\.(LearningRateMonitor|ModelCheckpoint|ModelSummary"
    r"|DeviceStatsMonitor|ThroughputMonitor|\w+ProgressBar)"
)

#: Where regularizers stand in a configuration, and the options of a command line that give them or a part of them.
REGULARIZERS = "model.init_args.regularizers"
_REGULARIZER_OPTION = re.compile(r"--(model(?:\.init_args)?\.regularizers(?:\.[^+]+)?)")

#: What a mapping that names a class holds; every other key of it is an argument of the class.
CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")

#: Options that a later version has added, with the values that say what every run did before: they identify nothing.
_ADDED = {
    "data.init_args.split": "fixed",
    "data.init_args.test": "own",
    "data.init_args.kind": "pixels",
    "model.init_args.residual": False,
}

#: Options that say how long a run is: a resumed run may be longer.
_LENGTH = re.compile(r"trainer\.(max|min)_(epochs|steps|time)")


def read_layers(source: Source) -> list[Layer]:
    """Return a configuration as layers, to be merged in order.

    `base: other.yaml` (or a list of files) names what comes before it: in a file relative to that file, in a mapping
    relative to the working folder. A file that is named more than once counts where it is first named, so that bases
    can share a base.

    Args:
        source: A YAML file, a mapping, or several of these.

    Raises:
        UserError: As `read_yaml` and `plain_data`; or if a file builds on itself.
    """
    layers: list[Layer] = []
    merged: dict[str, Layer] = {}
    if not isinstance(source, str | Path | Mapping | list | tuple):
        raise UserError(f"configuration: must be a file, a mapping or a list of these, got {shortened(source)}")
    for part in [source] if isinstance(source, str | Path | Mapping) else source:
        known = len(merged)
        if isinstance(part, Mapping):
            layer = plain_data(part, "configuration")
            for base in _bases(layer, "configuration"):
                _collect(Path(base), merged, ())
            layers += [*list(merged.values())[known:], layer]
            continue
        if not isinstance(part, str | Path):
            raise UserError(f"configuration: must be a file or a mapping, got {shortened(part)}")
        # a base that an earlier file shares is not read again: it would take back what that file says
        layers += list(_collect(Path(part), merged, ()).values())[known:]
    return layers


def _collect(path: Path, merged: dict[str, dict[str, Any]], within: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Add a file and those it builds on to `merged`, in order, unless they are there."""
    place = os.path.realpath(path)
    if place in within:
        raise UserError(f"{path}: base: builds on itself")
    if place in merged:
        return merged
    if len(within) >= MAX_BASES:
        raise UserError(f"{path}: base: more than {MAX_BASES} files that build on one another")
    content = read_yaml(path, "configuration file")
    for base in _bases(content, str(path)):
        _collect(path.parent / base, merged, (*within, place))
    merged[place] = content
    return merged


def _bases(layer: Layer, where: str) -> list[str]:
    """Take the names of the files that a configuration builds on out of it."""
    bases = layer.pop("base", None) or []
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{where}: base: must be a file name or a list of them, got {bases!r}")
    for base in bases:
        if "\0" in base:
            raise UserError(f"{where}: base: {base!r} cannot be the name of a file")
    return bases


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration by dotted names: `{"model.init_args.dropout": 0.3, ...}`."""
    result: dict[str, Any] = {}
    for name, value in config.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return result


def plain_data(value: Any, where: str, name: str = "") -> Any:
    """Return a copy of what a program gives as a configuration, as YAML could hold it.

    NumPy's numbers, paths and tuples become numbers, texts and lists. The copy matters as well: the parser changes what
    it is given, and the cell of a notebook may run twice.

    Args:
        value: Mappings, lists, numbers, texts, None.
        where: What it is, for errors at its top.
        name: Its dotted name within.

    Raises:
        UserError: If something in it is an object: it could not be written into a record.
    """
    if name.count(".") > MAX_DEPTH:
        raise UserError(f"{where}: is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else plain_data(key, where, name): plain_data(
                inner, where, f"{name}.{key}".lstrip(".")
            )
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain_data(inner, where, f"{name}.{position}") for position, inner in enumerate(value)]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise UserError(f"{name or where}: must be plain data: a class_path with init_args, got {shortened(value)}")


def overriding(overrides: Mapping[str, Any] | None) -> Layer:
    """Return the overrides that a program gives, by dotted names, as the last layer of a configuration.

    Raises:
        UserError: As `plain_data` and `nested`; or if they are no mapping.
    """
    if not isinstance(overrides, Mapping | None):
        raise UserError(f"overrides: must be a mapping of options by dotted names, got {shortened(overrides)}")
    return nested(plain_data(overrides or {}, "overrides"))


def nested(options: Mapping[str, Any]) -> Layer:
    """Return options by dotted names as a nested configuration: `{"a.b": 1}` becomes `{"a": {"b": 1}}`.

    Raises:
        UserError: If one option is a part of another, or a name is no text.
    """
    layer: Layer = {}
    for name, value in options.items():
        if not isinstance(name, str):
            raise UserError(f"{shortened(name)}: must be a name (put it in quotes?)")
        for part in reversed(name.split(".")):
            value = {part: value}
        layer = _merged(layer, value, name)
    return layer


def _merged(before: Any, later: Any, name: str, inner: str = "") -> Any:
    """Merge the mappings in which two options stand; of two values, the later one wins."""
    if isinstance(before, dict) and isinstance(later, dict):
        return before | {
            key: _merged(before[key], value, name, f"{inner}.{key}".lstrip(".")) if key in before else value
            for key, value in later.items()
        }
    if isinstance(before, dict) or isinstance(later, dict):
        raise UserError(f"{name}: {inner} is given a value and options of it at once; give one of them")
    return later


class Regularizers:
    """Merges the regularizers of configurations in order, by name.

    The parser replaces a mapping whole. Here whatever comes later, a file, a mapping or an argument of the command
    line, changes options of a regularizer of the same name and class, replaces it by another class, or removes it with
    `name: null`; `regularizers: null` removes all.

    Attributes:
        merged: All of them so far, each a mapping with `class_path` and, where some are given, `init_args`; None where
            none were given, or all were taken away.
    """

    def __init__(self) -> None:
        self.merged: dict[str, Any] | None = None

    def add(self, layer: Layer) -> Layer:
        """Merge those of the next configuration.

        Returns:
            The configuration, with all regularizers so far where it has any; the argument stays as it is.
        """
        layer = copy.deepcopy(layer)
        # the parser knows `{"model.init_args.dropout": 0.3}`, `model: {dropout: 0.3}` and `model: file.yaml` as well
        if any(str(name).startswith("model.") for name in layer):
            layer = nested(layer)
        if isinstance(file := layer.get("model"), str) and file.endswith((".yaml", ".yml")):
            layer["model"] = read_yaml(Path(file), "configuration file")
        if not isinstance(layer.get("model"), dict):
            return layer
        model = layer["model"] = as_class(nested(layer["model"]))
        if not isinstance(model.get("init_args"), dict):
            return layer
        arguments = model["init_args"] = nested(model["init_args"])
        if "regularizers" not in arguments:
            return layer
        given = arguments["regularizers"]
        if not isinstance(given, dict | None):
            raise UserError(f"{REGULARIZERS}: must be a mapping (name: regularizer), got {shortened(given)}")
        parts = dict(self.merged or {})
        for name, part in nested(given or {}).items():
            parts[name] = _changed(parts.get(name), part)
        kept = {name: part for name, part in parts.items() if part is not None}
        self.merged = None if given is None else kept
        arguments["regularizers"] = copy.deepcopy(self.merged)
        return layer

    def add_arguments(self, arguments: Sequence[str]) -> list[str]:
        """Merge those of a command line.

        Returns:
            The arguments, with all regularizers as one option in place of those that give some of them.

        Raises:
            UserError: As `parse_value`.
        """
        others: list[str] = []
        given = False
        for option, text, said in each_option(arguments):
            found = _REGULARIZER_OPTION.fullmatch(option)
            if text is None or not (found or option == "--model"):
                others += said
                continue
            value = parse_value(text, option.lstrip("-"))
            # a number for an option that takes text is text: the parser knows the type
            value = value if isinstance(value, dict | list | None) else text
            layer = self.add({found[1] if found else "model": value})
            model = layer["model"]
            if not found:
                others += [f"{option}={_flow(model)}"] if isinstance(model, dict) else said
            given |= isinstance(model, dict) and "regularizers" in (model.get("init_args") or {})
        return [*others, f"--{REGULARIZERS}={_flow(self.merged)}"] if given else others


def _flow(value: Any) -> str:
    """Write plain data as one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("...\n").strip()


def as_class(part: Any) -> Any:
    """Return what names a class in its one form: `{p: 0.4}` is `{init_args: {p: 0.4}}`, a text is a `class_path`."""
    if isinstance(part, str):
        return {"class_path": part}
    if not isinstance(part, dict) or not isinstance(part.get("init_args"), dict | None):
        return part
    arguments = (part.get("init_args") or {}) | {key: part[key] for key in part if key not in CLASS_KEYS}
    kept = {key: part[key] for key in CLASS_KEYS if key in part and key != "init_args"}
    return kept | ({"init_args": arguments} if arguments else {})


def _changed(before: Any, part: Any) -> Any:
    """Return a regularizer of a later layer, with the options of the same class that the layer does not set."""
    part = as_class(part)
    if not isinstance(before, dict) or not isinstance(part, dict):
        return part
    path = part.get("class_path", before.get("class_path"))
    # the same class may be named with and without its module
    if str(path).rpartition(".")[2] != str(before.get("class_path")).rpartition(".")[2]:
        return part
    merged = before | part | {"class_path": path}
    for key in ("init_args", "dict_kwargs"):
        if isinstance(part.get(key, {}), dict) and key in before:
            merged[key] = before[key] | part.get(key, {})
    return merged


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a resolved configuration that identify what a run computes, by dotted names.

    Two runs with the same identity, data and seed compute the same, to rounding. Places on disk, hardware, loggers and
    callbacks that only observe are no part of it.
    """
    found = {
        name: value
        for name, value in flat(dict(config)).items()
        if not _CIRCUMSTANCES.fullmatch(name) and not (name in _ADDED and value == _ADDED[name])
    }
    callbacks = (config.get("trainer") or {}).get("callbacks") or []
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    changing = [callback for callback in callbacks if not _OBSERVERS.fullmatch(callback["class_path"])]
    return found | ({"trainer.callbacks": changing} if changing else {})


def cache_key(config: Mapping[str, Any], fingerprints: Mapping[str, str]) -> str:
    """Return the cache key of results: a digest of all that they depend on but the seeds, 16 hexadecimal digits.

    Options that are None do not count, so that an option that a later version adds with None as its default does not
    change the key of runs without it. One with another default does.

    Args:
        config: A resolved configuration.
        fingerprints: Of the images of each split.
    """
    given = {name: value for name, value in identity(config).items() if value is not None}
    text = json.dumps([given, dict(fingerprints)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resumable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `identity` that a resumed run must share with the run before: all but its length."""
    return {name: value for name, value in identity(config).items() if not _LENGTH.fullmatch(name)}


# -- command lines -----------------------------------------------------------------------------------------------


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments of a command into configuration files (`--config`) and all others.

    Raises:
        UserError: If `--config` has no value.
    """
    files: list[str] = []
    others: list[str] = []
    for option, value, said in each_option(arguments):
        if option not in ("--config", "-c"):
            others += said
        elif value is None:
            raise UserError("--config: needs the name of a file")
        else:
            files.append(value)
    return files, others


def option_value(arguments: Sequence[str], option: str) -> str | None:
    """Return the last value given to `option`, which is the one that counts; None if there is none."""
    given = [value for name, value, _ in each_option(arguments) if name == option and value is not None]
    return given[-1] if given else None


def each_option(arguments: Sequence[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield each option with its value and the arguments that give it; each other argument alone, without a value."""
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        following = arguments[position + 1 : position + 2]
        option, equals, value = argument.partition("=")
        if not argument.startswith("-") or (not equals and (not following or following[0].startswith("-"))):
            yield argument, None, [argument]
        elif equals:
            yield option, value, [argument]
        else:
            yield argument, following[0], [argument, following[0]]
            position += 1
        position += 1
