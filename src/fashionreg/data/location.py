"""Where data comes from and lies on disk. This module imports no torch, so that `--help` stays fast."""

import os
from pathlib import Path

#: What records name as the source of the built-in synthetic data; a report warns of exactly this one.
SYNTHETIC_SOURCE = "synthetic garments"


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of `FashionMNIST/`: `root`, else the environment variable `FASHIONREG_DATA`, else `data`."""
    return expand_home(root or os.environ.get("FASHIONREG_DATA") or "data")


def expand_home(path: str | Path) -> Path:
    """Replace `~` and `~user` at the beginning of a path; an unknown user stays as it is."""
    # Path.expanduser raises RuntimeError for an unknown user
    return Path(os.path.expanduser(path))
