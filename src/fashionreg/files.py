"""How a new file gets to its place: whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fashionreg.errors import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears as `path` when the block ends, whole, and not at all if the block raises.

    An existing `path` is replaced. Missing parent folders are made.

    Raises:
        UserError: if the folder or the file cannot be written.
    """
    # beside its final place, since only a rename within one file system is atomic
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        # `unlink` alone would raise, and hide the reason, where the parent is not a folder
        if temporary.is_file():
            temporary.unlink()


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a file to write that is in the way, before any work is done for it.

    Args:
        path: The value of `--out`.
        force: Whether an existing file is to be replaced.

    Raises:
        UserError: If `path` is a folder, or if it exists and is not to be replaced.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file")
    if path.exists() and not force:
        raise UserError(f"{path}: exists; choose another --out, or replace it with --force")
