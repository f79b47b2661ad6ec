"""Where images come from: Fashion-MNIST's own files and CSV files, read, written, checked and cut into subsets.

torchvision, pandas and scikit-learn are imported where they are used, because each takes seconds.
"""

import csv
import gzip
import hashlib
import http.client
import io
import math
import re
import reprlib
import socket
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.data.location import whole_file
from fashionreg.errors import UserError

PIXELS = 28 * 28

#: Fashion-MNIST's files, unpacked, each with the number of axes of the array in it.
FILES = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}

#: `LabelledImages.fingerprint` of the official data, by split.
OFFICIAL_FINGERPRINTS = {"train": "1f243a60b4b748a4", "test": "9a494dc49efeb996"}

#: Seconds without an answer or without a byte after which a mirror counts as unreachable.
PATIENCE = 20.0


class MissingDataError(UserError):
    """Fashion-MNIST is not on this machine and could not be brought here."""


# --------------------------------------------------------------------------------------------- Fashion-MNIST


def raw_folder(root: str | Path) -> Path:
    """The folder under `root` where torchvision keeps Fashion-MNIST's files, packed and unpacked."""
    return Path(root).expanduser() / "FashionMNIST" / "raw"


def fetch_fashion_mnist(root: str | Path, mirror: str | None = None) -> None:
    """Makes Fashion-MNIST's four files present under `root`, unpacked, whatever was there before.

    Files that are there and whole stay as they are. For the others torchvision downloads the archive unless it is
    there, checks its MD5 sum and unpacks it. Several processes may call this at once: one works, the others wait.

    Args:
        root: the folder that holds, or will hold, `FashionMNIST/raw`.
        mirror: http(s) address of a folder that serves the four `.gz` files, used instead of torchvision's.

    Raises:
        MissingDataError: if a file is missing or damaged and cannot be downloaded.
        UserError: if `mirror` is not an http(s) address or the folder cannot be written.
    """
    folder = raw_folder(root)
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UserError(
            f"mirror {mirror!r} is not an http:// or https:// address; "
            f"files on this machine need no mirror: place the four .gz files in {folder.absolute()}"
        )
    if not _unfinished(folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name("download.lock")):
            # asked again: the process that held the lock before may have done the work
            if unfinished := _unfinished(folder):
                _download(folder, unfinished, mirror)
    except OSError as error:
        raise UserError(
            f"{folder.absolute()}: Fashion-MNIST cannot be stored there: {error.strerror or error}; "
            "name a folder that can be written (--root, data.init_args.root or FASHIONREG_DATA)"
        ) from error


def read_fashion_mnist(root: str | Path, train: bool) -> LabelledImages:
    """Reads the unpacked files of the official training images (`train`) or test images.

    Raises:
        MissingDataError: if a file is not there.
        UserError: if a file is not what its name says: format, size, 28x28 pixels, labels 0 to 9, one per image.
    """
    prefix = "train" if train else "t10k"
    folder = raw_folder(root)
    images = _read_idx(folder / f"{prefix}-images-idx3-ubyte")
    labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte")
    if images.shape != (len(labels), 28, 28) or not len(labels):
        raise UserError(
            f"{folder}: the {prefix} files hold images of shape {images.shape} and {len(labels)} labels, "
            "expected (N, 28, 28) and N >= 1"
        )
    if labels.max() > 9:
        row = int((labels > 9).argmax())
        raise UserError(
            f"{folder / f'{prefix}-labels-idx1-ubyte'}: label {row} (counted from 0) is {labels[row]}, expected 0 to 9"
        )
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def _idx_shape(path: Path) -> tuple[int, ...]:
    """The shape that an IDX file of bytes states, once its size was found to agree with it.

    The format (http://yann.lecun.com/exdb/mnist/): two zero bytes, 8 for unsigned bytes, the number of axes; the
    length of each axis as a big-endian 32-bit integer; the values, last axis fastest.
    """
    axes = FILES[path.name]
    try:
        with path.open("rb") as file:
            header = file.read(4 + 4 * axes)
            size = file.seek(0, io.SEEK_END)
    except FileNotFoundError as error:
        raise MissingDataError(f"{path} is missing; `fashionreg data fetch` brings it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(header) < 4 + 4 * axes or header[:4] != bytes((0, 0, 8, axes)):
        raise UserError(f"{path} is not an IDX file of bytes with {axes} axes; `fashionreg data fetch` makes it again")
    shape = tuple(int(length) for length in np.frombuffer(header, ">u4", offset=4))
    expected = len(header) + math.prod(shape)
    if size != expected:
        raise UserError(
            f"{path} has {size} bytes, but its header states {shape} values, hence {expected} bytes; "
            "`fashionreg data fetch` makes it again"
        )
    return shape


def _read_idx(path: Path) -> NDArray[np.uint8]:
    shape = _idx_shape(path)
    return np.fromfile(path, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _unfinished(folder: Path) -> list[str]:
    """Names of the files in `folder` that are missing or not whole, as after an interrupted unpacking."""

    def is_whole(name: str) -> bool:
        try:
            _idx_shape(folder / name)
        except UserError:
            return False
        return True

    return [name for name in FILES if not is_whole(name)]


def _download(folder: Path, names: list[str], mirror: str | None) -> None:
    """Has torchvision make the files `names` in `folder`, each downloaded (if need be), checked and unpacked."""
    from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]

    dataset = FashionMNIST.__new__(FashionMNIST)  # not FashionMNIST(...), which reads all it downloads
    dataset.root = folder.parents[1]
    if mirror is not None:
        dataset.mirrors = [mirror.rstrip("/") + "/"]
    # an archive is not needed where its file is there
    dataset.resources = [(name, md5) for name, md5 in FashionMNIST.resources if name.removesuffix(".gz") in names]
    sources = ", ".join(dataset.mirrors)
    for name in names:
        (folder / name).unlink(missing_ok=True)  # torchvision takes whatever is there for whole
    if not all((folder / name).is_file() for name, _ in dataset.resources):
        print(f"downloading Fashion-MNIST (30 MB) from {sources} to {folder}", file=sys.stderr)
    try:
        with _patience(), _progress_bars_on_terminals_only():
            dataset.download()
    except (RuntimeError, ValueError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        # torchvision's own report has several lines, the reason last
        reason = " ".join(str(error).split()).rpartition("got: ")[2].removeprefix("<urlopen error ").removesuffix(">")
        damaged = [name for name, md5 in dataset.resources if _is_damaged(folder / name, md5)]
        raise MissingDataError(
            f"Fashion-MNIST is not complete in {folder.absolute()} "
            + (f"({', '.join(damaged)} there: not the official MD5 sum) " if damaged else "")
            + f"and could not be downloaded from {sources} ({reason}). Three ways on: "
            f"place the four files {', '.join(f'{name}.gz' for name in FILES)} in that folder; "
            "name a mirror (--mirror URL, or data.init_args.mirror in a config); "
            "use the synthetic data (SyntheticDataModule)"
        ) from error


def _is_damaged(archive: Path, md5: str) -> bool:
    return archive.is_file() and hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest() != md5


@contextmanager
def _patience() -> Iterator[None]:
    """Gives up on a silent server: torchvision sets no time limit, and the system's is minutes per address."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _progress_bars_on_terminals_only() -> redirect_stderr[io.StringIO] | nullcontext[None]:
    return nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())


# --------------------------------------------------------------------------------------------------- CSV files

_HEADER = f"label,pixel1,...,pixel{PIXELS}"
#: All that the lines under a correct header are made of.
_VALUE_BYTES = b'0123456789, \t"\n'
_VALUE = re.compile(r"[ \t]*0*([0-9]{1,3})[ \t]*")


def read_csv(path: str | Path) -> LabelledImages:
    """Reads images from a CSV file in the Kaggle form, gz-compressed or not.

    The first line is the header: `label` (first as a rule, but anywhere) and `pixel1` ... `pixel784` in this order, or
    `pixel0` ... `pixel783`. Every other line is an image, row by row from the top left. Values are integers written
    in digits alone ("3.0" and "+3" are refused), labels 0 to 9 and pixels 0 to 255; they may be quoted and padded with
    blanks. Blank lines are skipped. Windows line endings and a UTF-8 byte order mark are accepted.

    Raises:
        UserError: at the first thing that is wrong: the file, the line (as an editor counts, the header being line 1),
            the column, the value and what would be right.
    """
    path = Path(path).expanduser()
    content = _csv_content(path)
    columns = _csv_columns(path, content)
    label = columns.index("label")
    values = _csv_values(content, label)
    if values is None:
        raise _first_fault(path, content, columns)
    images = np.delete(values, label, axis=1).reshape(-1, 28, 28)
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(values[:, label].astype(np.int64)))


def write_csv(data: LabelledImages, path: str | Path) -> None:
    """Writes `data` (at least one image) in the form that `read_csv` reads: equal data, equal bytes.

    Compresses if `path` ends in `.gz`. An existing file is replaced, by a whole one or not at all; missing folders are
    made.

    Raises:
        UserError: if the file cannot be written.
    """
    path = Path(path)
    digits = [str(value) for value in range(256)]
    rows = torch.cat([data.labels.to(torch.uint8)[:, None], data.images.reshape(-1, PIXELS)], dim=1).numpy()
    with whole_file(path) as file:
        # an archive otherwise holds its name and time, and so differs from one writing to the next
        lines = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == ".gz" else nullcontext(file)
        with lines as out:
            out.write((",".join(["label", *_pixel_columns(first=1)]) + "\n").encode())
            for row in rows:
                out.write((",".join(map(digits.__getitem__, row.tolist())) + "\n").encode())


def _pixel_columns(first: int) -> list[str]:
    return [f"pixel{number}" for number in range(first, first + PIXELS)]


def _csv_content(path: Path) -> bytes:
    """The file's bytes: unpacked, UTF-8 without byte order mark, at least a header line and a row, lines end in LF."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz" or content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged or incomplete gzip archive: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; `fashionreg data subset --out {path}` makes one") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a file: {error.strerror}") from error
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


def _csv_columns(path: Path, content: bytes) -> list[str]:
    """The header's column names: `label` and all pixels in order."""
    names = next(csv.reader([content[: content.index(b"\n")].decode()]))
    expected = f"expected {PIXELS + 1} columns {_HEADER}"
    if all(_VALUE.fullmatch(name) for name in names):
        raise UserError(f"{path}: line 1: no column names, {expected}")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{path}: line 1: column {_shown(repeated[0])} appears more than once, {expected}")
    if "label" not in names:
        raise UserError(f"{path}: line 1: no column 'label', {expected}")
    if len(names) != PIXELS + 1:
        raise UserError(f"{path}: line 1: {len(names)} columns, {expected}")
    pixels = [name for name in names if name != "label"]
    for name, right in zip(pixels, _pixel_columns(first=0 if "pixel0" in names else 1), strict=True):
        if name != right:
            place = names.index(name) + 1
            raise UserError(f"{path}: line 1: column {place} is {_shown(name)} in place of {right!r}, {expected}")
    return names


def _csv_values(content: bytes, label: int) -> NDArray[np.uint8] | None:
    """All values as `(N, 785)`, or None if anything at all is wrong with them.

    pandas is fast, but takes "3.0", "1e2" and "True" for integers and counts lines without the blank ones. So it reads
    what is made of the right characters only, and what it stumbles over is looked at by `_first_fault`.
    """
    import pandas as pd

    start = content.index(b"\n") + 1
    if content.translate(None, _VALUE_BYTES) != content[:start].translate(None, _VALUE_BYTES):
        return None
    limits = np.full(PIXELS + 1, 255)
    limits[label] = 9
    stream = io.BytesIO(content)
    stream.seek(start)
    parts = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row that is too long
            # int64 because pandas wraps around silently in narrower types; in parts to hold few of them at once
            for part in pd.read_csv(
                stream,
                header=None,
                names=range(PIXELS + 1),
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


def _first_fault(path: Path, content: bytes, columns: list[str]) -> UserError:
    """What is wrong with a file, found row by row."""
    rows = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="\n"))
    label = columns.index("label")
    digits = {str(value) for value in range(10)}
    plain = {str(value) for value in range(256)}
    end = 0
    try:
        for row in rows:
            line, end = end + 1, rows.line_num  # a quoted value may span lines
            if line == 1 or not row or (len(row) == 1 and row[0].isspace()):
                continue
            if len(row) != len(columns):
                cut = "; the file ends here and may be incomplete" if len(row) < len(columns) and not any(rows) else ""
                return UserError(f"{path}: line {line}: {len(row)} values, expected {len(columns)}{cut}")
            if row[label] in digits and plain.issuperset(row):
                continue  # what nearly every row is, in a tenth of the time
            for column, value in zip(columns, row, strict=True):
                limit = 9 if column == "label" else 255
                match = _VALUE.fullmatch(value)
                if match is None or int(match[1]) > limit:
                    came = f"value {_shown(value)}" if value.strip() else "no value"
                    return UserError(
                        f"{path}: line {line}, column {_shown(column)}: {came}, "
                        f"expected an integer from 0 to {limit}, in digits alone"
                    )
    except csv.Error as error:
        return UserError(f"{path}: line {end + 1}: {error}")
    return UserError(f"{path}: cannot be read as CSV, expected {_HEADER} and integers in digits alone")


# ---------------------------------------------------------------------------------------------------- subsets


def stratified_subset(labels: Tensor, size: int, seed: int) -> Tensor:
    """Draws `size` of the N images so that every class has its share, by scikit-learn's stratified shuffle.

    Args:
        labels: int64 `(N,)`, 0 to 9.
        size: number of images: N, or at least one for each class with as many left over.
        seed: 0 to 2^32 - 1; fixes which ones are drawn, and their order.

    Returns:
        int64 `(size,)`, distinct indices into `labels`, shuffled.

    Raises:
        UserError: if `size` or `seed` is out of range, or a class has a single image.
    """
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

    total = len(labels)
    counts = labels.bincount(minlength=len(CLASS_NAMES))
    classes = int(counts.count_nonzero())
    if not 0 <= seed < 2**32:
        raise UserError(f"seed {seed} is out of range, expected 0 to {2**32 - 1}")
    if size == total > 0:
        return torch.from_numpy(np.random.default_rng(seed).permutation(total))
    for label in (counts == 1).nonzero().flatten().tolist():
        raise UserError(
            f"class {label} ({CLASS_NAMES[label]}) has a single image, a stratified split needs 2 or more of each class"
        )
    if not classes <= size <= total - classes:
        raise UserError(
            f"cannot draw {size} of {total} images stratified by {classes} classes: "
            f"expected {classes} to {total - classes}, or all {total}"
        )
    drawn, _ = train_test_split(np.arange(total), train_size=size, random_state=seed, stratify=labels.numpy())
    return torch.from_numpy(drawn)


def _shown(text: str) -> str:
    """`text` quoted, on one line and shortened: what stands in a wrong file may be anything."""
    return reprlib.repr(text)
