"""Other ways to train the batch norm study's network, each written in full as a user would write it.

Each function trains the network of `configs/bn.yaml` (784-64-32-10 with batch norm, SGD 0.001, batches of 64) from the
beginning and returns test accuracies, 0 to 1. `tick` is called at the end of every epoch and is all that the
measurement adds. `train_size` takes the first images only, for trials of the benchmark itself. Ways to train several
networks at once are in `compiled_baseline.py` and `jax_baseline.py`.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchmetrics.classification import MulticlassAccuracy
from torchvision import datasets, transforms  # type: ignore[import-untyped]

Tick = Callable[[], None]


def make_network() -> nn.Sequential:
    """Make the batch norm study's second network."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def _torchvision_loaders(root: Path, train_size: int | None) -> tuple[DataLoader[Any], DataLoader[Any]]:
    trainset: Any = datasets.FashionMNIST(str(root), train=True, download=True, transform=transforms.ToTensor())
    testset = datasets.FashionMNIST(str(root), train=False, download=True, transform=transforms.ToTensor())
    if train_size is not None:
        trainset = Subset(trainset, range(train_size))
    return DataLoader(trainset, batch_size=64, shuffle=True), DataLoader(testset, batch_size=64, shuffle=False)


def notebook(
    root: Path, epochs: int, tick: Tick, *, train_size: int | None = None, seed: int = 0, device: str = "cpu"
) -> list[float]:
    """Train by the notebook's loop: torchvision's dataset, `ToTensor`, `DataLoader`, test accuracy every epoch."""
    torch.manual_seed(seed)
    train_loader, test_loader = _torchvision_loaders(root, train_size)
    model = make_network().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    accuracies = []
    for _ in range(epochs):
        model.train()
        running_loss = 0.0
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for images, labels in test_loader:
                images, labels = images.to(device), labels.to(device)
                correct += (model(images).argmax(dim=1) == labels).sum().item()
                total += len(labels)
        accuracies.append(correct / total)
        tick()
    return accuracies


class PlainModule(LightningModule):
    """The notebook as a LightningModule: torchmetrics and `self.log` in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_network()
        self.train_acc = MulticlassAccuracy(num_classes=10, average="micro")
        self.test_acc = MulticlassAccuracy(num_classes=10, average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Compute the loss of a batch; log it with the accuracy."""
        images, labels = batch
        logits = self.model(images)
        loss = F.cross_entropy(logits, labels)
        self.train_acc(logits, labels)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("train_acc", self.train_acc, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log loss and accuracy of a batch of test images."""
        images, labels = batch
        logits = self.model(images)
        self.test_acc(logits, labels)
        self.log("test_loss", F.cross_entropy(logits, labels))
        self.log("test_acc", self.test_acc)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the notebook's optimizer."""
        return torch.optim.SGD(self.parameters(), lr=0.001)


class _EpochEnds(Callback):
    """Call `tick` after every epoch and keep the test accuracy."""

    def __init__(self, tick: Tick) -> None:
        self.tick = tick
        self.accuracies: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the accuracy of the evaluation, which Lightning runs before this hook."""
        self.accuracies.append(trainer.callback_metrics["test_acc"].item())
        self.tick()


def plain_lightning(
    root: Path, epochs: int, tick: Tick, *, train_size: int | None = None, seed: int = 0, device: str = "cpu"
) -> list[float]:
    """Train `PlainModule` by a Trainer with default settings, but without progress bar, checkpoints and logger."""
    torch.manual_seed(seed)
    train_loader, test_loader = _torchvision_loaders(root, train_size)
    ends = _EpochEnds(tick)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about workers
        trainer = Trainer(
            accelerator=device,
            devices=1,
            max_epochs=epochs,
            callbacks=[ends],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(PlainModule(), train_loader, test_loader)
    return ends.accuracies


def resident_pixels(root: Path, train: bool, train_size: int | None = None) -> tuple[Tensor, Tensor]:
    """Return all images as uint8 `(N, 784)` and their labels as int64 `(N,)`."""
    dataset = datasets.FashionMNIST(str(root), train=train, download=True)
    return dataset.data[:train_size].flatten(1), dataset.targets[:train_size]


def _resident_tensors(root: Path, train: bool, train_size: int | None = None) -> tuple[Tensor, Tensor]:
    pixels, labels = resident_pixels(root, train, train_size)
    return pixels.float() / 255, labels


def bare_loop(
    root: Path, epochs: int, tick: Tick, *, train_size: int | None = None, seed: int = 0, device: str = "cpu"
) -> list[float]:
    """Train by a plain PyTorch loop without loader or framework: all images are one float tensor, indexed by batch."""
    torch.manual_seed(seed)
    images, labels = (tensor.to(device) for tensor in _resident_tensors(root, True, train_size))
    test_images, test_labels = (tensor.to(device) for tensor in _resident_tensors(root, False))
    model = make_network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    accuracies = []
    for _ in range(epochs):
        model.train()
        for index in torch.randperm(len(images), device=device).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[index]), labels[index]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracies.append((model(test_images).argmax(dim=1) == test_labels).float().mean().item())
        tick()
    return accuracies


def scikit_learn(
    root: Path, epochs: int, tick: Tick, *, train_size: int | None = None, seed: int = 0, device: str = "cpu"
) -> list[float]:
    """Train MLPClassifier, the study's baseline without batch norm; return one test accuracy, of the last epoch."""
    del device  # it knows the CPU only
    images, labels = (tensor.numpy() for tensor in _resident_tensors(root, True, train_size))
    test_images, test_labels = (tensor.numpy() for tensor in _resident_tensors(root, False))
    model = MLPClassifier(
        hidden_layer_sizes=(64, 32),
        solver="sgd",
        alpha=0.0,
        batch_size=64,
        learning_rate="constant",
        learning_rate_init=0.001,
        momentum=0.0,
        random_state=seed,
    )
    for _ in range(epochs):
        model.partial_fit(images, labels, classes=range(10))  # one pass over all images
        tick()
    return [float(model.score(test_images, test_labels))]
