"""What one run of a study has left in its folder, read and checked."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashionreg.config import cache_key
from fashionreg.errors import UserError
from fashionreg.runs.correct import FILE, read_correct
from fashionreg.runs.record import COLUMNS, DRIFT_COLUMNS, Record, read_about
from fashionreg.runs.tables import read_table, refuse

#: A loss or an activation beyond this is that of a diverged network; sums of such numbers leave the range of float64.
MAX_NUMBER = 1e30


def has_key(about: Record, key: str) -> bool:
    """Return whether a run of a study belongs to the variant with this cache key.

    The key that the run carries may be made otherwise, by another version; then its configuration and data decide.
    """
    return about.key == key or (about.key is not None and cache_key(about.config, about.data.fingerprints) == key)


def finished_runs(folder: Path, variant: str) -> dict[Path, Record]:
    """Return the run folders of a variant that hold a whole record of a finished run, with their `record.json`.

    Raises:
        UserError: If a `record.json` is damaged.
    """
    runs = {}
    for path in sorted((folder / variant).glob("version_*/record.json"), key=lambda path: (len(path.parts[-2]), path)):
        try:
            about = read_about(path.parent)
        except UserError as error:
            raise UserError(f"{error}; remove the folder of a damaged record to run its seeds anew") from None
        if about.status == "finished":
            runs[path.parent] = about
    return runs


def read_values(folder: Path, about: Record) -> pd.DataFrame:
    """Read and check the `record.csv` of a run: a number for every seed and epoch of each metric that is there.

    A network that diverges has a loss and a calibration error that may be NaN or infinite; its accuracy is a share of
    images all the same. A loss above 1e30 is read as infinite.

    Raises:
        UserError: With file and row, if something is missing, double, or cannot be.
    """
    path, epochs = folder / "record.csv", len(about.epoch_seconds)
    table = read_table(path, COLUMNS, "record", about.rows)
    _check_keys(table, path, about)
    refuse(~table.epoch.between(1, epochs), table.epoch, str(path), f"must be from 1 to {epochs}")
    value, metric = table.value, table.metric
    # no rounding takes them further: a cross entropy is log(sum of exp) - logit with a sum of at least exp(0) = 1, and
    # an error that is a mean of numbers up to 1 has a sum up to their count, since rounding never passes a whole number
    share = value.between(0, 1)
    refuse((metric == "acc") & ~share, value, str(path), "an accuracy must be from 0 to 1")
    refuse((metric == "ece") & ~share & np.isfinite(value), value, str(path), "a calibration error is from 0 to 1")
    refuse((metric != "acc") & (value < 0), value, str(path), "must be at least 0")
    counts = table.groupby(["split", "metric"]).size()
    if table.empty or (counts != len(about.seeds) * epochs).any():
        least = [] if table.empty else counts.index[int(counts.argmin())]
        what = "it is empty" if table.empty else f"{'/'.join(least)} has {counts.min()} rows"
        raise UserError(
            f"{path}: is not whole: {what}, where {len(about.seeds)} seeds and {epochs} epochs make "
            f"{len(about.seeds) * epochs}"
        )
    return without_huge(table)


def read_drift(folder: Path, about: Record) -> pd.DataFrame | None:
    """Read and check the `drift.csv` of a run; None if there is none.

    Raises:
        UserError: As `read_values`.
    """
    path = folder / "drift.csv"
    if not path.exists():
        return None
    table = read_table(path, DRIFT_COLUMNS, "table")
    _check_keys(table, path, about)
    amount = ~table.statistic.str.startswith("p")
    refuse(amount & (table.value < 0), table.value, str(path), "must be at least 0")
    refuse((table.statistic == "dead") & (table.value > 1), table.value, str(path), "must be from 0 to 1")
    return without_huge(table)


def read_right(folder: Path, about: Record, values: pd.DataFrame) -> NDArray[np.bool_] | None:
    """Read and check the `correct.npy` of a run; None if there is none.

    Args:
        folder: The run's folder.
        about: Its `record.json`.
        values: Its `record.csv`, as `read_values` returns it.

    Raises:
        UserError: As `read_correct`; or if the shares of right answers are not the accuracies of the last epoch.
    """
    right = read_correct(folder, len(about.seeds), about.data.sizes.get("test", 0))
    if right is None:
        return None
    rows = (values.epoch == len(about.epoch_seconds)) & (values.split == "test") & (values.metric == "acc")
    accuracies = values[rows].set_index("seed").value
    for seed, share in zip(about.seeds, right.mean(axis=1), strict=True):
        # 15 digits of it are written
        if not abs(accuracies.get(seed, math.nan) - share) < 1e-12:
            raise UserError(
                f"{folder / FILE}: seed {seed}: is right about {share:.6g} of the test images, and record.csv says "
                f"{accuracies.get(seed, math.nan):.6g}"
            )
    return right


def without_huge(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with infinity in place of values beyond `MAX_NUMBER`."""
    huge = table.value.abs() > MAX_NUMBER
    return table.assign(value=table.value.mask(huge, np.copysign(np.inf, table.value)))


def _check_keys(table: pd.DataFrame, path: Path, about: Record) -> None:
    """Refuse seeds that the run does not have, and rows with the same keys."""
    refuse(~table.seed.isin(about.seeds), table.seed, str(path), "must be a seed of record.json")
    double = table.duplicated([name for name in table.columns if name != "value"])
    if double.any():
        raise UserError(f"{path}: row {double.to_numpy().argmax() + 2}: appears twice")
