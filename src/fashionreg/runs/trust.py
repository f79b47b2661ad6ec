"""What a checkpoint from anywhere may say: numbers and names of known classes, no code to run and no place to write to.

A checkpoint carries the configuration of its run, and a configuration can name any class of any module. That of a
checkpoint is therefore reduced, before LightningCLI sees it, to what an allow-list knows; SECURITY.md says why.
"""

import importlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import set_parsing_settings

from fashionreg.data.datamodules import FashionMNISTDataModule
from fashionreg.data.sources import raw_folder, unfinished
from fashionreg.errors import UserError, shortened
from fashionreg.runs.allowed import (
    DATA,
    MODELS,
    OPTIMIZATION,
    REGULARIZERS,
    TRAINER_OPTIONS,
    hints_of,
    is_plain,
    is_trainer_value,
)
from fashionreg.runs.folder import is_folder_below
from fashionreg.yaml_files import parse_value, parse_yaml

#: How large the part of a checkpoint's configuration that is used may be, besides its seeds, and what a text counts in
#: it, where any other value counts 1: a text may name a class, and a thousand callbacks or layers take minutes to make.
#: That of a usual run counts about 100.
MAX_SIZE, TEXT_SIZE = 600, 10

#: How many seeds it may list: the parser takes a millisecond for each.
MAX_SEEDS = 10_000

# where an argument may be anything, a mapping that names a class stays a mapping: nothing is made of it
set_parsing_settings(instantiate_subclass_spec_in_any=False)


def configuration(text: Any, source: str) -> dict[str, Any]:
    """Return the YAML that a checkpoint carries as plain data of bounded size, in the shape of a configuration.

    Args:
        text: What the checkpoint holds as its configuration.
        source: Where it comes from, for errors.

    Returns:
        A mapping. Where they are there, `name` is that of a folder, `seeds` a whole number or a list of them, `model`
        and `data` have a text as `class_path` and a mapping as `init_args`, and `trainer` is a mapping.

    Raises:
        UserError: If it is no such mapping in YAML, or one without end.
    """
    where = f"{source}: the configuration in it"
    if not isinstance(text, str):
        raise UserError(f"{where} must be text in YAML, found a {type(text).__name__}")
    config = parse_yaml(text, where)
    if "name" in config and not is_folder_below(config["name"]):
        raise UserError(f"{where}: name: is {config['name']!r:.80}, not a folder below that of the results")
    seeds = config.get("seeds", 1)
    if not all(type(seed) is int for seed in (seeds if isinstance(seeds, list) else [seeds])):
        raise UserError(f"{where}: seeds: must be a count or a list of whole numbers, got {shortened(seeds)}")
    for part in ("model", "data"):
        if part not in config:
            continue
        value = {"class_path": config[part]} if isinstance(config[part], str) else config[part]
        if not isinstance(value, dict) or not isinstance(value.get("class_path"), str):
            raise UserError(f"{where}: {part}: must name a class by class_path, got {shortened(config[part])}")
        arguments = {} if value.get("init_args") is None else value["init_args"]
        if not isinstance(arguments, dict):
            raise UserError(f"{where}: {part}.init_args: must be a mapping, got {shortened(arguments)}")
        config[part] = value | {"init_args": arguments}
    trainer = {} if config.get("trainer") is None else config["trainer"]
    if not isinstance(trainer, dict):
        raise UserError(f"{where}: trainer: must be a mapping, got {shortened(trainer)}")
    return config | {"trainer": trainer}


def named_by_user(layers: Sequence[Mapping[str, Any]], arguments: Sequence[str]) -> frozenset[str]:
    """Return what a user names: texts of options of model and data, and `trainer.X` for options of the trainer.

    Texts inside YAML count. Names of files do not: whoever made a checkpoint has chosen the name of its file. Nor do
    names of callbacks: the class might be harmless with the arguments of the user and not with those of a checkpoint.

    Args:
        layers: The configurations of the user.
        arguments: The arguments of the command line, without `--config`.
    """
    named: set[str] = set()
    for layer in layers:
        named |= {*_texts(layer.get("model")), *_texts(layer.get("data"))}
        trainer = layer.get("trainer")
        named |= {f"trainer.{name}" for name in trainer} if isinstance(trainer, dict) else set()
    option = ""
    for argument in arguments:
        text = argument
        if argument.startswith("--"):
            option, _, text = argument.partition("=")
            if option.startswith("--trainer."):
                named.add(option.removeprefix("--"))
        if not text or option.removeprefix("--").partition(".")[0].rstrip("+") not in ("model", "data"):
            continue
        with suppress(UserError):
            named |= {text, *_texts(parse_value(text, option))}
    return frozenset(named)


def _size(value: Any) -> int:
    """Count values, containers included."""
    if not isinstance(value, dict | list):
        return TEXT_SIZE if isinstance(value, str) else 1
    return 1 + sum(map(_size, value.values() if isinstance(value, dict) else value))


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
    """Return the part of a checkpoint's configuration that neither runs code nor chooses where to write.

    What stays is `name`, `seeds`, `model`, `data`, `compile` and plain options of the trainer; for a fit the callbacks
    too, since a resumed run is the same run. What only says where results go, or how fast, is left out, and so is what
    the user has set. A class that the allow-list does not have is refused unless the user has named it, in `model` and
    `data`.

    Args:
        config: As `configuration` returns it.
        source: Where it comes from, for errors.
        named: What the user has said, from `named_by_user`.
        way_on: How the user can name a class in this command, as the first part of a sentence.
        callbacks: For a fit, the callbacks that a checkpoint may name, by path; None for commands that use none.

    Returns:
        A new configuration, of plain values alone.

    Raises:
        UserError: If it names another class, holds what is not plain data, or is larger than `MAX_SIZE`.
    """
    reader = _Reader(source, frozenset(named), way_on)
    if isinstance(seeds := config.get("seeds"), list) and len(seeds) > MAX_SEEDS:
        reader.refuse("seeds", f"must be at most {MAX_SEEDS:,}, found {len(seeds):,}")
    kept: dict[str, Any] = {name: config[name] for name in ("name", "seeds") if name in config}
    if "model" in config:
        kept["model"] = reader.instance(config["model"], "model", MODELS, OPTIMIZATION | REGULARIZERS)
    if "data" in config:
        kept["data"] = reader.instance(config["data"], "data", DATA, {})
        _leave_out_places(kept["data"])
    if isinstance(compiled := config.get("compile"), bool):
        kept["compile"] = compiled
    kept["trainer"] = {}
    for name, value in config.get("trainer", {}).items():
        where = f"trainer.{name}"
        if where in named:
            continue
        # what the user says of a class says nothing of the arguments that a checkpoint would give a callback of it
        trainers = _Reader(source, frozenset(), f"set --{where:.80} yourself, or ")
        if name in TRAINER_OPTIONS and is_trainer_value(name, value):
            kept["trainer"][name] = value
        elif callbacks is not None and name == "callbacks" and value:
            several = value if isinstance(value, list) else [value]
            kept["trainer"][name] = [
                trainers.instance(callback, f"{where}[{position}]", callbacks, {})
                for position, callback in enumerate(several)
            ]
        elif callbacks is not None and isinstance(value, dict | list) and value:
            trainers.refuse_class(where, next(_texts(value), "something"))
    sizes = {name: _size(value) for name, value in kept.items() if name != "seeds"}
    if (size := sum(sizes.values())) > MAX_SIZE:
        reader.refuse(
            f"its configuration, most of all {max(sizes, key=lambda name: sizes[name])},",
            f"must be of at most {MAX_SIZE} values, where a text counts as {TEXT_SIZE}, found {size:,}",
        )
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
            f"names {name!r:.120}, which a checkpoint alone may not name here: only the models, data modules, "
            "regularizers and callbacks of fashionreg and the optimizers and schedulers of torch may stand there",
        )

    def instance(self, value: Any, where: str, known: Mapping[str, type], inside: Mapping[str, type]) -> dict[str, Any]:
        """Copy a class, one of `known`, and its arguments, in which those of `inside` may stand."""
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
        hints = hints_of(cls)
        checked = {
            name: self._value(argument, f"{where}.init_args.{name!s:.80}", hints.get(name, Any), inside)
            for name, argument in self._items(arguments, f"{where}.init_args")
        }
        return {"class_path": path, "init_args": checked}

    def _import(self, path: str, where: str) -> type:
        """Import a class that the user has named."""
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
                self.refuse(where, f"has {name!r:.80} where an argument name is expected")
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


def _leave_out_places(data: dict[str, Any]) -> None:
    """Take away where the checkpoint would have Fashion-MNIST downloaded from, and to."""
    if DATA.get(data["class_path"]) is not FashionMNISTDataModule:
        return
    arguments = data["init_args"]
    arguments.pop("mirror", None)
    root = arguments.get("root")
    # a folder in which all files are whole is only read; in any other they would be replaced
    if root is not None and not (isinstance(root, str) and "\0" not in root and not unfinished(raw_folder(root))):
        del arguments["root"]
