"""The results as a table, as files and as a figure."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.figure import scaling
from benchmarks.measure import Row

#: Images that a measurement trains on; with fewer it is a trial of the benchmark itself.
FULL_SIZE = 60_000


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


def _accuracy(row: Row) -> str:
    if not row["accuracies"]:
        return ""
    low, high = (100 * bound(row["accuracies"]) for bound in (min, max))
    return f"{100 * row['accuracy']:.1f}% ({low:.1f} to {high:.1f})"


def _epoch_cells(row: Row) -> tuple[str, ...]:
    return (
        row["label"],
        str(row["threads"]),
        _spread(row, 2),
        f"{row['per_seed']:.3f}",
        f"{row['notebook_ratio']:.1f}" if "notebook_ratio" in row else "",
        _accuracy(row),
        {True: "yes", False: "no", None: ""}[row["reaches_accuracy"]],
    )


def _lecture7_cells(row: Row) -> tuple[str, ...]:
    return row["label"], str(row["threads"]), _spread(row, 3), f"{row['per_seed']:.4f}", _accuracy(row)


def _evaluation_cells(row: Row) -> tuple[str, ...]:
    share = row["evaluation"] / row["median"]
    return f"{row['workload']}: {row['label']}", f"{row['evaluation']:.3f}", f"{100 * share:.0f}%"


def _step_cells(row: Row) -> tuple[str, ...]:
    parts = [row[kind] for kind in ("products", "kernels", "fetching")]
    return row["label"], *(f"{value:.0f}" for value in (row["whole"], *parts, row["whole"] - sum(parts)))


def _requirement_cells(row: Row) -> tuple[str, ...]:
    prefix, unit = "" if row["upward"] else "at most ", f" {row['unit']}" if row["unit"] else ""
    return (
        row["figure"],
        *("" if row[bound] is None else f"{prefix}{row[bound]:g}{unit}" for bound in ("least", "aim")),
        "not measured" if row["measured"] is None else f"{row['measured']:.2f}{unit}",
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
    """Format all measurements as Markdown; a part that was not measured is left out."""
    parts: list[str] = []

    def add(head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
        if listed := [*rows]:
            parts.append(markdown(head, listed))

    shown = [row for row in results["epochs"] if row["in_table"]]
    accuracy = f"test accuracy, epoch {results['settings']['total_epochs']}"
    add(
        ("how", "threads", "seconds an epoch", "... and seed", "notebook's loop / this", accuracy, "reached"),
        (_epoch_cells(row) for row in shown if row.get("workload") != "lecture 7"),
    )
    add(
        ("lecture 7's network", "threads", "seconds an epoch", "... and seed", "test accuracy"),
        (_lecture7_cells(row) for row in shown if row.get("workload") == "lecture 7"),
    )
    add(
        ("evaluation on the test images", "seconds an epoch", "its share"),
        (_evaluation_cells(row) for row in shown if "evaluation" in row),
    )
    add(
        ("whole studies, wall time in seconds", "`--compile false`", "`--compile auto`, empty cache"),
        ((row["label"], f"{row['false']:.0f}", f"{row['auto']:.0f}") for row in results.get("studies", ())),
    )
    add(
        ("what compiling adds until the first step is done", "empty cache, s", "filled cache, s"),
        (
            (row["label"], *(f"{row[cache] - row['eager']:.1f}" for cache in ("cold", "warm")))
            for row in results.get("compilation", ())
        ),
    )
    add(
        (
            "compiled step, microseconds",
            "in all",
            "matrix products",
            "generated kernels",
            "fetching the batch",
            "the rest",
        ),
        (_step_cells(row) for row in results.get("steps", ())),
    )
    add(("start", "seconds"), ((row["label"], _spread(row, 3)) for row in results["startup"]))
    add(("peak memory, one epoch", "GiB"), ((row["label"], f"{row['gib']:.2f}") for row in results["memory"]))
    required = map(_requirement_cells, results["requirements"])
    add(("figure", "at least", "aim", "measured", "met"), required)
    return "\n\n".join([*parts, _circumstances(results)]) + "\n"


def write(results: Row, folder: Path) -> None:
    """Write `results.json`, `results.md` and, where its points were measured, `scaling.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(tables(results))
    # those of the table alone are one line of a few points
    if any(row["point"] and not row["in_table"] for row in results["epochs"]):
        scaling(results["epochs"]).savefig(folder / "scaling.png", dpi=120)
