import gzip
import re
import reprlib
import stat
import tracemalloc

import numpy as np
import pytest
import torch

from fashionreg.data.csv_files import read_csv, write_csv
from fashionreg.data.images import LabelledImages
from fashionreg.data.sources import read_fashion_mnist
from fashionreg.errors import UserError
from fashionreg.files import whole_file
from samples import message, random_images, same

HEADER = ["label", *(f"pixel{number}" for number in range(1, 785))]
FORM = "expected 785 columns label,pixel1,...,pixel784"

# ---------------------------------------------------------------------------------------------------- CSV files


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "a/new/folder/data.csv"])
def test_what_is_written_as_csv_reads_back_the_same(tmp_path, name):
    data = random_images(20)
    write_csv(data, tmp_path / name)
    assert same(read_csv(tmp_path / name), data)


def test_csv_that_takes_several_reads_reads_back_the_same(tmp_path):
    data = random_images(8200)
    write_csv(data, tmp_path / "data.csv")
    assert same(read_csv(tmp_path / "data.csv"), data)


@pytest.mark.realdata
def test_subset_of_the_official_data_reads_back_the_same(real_data, tmp_path):
    data = read_fashion_mnist(real_data, train=False)[:500]
    write_csv(data, tmp_path / "data.csv.gz")
    assert same(read_csv(tmp_path / "data.csv.gz"), data)


def test_csv_reads_as_numpy_reads_it(tmp_path):
    write_csv(random_images(20), tmp_path / "data.csv")
    table = np.loadtxt(tmp_path / "data.csv", delimiter=",", skiprows=1)
    data = read_csv(tmp_path / "data.csv")
    np.testing.assert_array_equal(data.labels, table[:, 0])
    np.testing.assert_array_equal(data.images.reshape(20, 784), table[:, 1:])


def test_equal_data_is_written_as_equal_bytes_whatever_the_name_and_time(tmp_path, monkeypatch):
    write_csv(random_images(20), tmp_path / "one.csv.gz")
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_csv(random_images(20), tmp_path / "two.csv.gz")
    write_csv(random_images(20), tmp_path / "three.csv")
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "two.csv.gz").read_bytes()) == (tmp_path / "three.csv").read_bytes()


def test_written_file_has_the_form_of_the_header_and_ordinary_permissions(tmp_path):
    write_csv(LabelledImages(torch.zeros(1, 28, 28, dtype=torch.uint8), torch.tensor([7])), tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text() == ",".join(HEADER) + "\n7" + 784 * ",0" + "\n"
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "data.csv").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_interrupted_writing_leaves_what_was_there_before(tmp_path):
    (tmp_path / "data.csv").write_text("before")

    def write_half():
        with whole_file(tmp_path / "data.csv") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]
    assert (tmp_path / "data.csv").read_text() == "before"


@pytest.mark.parametrize(
    ("name", "reason"), [("file/data.csv", "(File exists|Not a directory)"), ("folder", "Is a dir")]
)
def test_csv_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path / name))}: cannot be written: {reason}"):
        write_csv(random_images(1), tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def table(count=2):
    """Header and `count` rows of a CSV file, as lists of fields, with what they mean."""
    data = random_images(count)
    pixels = data.images.reshape(count, 784).tolist()
    return data, [
        HEADER,
        *([str(v) for v in (label, *row)] for label, row in zip(data.labels.tolist(), pixels, strict=True)),
    ]


def text(rows, end="\n"):
    return "".join(",".join(row) + end for row in rows)


def with_label_at(position, rows):
    return [[*row[1 : position + 1], row[0], *row[position + 1 :]] for row in rows]


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: text(rows).encode(),
        lambda rows: text(rows).encode().rstrip(),
        lambda rows: text(rows, end="\r\n").encode(),
        lambda rows: text(rows, end="\r").encode(),
        lambda rows: text(rows).encode("utf-8-sig"),
        lambda rows: text(rows, end="\n\n  \n").encode(),
        lambda rows: text([[f'"{field}"' for field in row] for row in rows]).encode(),
        lambda rows: text([rows[0], *([f" {field}\t" for field in row] for row in rows[1:])]).encode(),
        lambda rows: text([rows[0], *([f"00{field}" for field in row] for row in rows[1:])]).encode(),
        lambda rows: text(with_label_at(784, rows)).encode(),
        lambda rows: text(with_label_at(10, rows)).encode(),
        lambda rows: text([["label", *(f"pixel{number}" for number in range(784))], *rows[1:]]).encode(),
        lambda rows: gzip.compress(text(rows).encode()),
    ],
    ids=[
        "plain",
        "no last line end",
        "Windows line ends",
        "old Mac line ends",
        "byte order mark",
        "blank lines",
        "quoted",
        "padded",
        "leading zeros",
        "label last",
        "label in the middle",
        "pixels from 0",
        "packed without the suffix",
    ],
)
def test_csv_is_read_in_every_harmless_spelling(tmp_path, write):
    data, rows = table()
    (tmp_path / "data.csv").write_bytes(write(rows))
    assert same(read_csv(tmp_path / "data.csv"), data)


def changed(line, column, value):
    """A file of two rows with one field changed; the header is line 1."""
    _, rows = table()
    rows[line - 1] = list(rows[line - 1])
    rows[line - 1][HEADER.index(column)] = value
    return text(rows).encode()


def bad_value(value, column="pixel77", line=3):
    limit = 9 if column == "label" else 255
    came = f"value {value!r}" if value.strip() else "no value"
    fault = f"line {line}, column '{column}': {came}, expected an integer from 0 to {limit}, in digits alone"
    return pytest.param(changed(line, column, value), fault, id=f"{column} {value or 'missing'}")


_, ROWS = table()
BAD_FILES = [
    # the whole file
    pytest.param(b"", f"empty, expected a header line {FORM[21:]} and one line for each image", id="empty"),
    pytest.param(
        b"\xef\xbb\xbf \n", f"empty, expected a header line {FORM[21:]} and one line for each image", id="blank"
    ),
    pytest.param(
        text(ROWS[:1]).encode(),
        "line 1 is the only one, expected a header line and one line for each image",
        id="header only",
    ),
    pytest.param(b"\x89PNG\r\n\x1a\n", "line 1: byte 0x89, expected a text file in UTF-8", id="binary"),
    pytest.param(text(ROWS).encode("utf-16-le"), "line 1: byte 0x00, expected a text file in UTF-8", id="UTF-16"),
    pytest.param(
        text(ROWS).encode() + b"\xe9", "line 4: byte 0xe9, expected a text file in UTF-8", id="Latin-1 in the last line"
    ),
    # the header
    pytest.param(text(ROWS[1:]).encode(), f"line 1: no column names, {FORM}", id="no header"),
    pytest.param(b"\n" + text(ROWS).encode(), f"line 1: no column names, {FORM}", id="blank first line"),
    pytest.param(changed(1, "label", "Label"), f"line 1: no column 'label', {FORM}", id="no label"),
    pytest.param(text([row[:11] for row in ROWS]).encode(), f"line 1: 11 columns, {FORM}", id="too few columns"),
    pytest.param(text([["", *row] for row in ROWS]).encode(), f"line 1: 786 columns, {FORM}", id="index column"),
    pytest.param(
        changed(1, "pixel5", "pixel4"), f"line 1: column 'pixel4' appears more than once, {FORM}", id="repeated column"
    ),
    pytest.param(
        changed(1, "pixel5", " pixel5"),
        f"line 1: column 6 is ' pixel5' in place of 'pixel5', {FORM}",
        id="unexpected column",
    ),
    pytest.param(
        changed(1, "pixel784", '"pixel784'), f"line 1: unexpected end of data, {FORM}", id="quote without end in header"
    ),
    pytest.param(
        text([["label", "pixel2", "pixel1", *HEADER[3:]], *ROWS[1:]]).encode(),
        f"line 1: column 2 is 'pixel2' in place of 'pixel1', {FORM}",
        id="columns in another order",
    ),
    # the rows
    pytest.param(text([ROWS[0], ROWS[1][:-1], ROWS[2]]).encode(), "line 2: 784 values, expected 785", id="short row"),
    pytest.param(text([*ROWS[:2], [*ROWS[2], "0"]]).encode(), "line 3: 786 values, expected 785", id="long row"),
    pytest.param(
        text([ROWS[0], *([*row, "0"] for row in ROWS[1:])]).encode(),
        "line 2: 786 values, expected 785",
        id="long rows all",
    ),
    pytest.param(
        text([ROWS[0], *([*row, ""] for row in ROWS[1:])]).encode(),
        "line 2: 786 values, expected 785",
        id="comma at the end",
    ),
    pytest.param(
        text([*ROWS[:2], ROWS[2][:300]]).encode().rstrip(),
        "line 3: 300 values, expected 785; the file ends here and may be incomplete",
        id="truncated last row",
    ),
    pytest.param(
        text([ROWS[0], ROWS[1], [], ROWS[2][:4], ROWS[2]]).encode(),
        "line 4: 4 values, expected 785",
        id="line after a blank one",
    ),
    # the values
    *(bad_value(value) for value in ["", "  ", "3.0", "1e2", "-1", "+3", "256", "99999999999999999999", "True", "x"]),
    *(bad_value(value) for value in ["NaN", "0x10", "1_0", "1 0", "٣", '3"']),
    *(bad_value(value, column="label", line=2) for value in ["", "10", "-1", "Bag", "2.5"]),
    pytest.param(
        changed(3, "pixel784", "9" * 5000),
        "line 3, column 'pixel784': value '999999999999...9999999999999', expected an integer from 0 to 255, "
        "in digits alone",
        id="long value",
    ),
    pytest.param(
        changed(2, "pixel784", '"0'),  # an open quote: the value extends to the end
        f"line 2, column 'pixel784': value {reprlib.repr('0' + chr(10) + text(ROWS[2:]))}, "
        "expected an integer from 0 to 255, in digits alone",
        id="quote without end",
    ),
]


@pytest.mark.parametrize(("content", "fault"), BAD_FILES)
def test_csv_fault_is_named_with_its_place(tmp_path, content, fault):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_csv(path)
    assert message(error) == f"{path}: {fault}"


def test_csv_fault_past_the_first_read_is_named_with_its_line(tmp_path):
    write_csv(random_images(8200), tmp_path / "data.csv")
    lines = (tmp_path / "data.csv").read_text().splitlines()
    lines[8198] = "10" + lines[8198][1:]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="line 8199, column 'label': value '10', expected an integer from 0 to 9"):
        read_csv(tmp_path / "data.csv")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda packed: packed[:-500], "end-of-stream marker was reached"),
        (lambda packed: b"not gzip", "Not a gzipped file"),
        (lambda packed: packed[:-8] + bytes(8), "CRC check failed"),
        (lambda packed: packed[:100] + bytes(500) + packed[600:], ""),
    ],
    ids=["truncated", "not gzip", "checksum", "overwritten"],
)
def test_damaged_gzip_is_named(tmp_path, damage, reason):
    path = tmp_path / "data.csv.gz"
    write_csv(random_images(3), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        UserError, match=f"^{re.escape(str(path))}: damaged or incomplete gzip archive: .*{reason}"
    ) as error:
        read_csv(path)
    message(error)


@pytest.mark.parametrize("name", ["bomb.csv.gz", "large.csv"])
def test_no_more_is_read_and_unpacked_than_a_file_may_have(tmp_path, monkeypatch, name):
    monkeypatch.setattr("fashionreg.data.csv_files.MAX_CSV", 100_000)
    path = tmp_path / name
    with (gzip.open if name.endswith(".gz") else open)(path, "wb") as file:
        for _ in range(100):
            file.write(b"0" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(UserError) as error:
        read_csv(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message(error) == f"{path}: has more than 100,000 bytes of text; split it into smaller files"
    assert peak < 5_000_000


def test_csv_that_is_missing_is_named_with_the_command_that_makes_one(tmp_path):
    path = tmp_path / "data.csv"
    with pytest.raises(UserError) as error:
        read_csv(path)
    assert message(error) == f"{path}: no such file; `fashionreg data subset --out {path}` makes one"


def test_csv_that_is_a_folder_is_named(tmp_path):
    with pytest.raises(UserError) as error:
        read_csv(tmp_path)
    assert message(error) == f"{tmp_path}: cannot be read as a file: Is a directory"


@pytest.mark.parametrize("header", [HEADER, HEADER[1:]])
def test_csv_to_be_classified_needs_no_labels(tmp_path, header):
    row = ["3", *map(str, range(200)), *["0"] * 584][-len(header) :]
    (tmp_path / "a.csv").write_text("\n".join(",".join(line) for line in (header, row, row)))
    data = read_csv(tmp_path / "a.csv", labelled=False)
    assert data.labels.tolist() == [3 if header is HEADER else -1] * 2
    assert data.images[1].flatten()[:200].tolist() == list(range(200))


def test_csv_without_labels_is_still_checked(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join([",".join(HEADER[1:]), ",".join(["0"] * 783 + ["256"])]))
    with pytest.raises(UserError, match=r"a\.csv: line 2, column 'pixel784': value '256', expected an integer from 0"):
        read_csv(tmp_path / "a.csv", labelled=False)
