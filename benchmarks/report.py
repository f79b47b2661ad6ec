"""The results as a table, as files and as a figure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figure import scaling
from benchmarks.measure import Row

#: Images that a measurement trains on; with fewer it is a trial of the benchmark itself.
FULL_SIZE = 60_000


@dataclass(frozen=True)
class Requirement:
    """One line of the table of required figures.

    Attributes:
        figure: What is compared.
        least: What it must be at least, or at most.
        aim: What it should be.
        upward: Whether more is better.
        unit: Of the figure; empty for a ratio.
        value: The figure, from medians: seconds an epoch and seed by contender, start-up seconds by command, GiB.
    """

    figure: str
    least: float
    aim: float
    upward: bool
    unit: str
    value: Callable[[Mapping[str, float]], float]


REQUIREMENTS = (
    Requirement("notebook loop / fashionreg, S = 1", 3, 5, True, "", lambda m: m["notebook"] / m["fit-1"]),
    Requirement("notebook loop / fashionreg per seed, S = 10", 10, 20, True, "", lambda m: m["notebook"] / m["fit-10"]),
    Requirement(
        "plain LightningModule / fashionreg per seed, S = 10", 18, 35, True, "", lambda m: m["lightning"] / m["fit-10"]
    ),
    Requirement("fashionreg S = 1 / bare PyTorch loop", 2.0, 1.3, False, "", lambda m: m["fit-1"] / m["bare"]),
    Requirement(
        "bare PyTorch loop / fashionreg per seed, S = 10", 1.8, 3.5, True, "", lambda m: m["bare"] / m["fit-10"]
    ),
    Requirement("`fashionreg --help`", 0.5, 0.2, False, "s", lambda m: m["start:help"]),
    Requirement(
        "`fashionreg --help` beyond `python -c pass`",
        0.3,
        0.3,
        False,
        "s",
        lambda m: m["start:help"] - m["start:pass"],
    ),
    Requirement(
        "time to first training step / `import lightning.pytorch.cli`",
        1.5,
        1.15,
        False,
        "",
        lambda m: m["start:first_step"] / m["start:import"],
    ),
    Requirement(
        "an epoch with all shipped callbacks / with none, S = 10",
        1.1,
        1.0,
        False,
        "",
        lambda m: m["fit-10-watched"] / m["fit-10-unwatched"],
    ),
    Requirement("peak memory, S = 10", 1.5, 0.9, False, "GiB", lambda m: m["memory:fit-10"]),
)


def medians(results: Row) -> dict[str, float]:
    """Return the medians for the requirements by name: `fit-10`, `start:help` (seconds), `memory:fit-10` (GiB)."""
    return (
        {row["name"]: row["per_seed"] for row in results["epochs"]}
        | {f"start:{row['name']}": row["median"] for row in results["startup"]}
        | {f"memory:{row['name']}": row["gib"] for row in results["memory"]}
    )


def check_requirements(results: Row) -> list[Row]:
    """Return each requirement with its measurement and how it is met: `no`, `least`, `aim`, None if not measured."""
    known = medians(results)
    rows = []
    for requirement in REQUIREMENTS:
        row: Row = {name: getattr(requirement, name) for name in ("figure", "least", "aim", "upward", "unit")}
        try:
            measured = requirement.value(known)
        except KeyError:
            rows.append(row | {"measured": None, "met": None})
            continue
        reached = [
            measured >= bound if requirement.upward else measured <= bound for bound in (row["least"], row["aim"])
        ]
        rows.append(row | {"measured": measured, "met": "aim" if all(reached) else "least" if reached[0] else "no"})
    return rows


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table that is legible as text; all columns but the first are right-aligned."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        justified = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([cells[0].ljust(widths[0]), *justified]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(line(cells) for cells in (head, rule, *rows))


def _spread(row: Row, digits: int) -> str:
    return f"{row['median']:.{digits}f} ({row['min']:.{digits}f} to {row['max']:.{digits}f})"


def _epoch_cells(row: Row) -> tuple[str, ...]:
    low, high = (100 * bound(row["accuracies"]) for bound in (min, max))
    return (
        row["label"],
        str(row["threads"]),
        _spread(row, 2),
        f"{row['per_seed']:.3f}",
        f"{row['notebook_ratio']:.1f}" if "notebook_ratio" in row else "",
        f"{100 * row['accuracy']:.1f}% ({low:.1f} to {high:.1f})",
        {True: "yes", False: "no", None: ""}[row["reaches_accuracy"]],
    )


def _requirement_cells(row: Row) -> tuple[str, ...]:
    prefix, unit = "" if row["upward"] else "at most ", f" {row['unit']}" if row["unit"] else ""
    return (
        row["figure"],
        *(f"{prefix}{row[bound]:g}{unit}" for bound in ("least", "aim")),
        "not measured" if row["met"] is None else f"{row['measured']:.2f}{unit}",
        {None: "", "no": "**no**", "least": "yes", "aim": "yes, the aim too"}[row["met"]],
    )


def _circumstances(results: Row) -> str:
    settings, machine = results["settings"], results["machine"]
    facts = (
        results["date"][:10],
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['gpu'] or 'no GPU'}",
        f"load when it began {machine['load_before']}",
        ", ".join(f"{name} {number}" for name, number in results["versions"].items()),
        f"commit {results['git_commit']}",
        f"{settings['train_size']:,} training images",
        f"repeats {settings['repeats']}, of which median (smallest to largest)",
        f"CPU threads at the start of each {settings['threads']}",
    )
    return ("**A trial, not the measurement.** " if is_trial(results) else "") + "; ".join(facts) + "."


def is_trial(results: Row) -> bool:
    """Return whether only a part was measured, or with a part of the images."""
    return results["settings"]["train_size"] != FULL_SIZE or results["settings"]["only"] is not None


def tables(results: Row) -> str:
    """Format all measurements as Markdown."""
    parts = []
    if shown := [row for row in results["epochs"] if row["in_table"]]:
        accuracy = f"test accuracy, epoch {results['settings']['total_epochs']}"
        head = ("how", "threads", "seconds an epoch", "... and seed", "notebook's loop / this", accuracy, "reached")
        parts.append(markdown(head, [_epoch_cells(row) for row in shown]))
    if results["startup"]:
        rows = [(row["label"], _spread(row, 3)) for row in results["startup"]]
        parts.append(markdown(("start", "seconds"), rows))
    if results["memory"]:
        rows = [(row["label"], f"{row['gib']:.2f}") for row in results["memory"]]
        parts.append(markdown(("peak memory, one epoch", "GiB"), rows))
    required = [_requirement_cells(row) for row in results["requirements"]]
    parts.append(markdown(("figure", "at least", "aim", "measured", "met"), required))
    return "\n\n".join([*parts, _circumstances(results)]) + "\n"


def write(results: Row, folder: Path) -> None:
    """Write `results.json`, `results.md` and, where its points were measured, `scaling.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(tables(results))
    # those of the table alone are one line of a few points
    if any(row["point"] and not row["in_table"] for row in results["epochs"]):
        scaling(results["epochs"]).savefig(folder / "scaling.png", dpi=120)
