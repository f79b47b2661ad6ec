"""All randomness of a replica as a function of (seed, purpose, epoch), without state to save or restore.

There are two kinds. Numbers drawn once (initial weights) or once an epoch (the data order) come from a
`torch.Generator` made for the purpose. Numbers drawn in every step for every replica (dropout masks, noise) are
counter-based bits: a hash of a key and a position, computed for all replicas at once in a few tensor operations (the
idea of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; keys are derived as in JAX, by `fold_in`).

A regularizer receives a `Key` in each step: its draws depend only on the seed of each replica, the name of the
regularizer in the configuration, the epoch and the step.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fashionreg.errors import MAX_SEED, UserError


def whole_seeds(seeds: Any) -> int | list[int]:
    """Return a count or a list of seeds as plain integers, NumPy's integers too.

    Raises:
        UserError: If they are anything else.
    """
    several = isinstance(seeds, Iterable) and not isinstance(seeds, str | bytes | Mapping)
    try:
        if any(isinstance(seed, bool) for seed in (seeds if several else [seeds])):
            raise TypeError
        return [operator.index(seed) for seed in seeds] if several else operator.index(seeds)
    except TypeError:
        raise UserError(f"seeds: must be a count (10) or a list ([3, 7]) of whole numbers, got {seeds!r:.80}") from None


def expand_seeds(seeds: int | list[int]) -> Sequence[int]:
    """Return the seeds for the value of `--seeds`: a count (`10` is 0 to 9) or a list.

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
    """Return `count` well-mixed uint32 words for one (seed, purpose, epoch)."""
    # only the purpose varies in length; as it comes last, no two triples give the same sequence
    return np.random.SeedSequence([seed, epoch, *purpose.encode()]).generate_state(count)


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Make a CPU generator for one seed, purpose and epoch.

    Args:
        seed: 0 to `MAX_SEED`.
        purpose: What is drawn, for example `"init"` or `"order"`; different purposes are independent.
        epoch: 0 or larger.
    """
    low, high = (int(word) for word in _words(seed, purpose, epoch, 2))
    return torch.Generator().manual_seed(high << 32 | low)


def replica_keys(seeds: list[int], purpose: str, epoch: int = 0) -> Tensor:
    """Make a key of two 32-bit words for each replica: int32 `(S, 2)` on the CPU."""
    words = np.stack([_words(seed, purpose, epoch, 2) for seed in seeds])
    return torch.from_numpy(words.view(np.int32))


def _as_int32(value: int) -> int:
    """Return the low 32 bits of `value` as a signed number, as torch takes int32 constants."""
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


def fold_in(keys: Tensor, number: int | Tensor) -> Tensor:
    """Derive keys from `keys` and a number (a step, a layer): int32 `(S, 2)` to int32 `(S, 2)`.

    Args:
        keys: int32, any shape.
        number: An integer, or an int32 tensor that broadcasts against `keys`: a scalar, which a compiled step takes
            without being compiled anew, or numbers that each derive their own.
    """
    # the odd multiplier spreads small numbers over all bits, so that folding 1 then 2 is not folding 2 then 1
    if isinstance(number, Tensor):
        # int32 arithmetic wraps around
        return _mix_(keys ^ (number * _as_int32(0x9E3779B1) + _as_int32(0x85EBCA6B)))
    return _mix_(keys ^ _as_int32(number * 0x9E3779B1 + 0x85EBCA6B))


def random_bits(keys: Tensor, count: int) -> Tensor:
    """Draw `count` independent uniform 32-bit numbers for each replica.

    Args:
        keys: int32 `(S, 2)`.
        count: Number of draws; positions 0 to `count - 1` are hashed with each key.

    Returns:
        int32 `(S, count)`, uniform over all of int32, on the device of `keys`.
    """
    position = torch.arange(count, dtype=torch.int32, device=keys.device)
    # one word before and one after the first round: two keys give unrelated sequences even where one word agrees
    bits = _mix_(position ^ keys[:, :1])
    bits += keys[:, 1:]
    return _mix_(bits)


def epoch_keys(seeds: list[int], consumers: Sequence[str], epoch: int) -> Tensor:
    """Make the keys of all R consumers of random numbers for one epoch: int32 `(R, S, 2)` on the CPU."""
    return torch.stack([replica_keys(seeds, name, epoch) for name in consumers])


class Key:
    """The random numbers of one consumer in one step, for S replicas side by side.

    The same key always gives the same numbers: a consumer that needs several independent draws takes each from a
    separate key, `key.fold_in(0)`, `key.fold_in(1)`, ...

    Attributes:
        words: int32 `(S, 2)`.
    """

    def __init__(self, words: Tensor) -> None:
        self.words = words

    def fold_in(self, number: int) -> "Key":
        """Derive an independent key for each number."""
        return Key(fold_in(self.words, number))

    def bits(self, *shape: int) -> Tensor:
        """Draw int32 `(S, *shape)`, uniform over all of int32."""
        return random_bits(self.words, math.prod(shape)).view(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Draw float32 `(S, *shape)`, uniform over the multiples of 2**-24 from 0 to below 1."""
        numbers: Tensor = ((self.bits(*shape) >> 8) & 0xFFFFFF) * 2**-24
        return numbers

    def normal(self, *shape: int) -> Tensor:
        """Draw float32 `(S, *shape)` of the standard normal distribution, by its inverse distribution function."""
        # the middle of each of 2**23 equal parts of (0, 1): the smallest and largest draws are -5.3 and 5.3. Of 2**24
        # parts float32 would round the middle of the last one to 1, whose normal draw is infinite
        middles = ((self.bits(*shape) >> 9) & 0x7FFFFF) * 2**-23 + 2**-24
        draws: Tensor = torch.special.ndtri(middles)
        return draws

    def bernoulli(self, probability: float | Tensor, *shape: int) -> Tensor:
        """Draw bool `(S, *shape)`, True with the given probability (0 to 1, a number or a scalar tensor)."""
        threshold = bernoulli_threshold(probability)
        return self.bits(*shape) < threshold.to(self.words.device)

    def permutation(self, count: int) -> Tensor:
        """Draw int64 `(S, count)`: for each replica the numbers 0 to `count - 1` in random order."""
        return self.bits(count).argsort(dim=1, stable=True)


def bernoulli_threshold(probability: float | Tensor) -> Tensor:
    """Return the int32 tensor below which a share `probability` (0 to 1) of all int32 numbers lies.

    A probability of 1 becomes `1 - 2**-32`, the largest share that an int32 threshold can give.
    """
    share = torch.as_tensor(probability, dtype=torch.float64)
    return (share * 2**32 - 2**31).round().clamp(max=2**31 - 1).to(torch.int32)
