"""Whatever is in a CSV file of images, exactly its numbers are read, or it is refused in one line."""

import csv
import gzip
import io
import re

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from damage import TABLE, damaged, odd_numbers
from fashionreg.data.csv_files import read_csv


def table(seed, rows):
    """`(rows, 785)`: labels, then pixels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, (rows, 1))
    return np.hstack([labels, generator.integers(0, 256, (rows, 784))])


def header(first=1):
    return ["label", *(f"pixel{number}" for number in range(first, first + 784))]


def text(values, names=None):
    return "".join(",".join(map(str, row)) + "\n" for row in [names or header(), *values.tolist()])


tables = st.builds(table, st.integers(0, 2**32), st.integers(1, 3))


def read_by_hand(content):
    """The table that `content` holds, by Python's own csv module; fails where it holds anything but digits."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=None))
    names, *rows = (row for row in rows if row and row != [" "] and (len(row) > 1 or row[0].strip()))
    assert all(re.fullmatch(r"[ \t]*[0-9]+[ \t]*", cell) for row in rows for cell in row)
    values = np.array([list(map(int, row)) for row in rows])
    label = names.index("label")
    assert [name for name in names if name != "label"] in (header(0)[1:], header(1)[1:])
    return values[:, label], np.delete(values, label, axis=1)


def check(data, content):
    """What was read is in range and what the file says."""
    labels, pixels = read_by_hand(content)
    assert (data.images.dtype, data.labels.dtype) == (torch.uint8, torch.int64)
    assert labels.min() >= 0
    assert labels.max() <= 9
    assert pixels.max() <= 255
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.images.reshape(-1, 784), pixels)
    assert data.images.shape[1:] == (28, 28)


@given(
    values=tables,
    label=st.integers(0, 784),
    first=st.integers(0, 1),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
    blank=st.booleans(),
    cell=st.sampled_from(["{}", '"{}"', " {}", "\t{} ", "0{}", "00{}"]),
    packed=st.booleans(),
    last_line_ends=st.booleans(),
)
def test_every_form_that_is_allowed_is_read_exactly(
    reading, tmp_path, values, label, first, end, mark, blank, cell, packed, last_line_ends
):
    names = header(first)[1:]
    names.insert(label, "label")
    order = [*range(1, label + 1), 0, *range(label + 1, 785)]
    lines = [",".join(names), *(",".join(map(cell.format, row)) for row in values[:, order])]
    content = ("\ufeff" * mark + (end * (1 + blank)).join(lines) + end * last_line_ends).encode()
    path = tmp_path / "data.csv"
    path.write_bytes(gzip.compress(content) if packed else content)
    data = reading(lambda: read_csv(path))
    np.testing.assert_array_equal(data.labels, values[:, 0])
    np.testing.assert_array_equal(data.images.reshape(-1, 784), values[:, 1:])


@given(values=tables, row=st.integers(0, 2), column=st.integers(0, 784), value=odd_numbers)
def test_a_number_in_an_odd_form_is_that_number_or_refused(reading, tmp_path, values, row, column, value):
    cells = values.astype(object)
    cells[row % len(cells), column] = value
    content = text(cells).encode()
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    if (data := reading(lambda: read_csv(path), path)) is not None:
        check(data, content)


@given(st.data(), tables, st.booleans())
def test_a_damaged_file_is_read_as_it_stands_or_refused(reading, tmp_path, data, values, packed):
    content = text(values).encode()
    if packed:
        content = gzip.compress(content)
    content = data.draw(damaged(content, TABLE))
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    if (images := reading(lambda: read_csv(path), path)) is not None:
        check(images, content)


@given(st.one_of(st.binary(), st.text().map(str.encode)), st.sampled_from(["data.csv", "data.csv.gz"]))
def test_any_bytes_are_refused(reading, tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    assert reading(lambda: read_csv(path, labelled=False), path) is None
