"""Configurations: files that build on one another, layers that are merged in order, and what identifies a run."""

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fashionreg.errors import UserError
from fashionreg.yaml_files import read_yaml

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
    r"|data\.init_args\.(root|mirror|path)"
    r"|trainer\.(accelerator|strategy|devices|num_nodes|benchmark|inference_mode|default_root_dir|logger|callbacks"
    r"|profiler|num_sanity_val_steps|detect_anomaly|log_every_n_steps|barebones|enable_\w+|model_registry)(\..*)?"
)

#: Callbacks that change what a run computes are part of it. These only look, and so do all of this project.
_OBSERVERS = re.compile(
    r"fashionreg\.callbacks\..*|lightning\.pytorch\.callbacks\.(LearningRateMonitor|ModelCheckpoint|ModelSummary"
    r"|DeviceStatsMonitor|ThroughputMonitor|\w+ProgressBar)"
)

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
        UserError: As `read_yaml`; or if a file builds on itself.
    """
    layers: list[Layer] = []
    merged: dict[str, Layer] = {}
    for part in [source] if isinstance(source, str | Path | Mapping) else source:
        known = len(merged)
        if isinstance(part, Mapping):
            # a copy: the parser changes what it is given, and a notebook's cell may run twice
            layer = copy.deepcopy(dict(part))
            for base in _bases(layer, "configuration"):
                _collect(Path(base), merged, ())
            layers += [*list(merged.values())[known:], layer]
            continue
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


def nested(options: Mapping[str, Any]) -> Layer:
    """Return options by dotted names as a nested configuration: `{"a.b": 1}` becomes `{"a": {"b": 1}}`.

    Raises:
        UserError: If one option is a part of another.
    """
    layer: Layer = {}
    for name, value in options.items():
        *parents, last = name.split(".")
        inner = layer
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise UserError(f"{name}: {parent} is given a value and options of it at once; give one of them")
        # a copy: what comes later must not write into the caller's mapping
        inner[last] = copy.deepcopy(value)
    return layer


def merge_regularizers(layers: Sequence[Layer]) -> list[Layer]:
    """Let the regularizers of each layer add to those of the layers before, by name.

    The parser replaces a mapping whole. Here a later layer changes options of a regularizer of the same name and class,
    replaces it by another class, or removes it with `name: null`; `regularizers: null` removes all.

    Args:
        layers: To be merged in order; they stay as they are.

    Returns:
        The layers; `model.init_args.regularizers` of each holds all regularizers so far.
    """
    merged: list[Layer] = []
    known: dict[str, Any] = {}
    for layer in layers:
        copied = copy.deepcopy(layer)
        arguments = (
            (copied.get("model") or {}).get("init_args") if isinstance(copied.get("model"), dict | None) else None
        )
        if isinstance(arguments, dict) and "regularizers" in arguments:
            given = arguments["regularizers"]
            if isinstance(given, dict):
                for name, part in given.items():
                    known[name] = _merged_part(known.get(name), part)
                known = {name: part for name, part in known.items() if part is not None}
                arguments["regularizers"] = copy.deepcopy(known)
            elif given is None:
                known = {}
        merged.append(copied)
    return merged


def _merged_part(before: Any, part: Any) -> Any:
    """A regularizer of a later layer, with the options of the same class that it does not set."""
    if isinstance(part, str):
        part = {"class_path": part}
    if not isinstance(before, dict) or not isinstance(part, dict):
        return part
    path = part.get("class_path", before.get("class_path"))
    # the same class may be named with and without its module
    if str(path).rpartition(".")[2] != str(before.get("class_path")).rpartition(".")[2]:
        return part
    options = (before.get("init_args") or {}) | (part.get("init_args") or {})
    return {"class_path": path} | ({"init_args": options} if options else {})


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a resolved configuration that identify what a run computes, by dotted names.

    Two runs with the same identity, data and seed compute the same, to rounding. Places on disk, hardware, loggers and
    callbacks that only observe are no part of it.
    """
    found = {name: value for name, value in flat(dict(config)).items() if not _CIRCUMSTANCES.fullmatch(name)}
    callbacks = (config.get("trainer") or {}).get("callbacks") or []
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    changing = [callback for callback in callbacks if not _OBSERVERS.fullmatch(callback["class_path"])]
    return found | ({"trainer.callbacks": changing} if changing else {})


def cache_key(config: Mapping[str, Any], fingerprints: Mapping[str, str]) -> str:
    """Return the cache key of results: a digest of all that they depend on but the seeds, 16 hexadecimal digits.

    Options that are not set do not count, so that an option that a later version adds does not change the key of runs
    without it.

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
