"""What networks get right and wrong on a split: their answers, the tables made of them, and `fashionreg test`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fashionreg.data.batches import Loader
from fashionreg.data.datamodules import ImageDataModule
from fashionreg.files import whole_file
from fashionreg.models.classifier import Classifier
from fashionreg.models.metrics import calibration_bin
from fashionreg.text import POINTS, by_seed, in_percent


@dataclass(frozen=True)
class Answers:
    """What S replicas answer on N images, on the CPU.

    Attributes:
        labels: int64 `(N,)`, the true classes, or `(S, N)` where each replica has its own images.
        predicted: int64 `(S, N)`, the class that each replica finds most probable.
        confidence: float32 `(S, N)`, 0 to 1, the probability of that class; NaN where a replica's output is no number.
        probabilities: float32 `(N, K)`, means over the replicas whose outputs are numbers; NaN if there is none. None
            where each replica has its own images.
    """

    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    probabilities: Tensor | None


@torch.no_grad()
def answers(network: nn.Module, loader: Loader) -> Answers:
    """Make one pass over a split, in evaluation mode, and put the mode of the network back.

    Args:
        network: From images float `(B, D)` or `(S, B, D)` to logits `(S, B, K)`.
        loader: Batches of images and labels, `(B,)` or `(S, B)`, on the device of the network.
    """
    training = network.training
    network.eval()
    try:
        precision = next(network.parameters()).dtype
        chunks = [_chunk(network(images.to(precision)), labels) for images, labels in loader]
    finally:
        network.train(training)
    return _joined(chunks)


def _joined(chunks: list[Answers]) -> Answers:
    """Join the answers on all chunks of a split."""
    labels, predicted, confidence = (
        torch.cat([getattr(chunk, name) for chunk in chunks], dim=-1) for name in ("labels", "predicted", "confidence")
    )
    means = [chunk.probabilities for chunk in chunks if chunk.probabilities is not None]
    return Answers(labels, predicted, confidence, torch.cat(means) if means else None)


def _chunk(logits: Tensor, labels: Tensor) -> Answers:
    """Make the answers on a chunk, from logits `(S, B, K)` and labels `(B,)` or `(S, B)`."""
    # only this much is kept of a chunk: all probabilities of many replicas would fill the memory
    probabilities = logits.float().softmax(dim=-1)
    # of the logits: probabilities near 1 round to the same float
    predicted = logits.argmax(dim=-1)  # (S, B)
    confidence = probabilities.amax(dim=-1)  # (S, B)
    means = probabilities.nanmean(dim=0).cpu() if labels.dim() == 1 else None
    return Answers(labels.cpu(), predicted.cpu(), confidence.cpu(), means)


def confusion(given: Answers, classes: int) -> NDArray[np.int64]:
    """Count answers, `(S, K, K)` for K classes: row true class, column predicted class."""
    labels = given.labels.expand_as(given.predicted)
    pairs = zip(given.predicted, labels, strict=True)
    tables = [multiclass_confusion_matrix(row, true, classes) for row, true in pairs]
    counts: NDArray[np.int64] = torch.stack(tables).numpy()
    return counts


def accuracy_by_class(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share `(S, K)` of each class that is right, 0 to 1, of counts `(S, K, K)`; NaN without images."""
    images = counts.sum(axis=2)
    right: NDArray[np.int64] = counts.diagonal(axis1=1, axis2=2)
    shares = np.full(images.shape, np.nan)
    np.divide(right, images, out=shares, where=images > 0)
    return shares


def mistakes(given: Answers, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the images to which the replicas together give the highest probabilities of a wrong class, worst first.

    Where each replica has its own images, those to which single replicas give them.

    Args:
        given: The answers.
        count: How many to name at most; images of which the right class is the most probable are no mistakes.

    Returns:
        Numbers of the images (own images counted replica by replica), the classes they are taken for (int64) and the
        probabilities of these (float), `(M,)`.
    """
    if given.probabilities is None:
        probability, predicted = given.confidence.flatten(), given.predicted.flatten()
    else:
        probability, predicted = given.probabilities.max(dim=1)
    wrong = ((predicted != given.labels.flatten()) & probability.isfinite()).nonzero().flatten()
    chosen = wrong[probability[wrong].argsort(descending=True, stable=True)[:count]]
    return chosen, predicted[chosen], probability[chosen]


def reliability(given: Answers, bins: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute confidence and accuracy of all replicas' answers together, in bins of equal width of confidence.

    Returns:
        For each bin the number of answers, their mean confidence and the share of right ones (both 0 to 1, and 0 where
        there are none), `(bins,)`. Answers without a confidence are left out.
    """
    finite = given.confidence.isfinite()
    confidence = given.confidence[finite]
    correct = (given.predicted == given.labels)[finite].numpy()
    bin_of = calibration_bin(confidence, bins).numpy()
    counts = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence.numpy(), correct)]
    means = [values / np.maximum(counts, 1) for values in sums]
    return counts, means[0], means[1]


def by_class(counts: NDArray[np.int64], class_names: tuple[str, ...]) -> pd.DataFrame:
    """Compute precision, recall and F1 (0 to 1; 0 where nothing counts) and number of images of each class.

    Args:
        counts: int `(K, K)`: row true class, column predicted class.
        class_names: K names, the index of the table.
    """
    right, predicted, images = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(images, 1)
    f1 = 2 * right / np.maximum(predicted + images, 1)
    columns = {"precision": precision, "recall": recall, "f1": f1, "images": images}
    return pd.DataFrame(columns, index=pd.Index(class_names, name="class"))


class Evaluation(Callback):
    """Gathers the answers of all replicas while `trainer.test` runs, and reports on them.

    With several replicas the tables by class pool the answers of all of them; the ensemble, where all see the same
    images, is the class with the largest mean of their probabilities.

    Attributes:
        metrics: For each split the metrics of each replica, float `(S,)`; see `Totals.means`.
        answers: For each split the answers of all replicas.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, dict[str, Tensor]] = {}
        self.answers: dict[str, Answers] = {}
        self._chunks: dict[str, list[Answers]] = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the batch to its split; `outputs` are the logits `(S, B, K)`."""
        split = list(trainer.test_dataloaders)[dataloader_idx]  # type: ignore[arg-type]
        self._chunks.setdefault(split, []).append(_chunk(outputs, batch[1]))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what the report is made of."""
        assert isinstance(pl_module, Classifier)
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(datamodule, ImageDataModule)
        self._seeds = pl_module.seeds
        self._class_names = datamodule.class_names
        self.metrics = pl_module.results()
        self.answers = {split: _joined(chunks) for split, chunks in self._chunks.items()}

    def ensemble(self, split: str) -> float | None:
        """Compute the accuracy (0 to 1) of the class with the largest mean probability over replicas.

        Returns:
            None with a single replica, and where each has its own images.
        """
        given = self.answers[split]
        if given.probabilities is None or len(self._seeds) == 1:
            return None
        return (given.probabilities.argmax(dim=1) == given.labels).double().mean().item()

    def confusion(self, split: str) -> NDArray[np.int64]:
        """Count the answers of all replicas together, `(K, K)`: row true class, column predicted class."""
        pooled: NDArray[np.int64] = confusion(self.answers[split], len(self._class_names)).sum(axis=0)
        return pooled

    def by_class(self, split: str) -> pd.DataFrame:
        """Return the table by class, with the number of images of each."""
        table = by_class(self.confusion(split), self._class_names)
        if self.answers[split].labels.dim() > 1:
            return table
        # each image once, not once for each replica
        return table.assign(images=table.images // len(self._seeds))

    def describe(self) -> str:
        """Write the report as text: loss and accuracy of each split, generalization gap, the test split by class."""
        lines = []
        for split, metrics in self.metrics.items():
            numbers = f"loss {metrics['loss'].mean():.4f}   accuracy {in_percent(metrics['acc'])}"
            lines.append(f"{split:<8}{numbers}   calibration error {in_percent(metrics['ece'])}")
            if len(self._seeds) > 1:
                lines.append(by_seed(self._seeds, metrics["acc"]))
            if (together := self.ensemble(split)) is not None:
                lines.append(f"  ensemble of {len(self._seeds)} seeds: {100 * together:.2f}%")
        if {"train", "test"} <= self.metrics.keys():
            gap = self.metrics["train"]["acc"] - self.metrics["test"]["acc"]
            lines.append(f"generalization gap (train - test): {in_percent(gap, POINTS)}")
        table = self.by_class("test").to_string(float_format="{:.3f}".format, index_names=False)
        return "\n".join([*lines, "", "test by class", table])

    def table(self) -> pd.DataFrame:
        """Return seed (or `ensemble`), split, metric and value, one row for each number."""
        rows: list[tuple[int | str, str, str, float]] = []
        for split, metrics in self.metrics.items():
            for metric, values in metrics.items():
                rows += [(seed, split, metric, value) for seed, value in zip(self._seeds, values.tolist(), strict=True)]
            if (together := self.ensemble(split)) is not None:
                rows.append(("ensemble", split, "acc", together))
        return pd.DataFrame(rows, columns=["seed", "split", "metric", "value"])

    def write(self, folder: Path) -> None:
        """Write `metrics.csv`, `by_class.csv` and `confusion_matrix.png` (of the test split) into `folder`."""
        from fashionreg.runs.figures import confusion_matrix

        tables = pd.concat({split: self.by_class(split) for split in self.answers}, names=["split"])
        for name, text in (("metrics", self.table().to_csv(index=False)), ("by_class", tables.to_csv())):
            with whole_file(folder / f"{name}.csv") as file:
                file.write(text.encode())
        figure = confusion_matrix(self.confusion("test"), self._class_names)
        with whole_file(folder / "confusion_matrix.png") as file:
            figure.savefig(file, format="png", dpi=120)
