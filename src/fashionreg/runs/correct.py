"""Which test images each seed is right about after the last epoch: `correct.npy`, beside the record.

A NumPy file of uint8 `(S, ceil(N / 8))`, a bit for each of N test images (`numpy.packbits`): 12.5 kB for ten seeds and
10,000 images. A row belongs to the seed at the same place in `record.json`, a bit to the image at the same place of the
test split or, where each seed has its own test images (`data.by_seed` of `record.json`), of that seed's.
"""

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fashionreg.errors import UserError, shortened
from fashionreg.files import read_bytes, whole_file
from fashionreg.runs.schema import SchemaError

FILE = "correct.npy"

#: How many bytes the file may have, and the description of the array at its beginning.
MAX_FILE, MAX_HEADER = 500_000_000, 1000


def packed(right: NDArray[np.bool_]) -> list[str]:
    """Write bool `(S, N)` as plain data: for each seed the bytes of its packed bits, in hexadecimal digits."""
    return [row.tobytes().hex() for row in np.packbits(right, axis=1)]


def check_packed(rows: Sequence[str], seeds: int) -> None:
    """Refuse what `packed` cannot have written for this number of seeds; nothing at all is possible.

    Raises:
        SchemaError: If it is anything else.
    """
    if rows and len(rows) != seeds:
        raise SchemaError(f"right: must have a value for each of {seeds} seeds")
    for position, row in enumerate(rows):
        if len(row) != len(rows[0]) or not re.fullmatch("([0-9a-f]{2})+", row):
            raise SchemaError(f"right[{position}]: must be hexadecimal digits, as many as those of the first seed")


def write_correct(folder: Path, rows: Sequence[str]) -> None:
    """Write `correct.npy` into a run's folder, whole or not at all.

    Args:
        folder: The run's folder.
        rows: As `packed` returns them.
    """
    array = np.stack([np.frombuffer(bytes.fromhex(row), dtype=np.uint8) for row in rows])
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
    with whole_file(folder / FILE) as file:
        file.write(content.getvalue())


def read_correct(folder: Path, seeds: int, images: int) -> NDArray[np.bool_] | None:
    """Read and check the `correct.npy` of a run.

    Nothing of the file is executed, and no more memory is taken than seeds and images need.

    Args:
        folder: The run's folder.
        seeds: How many seeds the run has, S.
        images: How many test images, N.

    Returns:
        bool `(S, N)`; None if there is no file.

    Raises:
        UserError: If the file cannot be read or holds anything else.
    """
    path = folder / FILE
    if not path.exists():
        return None
    name, shape = shortened(path, 300), (seeds, -(-images // 8))
    if images < 1:
        raise UserError(f"{name}: record.json says of no test images that it could be about")
    content = io.BytesIO(read_bytes(path, "table", min(MAX_FILE, MAX_HEADER + shape[0] * shape[1])))
    expected = f"must hold uint8 of shape {shape}, a bit for each of {seeds:,} seeds and {images:,} test images"
    try:
        with warnings.catch_warnings():
            # about the form of a file that NumPy did not write
            warnings.simplefilter("ignore")
            if (version := np.lib.format.read_magic(content)) != (1, 0):
                raise ValueError(f"the version is {version}")
            found, in_columns, dtype = np.lib.format.read_array_header_1_0(content, max_header_size=MAX_HEADER)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: is not a NumPy file: {shortened(reason)}") from None
    if found != shape or in_columns or dtype != np.uint8:
        raise UserError(f"{name}: {expected}, found {dtype} of shape {shortened(found)}")
    data = content.read()
    if len(data) != shape[0] * shape[1]:
        raise UserError(f"{name}: {expected}, found {len(data):,} bytes of it")
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8).reshape(shape), axis=1)
    if bits[:, images:].any():
        raise UserError(f"{name}: has bits beyond the {images:,} test images")
    right: NDArray[np.bool_] = bits[:, :images].astype(bool)
    return right
