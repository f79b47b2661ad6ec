"""Checkpoints: one file that `torch.load` opens, written whole, with a checksum that is verified before its use.

A checkpoint is the zip archive that `torch.save` writes. Its last part is the archive's comment, which programs that
read zip archives skip: a marker and the SHA-256 digest of every byte before the digest. So every bit of the file is
covered. The CRC-32 sums within the archive are no substitute: torch does not compare them, and headers have none.

The checksum is against accidents: whoever forges a checkpoint writes the right one. What torch would make of the file
is therefore checked before torch reads it (`fashionreg.runs.archive`), and what it has made afterwards (`contents`).
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fashionreg.config import identity, resumable
from fashionreg.errors import UserError
from fashionreg.files import refuse_special, whole_file
from fashionreg.models.classifier import PLANNED_KEY
from fashionreg.randomness import expand_seeds
from fashionreg.runs.archive import ForeignError, checked_archive
from fashionreg.runs.contents import check_contents, without_paths
from fashionreg.runs.record import read_about, read_history
from fashionreg.runs.schema import SchemaError
from fashionreg.yaml_files import parse_yaml

#: Key under which a checkpoint carries the configuration of its run, as YAML text.
CONFIG_KEY = "fashionreg_config"

#: Key under which a checkpoint carries the fingerprints of the images of each split that its run trains on.
DATA_KEY = "fashionreg_data"

#: What stands in an archive's comment before the digest, and the length of the digest, in hexadecimal digits.
_MARKER, _DIGITS = b"\nfashionreg sha256 ", 64

#: The last record of a zip archive: 22 bytes, of which the last two are the length of the comment that follows.
_END, _END_SIZE = b"PK\x05\x06", 22


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's way to the disk for every checkpoint of a trainer: written whole, verified when read.

    Args:
        trusted: Whether what a checkpoint says of files that its callbacks have written is believed.
        read: A path, and the checkpoint that was read from it: it is handed out once instead of the file's content, so
            that the file need not be read twice, and cannot be another one the second time.

    Lightning's own way writes to the temporary folder and copies from there, where that is another file system; a full
    disk or a kill during the copy destroys the checkpoint that was there before.
    """

    def __init__(self, trusted: bool = False, read: tuple[str, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self._trusted = trusted
        self._read = dict([read] if read else [])

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint with its checksum; the one before is kept until the new one is whole.

        Raises:
            UserError: If it cannot be written.
        """
        if storage_options is not None or "://" in str(path):
            # object stores show an object when it is whole
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with whole_file(Path(path)) as file:
            file.writelines(with_checksum(buffer.getbuffer()))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Load a checkpoint from the bytes that were verified.

        Raises:
            UserError: If the file cannot be read or is damaged.
        """
        checkpoint: Any = self._read.pop(str(path), None)
        if checkpoint is None and "://" in str(path):
            checkpoint = super().load_checkpoint(path, map_location, weights_only)
        elif checkpoint is None and weights_only is False:
            # any object may be in it, and run anything; only who calls for it can want that
            content = io.BytesIO(whole_bytes(Path(path)))
            checkpoint = torch.load(content, map_location=map_location, weights_only=False)
        elif checkpoint is None:
            checkpoint = _load(Path(path), map_location)
        if not self._trusted and isinstance(checkpoint, dict) and "callbacks" in checkpoint:
            checkpoint["callbacks"] = without_paths(checkpoint["callbacks"])
        return checkpoint  # type: ignore[no-any-return]


def with_checksum(archive: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Return the archive with its SHA-256 digest as the archive's comment.

    Args:
        archive: What `torch.save` wrote.

    Yields:
        The content of the file in pieces, none of which is a copy of the archive.
    """
    length = len(_MARKER) + _DIGITS
    digest = hashlib.sha256()
    for piece in (memoryview(archive)[:-2], length.to_bytes(2, "little") + _MARKER):
        digest.update(piece)
        yield piece
    yield digest.hexdigest().encode()


def whole_bytes(path: Path) -> bytes:
    """Read a checkpoint and verify its checksum.

    A zip archive without a checksum, as version 0.1 and `torch.save` write it, must end where archives end; that its
    entries match their CRC-32 sums is for `checked_archive` to say. A pickle, torch's format before 1.6, is refused: it
    has nothing that could be verified, and Lightning 2 never wrote one.

    Raises:
        UserError: If the file cannot be read or is damaged.
    """
    try:
        refuse_special(path)
        if path.is_dir():
            raise UserError(f"ckpt_path: {path}: is a folder, expected the file of a checkpoint")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"ckpt_path: {path}: no such file") from error
    except OSError as error:
        raise UserError(f"ckpt_path: {path}: cannot be read: {error.strerror or error}") from error
    if fault := _damage(content):
        raise UserError(f"ckpt_path: {path}: is not a whole checkpoint: {fault}")
    return content


def _damage(content: bytes) -> str | None:
    """Return what is wrong with the content of a checkpoint; None if nothing is.

    No single damage makes a file with a checksum look like one without: either its marker is there, or its end is not
    the end of an archive without comment.
    """
    if not content:
        return "the file is empty"
    if content[-_DIGITS - len(_MARKER) : -_DIGITS] == _MARKER:
        matches = hashlib.sha256(memoryview(content)[:-_DIGITS]).hexdigest().encode() == content[-_DIGITS:]
        return None if matches else "its checksum does not match"
    if not content.startswith(b"PK"):
        return "it is not a file written by torch.save"
    end = content[-_END_SIZE:]
    if not (end.startswith(_END) and end.endswith(b"\0\0")):
        return "the end of the file is missing or damaged"
    return None


def _load(path: Path, map_location: Any) -> Any:
    """Load the tensors and plain data of a checkpoint.

    Raises:
        UserError: If the file is missing, damaged, or holds anything else.
    """
    try:
        archive = checked_archive(whole_bytes(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the form of files that torch did not write; they are refused later
            return torch.load(archive, map_location=map_location, weights_only=True)
    except UserError:
        raise
    except ForeignError as error:
        raise UserError(
            f"ckpt_path: {path}: refused: {error}; only checkpoints of weights and plain data load"
        ) from error
    except Exception as error:  # what is no checkpoint fails in many ways
        reasons = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"ckpt_path: {path}: is not a whole checkpoint: {reasons[0]}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint that holds tensors and plain data; one that holds code is refused, not run.

    Raises:
        UserError: If the file is missing, damaged, no checkpoint of a fit (see `check_contents`), or holds code.
    """
    loaded = _load(path, "cpu")
    check_contents(loaded, f"ckpt_path: {path}")
    checkpoint: dict[str, Any] = loaded
    return checkpoint


def check_resume(checkpoint: dict[str, Any], path: str, config: dict[str, Any], max_epochs: int | None) -> None:
    """Refuse to go on from where nothing can go on, or with a model, data or numbers that are not the run's.

    Whether the states of optimizer and scheduler fit is for `check_optimization` to say, once there is a model.

    Args:
        checkpoint: As `read_checkpoint` returns it.
        path: Where it is, for the error.
        config: The configuration of the run that is to go on.
        max_epochs: Where it is to end; None or -1 is nowhere.

    Raises:
        UserError: If the checkpoint does not stand at the end of an epoch of a fit, if what it says of the epochs or
            seeds disagrees, if the configurations differ in what makes a run, or if nothing is left to do.
    """
    epochs = checkpoint["epoch"] + 1
    numbers, loop = checkpoint["callbacks"].get("RunRecord"), checkpoint["loops"]["fit_loop"]
    recorded = numbers.get("epochs") if isinstance(numbers, dict) else None
    whole_epoch = loop.get("epoch_loop.batch_progress", {}).get("is_last_batch")
    if CONFIG_KEY not in checkpoint or not isinstance(recorded, list) or len(recorded) != epochs or not whole_epoch:
        raise UserError(
            f"ckpt_path: {path} was not saved at the end of an epoch of `fashionreg fit` and cannot be resumed; use "
            "last.ckpt"
        )
    try:
        history = read_history(numbers)
    except SchemaError as error:
        raise UserError(f"ckpt_path: {path}: RunRecord: {error}") from None
    counts = loop.get("epoch_progress", {}).get("current", {})
    done = [counts.get(name) for name in ("ready", "started", "processed")]
    # Lightning counts an epoch as completed after the checkpoint of its end
    if done != 3 * [epochs] or counts.get("completed") not in (epochs - 1, epochs):
        raise UserError(f"ckpt_path: {path}: loops: the counts of epochs are {done}, expected {epochs} as in RunRecord")
    trained = checkpoint["hyper_parameters"].get("seeds", history.seeds)
    if history.seeds != trained:
        raise UserError(f"ckpt_path: {path}: RunRecord: has the numbers of seeds {history.seeds}, not of {trained}")
    if len(seeds := expand_seeds(config["seeds"])) != len(trained) or list(seeds) != trained:
        wanted = list(seeds) if len(seeds) <= 50 else f"{len(seeds):,} others"
        raise UserError(f"seeds: the checkpoint is of seeds {trained}, not {wanted}; leave out --seeds")
    # a run may be longer than it was to be, unless its learning rates follow its length
    planned = PLANNED_KEY in checkpoint
    shared = identity if planned else resumable
    before = shared(parse_yaml(checkpoint[CONFIG_KEY], f"ckpt_path: {path}"))
    now = shared(config)
    sections = {name.partition(".")[0] for name in now}
    # what only one of them has, a regularizer or a callback, is None in the other; of other commands, nothing counts
    for name in dict.fromkeys([*now, *(name for name in before if name.partition(".")[0] in sections)]):
        if before.get(name) != now.get(name):
            of_length = planned and name not in resumable(config)
            raise UserError(
                f"{name}: the run in {path} has {before.get(name)}, not {now.get(name)}"
                f"{', and its learning rates are planned for its length' * of_length}; a resumed run is the same "
                "run: leave out --config, or start a new run without --ckpt_path"
            )
    # a fit that could not write its record in the end is taken up once more, to write it from the checkpoint
    if 0 <= (max_epochs or -1) <= epochs and (epochs != max_epochs or _has_finished(Path(path).parent.parent)):
        raise UserError(
            f"ckpt_path: {path} has done {epochs} epochs, and trainer.max_epochs is {max_epochs}: nothing is left to "
            "do; set a larger --trainer.max_epochs to go on"
        )


def _has_finished(folder: Path) -> bool:
    """Say whether the record of a run is there, whole, and that of a fit that came to its end."""
    try:
        return read_about(folder).status == "finished"
    except UserError:
        return False


def check_same_data(checkpoint: dict[str, Any], path: str, fingerprints: dict[str, str]) -> None:
    """Refuse to go on with other images than those on which a run was trained.

    Args:
        checkpoint: As `read_checkpoint` returns it; one of version 0.1 does not say what its images were.
        path: Where it is, for the error.
        fingerprints: Of the images of each split now.

    Raises:
        UserError: If they differ.
    """
    before = checkpoint.get(DATA_KEY, fingerprints)
    if not isinstance(before, dict) or any(not isinstance(value, str) for value in before.values()):
        raise UserError(f"ckpt_path: {path}: {DATA_KEY}: must be a fingerprint for each split")
    if differing := [split for split in {**before, **fingerprints} if before.get(split) != fingerprints.get(split)]:
        raise UserError(
            f"data: the run in {path} has other {' and '.join(differing)} images; a resumed run is the same run: name "
            "its data, or start a new run without --ckpt_path"
        )
