"""A run made by version 0.1 still reads: its record, its checkpoint, and the same command lines."""

import shutil
from pathlib import Path

import pytest

import fashionreg as fr

OLD = Path(__file__).parent / "fixtures" / "version_0_1"


@pytest.fixture
def old(workplace):
    shutil.copytree(OLD / "logs", workplace / "logs")
    return fr.Run.load("logs/tiny/version_0")


def test_its_record_reads(old):
    final = old.history.query("split == 'test' and metric == 'acc' and epoch == 2").set_index("seed").value
    assert final.to_dict() == {0: 0.4, 1: 0.16}
    assert old.record.seeds == [0, 1]


def test_its_checkpoint_gives_the_accuracies_of_its_record(old, run):
    code, out, err = run("test", "--ckpt_path", old.checkpoint)
    assert code == 0, err
    assert "seed  0: 40.00   1: 16.00" in out
    assert run("export", "--ckpt_path", old.checkpoint, "--out", "net.pt")[0] == 0


def test_it_is_resumed(old, run):
    code, out, err = run("fit", "--ckpt_path", "last", "--name", "tiny", "--trainer.max_epochs", 3)
    assert code == 0, err
    assert "epoch 3/3" in out
    assert fr.Run.load("logs/tiny/version_1").history.epoch.max() == 3


def test_its_configuration_trains(old, run):
    assert run("fit", "--config", old.folder / "config.yaml")[0] == 0


def test_a_study_of_an_old_version_is_read_and_not_trained_again(workplace, run):
    checkout = Path(__file__).parents[1]
    kept = checkout / "docs" / "studies" / "batch_norm"
    shutil.copytree(kept, workplace / "kept")
    data = checkout / "data"
    if not (data / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("needs the official files of Fashion-MNIST in data of the checkout")
    study = checkout / "configs" / "studies" / "batch_norm.yaml"
    code, out, err = run("study", study, "--seeds", 10, "--out", "kept", "--data.init_args.root", data)
    assert code == 0, err
    assert out.count("has all 10 seeds already") == 2
