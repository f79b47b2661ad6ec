"""How numbers are said on the console."""

from collections.abc import Sequence

from torch import Tensor


def in_percent(values: Tensor, unit: str = "%") -> str:
    """Shares `(S,)`, 0 to 1, as text: `81.25%`, or mean and sample standard deviation, `81.25 ± 0.31%`."""
    values = values * 100
    spread = f" ± {values.std():.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}{unit}"


def describe_seeds(seeds: Sequence[int]) -> str:
    """Seeds as text: `3`, `0 to 9 (10 side by side)`, `3, 7 (2 side by side)`."""
    if len(seeds) == 1:
        return str(seeds[0])
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    named = f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))
    return f"{named} ({len(seeds)} side by side)"


def by_seed(seeds: Sequence[int], values: Tensor, per_line: int = 10) -> str:
    """Shares `(S,)`, 0 to 1, each with its seed, in percent: `seed 0: 81.25  seed 1: 80.97  ...`."""
    cells = [f"{seed}: {value:.2f}" for seed, value in zip(seeds, (values * 100).tolist(), strict=True)]
    lines = ["   ".join(cells[start : start + per_line]) for start in range(0, len(cells), per_line)]
    return "\n".join(f"  seed  {line}" for line in lines)
