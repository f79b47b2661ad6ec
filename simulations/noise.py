"""The noise of seeds: normal, and that of the kept studies."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: The kept studies.
STUDIES = Path(__file__).parents[1] / "docs" / "studies"


def residuals(folder: Path) -> Floats:
    """Return the deviations of seeds from their variant's mean final test accuracy, each variant scaled to spread 1.

    Variants differ in their spread, so each is divided by its sample standard deviation. The shape is kept: skewness,
    tails, lone seeds.

    Args:
        folder: Of a kept study, with `results.csv`: columns variant, seed, epoch, split, metric, value.
    """
    table = pd.read_csv(folder / "results.csv")
    table = table[(table.split == "test") & (table.metric == "acc")]
    last = table[table.epoch == table.groupby("variant").epoch.transform("max")]
    parts = [group.to_numpy() for _, group in last.groupby("variant").value]
    scaled = [(values - values.mean()) / values.std(ddof=1) for values in parts if values.std(ddof=1) > 0]
    return np.concatenate(scaled)


def noises() -> dict[str, Floats | None]:
    """Return each kind of noise by name: None for normal noise, else the residuals to draw from."""
    kept = {f"{path.parent.name}'s seeds": residuals(path.parent) for path in sorted(STUDIES.glob("*/results.csv"))}
    return {"normal": None, **kept}


def draw(source: Floats | None, generator: np.random.Generator, *shape: int) -> Floats:
    """Draw noise of mean 0 and standard deviation 1: normal, or residuals with replacement."""
    if source is None:
        return generator.normal(size=shape)
    return generator.choice((source - source.mean()) / source.std(), size=shape)
