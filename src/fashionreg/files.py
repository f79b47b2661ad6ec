"""How a new file gets to its place: whole, or not at all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fashionreg.errors import UserError

#: Names of the temporary files of `whole_file`; the number is the process that writes.
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears as `path` when the block ends, whole, and not at all if the block raises.

    An existing `path` is replaced. Missing parent folders are made. When the block has ended, the file is on the disk
    and survives a power cut, not only the end of this process.

    Raises:
        UserError: if the folder or the file cannot be written; an existing `path` is then as it was.
    """
    # beside its final place, since only a rename within one file system is atomic
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            # a full disk or a quota may show only here; and a rename that reaches the disk before the content does
            # would put an empty file in the place of a whole one
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        # an error here (a file system that has become read-only) would hide the reason
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can do that for folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_orphans(folder: Path) -> None:
    """Remove the temporary files that killed processes have left in a folder and all folders below it.

    Those of running processes stay, and so does what cannot be removed.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            if (match := _TEMPORARY.fullmatch(name)) and not _is_running(int(match[1])):
                with suppress(OSError):
                    Path(parent, name).unlink()


def _is_running(process: int) -> bool:
    if os.name != "posix":
        # elsewhere `os.kill` would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # it runs, for another user
        return True
    return True
