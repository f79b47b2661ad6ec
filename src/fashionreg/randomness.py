"""All randomness of a replica as a function of (seed, purpose, epoch): no state, nothing to save or to restore.

Two kinds are needed. What is drawn once (initial weights) or once an epoch (the data order) comes from a
`torch.Generator` made for the purpose. What is drawn in every step for every replica (dropout masks) comes from
counter-based bits: a hash of a key and a position, computed for all replicas at once in a few tensor operations (the
idea of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; keys are derived as in JAX, by `fold_in`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fashionreg.errors import UserError

#: The largest seed.
MAX_SEED = 2**32 - 1


def expand_seeds(seeds: int | list[int]) -> Sequence[int]:
    """The seeds that `--seeds` means: a count (`10` is 0 to 9) or a list.

    A count gives a `range`, which costs nothing however large it is.

    Raises:
        UserError: If the count is not positive, or the list is empty, repeats a seed or leaves 0 to `MAX_SEED`.
    """
    if isinstance(seeds, int):
        if seeds < 1:
            raise UserError(f"seeds: a count must be at least 1, got {seeds}; a list names seeds: [0, 3, 5]")
        if seeds > MAX_SEED + 1:
            raise UserError(f"seeds: a count must be at most {MAX_SEED + 1}, got {seeds}")
        return range(seeds)
    if not seeds:
        raise UserError("seeds: the list is empty; give a count, or a list such as [0, 3, 5]")
    known: set[int] = set()
    for seed in seeds:
        if not 0 <= seed <= MAX_SEED:
            raise UserError(f"seeds: must be from 0 to {MAX_SEED}, got {seed}")
        if seed in known:
            raise UserError(f"seeds: {seed} is named twice")
        known.add(seed)
    return list(seeds)


def _words(seed: int, purpose: str, epoch: int, count: int) -> np.ndarray:
    """`count` well-mixed uint32 words for one (seed, purpose, epoch)."""
    # the purpose comes last: it alone varies in length, so no two triples give the same sequence of words
    return np.random.SeedSequence([seed, epoch, *purpose.encode()]).generate_state(count)


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A CPU generator for one seed, purpose and epoch.

    Args:
        seed: 0 to `MAX_SEED`.
        purpose: What is drawn, for example `"init"` or `"order"`; different purposes are independent.
        epoch: 0 or larger.
    """
    low, high = (int(word) for word in _words(seed, purpose, epoch, 2))
    return torch.Generator().manual_seed(high << 32 | low)


def replica_keys(seeds: list[int], purpose: str, epoch: int = 0) -> Tensor:
    """One key of two 32-bit words for each replica: int32 `(S, 2)` on the CPU."""
    words = np.stack([_words(seed, purpose, epoch, 2) for seed in seeds])
    return torch.from_numpy(words.view(np.int32))


def _as_int32(value: int) -> int:
    """The low 32 bits of `value` as a signed number, the form in which torch takes int32 constants."""
    return (value + 2**31) % 2**32 - 2**31


def _mix_(x: Tensor) -> Tensor:
    """Hash every int32 element of `x` in place; a bijection.

    The constants are those of `lowbias32` (C. Wellons, "Prospecting for hash functions", nullprogram.com, 2018).
    """
    # torch shifts signed numbers arithmetically: the mask makes the shift logical
    x ^= (x >> 16) & 0xFFFF
    x *= 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x *= _as_int32(0x846CA68B)
    x ^= (x >> 16) & 0xFFFF
    return x


def fold_in(keys: Tensor, number: int) -> Tensor:
    """New keys from `keys` and a number (a step, a layer): int32 `(S, 2)` to int32 `(S, 2)`."""
    # the odd multiplier spreads small numbers over all bits, so that folding 1 then 2 is not folding 2 then 1
    return _mix_(keys ^ _as_int32(number * 0x9E3779B1 + 0x85EBCA6B))


def random_bits(keys: Tensor, count: int) -> Tensor:
    """`count` independent uniform 32-bit numbers for each replica.

    Args:
        keys: int32 `(S, 2)`.
        count: Positions 0 to `count - 1` are hashed with each key.

    Returns:
        int32 `(S, count)`, uniform over all of int32, on the device of `keys`.
    """
    position = torch.arange(count, dtype=torch.int32, device=keys.device)
    # one word before and one after the first round: two keys give unrelated sequences even where one word agrees
    bits = _mix_(position ^ keys[:, :1])
    bits += keys[:, 1:]
    return _mix_(bits)


def random_mask(keys: Tensor, probability: float, count: int) -> Tensor:
    """Bool `(S, count)`: each element is True with the given probability (0 to 1, in steps of 2**-32)."""
    threshold = round(probability * 2**32) - 2**31
    if threshold >= 2**31:
        return torch.ones(len(keys), count, dtype=torch.bool, device=keys.device)
    return random_bits(keys, count) < threshold
