"""The results of a study, read from its folder: `study.json` says what belongs to it, run folders hold the numbers.

A study's folder holds `study.json` (see `StudyPlan`), and for each variant the folders of its runs, laid out as those
of `fashionreg fit`: `<variant>/version_<n>/record.csv` and `record.json`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from fashionreg.config import flat
from fashionreg.errors import UserError, shortened
from fashionreg.files import is_folder_name
from fashionreg.runs.record import (
    COLUMNS,
    DRIFT_COLUMNS,
    DataDescription,
    Metric,
    Record,
    Seed,
    Split,
    check_seeds,
)
from fashionreg.runs.schema import Between, SchemaError, read_json
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.folds import FOLD, PARTS, SPLIT_NUMBER, Summary, mean_over, summary_of
from fashionreg.studies.looks import LEAST, MOST, Look, digest, read_looks
from fashionreg.studies.run_files import MAX_NUMBER, finished_runs, has_key, read_drift, read_right, read_values
from fashionreg.text import METRIC_NAMES, POINTS, unit_of_difference

#: What a study can ask for: a metric, or the generalization gap.
Outcome = Literal["acc", "loss", "ece", "gap"]

PLAN_FILE = "study.json"

#: The folder, beside those of the variants, with the trials from which their options were chosen.
TUNING = "tuning"

#: How many networks a study has at most: one for each variant and seed.
MAX_NETWORKS = 1_000_000

#: How many splits a study has at most, and at least where it has several: two say too little about others.
MAX_SPLITS, MIN_SPLITS = 100, 3

#: How many targets a study has at most: each is a panel of a figure and a column of a table.
MAX_TARGETS = 20


@dataclass(frozen=True)
class Variant:
    """One configuration under comparison.

    Attributes:
        name: Its name in tables and figures; in a study that of its folder.
        key: What its runs carry in `record.json`: a digest of the resolved configuration and of the data. Empty where
            it was not trained as part of a study.
        levels: In a study made from a grid, the value of each option that varies.
        config: The resolved configuration, as plain data; empty where only a table of results is known.
        keys: The key on each split, where there are several; `key` and `config` are those of the first.
    """

    name: str
    key: str
    levels: dict[str, Any]
    config: dict[str, Any]
    keys: list[str] = field(default_factory=list)

    def on_splits(self) -> "list[Variant]":
        """Return the variant on each of its splits: each has another `split_seed`."""
        if not self.keys:
            return [self]
        data = self.config["data"]
        first = data["init_args"]["split_seed"]
        return [
            replace(self, key=key, keys=[], config=self.config | {"data": with_split(data, first + number)})
            for number, key in enumerate(self.keys)
        ]


def with_split(data: dict[str, Any], split_seed: int) -> dict[str, Any]:
    """Return the configuration of data with another split of the images."""
    return data | {"init_args": data["init_args"] | {"split_seed": split_seed}}


@dataclass(frozen=True)
class StudyPlan:
    """What a study compares, as `study.json` holds it, and its schema.

    Attributes:
        name: Name of the study.
        question: What it asks, in one sentence.
        variants: The variants, in the order of the study file.
        reference: Name of the variant that the others are compared with.
        seeds: The seeds of every variant.
        metric: The metric of learning curves and targets: `acc`, `loss` or `ece`.
        split: The split on which metrics are taken: `train`, `val` or `test`.
        targets: Values of the metric; reported is the epoch at which each is first reached.
        source: The study file, as it was named on the command line.
        options: Further arguments of the command line, for every run; overrides of a program are written as such.
        estimate: What of a learning curve counts. Studies of earlier versions do not say: it is the last epoch.
        outcomes: What the question asks for, the primary outcome first; see `tested` for where it is empty.
        relevant: The smallest difference of the primary outcome that matters, in points, for a loss in nats; None where
            nobody said.
        max_seeds: How many seeds the study has at most, however often it is looked at; None where nobody said.
        auto: Whether seeds are added until every variant is decided by the primary outcome, or `max_seeds` are trained.
        tuned: Whether options of the variants were chosen on validation images, with other seeds.
        rising: The outcomes of which more is better.
        splits: On how many splits of the images each seed is trained; 1 for folds of a cross-validation.
    """

    name: str
    question: str
    variants: list[Variant]
    reference: str
    seeds: list[Seed]
    metric: Metric
    split: Split
    targets: list[Annotated[float, Between()]]
    source: str
    options: list[str] = field(default_factory=list)
    estimate: Estimand = field(default_factory=Estimand)
    outcomes: list[Outcome] = field(default_factory=list)
    relevant: Annotated[float, Between(0)] | None = None
    max_seeds: Annotated[int, Between(LEAST, MOST)] | None = None
    auto: bool = False
    tuned: bool = False
    rising: list[str] = field(default_factory=lambda: ["acc"])
    splits: Annotated[int, Between(1, MAX_SPLITS)] = 1

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        check_targets(self.targets, self.metric)
        names = [variant.name for variant in self.variants]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise SchemaError(f"variants: {twice[0]}: appears twice")
        if len(names) * len(self.seeds) * self.splits > MAX_NETWORKS:
            what = f"{len(names):,} variants with {len(self.seeds):,} seeds"
            what += f" on {self.splits} splits" * (self.splits > 1)
            raise SchemaError(f"variants: {what}: must be at most {MAX_NETWORKS:,} networks")
        if self.reference not in names:
            raise SchemaError(f"reference: must be one of {', '.join(names) or 'the variants'}, got {self.reference}")
        if twice := [name for name, count in Counter(self.outcomes).items() if count > 1]:
            raise SchemaError(f"outcomes: {twice[0]}: appears twice")
        if self.max_seeds is not None and self.max_seeds < len(self.seeds):
            raise SchemaError(
                f"max_seeds: must be at least the number of seeds, {len(self.seeds)}, got {self.max_seeds}"
            )
        if self.splits > 1:
            if not MIN_SPLITS <= self.splits <= MAX_SPLITS:
                raise SchemaError(f"splits: must be from {MIN_SPLITS} to {MAX_SPLITS}, got {self.splits}")
            if self.max_seeds is not None:
                raise SchemaError("splits: cannot be combined with seeds: auto and max_seeds; choose one of them")
        # a table of results has no keys, whatever its splits
        several = (0, self.splits) if self.splits > 1 else (0,)
        if wrong := [variant for variant in self.variants if len(variant.keys) not in several]:
            must = f"must be {self.splits}, one for each split" if self.splits > 1 else "must be none for one split"
            raise SchemaError(f"variants: {wrong[0].name}: keys: {must}, got {len(wrong[0].keys)}")
        if self.auto and self.max_seeds is None:
            raise SchemaError("auto: needs max_seeds")
        unit = unit_of_difference(self.primary)
        if (margin := self.margin) is not None and not (0 < margin < math.inf and (margin <= 1 or unit is not POINTS)):
            what = f", in{unit.name}" if unit.name else ""
            raise SchemaError(
                f"relevant: must be above 0{what}{', at most 100' * (unit is POINTS)}, got {self.relevant:g}"
            )

    @property
    def train_evaluated(self) -> bool:
        """Whether training numbers were evaluated after each epoch; if not, they are running means."""
        return all(flat(variant.config).get("data.init_args.evaluate_train", False) for variant in self.variants)

    @property
    def tested(self) -> list[Outcome]:
        """The outcomes; where none are named the metric, and the generalization gap if it was evaluated."""
        gap: list[Outcome] = ["gap"] if self.train_evaluated else []
        return self.outcomes or [self.metric, *gap]

    @property
    def primary(self) -> Outcome:
        """The outcome that the question asks for first."""
        return self.tested[0]

    @property
    def digest(self) -> str:
        """What is compared, in short: the same for the same configurations, data and reference."""
        keys = [key for variant in self.variants for key in (variant.keys or [variant.key])]
        return digest([self.reference, *keys])

    @property
    def margin(self) -> float | None:
        """The smallest difference that matters, in the unit of the primary outcome: 0.005 for half a point."""
        return None if self.relevant is None else self.relevant / unit_of_difference(self.primary).factor

    def key(self, outcome: str) -> str:
        """Return how findings name an outcome: `test/acc`, or `gap`."""
        return outcome if outcome == "gap" else f"{self.split}/{outcome}"

    def label(self, outcome: str) -> str:
        """Return an outcome in words: `test accuracy`, `generalization gap`; without the split where none is named."""
        name = METRIC_NAMES.get(outcome, outcome)
        return name if outcome == "gap" else f"{self.split} {name}".strip()

    def more_is_better(self, outcome: str) -> bool:
        """Say whether more of an outcome is better: of an accuracy, and of what was declared so."""
        return outcome in self.rising


def check_targets(targets: Sequence[float], metric: str) -> None:
    """Refuse too many targets, a target given twice, and one outside the range of the metric.

    Raises:
        SchemaError: With the target.
    """
    if len(targets) > MAX_TARGETS:
        raise SchemaError(f"targets: must be at most {MAX_TARGETS}, got {len(targets)}")
    for position, target in enumerate(targets):
        high = MAX_NUMBER if metric == "loss" else 1
        if not 0 <= target <= high:
            what = "must be from 0 to 1 (0.8 is 80%)" if high == 1 else f"must be from 0 to {high:g}"
            raise SchemaError(f"targets[{position}]: {what}, got {target:g}")
        if target in targets[:position]:
            raise SchemaError(f"targets: {target:g} appears twice")


@dataclass(frozen=True)
class Correct:
    """Which test images the seeds of a variant are right about after the last epoch.

    Attributes:
        seeds: n of them.
        right: bool `(n, N)`.
        data: What the run says of its images.
    """

    seeds: list[int]
    right: NDArray[np.bool_]
    data: DataDescription


@dataclass(frozen=True)
class StudyResults:
    """The numbers of a study.

    Attributes:
        plan: What was to be compared.
        table: One row for each number: study, variant, seed, epoch (from 1), split, metric, value; sorted by variant
            (in the plan's order), seed, epoch, split and metric. Only seeds of the plan. The epoch is 0 where there is
            one number for a whole training.
        seconds: One row for each variant, seed and epoch: variant, seed, epoch, seconds. Wall time of the epoch,
            evaluation included, divided by the number of seeds that were trained side by side; NaN where it is not
            known.
        runs: What `record.json` of each run says; empty where only a table of results is known.
        drift: What `ActivationDrift` has recorded, one row for each number: variant, seed, step, layer, statistic,
            value; empty where it was not used.
        correct: For each variant, for each of its runs that has it, what `correct.npy` holds of the seeds of the plan.
        looks: Earlier looks at the same comparison.
        trials: The results of the trials, if the variants were tuned and the trials are still there.
        command: What makes the report: `study`, or `compare` for what was not trained as a study.
        cells: Where there are several splits, every number: the columns of `table` and `fold`, the number of the split
            from 0. `table` and `seconds` then have means over the splits of a seed, and `drift` is of the first.
        scores: Where a table of results has the scores of single images, every number: the columns of `table` and
            `image`. `table` then has means over images.
    """

    plan: StudyPlan
    table: pd.DataFrame
    seconds: pd.DataFrame
    runs: list[Record]
    drift: pd.DataFrame
    correct: dict[str, list[Correct]] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    trials: "StudyResults | None" = None
    command: Literal["study", "compare"] = "study"
    cells: pd.DataFrame | None = None
    scores: pd.DataFrame | None = None

    @property
    def numbers(self) -> pd.DataFrame:
        """Every single number, as `results.csv` has it."""
        if self.cells is None:
            return self.table if self.scores is None else self.scores
        return self.cells.rename(columns={FOLD: SPLIT_NUMBER}) if self.plan.splits > 1 else self.cells

    @property
    def summary(self) -> Summary | None:
        """How differences of single results become their mean, where they are not independent of one another."""
        if self.cells is None:
            return None
        return summary_of(int(self.cells.fold.nunique()), crossed_with_seeds=self.plan.splits > 1)

    def missing(self) -> dict[str, list[int]]:
        """Return for each variant that is not complete the seeds without results."""
        present = self.table.groupby("variant").seed.unique()
        missing = {
            variant.name: sorted(set(self.plan.seeds) - set(present.get(variant.name, ())))
            for variant in self.plan.variants
        }
        return {name: seeds for name, seeds in missing.items() if seeds}


def read_plan(folder: Path) -> StudyPlan:
    """Read and check `study.json`.

    Raises:
        UserError: If there is none; with its key, if something in it is missing, unknown or cannot be.
    """
    path = folder / PLAN_FILE
    if not path.exists():
        runs = (folder / "record.json").exists() or any(folder.glob("version_*/record.json"))
        hint = "; fashionreg compare compares the runs of several fits" if runs else ""
        raise UserError(f"{folder}: holds no study: there is no {PLAN_FILE}{hint}")
    plan = read_json(path, StudyPlan, "study")
    file = shortened(path, 300)
    for what, name in [("name", plan.name), *(("variants: name", variant.name) for variant in plan.variants)]:
        if not is_folder_name(name):
            raise UserError(f"{file}: {what}: {name!r} cannot be the name of a folder")
    for variant in plan.variants:
        data = variant.config.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("init_args"), dict):
            raise UserError(f"{file}: variants: {variant.name}: config.data.init_args: must be a mapping")
        if plan.splits == 1:
            continue
        if not variant.keys:
            raise UserError(f"{file}: variants: {variant.name}: keys: must be {plan.splits}, one for each split, got 0")
        if type(seed := data["init_args"].get("split_seed")) is not int:
            where = f"variants: {variant.name}: config.data.init_args.split_seed"
            raise UserError(f"{file}: {where}: must be a whole number where there are several splits, got {seed!r:.60}")
    return plan


def read_results(folder: Path) -> StudyResults:
    """Read everything that the runs of a study have left so far.

    Raises:
        UserError: If there is no study, or a record of it is damaged.
    """
    plan = read_plan(folder)
    chosen: list[ChosenRun] = []
    for variant in plan.variants:
        finished, lengths = finished_runs(folder, variant.name), set()
        for fold, part in enumerate(variant.on_splits()):
            needed = set(plan.seeds)
            for path, about in finished.items():
                wanted = [seed for seed in about.seeds if seed in needed]
                if not wanted or not has_key(about, part.key):
                    continue
                needed -= set(wanted)
                lengths.add(len(about.epoch_seconds))
                chosen.append(ChosenRun(variant.name, path, about, wanted, fold))
        if len(lengths) > 1:
            raise UserError(
                f"{folder / variant.name}: its runs have different numbers of epochs "
                f"({', '.join(map(str, sorted(lengths)))}); "
                "remove the folders of those that were cut short to run their seeds anew"
            )
    looks = [look for look in read_looks(folder) if look.compared == plan.digest]
    trials = read_results(folder / TUNING) if plan.tuned and (folder / TUNING).is_dir() else None
    return replace(read_runs(plan, chosen), looks=looks, trials=trials)


@dataclass(frozen=True)
class ChosenRun:
    """A run that belongs to a variant.

    Attributes:
        variant: The name of the variant.
        folder: The folder of the run.
        about: What `record.json` says of it.
        seeds: Those of its seeds that count.
        fold: The number of its split, from 0.
    """

    variant: str
    folder: Path
    about: Record
    seeds: list[int]
    fold: int = 0


def read_runs(
    plan: StudyPlan, chosen: Sequence[ChosenRun], command: Literal["study", "compare"] = "study"
) -> StudyResults:
    """Read everything that runs have left.

    Args:
        plan: What is compared.
        chosen: The runs of its variants.
        command: As in `StudyResults`.

    Raises:
        UserError: If a record is damaged.
    """
    tables, seconds, drifts = [], [], []
    correct: dict[str, list[Correct]] = {}
    for run in tqdm(chosen, desc="records", unit="", delay=2, leave=False, disable=None):
        table = read_values(run.folder, run.about)
        right = read_right(run.folder, run.about, table)
        if right is not None and plan.splits == 1:
            rows = [run.about.seeds.index(seed) for seed in run.seeds]
            correct.setdefault(run.variant, []).append(Correct(run.seeds, right[rows], run.about.data))
        tables.append(table[table.seed.isin(run.seeds)].assign(study=plan.name, variant=run.variant, fold=run.fold))
        if (drift := read_drift(run.folder, run.about)) is not None and run.fold == 0:
            drifts.append(drift[drift.seed.isin(run.seeds)].assign(variant=run.variant))
        share = [value / len(run.about.seeds) for value in run.about.epoch_seconds]
        times = enumerate(share, start=1)
        seconds += [(run.variant, seed, run.fold, epoch, value) for epoch, value in times for seed in run.seeds]
    columns = ["study", "variant", "seed", "fold", *(name for name in COLUMNS if name != "seed")]
    table = pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    drift_columns = ["variant", *DRIFT_COLUMNS]
    drift = pd.concat(drifts, ignore_index=True)[drift_columns] if drifts else pd.DataFrame(columns=drift_columns)
    wall_time = pd.DataFrame(seconds, columns=["variant", "seed", "fold", "epoch", "seconds"])
    runs = [run.about for run in chosen]
    if plan.splits == 1:
        table, wall_time = table.drop(columns="fold"), wall_time.drop(columns="fold")
        return StudyResults(plan, in_order(table, plan), wall_time, runs, drift, correct, command=command)
    table, wall_time = (each[_on_all(each, plan.splits)] for each in (table, wall_time))
    means = in_order(mean_over(FOLD, table, "value"), plan)
    times_of_seeds = mean_over(FOLD, wall_time, "seconds")
    return StudyResults(plan, means, times_of_seeds, runs, drift, command=command, cells=in_order(table, plan))


def _on_all(table: pd.DataFrame, splits: int) -> "pd.Series[bool]":
    """Return which rows belong to seeds that have results on all splits; the others are not complete yet."""
    return table.groupby(["variant", "seed"]).fold.transform("nunique") == splits


def in_order(table: pd.DataFrame, plan: StudyPlan) -> pd.DataFrame:
    """Return the rows of `StudyResults.table` in their order."""
    order = {variant.name: position for position, variant in enumerate(plan.variants)}
    keys = ["variant", "seed", *(name for name in PARTS if name in table), "epoch", "split", "metric"]
    return table.sort_values(keys, key=lambda c: c.map(order) if c.name == "variant" else c, ignore_index=True)
