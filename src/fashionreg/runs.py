"""Folders of runs, and the checkpoints in them."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from fashionreg.errors import UserError


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
                (folder := parent / f"{prefix}{number}").mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise UserError(f"{parent}: cannot make a folder for this run: {error.strerror}") from error


def _numbered(parent: Path, prefix: str) -> list[Path]:
    return [path for path in parent.glob(f"{prefix}*") if path.name.removeprefix(prefix).isdecimal()]


def newest_checkpoint(parent: Path) -> Path:
    """The last checkpoint of the newest run in `parent` that has one.

    Raises:
        UserError: If there is none.
    """
    versions = sorted(_numbered(parent, "version_"), key=lambda path: int(path.name.removeprefix("version_")))
    for version in reversed(versions):
        if (path := version / "checkpoints" / "last.ckpt").is_file():
            return path
    raise UserError(f"ckpt_path: there is no {parent}/version_*/checkpoints/last.ckpt to go on from")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint that holds tensors and plain data; one that holds code is refused, not run.

    Raises:
        UserError: If the file is missing, is no checkpoint, or holds anything else.
    """
    if not path.is_file():
        raise UserError(f"ckpt_path: {path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the form of files that torch did not write; they are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.search(r"(?:GLOBAL|global) (\S+)", str(error))
        what = f"it asks to run {reason[1]}" if reason else "it holds more than tensors and plain data"
        raise UserError(
            f"ckpt_path: {path}: refused: {what}; only checkpoints of weights and plain data load"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise UserError(f"ckpt_path: {path}: is not a whole checkpoint: {str(error).splitlines()[0]}") from error
    needed = {"state_dict", "epoch", "hyper_parameters", "loops", "optimizer_states", "callbacks"}
    needed |= {"pytorch-lightning_version"}
    if missing := sorted(needed - (content.keys() if isinstance(content, dict) else set())):
        raise UserError(f"ckpt_path: {path}: is not a Lightning checkpoint of a fit: it has no {missing[0]}")
    if not isinstance(content["state_dict"], dict):
        raise UserError(f"ckpt_path: {path}: is not a Lightning checkpoint of a fit: its state_dict is no mapping")
    checkpoint: dict[str, Any] = content
    return checkpoint
