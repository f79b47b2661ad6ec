"""What a study has left behind, read back: `study.json` says what belongs to it, run folders hold the numbers.

A study's folder holds `study.json` (see `StudyPlan`), and for each variant the folders of its runs, laid out as those
of `fashionreg fit`: `<variant>/version_<n>/record.csv` and `record.json`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fashionreg.errors import UserError
from fashionreg.study.records import COLUMNS

PLAN_FILE = "study.json"
DRIFT_COLUMNS = ("seed", "step", "layer", "statistic", "value")


@dataclass(frozen=True)
class Variant:
    """One configuration under comparison.

    Attributes:
        name: Its name in tables and figures, and of its folder.
        key: What its runs carry in `record.json`: a digest of the resolved configuration and of the data.
        levels: In a study made from a grid, the value of each option that varies.
        config: The resolved configuration, as plain data.
    """

    name: str
    key: str
    levels: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class StudyPlan:
    """What a study compares, as `study.json` holds it.

    Attributes:
        name: Name of the study.
        question: What it asks, in one sentence.
        variants: The variants, in the order of the study file.
        reference: Name of the variant that the others are compared with.
        seeds: The seeds of every variant.
        metric: The primary metric: `acc`, `loss` or `ece`.
        split: The split on which it is taken: `train`, `val` or `test`.
        targets: Values of the metric whose first epoch is asked for.
        source: The study file, as it was named on the command line.
        options: Further words of the command line, which hold for every run.
    """

    name: str
    question: str
    variants: list[Variant]
    reference: str
    seeds: list[int]
    metric: str
    split: str
    targets: list[float]
    source: str
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StudyResults:
    """The numbers of a study.

    Attributes:
        plan: What was to be compared.
        table: One row for each number: study, variant, seed, epoch (from 1), split, metric, value; sorted by variant
            (in the plan's order), seed, epoch, split and metric. Only seeds of the plan.
        seconds: One row for each variant, seed and epoch: variant, seed, epoch, seconds. Wall time of the epoch,
            evaluation included, divided by the number of seeds that were trained side by side.
        runs: What `record.json` of each run says, with `variant` added.
        drift: What `ActivationDrift` has seen, one row for each number: variant, seed, step, layer, statistic, value;
            empty where it was not at work.
    """

    plan: StudyPlan
    table: pd.DataFrame
    seconds: pd.DataFrame
    runs: list[dict[str, Any]]
    drift: pd.DataFrame

    def missing(self) -> dict[str, list[int]]:
        """For each variant that is not complete the seeds without results."""
        present = self.table.groupby("variant").seed.unique()
        missing = {
            variant.name: sorted(set(self.plan.seeds) - set(present.get(variant.name, ())))
            for variant in self.plan.variants
        }
        return {name: seeds for name, seeds in missing.items() if seeds}


def read_plan(folder: Path) -> StudyPlan:
    """Read `study.json`.

    Raises:
        UserError: If there is none, or if it is not one of these.
    """
    path = folder / PLAN_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        variants = [Variant(**variant) for variant in content.pop("variants")]
        return StudyPlan(variants=variants, **content)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: holds no study: there is no {PLAN_FILE}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: is not what `fashionreg study` writes: {error}") from error


def finished_runs(folder: Path, variant: str) -> dict[Path, dict[str, Any]]:
    """The run folders of a variant that hold a whole record of a finished run, with their `record.json`.

    Raises:
        UserError: If a `record.json` is damaged.
    """
    runs = {}
    for path in sorted((folder / variant).glob("version_*/record.json"), key=lambda path: (len(path.parts[-2]), path)):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            if about["status"] == "finished":
                runs[path.parent] = about
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is damaged ({error}); remove its folder to run these seeds anew") from error
    return runs


def read_table(path: Path, seeds: Sequence[int], epochs: int) -> pd.DataFrame:
    """Read and check a `record.csv`.

    Args:
        path: The file.
        seeds: The seeds that must be there, and no others.
        epochs: The number of epochs that must be there.

    Raises:
        UserError: If something is missing, double, or no number.
    """
    table = _read_numbers(path, COLUMNS, words=("split", "metric"))
    double = table.duplicated(["seed", "epoch", "split", "metric"])
    if double.any():
        raise UserError(f"{path}: row {double.to_numpy().argmax() + 2}: is there twice")
    rows = len(seeds) * epochs * len(table[["split", "metric"]].drop_duplicates())
    if len(table) != rows or set(table.seed) != set(seeds) or set(table.epoch) != set(range(1, epochs + 1)):
        raise UserError(
            f"{path}: is not whole: {len(table)} rows, where {len(seeds)} seeds, {epochs} epochs and the metrics that "
            f"are there make {rows}"
        )
    return table


def _read_numbers(path: Path, columns: Sequence[str], words: Sequence[str]) -> pd.DataFrame:
    """A CSV file of exactly these columns, with numbers in all but those that hold `words`."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(words, str))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if list(table.columns) != list(columns):
        raise UserError(f"{path}: must have the columns {', '.join(columns)}, found {', '.join(table.columns)}")
    for name in columns:
        if name not in words and not pd.api.types.is_numeric_dtype(table[name]):
            row = pd.to_numeric(table[name], errors="coerce").isna().to_numpy().argmax()
            raise UserError(f"{path}: row {row + 2}: {name}: must be a number, got {table[name].iloc[row]!r}")
    return table


def read_study(folder: Path) -> StudyResults:
    """Read everything that a study has left behind so far.

    Raises:
        UserError: If there is no study, or a record of it is damaged.
    """
    plan = read_plan(folder)
    tables, seconds, runs, drifts = [], [], [], []
    for variant in plan.variants:
        needed = set(plan.seeds)
        for path, about in finished_runs(folder, variant.name).items():
            wanted = [seed for seed in about["seeds"] if seed in needed]
            if about.get("key") != variant.key or not wanted:
                continue
            needed -= set(wanted)
            table = read_table(path / "record.csv", about["seeds"], len(about["epoch_seconds"]))
            table = table[table.seed.isin(wanted)].assign(study=plan.name, variant=variant.name)
            tables.append(table)
            runs.append(about | {"variant": variant.name})
            if (path / "drift.csv").is_file():
                drift = _read_numbers(path / "drift.csv", DRIFT_COLUMNS, words=("layer", "statistic"))
                drifts.append(drift[drift.seed.isin(wanted)].assign(variant=variant.name))
            share = [value / len(about["seeds"]) for value in about["epoch_seconds"]]
            seconds += [(variant.name, seed, epoch + 1, value) for seed in wanted for epoch, value in enumerate(share)]
        lengths = {len(run["epoch_seconds"]) for run in runs if run["variant"] == variant.name}
        if len(lengths) > 1:
            raise UserError(
                f"{folder / variant.name}: its runs have different numbers of epochs ({', '.join(map(str, lengths))}); "
                "remove the folders of those that were cut short to run their seeds anew"
            )
    columns = ["study", "variant", *COLUMNS]
    table = pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    order = {variant.name: position for position, variant in enumerate(plan.variants)}
    keys = ["variant", "seed", "epoch", "split", "metric"]
    table = table.sort_values(keys, key=lambda c: c.map(order) if c.name == "variant" else c, ignore_index=True)
    drift_columns = ["variant", *DRIFT_COLUMNS]
    drift = pd.concat(drifts, ignore_index=True)[drift_columns] if drifts else pd.DataFrame(columns=drift_columns)
    wall_time = pd.DataFrame(seconds, columns=["variant", "seed", "epoch", "seconds"])
    return StudyResults(plan, table, wall_time, runs, drift)
