"""A CSV file of results that were made elsewhere: read and checked cell by cell."""

import csv
import io
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from fashionreg.errors import UserError, shortened
from fashionreg.files import read_text
from fashionreg.runs.tables import MAX_TABLE, checked_column, refuse
from fashionreg.studies.folds import FOLD, PARTS, SPLIT_NUMBER

#: The columns that a table has, and what it may have besides; others are not read.
NEEDED = ("variant", "seed", "value")
FURTHER = (*PARTS, "epoch", "split", "metric")

#: How other programs write what is infinite or not a number: JavaScript, R and Weights & Biases.
AS_WRITTEN = {"NaN": "nan", "Inf": "inf", "-Inf": "-inf", "Infinity": "inf", "-Infinity": "-inf"}

#: How many characters the name of a variant, image, split or metric has at most; and how errors say what it must be.
MAX_NAME = 200
NAME = f"must be 1 to {MAX_NAME} printable characters"


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
