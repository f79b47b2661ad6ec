"""Folders of runs, and the checkpoints in them."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml

from fashionreg.configs import flat
from fashionreg.errors import UserError
from fashionreg.files import refuse_special

#: Key under which a checkpoint carries the configuration of its run, as YAML text.
CONFIG_KEY = "fashionreg_config"

#: Where in a configuration stands what makes a run the run that it is, and what of it is only a place on disk.
SETTLED = ("model.", "data.", "trainer.gradient_clip", "trainer.accumulate")
PLACES = (".root", ".mirror", ".path")


def is_folder_below(name: Any) -> bool:
    """Whether a run can have this name: that of a folder below the folder of all results."""
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


def check_is_file(path: Path) -> None:
    """Refuse what cannot be a checkpoint before anything of it is read.

    Raises:
        UserError: If `path` is missing, a folder, a pipe, a device or an empty file.
    """
    try:
        refuse_special(path)
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise UserError(f"ckpt_path: {path}: no such file") from error
    except OSError as error:
        raise UserError(f"ckpt_path: {path}: cannot be read: {error.strerror}") from error
    if path.is_dir():
        raise UserError(f"ckpt_path: {path}: a folder, expected the file of a checkpoint")
    if not size:
        raise UserError(f"ckpt_path: {path}: the file is empty")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint that holds tensors and plain data; one that holds code is refused, not run.

    Raises:
        UserError: If the file is missing, is no checkpoint, or holds anything else.
    """
    check_is_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the form of files that torch did not write; they are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|global) (\S+)", str(error))
        what = f"it asks to run {code[1]}" if code else "it holds more than tensors and plain data"
        raise UserError(
            f"ckpt_path: {path}: refused: {what}; only checkpoints of weights and plain data load"
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        # torch reads a file that it did not write as instructions, which may fail in any of these ways
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"ckpt_path: {path}: is not a whole checkpoint: {reason}") from error
    needed = {"state_dict", "epoch", "hyper_parameters", "loops", "optimizer_states", "callbacks"}
    needed |= {"pytorch-lightning_version"}
    if missing := sorted(needed - (content.keys() if isinstance(content, dict) else set())):
        raise UserError(f"ckpt_path: {path}: is not a Lightning checkpoint of a fit: it has no {missing[0]}")
    if not isinstance(content["state_dict"], dict):
        raise UserError(f"ckpt_path: {path}: is not a Lightning checkpoint of a fit: its state_dict is no mapping")
    checkpoint: dict[str, Any] = content
    return checkpoint


def check_resume(checkpoint: dict[str, Any], path: str, config: dict[str, Any], max_epochs: int | None) -> None:
    """Refuse to go on from where nothing can go on, or with a model or data that are not the run's.

    Args:
        checkpoint: As `read_checkpoint` returns it.
        path: Where it is, for the error.
        config: The configuration of the run that is to go on.
        max_epochs: Where it is to end; None or -1 is nowhere.

    Raises:
        UserError: If the checkpoint does not stand at the end of an epoch of a fit, if the configurations differ in
            what makes a run, or if nothing is left to do.
    """
    epochs = checkpoint["epoch"] + 1
    recorded = len(checkpoint["callbacks"].get("RunRecord", {}).get("epochs", []))
    whole_epoch = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
    if CONFIG_KEY not in checkpoint or recorded != epochs or not whole_epoch:
        raise UserError(
            f"ckpt_path: {path} does not stand at the end of an epoch of `fashionreg fit`, from which alone a run goes "
            "on as if it had never stopped; use its last.ckpt"
        )
    before = flat(yaml.safe_load(checkpoint[CONFIG_KEY]))
    for name, value in flat(config).items():
        if name.startswith(SETTLED) and not name.endswith(PLACES) and before.get(name) != value:
            raise UserError(
                f"{name}: the run in {path} has {before.get(name)}, not {value}; a resumed run is the same run: leave "
                "out --config, or start a new run without --ckpt_path"
            )
    if 0 <= (max_epochs or -1) <= epochs:
        raise UserError(
            f"ckpt_path: {path} has done {epochs} epochs, and trainer.max_epochs is {max_epochs}: nothing is left to "
            "do; set a larger --trainer.max_epochs to go on"
        )
