"""Tables of numbers from files that anyone may have written, checked cell by cell, with the row of a fault."""

import csv
import io
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fashionreg.errors import UserError, shortened
from fashionreg.files import read_text
from fashionreg.runs.record import Column

#: How many bytes a table may have, and a row of it.
MAX_TABLE = 500_000_000
MAX_ROW = 100

#: Rows that are read at once: a cell is a Python object until its column is checked.
CHUNK = 100_000


def read_table(path: Path, columns: Mapping[str, Column], kind: str, rows: int | None = None) -> pd.DataFrame:
    """Read a CSV file of exactly these columns, without an empty cell.

    Args:
        path: The file.
        columns: What each column holds.
        kind: What the file is, for errors.
        rows: How many there can be, where that is known; a file that is too large for them is not read.

    Raises:
        UserError: With file, row (the line of the file) and column, if it cannot be read or holds anything else.
    """
    limit = MAX_TABLE if rows is None else min(MAX_TABLE, MAX_ROW * (rows + 1))
    text, name = read_text(path, kind, limit), shortened(path, 300)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more cells in each row than columns
            with pd.read_csv(
                io.BytesIO(text.encode()),
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
                index_col=False,
                quoting=csv.QUOTE_NONE,
                chunksize=CHUNK,
            ) as chunks:
                return pd.concat([_checked(cells, columns, name) for cells in chunks])
    except UserError:
        raise
    except (ValueError, pd.errors.ParserWarning) as error:
        problem = " ".join(str(error).split())
        for number, line in enumerate(text.splitlines(), start=1):
            if line.count(",") >= len(columns):
                problem = f"row {number}: has {line.count(',') + 1} cells, not {len(columns)}"
                break
        raise UserError(f"{name}: cannot be read: {problem}") from None


def _checked(cells: pd.DataFrame, columns: Mapping[str, Column], name: str) -> pd.DataFrame:
    """Return the rows of a table, which are texts, as what the columns hold."""
    if list(cells.columns) != list(columns):
        found = shortened(", ".join(map(str, cells.columns)))
        raise UserError(f"{name}: must have the columns {', '.join(columns)}, found {found}")
    return pd.DataFrame({column: checked_column(cells[column], kind, name) for column, kind in columns.items()})


def checked_column(cells: "pd.Series[str]", kind: Column, file: str) -> "pd.Series[Any]":
    """Return a column of texts as what it holds.

    Args:
        cells: The texts; the index is that of the rows below the header, from 0.
        kind: What they must be.
        file: Name of the file, for errors.

    Raises:
        UserError: With file, row and column, if a cell is empty or anything else.
    """
    empty = cells.isna() | (cells == "")
    refuse(empty, cells, file, "is empty")
    if kind is float:
        numbers = pd.to_numeric(cells, errors="coerce").astype(float)
        # what a number beyond the range of float64 becomes is not what was written
        meant = cells.isin(["nan", "inf", "-inf"])
        refuse(~numbers.abs().lt(math.inf) & ~meant, cells, file, "must be a number")
        return numbers
    codes, words = pd.factorize(cells)
    if kind is int:
        pattern, what = re.compile("[0-9]{1,15}"), "must be a whole number"
    elif isinstance(kind, re.Pattern):
        pattern, what = kind, f"must be like {kind.pattern}"
    else:
        assert isinstance(kind, tuple)
        pattern, what = re.compile("|".join(kind)), f"must be one of {', '.join(kind)}"
    wrong = [word for word in words if not pattern.fullmatch(word)]
    refuse(cells.isin(wrong), cells, file, what)
    if kind is int:
        whole = pd.array([int(word) for word in words], dtype="int64").take(codes)
        return pd.Series(whole, index=cells.index, name=cells.name)
    # one object for each word, not for each cell
    return pd.Series(words.take(codes), index=cells.index, name=cells.name)


def refuse(wrong: "pd.Series[bool]", column: "pd.Series[Any]", file: str, what: str) -> None:
    """Refuse a table for the first row of a column that is wrong.

    Raises:
        UserError: If there is one.
    """
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        value = column.iloc[row]
        got = "" if what == "is empty" else f", got {shortened(value if isinstance(value, str) else value.item())}"
        raise UserError(f"{file}: row {int(column.index[row]) + 2}: {column.name}: {what}{got}")
