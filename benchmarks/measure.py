"""Timing in one process: all contenders in turn, several times over."""

import gc
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from benchmarks.work import Contender, Outcome, Work
from fashionreg.runs.record import git_commit

PACKAGES = ("fashionreg", "torch", "torchvision", "lightning", "torchmetrics", "scikit-learn", "numpy", "jax")

#: Names of modules where they are not those of packages.
MODULES = {"scikit-learn": "sklearn"}

Row = dict[str, Any]


def say(text: str) -> None:
    """Report progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def summary(seconds: Sequence[float]) -> Row:
    """Return all measurements with their median, smallest and largest."""
    rounded = [round(value, 5) for value in seconds]
    return {"seconds": rounded, "median": median(rounded), "min": min(rounded), "max": max(rounded)}


@dataclass
class _Measured:
    outcomes: list[Outcome] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def measure(contenders: Sequence[Contender], work: Work, repeats: int) -> list[Row]:
    """Run all contenders in turn, `repeats` times, every other time in reverse order, and describe each.

    Those that have no row in the table are points of the figure, and run in the first repeat only.

    Before each, torch is given as many CPU threads as it started with (or those that the contender asks for):
    `fashionreg fit` takes fewer where a step is too small for them, and gives them back.

    Args:
        contenders: What to run.
        work: What each is to do.
        repeats: How often.

    Returns:
        For each contender the numbers of the results file.
    """
    threads = torch.get_num_threads()
    measured = {contender.name: _Measured() for contender in contenders}
    for repeat in range(repeats):
        for contender in contenders if repeat % 2 == 0 else reversed(contenders):
            if repeat and not contender.in_table:
                continue
            gc.collect()
            if contender.device == "cuda":
                torch.cuda.empty_cache()
            torch.set_num_threads(contender.threads or threads)
            started = time.perf_counter()
            try:
                outcome = contender.run(work, repeat)
            finally:
                torch.set_num_threads(threads)
            measured[contender.name].wall.append(round(time.perf_counter() - started, 3))
            measured[contender.name].outcomes.append(outcome)
            say(f"repeat {repeat + 1}/{repeats}   {contender.name:<24}{median(outcome.seconds):8.3f} s an epoch")
    rows = [_row(contender, measured[contender.name], contender.threads or threads) for contender in contenders]
    medians = {row["name"]: row["median"] for row in rows}
    for row in rows:
        if row["in_table"] and "notebook" in medians and row["workload"] == "batch norm study":
            row["notebook_ratio"] = medians["notebook"] / row["per_seed"]
        if row["in_table"]:
            row["reaches_accuracy"] = _reaches_accuracy(row, rows)
    return rows


def _row(contender: Contender, measured: _Measured, threads: int) -> Row:
    seconds = [value for outcome in measured.outcomes for value in outcome.seconds]
    accuracies = [round(value, 6) for outcome in measured.outcomes for value in outcome.accuracies]
    kept = ("name", "label", "device", "batch_norm", "workload", "compiled", "seeds", "in_table")
    described = {name: getattr(contender, name) for name in kept}
    row = described | {"threads": threads, "point": contender.setting is not None}
    if contender.setting is not None:
        row |= dict(zip(("width", "images"), contender.setting, strict=True))
    row |= measured.outcomes[0].facts | summary(seconds)
    if evaluation := [value for outcome in measured.outcomes for value in outcome.evaluation]:
        row["evaluation"] = median(evaluation)
    return row | {
        "per_seed": row["median"] / contender.seeds,
        "accuracies": accuracies,
        "accuracy": fmean(accuracies) if accuracies else None,
        "wall_seconds": measured.wall,
    }


def _reaches_accuracy(row: Row, rows: Sequence[Row]) -> bool | None:
    """Return whether an accuracy is among those of fashionreg's ten seeds, eager; None if not comparable.

    scikit-learn is not comparable: it starts from larger weights, and is therefore ahead in the first epochs.
    """
    reference = next((other for other in rows if other["name"] == "fit-10"), None)
    if reference is None or row["name"] in ("fit-10", "sklearn") or not row["batch_norm"]:
        return None
    if row["accuracy"] is None or row["workload"] != reference["workload"]:
        return None
    reached: bool = min(reference["accuracies"]) <= row["accuracy"] <= max(reference["accuracies"])
    return reached


def surroundings(repeats: int, work: Work, only: Sequence[str] | None) -> Row:
    """Return date, machine, versions and settings as plain data; call it before anything is measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(Path(__file__).parent),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES if find_spec(MODULES.get(name, name))},
        "settings": {
            "repeats": repeats,
            "timed_epochs": work.epochs,
            "total_epochs": work.total_epochs,
            "train_size": work.train_size,
            "all_images": work.all_images,
            "threads": torch.get_num_threads(),
            "only": list(only) if only else None,
        },
    }


def processor() -> str:
    """Return the model name of the CPU, where the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
