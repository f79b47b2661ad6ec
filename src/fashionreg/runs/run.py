"""A run as an object: what it left behind, for notebooks and programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionreg.errors import UserError
from fashionreg.runs.correct import read_correct
from fashionreg.runs.record import COLUMNS, Record, read_about

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from torch import nn


@dataclass(frozen=True)
class Run:
    """A finished or interrupted run.

    Attributes:
        folder: Its folder, `logs/NAME/version_N`.
        trusted: Whether its checkpoint may name classes of any module, as that of a fit of this program may.
    """

    folder: Path
    trusted: bool = False

    @classmethod
    def load(cls, folder: str | Path, *, trusted: bool = False) -> "Run":
        """Return the run in a folder.

        Args:
            folder: `logs/NAME/version_N`.
            trusted: Whether its checkpoint may name classes of any module, which runs code of theirs: for runs of
                people you trust.

        Raises:
            UserError: If there is no record in it, or it is damaged.
        """
        run = cls(Path(folder), trusted)
        read_about(run.folder)
        return run

    @property
    def record(self) -> Record:
        """What `record.json` says: seeds, data, versions, machine, seconds of each epoch."""
        return read_about(self.folder)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return self.record.config

    @property
    def history(self) -> "pd.DataFrame":
        """Every number: seed, epoch (from 1), split (train, val, test), metric (loss, acc, ece), value."""
        from fashionreg.runs.tables import read_table

        return read_table(self.folder / "record.csv", COLUMNS, "record", self.record.rows)

    @property
    def correct(self) -> "NDArray[np.bool_] | None":
        """Which test images each seed is right about after the last epoch, bool `(S, N)`; None if not recorded."""
        record = self.record
        return read_correct(self.folder, len(record.seeds), record.data.sizes.get("test", 0))

    @property
    def checkpoint(self) -> Path:
        """The checkpoint after the last finished epoch.

        Raises:
            UserError: If there is none.
        """
        path = self.folder / "checkpoints" / "last.ckpt"
        if not path.is_file():
            raise UserError(f"{path}: no such checkpoint; the run was made with enable_checkpointing: false")
        return path

    def network(self, seed: int | None = None) -> "nn.Module":
        """Return the trained network of one seed (default: the first) as a plain module of torch, in evaluation mode.

        It takes float32 images `(B, D)` as `fashionreg export` describes them (of a table, the numbers of its rows as
        they are), and gives logits `(B, K)`.

        Raises:
            UserError: If the run has no checkpoint or no such seed.
        """
        from fashionreg.runs.export import load_classifier, plain_network

        model, _ = load_classifier(self.checkpoint, trusted=self.trusted)
        chosen = model.seeds[0] if seed is None else seed
        if chosen not in model.seeds:
            raise UserError(f"seed: {self.folder} holds the seeds {model.seeds}, not {chosen}")
        return plain_network(model, chosen)
