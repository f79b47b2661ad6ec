"""Read and write CSV files of images in the Kaggle form; errors name the line, the column and the value.

pandas is imported where it is used, because that takes a second.
"""

import csv
import gzip
import io
import re
import reprlib
import warnings
import zlib
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fashionreg.data.images import CLASS_NAMES, LabelledImages, is_fashion_mnist
from fashionreg.data.location import expand_home
from fashionreg.errors import UserError
from fashionreg.files import refuse_special, whole_file

PIXELS = 28 * 28
#: How many bytes the text of a file may have, unpacked: 400,000 images and more. Reading it takes four times as much.
MAX_CSV = 1_000_000_000
_HEADER = f"label,pixel1,...,pixel{PIXELS}"
#: All bytes that may stand below the header.
_VALUE_BYTES = b'0123456789, \t"\n'
_VALUE = re.compile(r"[ \t]*0*([0-9]{1,3})[ \t]*")


def read_csv(path: str | Path, labelled: bool = True) -> LabelledImages:
    """Read images from a CSV file in the Kaggle form, gz-compressed or not.

    The first line is the header: `label` (usually first, but at any place) and `pixel1` ... `pixel784` in this order,
    or `pixel0` ... `pixel783`. Every other line is an image, row by row from the top left. Values are integers written
    in digits alone ("3.0" and "+3" are refused), labels 0 to 9 and pixels 0 to 255; they may be quoted and padded with
    blanks. Blank lines are skipped. Windows line endings and a UTF-8 byte order mark are accepted. The classes have the
    names of Fashion-MNIST's if the images are some of those (see `is_fashion_mnist`), else none.

    Args:
        path: The file.
        labelled: Whether a `label` column is required; where it is not required and missing, all labels are -1.

    Raises:
        UserError: At the first fault, with the file, the line (the header is line 1), the column, the value and what
            is expected.
    """
    path = expand_home(path)
    content = csv_content(path)
    columns = _csv_columns(path, content, labelled)
    limits = [9 if column == "label" else 255 for column in columns]
    values = _csv_values(content, limits)
    if values is None:
        raise _first_fault(path, content, columns, limits)
    if "label" not in columns:
        return LabelledImages(torch.from_numpy(values).view(-1, 28, 28), torch.full((len(values),), -1))
    label = columns.index("label")
    images = torch.from_numpy(np.delete(values, label, axis=1)).view(-1, 28, 28)
    labels = torch.from_numpy(values[:, label].astype(np.int64))
    return LabelledImages(images, labels, CLASS_NAMES if is_fashion_mnist(images, labels) else ())


def is_kaggle_form(path: str | Path) -> bool:
    """Say whether the header of a readable CSV file is one that `read_csv` takes, with or without `label`."""
    path = expand_home(path)
    try:
        _csv_columns(path, csv_content(path), labelled=False)
    except UserError:
        return False
    return True


def write_csv(data: LabelledImages, path: str | Path) -> None:
    """Write `data` (at least one image) in the form that `read_csv` reads; equal data gives equal bytes.

    The file is compressed if `path` ends in `.gz`. An existing file is replaced atomically; missing folders are made.

    Raises:
        UserError: If the file cannot be written.
    """
    path = Path(path)
    digits = [str(value) for value in range(256)]
    rows = torch.cat([data.labels.to(torch.uint8)[:, None], data.images.reshape(-1, PIXELS)], dim=1).numpy()
    with whole_file(path) as file:
        # without mtime=0 and an empty name the archive would hold name and time, and equal data would give other bytes
        lines = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == ".gz" else nullcontext(file)
        with lines as out:
            out.write((",".join(["label", *_pixel_columns(first=1)]) + "\n").encode())
            for row in rows:
                out.write((",".join(map(digits.__getitem__, row.tolist())) + "\n").encode())


def _pixel_columns(first: int) -> list[str]:
    return [f"pixel{number}" for number in range(first, first + PIXELS)]


def csv_content(path: Path) -> bytes:
    """Return the file's text as UTF-8: unpacked, without byte order mark, lines end in LF, at least two lines."""
    try:
        refuse_special(path)
        with path.open("rb") as file:
            packed = path.suffix == ".gz" or file.peek(2).startswith(b"\x1f\x8b")
            # no more is unpacked than is read: an archive may hold a thousand times its own size
            with gzip.GzipFile(fileobj=file) if packed else nullcontext(file) as lines:
                content = lines.read(MAX_CSV + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged or incomplete gzip archive: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; `fashionreg data subset --out {path}` makes one") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a file: {error.strerror}") from error
    if len(content) > MAX_CSV:
        raise UserError(f"{path}: has more than {MAX_CSV:,} bytes of text; split it into smaller files")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        content.decode()
        position = content.find(0)
    except UnicodeDecodeError as error:
        position = error.start
    if position >= 0:
        line = content.count(b"\n", 0, position) + 1
        raise UserError(f"{path}: line {line}: byte 0x{content[position]:02x}, expected a text file in UTF-8")
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not content.strip():
        raise UserError(f"{path}: empty, expected a header line {_HEADER} and one line for each image")
    if b"\n" not in content.strip():
        raise UserError(f"{path}: line 1 is the only one, expected a header line and one line for each image")
    return content


def _csv_columns(path: Path, content: bytes, labelled: bool) -> list[str]:
    """Return the column names of the header: all pixels in order and, where present or required, `label`."""
    expected = f"expected {PIXELS + 1} columns {_HEADER}"
    try:
        names = next(csv.reader([content[: content.index(b"\n")].decode()], strict=True))
    except csv.Error as error:  # a quote that does not end, for one
        raise UserError(f"{path}: line 1: {error}, {expected}") from error
    if all(_VALUE.fullmatch(name) for name in names):
        raise UserError(f"{path}: line 1: no column names, {expected}")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{path}: line 1: column {shown(repeated[0])} appears more than once, {expected}")
    if labelled and "label" not in names:
        raise UserError(f"{path}: line 1: no column 'label', {expected}")
    if len(names) != PIXELS + ("label" in names):
        raise UserError(f"{path}: line 1: {len(names)} columns, {expected}")
    pixels = [name for name in names if name != "label"]
    for name, right in zip(pixels, _pixel_columns(first=0 if "pixel0" in names else 1), strict=True):
        if name != right:
            place = names.index(name) + 1
            raise UserError(f"{path}: line 1: column {place} is {shown(name)} in place of {right!r}, {expected}")
    return names


def _csv_values(content: bytes, limits: list[int]) -> NDArray[np.uint8] | None:
    """Return all values as `(N, columns)`, each within the limit of its column; None if anything is wrong.

    pandas is fast, but accepts "3.0", "1e2" and "True" as integers and skips blank lines when it counts. Therefore it
    reads only files made of the right characters, and `_first_fault` finds the fault in all others.
    """
    import pandas as pd

    start = content.index(b"\n") + 1
    if content.translate(None, _VALUE_BYTES) != content[:start].translate(None, _VALUE_BYTES):
        return None
    stream = io.BytesIO(content)
    stream.seek(start)
    parts = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row that is too long
            # pandas wraps around silently in types narrower than int64; chunks keep few of these wide values in memory
            for part in pd.read_csv(
                stream,
                header=None,
                names=range(len(limits)),
                index_col=False,
                dtype="int64",
                na_filter=False,  # which would fill short rows
                chunksize=8192,
            ):
                values = part.to_numpy()
                if (values > limits).any():
                    return None
                parts.append(values.astype(np.uint8))
    except (ValueError, OverflowError, pd.errors.ParserWarning):
        return None
    return np.concatenate(parts)


def _first_fault(path: Path, content: bytes, columns: list[str], limits: list[int]) -> UserError:
    """Find row by row what is wrong with a file, and return the error."""
    rows = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="\n"))
    plain = [{str(value) for value in range(limit + 1)} for limit in limits]
    end = 0
    try:
        for row in rows:
            line, end = end + 1, rows.line_num  # a quoted value may span lines
            if line == 1 or not row or (len(row) == 1 and row[0].isspace()):
                continue
            if len(row) != len(columns):
                cut = "; the file ends here and may be incomplete" if len(row) < len(columns) and not any(rows) else ""
                return UserError(f"{path}: line {line}: {len(row)} values, expected {len(columns)}{cut}")
            for column, value, limit, usual in zip(columns, row, limits, plain, strict=True):
                if value in usual:
                    continue  # nearly every value; ten times as fast as the pattern
                match = _VALUE.fullmatch(value)
                if match is None or int(match[1]) > limit:
                    came = f"value {shown(value)}" if value.strip() else "no value"
                    return UserError(
                        f"{path}: line {line}, column {shown(column)}: {came}, "
                        f"expected an integer from 0 to {limit}, in digits alone"
                    )
    except csv.Error as error:
        return UserError(f"{path}: line {end + 1}: {error}")
    return UserError(f"{path}: cannot be read as CSV, expected {_HEADER} and integers in digits alone")


def shown(text: str) -> str:
    """Return `text` quoted, on one line and shortened, since a wrong file may hold anything."""
    return reprlib.repr(text)
