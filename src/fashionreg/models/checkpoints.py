"""What the checkpoint of a model carries, and whether it fits a network."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fashionreg.errors import UserError


def check_same_network(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Refuse the state of another network, in one line instead of one for each parameter.

    Args:
        own: State of the network.
        saved: State in the checkpoint.

    Raises:
        UserError: If names or shapes differ.
    """
    here = {name: tuple(value.shape) for name, value in own.items()}
    there = {name: tuple(value.shape) for name, value in saved.items()}
    differing = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    if differing:
        name = differing[0]
        raise UserError(
            f"ckpt_path: the checkpoint is of another network or other seeds: {name} is {there.get(name, 'absent')} "
            f"there and {here.get(name, 'absent')} here; without --config and --seeds its own are used"
        )


def is_plain(value: Any) -> bool:
    """Return whether a value is plain data, as from the command line, and not an object made in code."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
