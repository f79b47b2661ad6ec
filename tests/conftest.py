"""What tests of several modules share."""

import gc
import gzip
import shutil
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def pytest_collection_finish():
    """Let the garbage collector pass over what imported libraries hold: it walks all of that for 0.2 s each time."""
    gc.freeze()


def pytest_sessionfinish():
    """Let everything be freed as it would be otherwise: some libraries report at exit what is left."""
    gc.unfreeze()


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


TINY = """\
name: tiny
model:
  class_path: fashionreg.models.RegularizedMLP
  init_args:
    hidden_sizes: [8]
    batch_norm: true
    dropout: 0.2
    optimizer:
      class_path: torch.optim.SGD
      init_args: {lr: 0.1, weight_decay: 0.001}
data:
  class_path: fashionreg.data.datamodules.SyntheticDataModule
  init_args: {train_size: 200, test_size: 50, batch_size: 64}
trainer: {max_epochs: 2, accelerator: cpu}
"""


def made_by(folder, *arguments, code=0):
    """Run a command in a folder with `tiny.yaml`, and return the folder; for what several tests begin with."""
    from fashionreg.cli import main

    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([str(word) for word in arguments]) == code
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working folder with `tiny.yaml`, a run of half a second."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture
def run(workplace, capfd):
    """Runs `fashionreg` in `workplace` and returns exit code, standard output and standard error."""
    from fashionreg.cli import main

    def run(*arguments):
        capfd.readouterr()
        code = main([str(word) for word in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def refusal(run):
    """Runs a command that must fail with one line on standard error, and returns exit code and line."""

    def refusal(*arguments):
        code, _, err = run(*arguments)
        lines = err.splitlines()
        assert code in (1, 2), err
        assert len(lines) == 1, err
        assert lines[0].startswith("fashionreg: error: ")
        return code, lines[0]

    return refusal


@pytest.fixture(scope="session")
def fitted_folder(tmp_path_factory):
    """A folder with `tiny.yaml` and a finished run of three seeds; tests work on copies of it."""
    return made_by(tmp_path_factory.mktemp("fitted"), "fit", "--config", "tiny.yaml", "--seeds", 3)


@pytest.fixture
def fitted(run, fitted_folder):
    """A finished run of three seeds; returns the runner."""
    shutil.copytree(fitted_folder / "logs", "logs")
    return run
