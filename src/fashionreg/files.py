"""What may be read and written as a file, how a file is written whole or not at all, and how a text is read."""

import os
import platform
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fashionreg.errors import UserError, shortened

if sys.platform != "win32":
    import fcntl

#: What a path may lead to besides a file and a folder.
_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def refuse_special(path: Path) -> None:
    """Refuse a pipe, device or socket: reading one may wait or go on for ever, and a new file would take its place.

    Raises:
        UserError: If `path` leads to one.
        OSError: If nothing can be found out about it; a path that leads nowhere is `FileNotFoundError`.
    """
    if kind := _SPECIAL.get(stat.S_IFMT(path.stat().st_mode)):
        raise UserError(f"{path}: is {kind}, expected a regular file")


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a file to write that is in the way, before any work is done for it.

    Args:
        path: The file.
        force: Whether a file that exists may be replaced.

    Raises:
        UserError: If `path` is no name of a file, or exists and may not be replaced.
    """
    try:
        refuse_special(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file")
    if not force:
        raise UserError(f"{path}: exists; choose another --out, or replace it with --force")


#: Names that Windows keeps for devices, with any ending.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?", re.IGNORECASE)


def is_folder_name(name: str) -> bool:
    """Return whether a folder can have this name on Linux, macOS and Windows, and a user sees it.

    Such a name is one part of a path: it has no slash, backslash or control character and at most 200 bytes, does not
    begin with a dot, does not end with a dot or a space, and is not that of a device.
    """
    visible = not re.search(r"[/\\\0-\x1f\x7f\ud800-\udfff]|^\.|[. ]$|^$", name)
    return visible and len(name.encode()) <= 200 and not _DEVICE.fullmatch(name)


#: The end of the names of the temporary files of `whole_file`, and this machine in them.
_TEMPORARY = ".fashionreg.tmp"
_HOST = re.sub(r"[^A-Za-z0-9]", "_", platform.node())[:40]


def refuse_links(path: Path, within: Path) -> None:
    """Refuse a path that passes a link below the folder that somebody has named.

    That folder may be anybody's, and a link in it may lead to any folder of the user. The named folder itself may be a
    link, since that is the user's own word.

    Raises:
        UserError: With the link.
    """
    folder = within
    for part in path.relative_to(within).parts:
        folder /= part
        if folder.is_symlink():
            raise UserError(f"{folder}: is a link; nothing is written through links within {within}: replace it")


@contextmanager
def whole_file(path: Path, within: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file that appears as `path` only when the block ends without an error.

    An existing file is replaced. Of a link, the link is replaced and not the file that it leads to: whoever made a
    folder could have placed a link in it that leads to a file of the user. Missing parent folders are made. When the
    block has ended, the file is on the disk and survives a power cut, not only the end of this process.

    Args:
        path: The file.
        within: The folder that the user has named, where that is not the file's own; see `refuse_links`.

    Raises:
        UserError: if the folder or the file cannot be written, or `path` is a device, a pipe or a socket; an existing
            file is then as it was.
    """
    # beside its final place, since only a rename within one file system is atomic
    temporary = _temporary(path)
    if within is not None:
        refuse_links(path.parent, within)
    opened = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            refuse_special(path)
        _remove_orphan(temporary)
        with _open_locked(temporary) as file:
            opened = True
            yield file
            # a full disk or a quota may show only here; and a rename that reaches the disk before the content does
            # would put an empty file in the place of a whole one
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":
                # while it is locked: a process that starts now takes it for an orphan as soon as it is not
                temporary.replace(path)
        if sys.platform == "win32":
            temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        # where it was renamed there is nothing to remove, and the reason must not be hidden
        if opened:
            with suppress(OSError):
                temporary.unlink()


def _temporary(path: Path) -> Path:
    """Return where `path` is written first: a hidden file beside it whose name says which process writes."""
    # a file system takes 255 bytes
    start = path.name.encode(errors="surrogateescape")[:100].decode(errors="ignore")
    return path.with_name(f".{start}.{_HOST}-{os.getpid()}{_TEMPORARY}")


def _open_locked(temporary: Path) -> BinaryIO:
    """Make and lock a new file; again, where a process that removes orphans was faster than the lock."""
    while True:
        file = temporary.open("xb")
        _lock(file, wait=True)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
                return file
        file.close()


def _lock(file: BinaryIO, *, wait: bool = False) -> bool:
    """Lock a file until it is closed; return whether that could be done: not if another process has locked it.

    Args:
        file: An open file.
        wait: Whether to wait for that process.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # among them file systems without locks
        return False
    return True


def read_bytes(path: Path, kind: str, limit: int) -> bytes:
    """Return the content of a file.

    Args:
        path: A regular file, or a pipe that the shell has opened (`/dev/stdin`, `/dev/fd/63` of `<(command)`). No other
            pipe is read: one that nobody writes to would be waited for without end.
        kind: What it is, for errors: `configuration file`, `study file`.
        limit: How many bytes it may have.

    Raises:
        UserError: If it is missing, cannot be read, or is larger.
    """
    name = shortened(path, 300)
    try:
        if path.is_dir():
            raise UserError(f"{name}: is a folder, expected a regular file")
        if not (path.is_relative_to("/dev") and path.is_fifo()):
            refuse_special(path)
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
        raise UserError(f"{name}: is larger than {limit:,} bytes; a {kind} cannot be that large")
    return content


def read_text(path: Path, kind: str, limit: int) -> str:
    """Return the text of a file without its byte order mark.

    Args:
        path: As `read_bytes` takes it.
        kind: What it is, for errors.
        limit: How many bytes it may have.

    Raises:
        UserError: As `read_bytes`, or if it is not UTF-8 text.
    """
    content, name = read_bytes(path, kind, limit), shortened(path, 300)
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


def _flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can do that for folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_orphans(folder: Path, pattern: str = ".") -> None:
    """Remove the temporary files that killed processes of this machine have left.

    A writer locks its file, and a lock ends with its process: what can be locked has no writer, wherever that ran. A
    lock of another machine may not be seen here, so that files of other machines stay, and so does what cannot be
    removed. Links are not followed.

    Args:
        folder: Where to look.
        pattern: Which folders in it, as `Path.glob` takes it, each with all below it: `version_*` for those of runs.
    """
    for place in folder.glob(pattern) if pattern != "." else [folder]:
        try:
            refuse_links(place, folder)
        except UserError:
            continue
        for parent, _, names in os.walk(place):
            for name in names:
                if re.search(rf"^\..*\.{_HOST}-\d+{re.escape(_TEMPORARY)}$", name):
                    _remove_orphan(Path(parent, name))


def _remove_orphan(temporary: Path) -> None:
    """Remove a temporary file unless a process writes it, or it cannot be removed."""
    with suppress(OSError), temporary.open("rb") as file:
        # never through a link to a file of the user; and only the file that is locked: by now its writer may have
        # finished it and begun another one of this name
        ours = not temporary.is_symlink() and _lock(file)
        if ours and os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
            temporary.unlink()
