"""A grid of a study file: every combination of the values of some options, as recipes for variants."""

import itertools
import json
from typing import Any

from fashionreg.config import REGULARIZERS, Layer, as_class, flat, nested

#: The files and overrides of a variant, and in a grid its levels.
Recipe = tuple[list[str | Layer], dict[str, Any]]


def name_classes(values: list[Any]) -> bool:
    """Say whether the values of an option of a grid are classes, or none."""
    return all(isinstance(value, dict | str | None) for value in values) and any(
        isinstance(value, dict | None) for value in values
    )


def recipes_of(grid: dict[str, list[Any]], names: dict[str, str]) -> dict[str, Recipe]:
    """Return for every combination of values, by its name, overrides and levels."""
    # without comes before with, as the reference, and for the sign of an effect
    grid = {option: sorted(values, key=lambda value: value is not None) for option, values in grid.items()}
    # with two levels each, the first is without: `none`, `dropout`, `batch_norm + dropout`
    switches = all(
        names[option].startswith(f"{REGULARIZERS}.") and values[0] is None for option, values in grid.items()
    )
    two_levels = (len(grid) > 1 or switches) and all(len(values) == 2 for values in grid.values())
    recipes: dict[str, Recipe] = {}
    for combination in itertools.product(*grid.values()):
        levels = dict(zip(grid, combination, strict=True))
        if two_levels:
            name = " + ".join(option for option, value in levels.items() if value == grid[option][1]) or "none"
        else:
            name = ", ".join(f"{option}={level(value)}" for option, value in levels.items())
        recipes[name] = ([nested({names[option]: value}) for option, value in levels.items()], levels)
    return recipes


def level(value: Any) -> str:
    """Return a value of a grid as a part of the name of a variant; a class as `Dropout(p=0.3)`."""
    if not isinstance(value, dict):
        return json.dumps(value)
    part = as_class(value)
    given = ", ".join(f"{name}={json.dumps(each)}" for name, each in flat(part.get("init_args") or {}).items())
    return str(part.get("class_path", "")).rpartition(".")[2] + f"({given})" * bool(given)
