"""What tests of several modules share."""

import gzip
import shutil
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data(tmp_path_factory):
    """A root folder with the four official files of Fashion-MNIST in FashionMNIST/raw, packed and unpacked.

    A copy: tests may not change it, but they may not harm the checkout's own files if they do.
    """
    source = CHECKOUT / "data" / "FashionMNIST" / "raw"
    archives = sorted(source.glob("*-ubyte.gz"))
    if len(archives) != 4:
        pytest.skip("needs the four official .gz files of Fashion-MNIST in data/FashionMNIST/raw of the checkout")
    root = tmp_path_factory.mktemp("real_data")
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for archive in archives:
        shutil.copy(archive, folder)
        with gzip.open(archive) as packed, (folder / archive.stem).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return root
