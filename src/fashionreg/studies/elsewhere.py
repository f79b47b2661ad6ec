"""Results that were made elsewhere: a table of numbers by variant and seed, as the results of a study."""

import csv
import io
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fashionreg.errors import UserError, shortened
from fashionreg.files import read_text
from fashionreg.runs.record import COLUMNS, DRIFT_COLUMNS
from fashionreg.runs.schema import SchemaError
from fashionreg.runs.tables import MAX_TABLE, checked_column, refuse
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.folds import FOLD, IMAGE, PARTS, SPLIT_NUMBER, mean_over
from fashionreg.studies.results import StudyPlan, StudyResults, Variant, in_order
from fashionreg.studies.run_files import without_huge

#: The columns that a table has, and what it may have besides; others are not read.
NEEDED = ("variant", "seed", "value")
FURTHER = (*PARTS, "epoch", "split", "metric")

#: How other programs write what is infinite or not a number: JavaScript, R and Weights & Biases.
AS_WRITTEN = {"NaN": "nan", "Inf": "inf", "-Inf": "-inf", "Infinity": "inf", "-Infinity": "-inf"}

#: What is compared where a table has several splits or metrics and nobody chose; and what a table without them has.
USUAL = {"split": "test", "metric": "acc"}
UNNAMED = {"split": "", "metric": "value"}

#: How many characters the name of a variant, image, split or metric has at most; and how errors say what it must be.
MAX_NAME = 200
NAME = f"must be 1 to {MAX_NAME} printable characters"

#: Whether more is better, of the metrics that are known here.
MORE_IS_BETTER = {"acc": True, "loss": False, "ece": False}


def read_results_table(path: Path) -> pd.DataFrame:
    """Read a CSV file of results: the columns `NEEDED`, and those of `FURTHER` that it has.

    Blank lines are left out. The row with index i is row i + 2 of the file.

    Raises:
        UserError: With file, row and column, if something is missing or cannot be.
    """
    text, file = read_text(path, "CSV file", MAX_TABLE), shortened(path, 300)
    if text.startswith("version https://git-lfs.github.com/"):
        raise UserError(f"{file}: is a pointer of Git LFS in place of the file; git lfs pull gets the file")
    if not text.strip():
        raise UserError(f"{file}: is empty, expected the columns {', '.join(NEEDED)} and a row for each result")
    try:
        # of any line ending, and with names as a person reads them: spaces after commas do not count
        header = [name.strip() for name in next(csv.reader(io.StringIO(text, newline=None)))]
        columns = [name for name in (*NEEDED, *FURTHER) if name in header]
        for name in NEEDED:
            if name not in header:
                hint = "; commas must separate columns" if len(header) == 1 else ""
                there = shortened(", ".join(header))
                raise UserError(f"{file}: {name}: there is no such column; there are {there}{hint}")
        for name in columns:
            if header.count(name) > 1:
                raise UserError(f"{file}: {name}: there are {header.count(name)} columns of this name")
        with warnings.catch_warnings():
            # more cells in each row than columns; with `usecols` such rows would be cut
            warnings.simplefilter("error", pd.errors.ParserWarning)
            cells = pd.read_csv(
                io.BytesIO(text.encode()),
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
                index_col=False,
            )
    except UserError:
        raise
    except (ValueError, csv.Error, pd.errors.ParserWarning) as error:
        raise UserError(f"{file}: {_unreadable(text, error)}") from None
    cells.columns = pd.Index(header)
    cells = cells[~(cells.isna() | (cells == "")).all(axis=1)][columns].apply(lambda column: column.str.strip())
    if cells.empty:
        raise UserError(f"{file}: has no row below its header")
    return pd.DataFrame({name: _column(cells[name], file) for name in columns})


def _unreadable(text: str, error: Exception) -> str:
    """Return what is wrong with a text that pandas does not read as CSV, with the row where it is found."""
    number, width = 0, 0
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=None), strict=True), start=1):
            width = width or len(row)
            if len(row) > width:
                return f"row {number}: has {len(row)} cells, where the header has {width} columns"
    except csv.Error as fault:
        unclosed = "a quotation mark is not closed" if str(fault) == "unexpected end of data" else str(fault)
        return f"row {number + 1}: {unclosed}"
    return f"cannot be read: {' '.join(str(error).split())}"


def _column(cells: "pd.Series[str]", file: str) -> "pd.Series[Any]":
    """Return a column of texts as what its name says."""
    if cells.name == "value":
        return checked_column(cells.replace(AS_WRITTEN), float, file)
    if cells.name in ("seed", FOLD, SPLIT_NUMBER, "epoch"):
        numbers = checked_column(cells, int, file)
        if cells.name == "epoch":
            refuse(numbers < 1, numbers, file, "must be counted from 1")
        return numbers
    refuse(cells.isna() | (cells == ""), cells, file, "is empty")
    refuse(cells.isin([word for word in cells.unique() if not is_name(word)]), cells, file, NAME)
    return cells


def is_name(text: str) -> bool:
    """Say whether a text can be the name of a variant, image, split or metric: pages, figures and terminals show it."""
    return 0 < len(text) <= MAX_NAME and text.isprintable()


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
