"""Results that were made elsewhere: a table of numbers by variant and seed, as the results of a study."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fashionreg.errors import UserError, shortened
from fashionreg.runs.record import COLUMNS, DRIFT_COLUMNS
from fashionreg.runs.schema import SchemaError
from fashionreg.runs.tables import refuse
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.folds import FOLD, IMAGE, PARTS, SPLIT_NUMBER, mean_over
from fashionreg.studies.results import StudyPlan, StudyResults, Variant, in_order
from fashionreg.studies.results_table import NAME, is_name, read_results_table
from fashionreg.studies.run_files import without_huge

#: What is compared where a table has several splits or metrics and nobody chose; and what a table without them has.
USUAL = {"split": "test", "metric": "acc"}
UNNAMED = {"split": "", "metric": "value"}

#: Whether more is better, of the metrics that are known here.
MORE_IS_BETTER = {"acc": True, "loss": False, "ece": False}


def part_of(frame: pd.DataFrame) -> str | None:
    """Return the column of `PARTS` that a table has; None where a seed has one result.

    Raises:
        UserError: If it has several.
    """
    there = [name for name in PARTS if name in frame.columns]
    if len(there) > 1:
        raise UserError(f"{there[0]}, {there[1]}: there are both; keep one of these columns")
    return there[0] if there else None


def chosen(frame: pd.DataFrame, split: str | None, metric: str | None) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of one split and metric, and their names; `UNNAMED` where there is no such column.

    Where each variant and seed has one row, its epoch says nothing, and that column is left out. A column `split` of
    whole numbers is the column `fold`, where there is none of `PARTS`.

    Args:
        frame: With the columns `split` and `metric`, or without.
        split: The one that is wanted; None for the only one, or else that of `USUAL`.
        metric: As `split`.

    Raises:
        UserError: If there is no such split or metric, or there are several and no choice; or if there are several of
            `PARTS`.
    """
    names, part = [], part_of(frame)
    if split is None and part is None and "split" in frame and frame.split.astype(str).str.isdecimal().all():
        # numbers of splits, not names of parts
        frame, part = frame.assign(fold=frame.split.astype(int)).drop(columns="split"), FOLD
    for column, wanted in (("split", split), ("metric", metric)):
        if column not in frame.columns:
            names.append(UNNAMED[column] if wanted is None else wanted)
            continue
        there = list(frame[column].unique())
        if wanted is None:
            usual = USUAL[column] if USUAL[column] in there else None
            wanted = there[0] if len(there) == 1 else usual
        found = shortened(", ".join(map(str, there)))
        if wanted is None:
            raise UserError(f"{column}: there are {found}; say which is compared")
        if wanted not in there:
            raise UserError(f"{column}: there is no {wanted}; there are {found}")
        frame = frame[frame[column] == wanted]
        names.append(wanted)
    keys = ["variant", "seed", *([part] if part else [])]
    if "epoch" in frame.columns and not frame.duplicated(keys).any():
        frame = frame.drop(columns="epoch")
    return frame, names[0], names[1]


def check_rows(frame: pd.DataFrame, reference: Any, where: Callable[[Any], str]) -> None:
    """Refuse rows that cannot be compared.

    Args:
        frame: The rows of one split and metric.
        reference: The variant that the others are compared with.
        where: Says for the index of a row what the error of that row begins with.

    Raises:
        UserError: If a row is there twice, an epoch, fold, split or image is missing, there is no such reference, or a
            variant has no seed in common with it.
    """
    part = part_of(frame)
    keys = ["variant", "seed", *([part] if part else []), *(["epoch"] if "epoch" in frame.columns else [])]
    double = frame.duplicated(keys)
    if double.any():
        row = frame[double].iloc[0]
        which = ", ".join(f"{name} {row[name]}" for name in keys)
        raise UserError(f"{where(row.name)}{which}: appears twice")
    if "epoch" in keys:
        present = frame.groupby(keys[:-1], sort=False).epoch.transform("size")
        lengths = frame.groupby("variant", sort=False).epoch.transform("max")
        if (short := present != lengths).any():
            row = frame[short].iloc[0]
            counts = f"has results of {present[short].iloc[0]} of {lengths[short].iloc[0]} epochs"
            raise UserError(f"{where(row.name)}variant {row.variant}, seed {row.seed}: {counts}")
    if part is not None:
        number = frame[part].nunique()
        present = frame.groupby(["variant", "seed"], sort=False)[part].transform("nunique")
        if (short := present != number).any():
            row = frame[short].iloc[0]
            counts = f"has results of {present[short].iloc[0]} of {number} {PARTS[part]}"
            if part == IMAGE:
                its = frame[(frame.variant == row.variant) & (frame.seed == row.seed)].image
                lacks = frame.image[~frame.image.isin(its)].iloc[0]
                counts += f", not of {shortened(str(lacks))}; every seed needs the same images"
            raise UserError(f"{where(row.name)}variant {row.variant}, seed {row.seed}: {counts}")
        if number < 2:
            raise UserError(f"{part}: there is only {shortened(str(frame[part].iloc[0]))}; two or more are compared")
    seeds: dict[Any, set[Any]] = {name: set(rows) for name, rows in frame.groupby("variant", sort=False).seed}
    if reference not in seeds:
        # texts in quotes: the variant 1 is another one than "1"
        there = shortened(", ".join(map(repr, seeds)), 300)
        raise UserError(f"reference: there is no variant {reference!r}; there are {there}")
    for name, its_seeds in seeds.items():
        if its_seeds.isdisjoint(seeds[reference]):
            raise UserError(f"variant {name}: has no seed in common with {reference}, and pairs are made by seed")


def by_variant(frame: pd.DataFrame, estimand: Estimand) -> "dict[Any, pd.Series[float]]":
    """Return for each variant the value of each seed (and fold, split or image), or what counts of its epochs."""
    part, groups = part_of(frame), frame.groupby("variant")
    keys = ["seed", *([part] if part else [])]
    if "epoch" not in frame.columns:
        return {name: rows.set_index(keys).value for name, rows in groups}
    curves = {name: rows.pivot(index=keys, columns="epoch", values="value") for name, rows in groups}
    return {name: estimand.of(curve, None) for name, curve in curves.items()}


def rising(metric: str, higher_is_better: bool | None) -> list[str]:
    """Return the metrics of which more is better, among them `metric` or not.

    Args:
        metric: A metric of any name.
        higher_is_better: What was declared; None where nothing was, which is True for a metric that is not known here.

    Raises:
        UserError: If it contradicts what is known of the metric.
    """
    usual = MORE_IS_BETTER.get(metric)
    if usual is not None and higher_is_better not in (None, usual):
        raise UserError(f"higher_is_better: must be {str(usual).lower()} for {metric}")
    better = higher_is_better if usual is None else usual
    return [metric] if better is not False else []


def check_relevant(relevant: float | None, metric: str, frame: pd.DataFrame) -> None:
    """Refuse a smallest difference that matters which cannot be in the unit of the values.

    Args:
        relevant: In points for a share, in nats for a loss, else in the unit of the values; None for none.
        metric: The metric, `UNNAMED` where nobody has named one.
        frame: What is compared; of scores of images the mean of each seed over them.

    Raises:
        UserError: If it is not above 0; or if it is more than all differences of shares that were not called so, which
            would all be too small to matter.
    """
    if relevant is None:
        return
    if not 0 < relevant < math.inf:
        raise UserError(f"relevant: must be a number above 0, got {relevant:g}")
    values = frame.value
    if IMAGE in frame:
        values = frame.groupby([name for name in ("variant", "seed", "epoch") if name in frame.columns]).value.mean()
    low, high = float(values.min()), float(values.max())
    if metric == UNNAMED["metric"] and 0 <= low < high <= 1 and relevant >= high - low:
        raise UserError(
            f"relevant: {relevant:g} is more than all differences of the values, which are from {low:g} to {high:g}; "
            "if they are accuracies, the metric acc says so, and it is in points; else name the metric"
        )


def results_of_table(
    path: Path,
    reference: str | None,
    *,
    split: str | None = None,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    relevant: float | None = None,
    estimand: Estimand,
    options: Sequence[str] = (),
) -> StudyResults:
    """Read the results in a CSV file as those of a study.

    Args:
        path: The file.
        reference: The variant that the others are compared with; None for the first of the file.
        split: As `chosen` takes it.
        metric: As `chosen` takes it.
        higher_is_better: As `rising` takes it.
        relevant: As `check_relevant` takes it.
        estimand: What counts where there are epochs.
        options: The arguments of the command line, for the report to show.

    Raises:
        UserError: With file, row, column and value, if something is missing or cannot be.
    """
    file, frame = shortened(path, 300), read_results_table(path)
    try:
        frame, split, metric = chosen(frame, split, metric)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    for option, name in (("split", split), ("metric", metric)):
        if name and not is_name(name):
            raise UserError(f"{option}: {NAME}, got {shortened(name)}")
    if metric == "gap":
        raise UserError(f"{file}: metric: gap is what reports call train minus test accuracy; choose another name")
    if metric in ("acc", "ece"):
        refuse(~frame.value.between(0, 1) & frame.value.notna(), frame.value, file, "must be from 0 to 1 (0.8 is 80%)")
    check_relevant(relevant, metric, frame)
    names = list(frame.variant.unique())
    if len(names) == 1:
        raise UserError(f"{file}: variant: there is only {names[0]}; two or more are compared")
    reference = names[0] if reference is None else reference
    try:
        check_rows(frame, reference, lambda index: f"row {index + 2}: ")
        plan = StudyPlan(
            path.stem,
            f"Results of {path.name}, compared with {reference}",
            [Variant(name, "", {}, {}) for name in names],
            reference,
            sorted(map(int, frame.seed.unique())),
            # any name will do: this plan is never written, and no file could hold it
            metric,  # type: ignore[arg-type]
            split,  # type: ignore[arg-type]
            [],
            str(path),
            list(options),
            estimand,
            [metric],  # type: ignore[list-item]
            relevant,
            rising=rising(metric, higher_is_better),
            splits=int(frame[SPLIT_NUMBER].nunique()) if SPLIT_NUMBER in frame else 1,
        )
    except (UserError, SchemaError) as error:
        raise UserError(f"{file}: {error}") from None
    table = frame if "epoch" in frame.columns else frame.assign(epoch=0)
    table = table.rename(columns={SPLIT_NUMBER: FOLD})
    part = part_of(table)
    columns = ["study", "variant", "seed", *([part] if part else []), *(name for name in COLUMNS if name != "seed")]
    singles = in_order(without_huge(table.assign(study=plan.name, split=split, metric=metric))[columns], plan)
    table = in_order(mean_over(part, singles, "value"), plan) if part else singles
    cells, scores = (singles if part == name else None for name in (FOLD, IMAGE))
    times = table[["variant", "seed", "epoch"]].assign(seconds=math.nan)
    drift = pd.DataFrame(columns=["variant", *DRIFT_COLUMNS])
    return StudyResults(plan, table, times, [], drift, command="compare", cells=cells, scores=scores)
