"""The required figures: ratios within one run, from the medians."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.measure import Row

Measured = Mapping[str, float]


@dataclass(frozen=True)
class Requirement:
    """One line of the table of required figures.

    Attributes:
        figure: What is compared.
        least: What it must be at least, or at most; None where nothing is required.
        aim: What it should be.
        value: The figure, from medians: seconds an epoch and seed by contender, start-up seconds by command, GiB.
        upward: Whether more is better.
        unit: Of the figure; empty for a ratio.
    """

    figure: str
    least: float | None
    aim: float | None
    value: Callable[[Measured], float]
    upward: bool = True
    unit: str = ""


def _ratio(dividend: str, divisor: str) -> Callable[[Measured], float]:
    return lambda measured: measured[dividend] / measured[divisor]


REQUIREMENTS = (
    # the compiled step, in the steady state
    Requirement("notebook loop / fashionreg, S = 1, compiled", 9, 12, _ratio("notebook", "fit-1-compiled")),
    Requirement("notebook loop / fashionreg per seed, S = 10, compiled", 24, 35, _ratio("notebook", "fit-10-compiled")),
    Requirement(
        "JAX jitted scan / fashionreg per seed, S = 10, compiled", 1.3, 1.8, _ratio("jax-10", "fit-10-compiled")
    ),
    Requirement("JAX jitted scan / fashionreg, S = 1, compiled", 0.75, 1, _ratio("jax-1", "fit-1-compiled")),
    Requirement(
        "fashionreg per seed, S = 10, compiled / arithmetic limit",
        1.8,
        1.3,
        _ratio("fit-10-compiled", "limit-10"),
        upward=False,
    ),
    Requirement(
        "fashionreg per seed, compiled, S = 50 / S = 10",
        1,
        None,
        _ratio("fit-50-compiled", "fit-10-compiled"),
        upward=False,
    ),
    Requirement(
        "lecture 7's network with all three, S = 10, eager / compiled",
        2.5,
        4,
        _ratio("lecture7-10", "lecture7-10-compiled"),
    ),
    Requirement(
        "`study lecture7.yaml`, ten seeds, eager / `--compile auto`",
        2,
        3,
        _ratio("study:lecture7:false", "study:lecture7:auto"),
    ),
    Requirement(
        "`study batch_norm.yaml`, ten seeds, eager / `--compile auto`",
        1,
        1.5,
        _ratio("study:batch_norm:false", "study:batch_norm:auto"),
    ),
    Requirement(
        "time to first training step, eager / `import lightning.pytorch.cli`",
        1.3,
        1.1,
        _ratio("start:first_step", "start:import"),
        upward=False,
    ),
    # without compilation
    Requirement("notebook loop / fashionreg, S = 1, eager", 3, 5, _ratio("notebook", "fit-1")),
    Requirement("notebook loop / fashionreg per seed, S = 10, eager", 10, 20, _ratio("notebook", "fit-10")),
    Requirement("plain LightningModule / fashionreg per seed, S = 10, eager", 18, 35, _ratio("lightning", "fit-10")),
    Requirement("fashionreg S = 1, eager / bare PyTorch loop", 2.0, 1.3, _ratio("fit-1", "bare"), upward=False),
    Requirement("bare PyTorch loop / fashionreg per seed, S = 10, eager", 1.8, 3.5, _ratio("bare", "fit-10")),
    Requirement(
        "an epoch with all shipped callbacks / with none, S = 10, eager",
        1.1,
        1.0,
        _ratio("fit-10-watched", "fit-10-unwatched"),
        upward=False,
    ),
    Requirement("`fashionreg --help`", 0.5, 0.2, lambda m: m["start:help"], upward=False, unit="s"),
    Requirement(
        "`fashionreg --help` beyond `python -c pass`",
        0.3,
        0.3,
        lambda m: m["start:help"] - m["start:pass"],
        upward=False,
        unit="s",
    ),
    Requirement("peak memory, S = 10, eager", 1.5, 0.9, lambda m: m["memory:fit-10"], upward=False, unit="GiB"),
    # on a GPU nothing is required yet
    *(
        Requirement(
            f"notebook loop / fashionreg per seed, S = {seeds:,}, compiled, CUDA",
            None,
            None,
            _ratio("notebook-cuda", f"fit-{seeds}-cuda-compiled"),
        )
        for seeds in (1, 10, 100, 1000)
    ),
    Requirement("fashionreg S = 10, CUDA, eager / compiled", None, None, _ratio("fit-10-cuda", "fit-10-cuda-compiled")),
    Requirement(
        "fashionreg S = 1,000, eager, CUDA, float32 / bfloat16",
        None,
        None,
        _ratio("fit-1000-cuda", "fit-1000-cuda-bf16"),
    ),
)


def medians(results: Row) -> dict[str, float]:
    """Return the medians for the requirements by name: `fit-10`, `start:help` (seconds), `memory:fit-10` (GiB)."""
    studies = {
        f"study:{row['name']}:{way}": row[way] for row in results.get("studies", ()) for way in ("false", "auto")
    }
    return (
        {row["name"]: row["per_seed"] for row in results["epochs"]}
        | {f"start:{row['name']}": row["median"] for row in results["startup"]}
        | {f"memory:{row['name']}": row["gib"] for row in results["memory"]}
        | studies
    )


def check_requirements(results: Row) -> list[Row]:
    """Return each requirement with its measurement and how it is met.

    That is `no`, `least` or `aim`; None if it was not measured, or nothing is required.
    """
    known = medians(results)
    rows = []
    for requirement in REQUIREMENTS:
        row: Row = {name: getattr(requirement, name) for name in ("figure", "least", "aim", "upward", "unit")}
        try:
            measured = requirement.value(known)
        except KeyError:
            rows.append(row | {"measured": None, "met": None})
            continue
        reached = {
            name: measured >= row[name] if requirement.upward else measured <= row[name]
            for name in ("least", "aim")
            if row[name] is not None
        }
        met = None
        if reached:
            met = "no" if not reached["least"] else "aim" if reached.get("aim") else "least"
        rows.append(row | {"measured": measured, "met": met})
    return rows
