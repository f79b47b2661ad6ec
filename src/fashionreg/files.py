"""How a new file gets to its place, whole or not at all; how a text is read that anyone may have written."""

import os
import stat
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


def read_text(path: Path, kind: str, limit: int) -> str:
    """The text of a file, without a byte order mark.

    Args:
        path: A regular file, or a pipe that the shell has opened (`/dev/stdin`, `/dev/fd/63` of `<(command)`). No other
            pipe is read: one that nobody writes to would be waited for without end.
        kind: What it is, for errors: `configuration file`, `study file`.
        limit: How many bytes it may have.

    Raises:
        UserError: If it is missing, cannot be read, is larger, or not UTF-8 text.
    """
    name = one_line(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and path.is_relative_to("/dev")):
            kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device"}
            raise UserError(f"{name}: must be a file; this is a {kinds.get(stat.S_IFMT(mode), 'special file')}")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{name}: no such {kind}") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from error
    except UserError:
        raise
    except ValueError as error:  # a NUL byte in the name
        raise UserError(f"{name}: cannot be read: {error}") from error
    if len(content) > limit:
        raise UserError(f"{name}: is larger than {limit:,} bytes; this is no {kind}")
    try:
        text = content.decode("utf-8-sig")
        position, found = content.find(b"\0"), "a NUL byte"
    except UnicodeDecodeError as error:
        utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        position, found = error.start, "UTF-16" if utf_16 else f"byte 0x{content[error.start]:02x}"
    if position >= 0:
        line = content.count(b"\n", 0, position) + 1
        raise UserError(f"{name}: line {line}: must be UTF-8 text, found {found}")
    return text


def one_line(path: Path) -> str:
    """A path as text on one line, not longer than a screen."""
    text = str(path) if str(path).isprintable() else repr(str(path))
    return text if len(text) <= 300 else f"{text[:100]}...{text[-40:]}"
