"""Where data lies on disk: without torch, so that `--help` stays fast."""

import os
from pathlib import Path


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds `FashionMNIST/`: `root`, else the environment variable `FASHIONREG_DATA`, else `data`."""
    # unlike Path.expanduser, os.path.expanduser leaves `~nobody` as it is
    return Path(os.path.expanduser(root or os.environ.get("FASHIONREG_DATA") or "data"))
