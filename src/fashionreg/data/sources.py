"""Fetch the files of Fashion-MNIST by torchvision (download, verify, unpack), and read them.

torchvision is imported where it is used, because that takes seconds.
"""

import hashlib
import http.client
import io
import math
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.data.location import data_root
from fashionreg.errors import UserError
from fashionreg.files import refuse_special

#: Fashion-MNIST's files, unpacked, each with the number of axes of the array in it.
FILES = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}

#: `LabelledImages.fingerprint` of the official data, by split.
OFFICIAL_FINGERPRINTS = {"train": "1f243a60b4b748a4", "test": "9a494dc49efeb996"}

#: Seconds without an answer or a byte after which a mirror counts as unreachable.
PATIENCE = 20.0


class MissingDataError(UserError):
    """Fashion-MNIST is not on this machine and could not be downloaded.

    Attributes:
        reason: What is missing and what was tried.
    """

    def __init__(self, reason: str, ways_on: str) -> None:
        super().__init__(f"{reason}. {ways_on}")
        self.reason = reason


def raw_folder(root: str | Path) -> Path:
    """Return the folder under `root` where torchvision keeps Fashion-MNIST's files, packed and unpacked."""
    return data_root(root) / "FashionMNIST" / "raw"


def fetch_fashion_mnist(root: str | Path, mirror: str | None = None) -> None:
    """Download and unpack those of Fashion-MNIST's four files that are missing or damaged under `root`.

    Complete files stay as they are. For the others torchvision downloads the archive unless it exists, checks its MD5
    sum and unpacks it. Several processes may call this at once: one works, the others wait.

    Args:
        root: The folder that holds, or will hold, `FashionMNIST/raw`.
        mirror: Http(s) address of a folder that serves the four `.gz` files, used instead of torchvision's.

    Raises:
        MissingDataError: If a file is missing or damaged and cannot be downloaded.
        UserError: If `mirror` is not an http(s) address or the folder cannot be written.
    """
    folder = raw_folder(root)
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UserError(
            f"mirror {mirror!r} is not an http:// or https:// address; "
            f"files on this machine need no mirror: place the four .gz files in {folder.absolute()}"
        )
    if not unfinished(folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name("download.lock")):
            # asked again: the process that held the lock before may have done the work
            if missing := unfinished(folder):
                _download(folder, missing, mirror)
    except OSError as error:
        raise UserError(
            f"{folder.absolute()}: Fashion-MNIST cannot be stored there: {error.strerror or error}; "
            "name a folder that can be written (--root, data.init_args.root or FASHIONREG_DATA)"
        ) from error


def read_fashion_mnist(root: str | Path, train: bool) -> LabelledImages:
    """Read the unpacked files of the official training images (`train`) or test images.

    Raises:
        MissingDataError: If a file is missing.
        UserError: If a file is not what its name says: format, size, 28x28 pixels, labels 0 to 9, one per image.
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
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), CLASS_NAMES)


def _idx_shape(path: Path) -> tuple[int, ...]:
    """Return the shape in the header of an IDX file of bytes, after a check against the size of the file.

    The format (http://yann.lecun.com/exdb/mnist/): two zero bytes, 8 for unsigned bytes, the number of axes; the
    length of each axis as a big-endian 32-bit integer; the values, last axis fastest.
    """
    axes = FILES[path.name]
    try:
        refuse_special(path)
        with path.open("rb") as file:
            header = file.read(4 + 4 * axes)
            size = file.seek(0, io.SEEK_END)
    except FileNotFoundError as error:
        raise MissingDataError(f"{path} is missing", "`fashionreg data fetch` brings it") from error
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


def unfinished(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that are missing or not whole, as after an interrupted unpacking."""

    def is_whole(name: str) -> bool:
        try:
            _idx_shape(folder / name)
        except UserError:
            return False
        return True

    return [name for name in FILES if not is_whole(name)]


def _download(folder: Path, names: list[str], mirror: str | None) -> None:
    """Let torchvision download (if necessary), check and unpack the files `names` in `folder`."""
    from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]

    dataset = FashionMNIST.__new__(FashionMNIST)  # FashionMNIST(...) would read all that it downloads
    dataset.root = folder.parents[1]
    if mirror is not None:
        dataset.mirrors = [mirror.rstrip("/") + "/"]
    # archives of complete files are not needed
    dataset.resources = [(name, md5) for name, md5 in FashionMNIST.resources if name.removesuffix(".gz") in names]
    sources = ", ".join(dataset.mirrors)
    for name in names:
        (folder / name).unlink(missing_ok=True)  # torchvision does not check unpacked files
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
            + f"and could not be downloaded from {sources} ({reason})",
            f"Three ways on: place the four files {', '.join(f'{name}.gz' for name in FILES)} in that folder; "
            "name a mirror (--mirror URL, or data.init_args.mirror in a config); "
            "use the synthetic data (SyntheticDataModule)",
        ) from error


def _is_damaged(archive: Path, md5: str) -> bool:
    return archive.is_file() and hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest() != md5


@contextmanager
def _patience() -> Iterator[None]:
    """Limit the time to wait for a silent server; torchvision has no limit, and the system's is minutes an address."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _progress_bars_on_terminals_only() -> redirect_stderr[io.StringIO] | nullcontext[None]:
    return nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
