"""The notebooks' main jobs, on the real dataset."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fashionreg.cli import main
from fashionreg.data.sources import read_fashion_mnist
from fashionreg.models.networks import MLP
from fashionreg.randomness import generator
from fashionreg.regularizers import BatchNorm

CONFIGS = "configs"

pytestmark = pytest.mark.realdata


@pytest.fixture
def workplace(tmp_path, monkeypatch, request, real_data):
    """A working folder with the shipped configurations and the real data."""
    (tmp_path / "configs").symlink_to(request.config.rootpath / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASHIONREG_DATA", str(real_data))
    return tmp_path


def notebook(root, epochs, *, batch_norm):
    """Test accuracy after every epoch, by the notebook's loop in plain torch, from the start of seed 0."""
    train, test = read_fashion_mnist(root, train=True), read_fashion_mnist(root, train=False)
    images, test_images = train.images.flatten(1), test.images.flatten(1).float() / 255
    net = MLP([784, 64, 32, 10], [0], {"batch_norm": BatchNorm()} if batch_norm else None).replica(0).train()
    assert isinstance(net, nn.Sequential)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001)
    accuracies = []
    for epoch in range(epochs):
        for index in torch.randperm(60_000, generator=generator(0, "order", epoch)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(images[index].float() / 255), train.labels[index]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            accuracies.append((net(test_images).argmax(dim=1) == test.labels).double().mean().item())
        net.train()
    return accuracies


def fitted(*words):
    assert main(["fit", *words]) == 0
    table = pd.read_csv("logs/run/version_0/record.csv")
    return table[(table.split == "test") & (table.metric == "acc")].sort_values(["seed", "epoch"])


@pytest.mark.parametrize(("config", "low", "high"), [("bn", 0.80, 0.825), ("baseline", 0.55, 0.72)])
def test_batch_norm_study_gives_the_accuracies_of_a_plain_notebook(workplace, real_data, config, low, high):
    ours = fitted("--config", f"configs/{config}.yaml", "--name", "run").value.tolist()
    plain = notebook(real_data, 5, batch_norm=config == "bn")
    # the same start and order, so only rounding sets them apart: far less than the spread over seeds (0.5 points)
    assert ours == pytest.approx(plain, abs=0.002)
    assert low <= ours[-1] <= high
    assert ours[-1] - ours[-2] > (0.005 if config == "baseline" else 0)


#: Where the accuracy of lecture 7 has levelled off; its own 100 epochs take a minute.
SHORT = ["--trainer.max_epochs", "40"]


def test_lecture_7_on_a_subset_cut_by_the_command(workplace):
    assert main(["data", "subset", "--size", "6000", "--seed", "0", "--out", "data/fmnist_small.csv"]) == 0
    accuracies = fitted(
        "--config", "configs/lecture7.yaml", "--name", "run", "--seeds", "3", "--trainer.max_epochs", "40"
    )
    # after 40 epochs about 0.84 to 0.88 (the standard error with 1,200 test images is one point)
    assert 0.82 <= accuracies[accuracies.epoch == 40].value.mean() <= 0.88


def test_lecture_7_on_the_full_data_beats_the_subset(workplace):
    accuracies = fitted("--config", "configs/lecture7_full.yaml", "--name", "run", "--trainer.max_epochs", "2")
    assert accuracies.value.iloc[-1] > 0.84
