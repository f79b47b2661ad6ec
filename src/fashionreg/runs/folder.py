"""Folders of runs: the next one, and the one from which a run goes on."""

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from fashionreg.errors import UserError
from fashionreg.runs.checkpoint import read_checkpoint


def is_folder_below(name: Any) -> bool:
    """Say whether a run can have this name: that of a folder below the folder of all results."""
    if not isinstance(name, str) or not name.isprintable():
        return False
    parts = Path(name).parts
    return bool(parts) and not Path(name).is_absolute() and ".." not in parts


def claim_folder(parent: Path, prefix: str) -> Path:
    """Make and return `parent/<prefix><n>` with the first n that nobody has: never one that exists.

    Raises:
        UserError: If the folder cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name.removeprefix(prefix)) for path in _numbered(parent, prefix)]
        number = max(taken, default=-1) + 1
        while True:
            try:
                # with parents: a run that was refused may have removed them again by now
                (folder := parent / f"{prefix}{number}").mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise UserError(f"{parent}: cannot make a folder for this run: {error.strerror}") from error


def remove_run(folder: Path, root: Path) -> None:
    """Remove the folder of a run that leaves nothing, and those of its name above it that hold nothing else.

    Args:
        folder: The run's folder.
        root: The folder of all results, which stays.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another run is there
        for parent in folder.parents:
            if parent == root:
                break
            parent.rmdir()


def _numbered(parent: Path, prefix: str) -> list[Path]:
    return [path for path in parent.glob(f"{prefix}*") if path.name.removeprefix(prefix).isdecimal()]


def newest_checkpoint(parent: Path) -> tuple[Path, str]:
    """Find the last checkpoint of the newest run in `parent` that has a whole one, and why it is that one.

    Raises:
        UserError: If there is none.
    """
    versions = sorted(_numbered(parent, "version_"), key=lambda path: int(path.name.removeprefix("version_")))
    passed_over = []
    for version in reversed(versions):
        path = version / "checkpoints" / "last.ckpt"
        if not path.is_file():
            passed_over.append(f"{version.name} has no last.ckpt")
            continue
        try:
            read_checkpoint(path)
        except UserError as error:
            passed_over.append(f"{version.name}'s last.ckpt {str(error).removeprefix(f'ckpt_path: {path}: ')}")
        else:
            why = f"the newest whole one: {'; '.join(passed_over)}" if passed_over else "the newest run's"
            return path, why
    reason = f": {'; '.join(passed_over)}" if passed_over else ""
    raise UserError(f"ckpt_path: there is no {parent}/version_*/checkpoints/last.ckpt to go on from{reason}")


def results_root(path: Path, name: str, default: str) -> str:
    """Return the folder in which the run of a checkpoint lies, from where the file is and not from what it says.

    Args:
        path: The checkpoint: `<root>/<name>/version_<n>/checkpoints/<file>` where the run has left it.
        name: Name of the run.
        default: The folder for a checkpoint that lies elsewhere.
    """
    names = Path(name).parts
    folders = path.parts[:-1]
    if folders[-1:] != ("checkpoints",) or not re.fullmatch(r"version_\d+", folders[-2] if folders[1:] else ""):
        return default
    above = folders[:-2]
    if not names or above[-len(names) :] != names:
        return default
    return str(Path(*above[: -len(names)]))
