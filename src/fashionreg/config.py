"""Configuration files that build on one another, and command lines that carry them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from fashionreg.errors import UserError
from fashionreg.yaml_files import read_yaml

#: More files than this in a row, each the base of the one before, are taken for a mistake.
MAX_BASES = 50


def read_config(path: Path) -> list[dict[str, Any]]:
    """A configuration file and those it builds on, as mappings to be merged in order.

    `base: other.yaml` (or a list of files), relative to the file that says it, names what comes before it. A file that
    is named more than once counts where it is first named, so that bases can share a base of their own.

    Args:
        path: A YAML file.

    Raises:
        UserError: As `read_yaml`; or if a file builds on itself.
    """
    return list(_collect(path, {}, ()).values())


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
    bases = content.pop("base", None) or []
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: base: must be a file name or a list of them, got {bases!r}")
    for base in bases:
        if "\0" in base:
            raise UserError(f"{path}: base: {base!r} cannot be the name of a file")
        _collect(path.parent / base, merged, (*within, place))
    merged[place] = content
    return merged


def expand_configs(words: Sequence[str]) -> list[str]:
    """The same command line with each `--config FILE` replaced by the contents of the file and of its bases.

    Raises:
        UserError: As `read_config`.
    """
    expanded: list[str] = []
    merged: dict[str, dict[str, Any]] = {}
    for option, value, said in each_option(words):
        if option not in ("--config", "-c"):
            expanded += said
        elif value is None:
            raise UserError("--config: needs the name of a file")
        else:
            known = len(merged)
            # a base that an earlier file shares is not read again: it would take back what that file says
            for content in list(_collect(Path(value), merged, ()).values())[known:]:
                expanded += ["--config", yaml.safe_dump(content, sort_keys=False)]
    return expanded


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration by dotted names: `{"model.init_args.dropout": 0.3, ...}`."""
    result: dict[str, Any] = {}
    for name, value in config.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return result


def option_values(words: Sequence[str], option: str) -> list[str]:
    """Every value given to `option` on a command line, as `--option value` or `--option=value`."""
    return [value for name, value, _ in each_option(words) if name == option and value is not None]


def option_value(words: Sequence[str], option: str) -> str | None:
    """The last value given to `option`, which is the one that counts; None if there is none."""
    return next(reversed(option_values(words, option)), None)


def each_option(words: Sequence[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Each option with its value and the words that say so; each other word alone, with no value."""
    position = 0
    while position < len(words):
        word = words[position]
        following = words[position + 1 : position + 2]
        option, equals, value = word.partition("=")
        if not word.startswith("-") or (not equals and (not following or following[0].startswith("-"))):
            yield word, None, [word]
        elif equals:
            yield option, value, [word]
        else:
            yield word, following[0], [word, following[0]]
            position += 1
        position += 1
