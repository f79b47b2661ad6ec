"""Plain data from files that anyone may have written, checked against dataclasses.

A schema is a dataclass: its type hints say what a JSON file holds, `Annotated[float, Between(0, 1)]` with bounds. A
report must not wait for a library to be imported, and there are few kinds of hints to walk.
"""

import json
import math
import re
import types
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fashionreg.errors import LARGEST_NUMBER, MAX_DEPTH, UserError, shortened
from fashionreg.files import read_text

#: How many bytes a JSON file may have. A record has 5 kB.
MAX_JSON = 50_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included; without bounds a finite one."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        if math.isinf(self.high):
            return "finite" if math.isinf(self.low) else f"at least {self.low:g} and finite"
        return f"from {self.low:.10g} to {self.high:.10g}"


class SchemaError(ValueError):
    """What is wrong with plain data, after the key where it stands."""


def read_json(path: Path, schema: type[T], kind: str) -> T:
    """Read a JSON file into the dataclass that is its schema.

    Args:
        path: The file.
        schema: A dataclass of `bool`, `int`, `float`, `str`, `Any`, `Literal`, `Annotated[..., Between(...)]`, lists,
            dictionaries by name and dataclasses of these; each may be `| None`. Keys without a default must be there,
            and no others.
        kind: What the file is, for errors.

    Raises:
        UserError: With file and key, if it cannot be read or holds anything else.
    """
    text, name = read_text(path, kind, MAX_JSON), shortened(path, 300)
    try:
        data = json.loads(text, object_pairs_hook=_once)
        _check_depth(data)
        content: T = build(schema, data)
        return content
    except json.JSONDecodeError as error:
        raise UserError(f"{name}: line {error.lineno}: is not valid JSON: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{name}: is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:  # a `SchemaError`, or an integer with too many digits
        raise UserError(f"{name}: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise SchemaError(f"{shortened(twice)}: appears twice")
    return data


def _check_depth(data: Any) -> None:
    """What walks the data later calls itself for each level."""
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return
    raise SchemaError(f"is nested more than {MAX_DEPTH} levels deep")


def build(schema: Any, data: Any, key: str = "") -> Any:
    """Convert plain data to the type that a hint declares: for a dataclass, to an instance.

    Raises:
        SchemaError: With the key, as in `variants[2].seeds[0]`, if it is anything else.
    """
    origin, arguments = get_origin(schema), get_args(schema)
    if schema is Any:
        return data
    if is_dataclass(schema):
        return _build_dataclass(schema, data, key)
    if origin in (types.UnionType, Union):
        if data is None and type(None) in arguments:
            return None
        (schema,) = (argument for argument in arguments if argument is not type(None))
        return build(schema, data, key)
    if origin is Annotated:
        value, (bounds,) = build(arguments[0], data, key), schema.__metadata__
        if not bounds.low <= value <= bounds.high:
            raise SchemaError(f"{key}: must be {bounds}, got {shortened(data)}")
        return value
    if origin is Literal:
        if not isinstance(data, str) or data not in arguments:
            raise SchemaError(f"{key}: must be one of {', '.join(arguments)}, got {shortened(data)}")
        return data
    if origin is list:
        _must_be(list, data, key)
        return [build(arguments[0], item, f"{key}[{position}]") for position, item in enumerate(data)]
    if origin is dict:
        _must_be(dict, data, key)
        return {name: build(arguments[1], item, f"{key}.{shortened(name)}".strip(".")) for name, item in data.items()}
    _must_be(schema, data, key)
    return float(data) if schema is float else data


def _build_dataclass(schema: Any, data: Any, key: str) -> Any:
    _must_be(dict, data, key)
    dot, hints = f"{key}." if key else "", get_type_hints(schema, include_extras=True)
    if unknown := sorted(data.keys() - hints.keys(), key=str):
        raise SchemaError(f"{dot}{shortened(unknown[0])}: unknown; there are {', '.join(hints)}")
    needed = [one.name for one in fields(schema) if one.default is MISSING and one.default_factory is MISSING]
    if missing := [name for name in needed if name not in data]:
        raise SchemaError(f"{dot}{missing[0]}: is missing")
    return schema(**{name: build(hints[name], value, f"{dot}{name}") for name, value in data.items()})


def _must_be(kind: type, data: Any, key: str) -> None:
    """Refuse what has another type; `True` is no number, nor is what 64 bits do not hold."""
    names = {list: "a list", dict: "a mapping", str: "text", int: "a whole number", float: "a finite number"}
    allowed = int | float if kind is float else kind
    fits = isinstance(data, allowed) and (kind is bool or not isinstance(data, bool))
    if fits and isinstance(data, int | float):
        fits = -LARGEST_NUMBER <= data < LARGEST_NUMBER if isinstance(data, int) else math.isfinite(data)
    if fits and isinstance(data, str):
        fits = not re.search("[\0\ud800-\udfff]", data)
    if not fits:
        raise SchemaError(f"{key or 'it'}: must be {names.get(kind, kind.__name__)}, got {shortened(data)}")
