"""Read CSV files of any labelled data: pixels or numeric features, classes as numbers or text.

Errors name the line, the column and the value, as those of `csv_files`, which reads Fashion-MNIST's own form faster.
"""

import csv
import io
import re
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fashionreg.data.csv_files import csv_content, shown
from fashionreg.data.location import expand_home
from fashionreg.errors import UserError

#: What the columns of a file are: pixels of 0 to 255, or numbers of any kind.
Kind = Literal["pixels", "features"]

#: More classes than this, or fewer rows for each than `ROWS_PER_CLASS`, are taken for a column of something else.
MAX_CLASSES, ROWS_PER_CLASS = 1000, 2

#: Characters that the name of a class may have.
MAX_NAME = 100

#: Names of a first column that pandas writes for the numbers of rows.
_INDEX = ("", "Unnamed: 0")

_NUMBER = re.compile(r"[ \t]*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?[ \t]*")
_PIXEL = re.compile(r"[ \t]*0*([0-9]{1,3})[ \t]*")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBERED = re.compile(r"(.*?)([0-9]+)")
_PIXELS = {str(value): value for value in range(256)}


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        values: uint8 `(N, D)`, pixels, or float64 `(N, D)`, features.
        labels: int64 `(N,)`, 0 to K - 1; all -1 where the file has no classes.
        class_names: Of the K classes: integers in their order, or texts in that of the alphabet.
    """

    values: NDArray[Any]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def read_table(path: str | Path, kind: Kind, label: str | None = None, inputs: int | None = None) -> Table:
    """Read a CSV file with a header line, gz-compressed or not, and one row for each image.

    The column of the classes is `label`; if that is not given, the one of that name, else the first or the last: the
    one whose name is not numbered like those of pixels (`0`, `pixel7`), or the only one that holds text. A first column
    without a name that numbers the rows is left out. Blank lines are skipped.

    Args:
        path: The file.
        kind: Whether the other columns are pixels, integers of 0 to 255 in digits alone, or features, numbers.
        label: Name of the column of the classes.
        inputs: Number of the other columns, where it is known. Then there need not be a column of classes, and classes
            are not looked at.

    Raises:
        UserError: At the first fault, with the file, the line (the header is line 1), the column, the value and what is
            expected.
    """
    path = expand_home(path)
    content = csv_content(path)
    rows = csv.reader(io.StringIO(content.decode(), newline="\n"), strict=True)
    try:
        names = next(rows)
        first = next((row for row in rows if not _is_blank(row)), [])
        left_out = int(names[0] in _INDEX and len(names) > 1)
        place = _label_place(path, names, first, label, left_out, inputs)
        columns = [name for at, name in enumerate(names) if at >= left_out and at != place]
        _check_names(path, names, columns)
        rows = csv.reader(io.StringIO(content.decode(), newline="\n"), strict=True)
        next(rows)
        values, classes, lines = _read_rows(path, rows, names, place, left_out, kind)
    except csv.Error as error:
        raise UserError(f"{path}: line {rows.line_num}: {error}") from error
    table = np.frombuffer(values, np.uint8 if kind == "pixels" else np.float64).reshape(-1, len(columns)).copy()
    if inputs is not None:
        return Table(table, np.full(len(table), -1), ())
    assert place is not None
    labels, class_names = _classes(path, names[place], classes, lines)
    return Table(table, labels, class_names)


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _label_place(
    path: Path, names: list[str], first: list[str], label: str | None, left_out: int, inputs: int | None
) -> int | None:
    """Return at which place the column of the classes stands; None where there is none and none is needed."""
    if inputs is not None and len(names) - left_out not in (inputs, inputs + 1):
        raise UserError(
            f"{path}: line 1: {len(names) - left_out} columns, expected {inputs}, as the network takes inputs, and at "
            "most one of classes"
        )
    if inputs is not None and len(names) - left_out == inputs:
        return None
    if label is not None and label in names:
        return names.index(label)
    if label is not None:
        raise UserError(f"{path}: line 1: no column {label!r:.80}, which the option label names")
    if "label" in names:
        return names.index("label")
    ends = [left_out, len(names) - 1]
    if len(names) - left_out > 1 and len(first) == len(names):
        for pattern, texts in ((_NUMBERED, names), (_NUMBER, first)):
            if len(found := [at for at in ends if not pattern.fullmatch(texts[at])]) == 1:
                return found[0]
    raise UserError(
        f"{path}: line 1: no column 'label', and the classes may be in the first column, {shown(names[ends[0]])}, or "
        f"the last, {shown(names[ends[1]])}; name their column by the option label"
    )


def _check_names(path: Path, names: list[str], columns: list[str]) -> None:
    """Refuse a header that is none, a column that is there twice, and numbered columns in another order."""
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{path}: line 1: column {shown(repeated[0])} appears more than once")
    found = [_NUMBERED.fullmatch(name) for name in columns]
    numbered = [(match[1], int(match[2])) for match in found if match]
    in_order = len(numbered) == len(columns) and len({prefix for prefix, _ in numbered}) == 1
    start = numbered[0][1] if numbered else 0
    if in_order and start in (0, 1):
        for at, ((prefix, number), name) in enumerate(zip(numbered, columns, strict=True)):
            if number != start + at:
                right = f"{prefix}{start + at}"
                place = names.index(name) + 1
                raise UserError(f"{path}: line 1: column {place} is {shown(name)} in place of {right!r:.80}")
    elif all(_NUMBER.fullmatch(name) for name in columns):
        raise UserError(f"{path}: line 1: no column names, expected a header line")


def _read_rows(
    path: Path, rows: Any, names: list[str], place: int | None, left_out: int, kind: Kind
) -> tuple["array[Any]", list[str], list[int]]:
    """Return all values one after the other, and the class and the line of each row."""
    values: array[Any] = array("B" if kind == "pixels" else "d")
    classes: list[str] = []
    lines: list[int] = []
    convert: Callable[[str], float | None] = _pixel if kind == "pixels" else _number
    expected = "an integer from 0 to 255, in digits alone" if kind == "pixels" else "a number"
    end = 1
    for row in rows:
        line, end = end + 1, rows.line_num  # a quoted value may span lines
        if _is_blank(row):
            continue
        if len(row) != len(names):
            raise UserError(f"{path}: line {line}: {len(row)} values, expected {len(names)}")
        if left_out and row[0].strip() not in (str(len(lines)), str(len(lines) + 1)):
            raise UserError(f"{path}: line {line}: column 1 has no name and does not number the rows; name it")
        converted = [convert(value) for at, value in enumerate(row) if at >= left_out and at != place]
        if None in converted:
            at = next(at for at, value in enumerate(row) if at >= left_out and at != place and convert(value) is None)
            came = f"value {shown(row[at])}" if row[at].strip() else "no value"
            raise UserError(f"{path}: line {line}, column {shown(names[at])}: {came}, expected {expected}")
        values.extend(converted)
        classes.append("" if place is None else row[place].strip())
        lines.append(line)
    if not lines:
        raise UserError(f"{path}: has no rows below its header")
    return values, classes, lines


def _pixel(text: str) -> int | None:
    if (plain := _PIXELS.get(text)) is not None:
        return plain
    match = _PIXEL.fullmatch(text)
    return int(match[1]) if match is not None and int(match[1]) < 256 else None


def _number(text: str) -> float | None:
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    # what float32 holds, with room for the square of it in float64
    return value if abs(value) < 1e30 else None


def _classes(
    path: Path, column: str, classes: Sequence[str], lines: Sequence[int]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the label of each row, and the names of the classes."""

    def fault(at: int, expected: str) -> UserError:
        came = f"value {shown(classes[at])}" if classes[at] else "no value"
        return UserError(f"{path}: line {lines[at]}, column {shown(column)}: {came}, expected {expected}")

    counts = Counter(classes)
    for name in counts:
        if not name or not name.isprintable() or len(name) > MAX_NAME:
            raise fault(classes.index(name), f"the name or number of a class, of 1 to {MAX_NAME} letters and signs")
    integers = [name for name in counts if _INTEGER.fullmatch(name)]
    if integers and len(integers) < len(counts):
        few = [name for name in counts if (name in integers) == (2 * len(integers) < len(counts))]
        kinds = ("a text", "an integer") if few[0] in integers else ("an integer", "a text")
        raise fault(classes.index(few[0]), f"{kinds[0]}, as in other lines")
    if len(counts) == 1:
        raise UserError(f"{path}: column {shown(column)}: {shown(classes[0])} in all rows, expected 2 classes or more")
    if len(counts) > MAX_CLASSES or len(counts) * ROWS_PER_CLASS > len(classes):
        raise UserError(
            f"{path}: column {shown(column)}: {len(counts):,} different values in {len(classes):,} rows, which are no "
            f"classes (at most {MAX_CLASSES:,}, of {ROWS_PER_CLASS} rows or more); name theirs by the option label"
        )
    if integers:
        numbers = np.array([int(name) for name in classes], np.int64)
        found, labels = np.unique(numbers, return_inverse=True)
        return labels.astype(np.int64), tuple(map(str, found.tolist()))
    ordered = sorted(counts)
    index = {name: label for label, name in enumerate(ordered)}
    return np.array([index[name] for name in classes], np.int64), tuple(ordered)
