"""Numbers and seeds as text, the same wherever a person reads them."""

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean


def in_percent(shares: Iterable[float], unit: str = "%") -> str:
    """Shares, 0 to 1, one for each seed, as text: `81.25%`, or mean and sample standard deviation, `81.25 ± 0.31%`."""
    values = [100 * float(share) for share in shares]
    mean = fmean(values)
    # not statistics.stdev, which fails where a diverged network gave no number
    spread = f" ± {sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)):.2f}" if len(values) > 1 else ""
    return f"{mean:.2f}{spread}{unit}"


def describe_seeds(seeds: Sequence[int]) -> str:
    """Seeds as text: `3`, `0 to 9 (10 side by side)`, `3, 7 (2 side by side)`."""
    if len(seeds) == 1:
        return str(seeds[0])
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    named = f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))
    return f"{named} ({len(seeds)} side by side)"


def by_seed(seeds: Sequence[int], shares: Iterable[float], per_line: int = 10) -> str:
    """Shares, 0 to 1, each with its seed, in percent: `seed  0: 81.25   1: 80.97   ...`."""
    cells = [f"{seed}: {100 * float(share):.2f}" for seed, share in zip(seeds, shares, strict=True)]
    lines = ["   ".join(cells[start : start + per_line]) for start in range(0, len(cells), per_line)]
    return "\n".join(f"  seed  {line}" for line in lines)
