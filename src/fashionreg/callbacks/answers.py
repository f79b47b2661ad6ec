"""What all replicas answer on a split, and the tables behind the figures: pure functions."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fashionreg.data.batches import Loader


@dataclass(frozen=True)
class Answers:
    """What S replicas answer on N images, on the CPU.

    Attributes:
        labels: int64 `(N,)`, the true classes.
        predicted: int64 `(S, N)`, the class that each replica finds most probable.
        confidence: float32 `(S, N)`, 0 to 1, the probability of that class; NaN where a replica's output is no number.
        probabilities: float32 `(N, K)`, means over the replicas whose outputs are numbers; NaN if there is none.
    """

    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    probabilities: Tensor


@torch.no_grad()
def answers(network: nn.Module, loader: Loader) -> Answers:
    """One pass over a split, in evaluation mode; the mode of the network is put back.

    Args:
        network: From images float `(B, D)` to logits `(S, B, K)`.
        loader: Batches of images `(B, D)` and labels `(B,)` on the device of the network.
    """
    training = network.training
    network.eval()
    try:
        precision = next(network.parameters()).dtype
        chunks = [_chunk(network(images.to(precision)), labels) for images, labels in loader]
    finally:
        network.train(training)
    labels, predicted, confidence, probabilities = zip(*chunks, strict=True)
    return Answers(torch.cat(labels), torch.cat(predicted, 1), torch.cat(confidence, 1), torch.cat(probabilities))


def _chunk(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # only this much is kept of a chunk: all probabilities of many replicas would fill the memory
    probabilities = logits.float().softmax(dim=-1)
    kept = (labels, logits.argmax(dim=-1), probabilities.amax(dim=-1), probabilities.nanmean(dim=0))
    labels, predicted, confidence, mean = (tensor.cpu() for tensor in kept)
    return labels, predicted, confidence, mean


def confusion(given: Answers) -> NDArray[np.int64]:
    """Counts `(S, K, K)`: row true class, column predicted class."""
    classes = given.probabilities.shape[1]
    tables = [multiclass_confusion_matrix(row, given.labels, classes) for row in given.predicted]
    counts: NDArray[np.int64] = torch.stack(tables).numpy()
    return counts


def accuracy_by_class(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share `(S, K)` of each class that is right, 0 to 1, from counts `(S, K, K)`; NaN for one without images."""
    images = counts.sum(axis=2)
    right: NDArray[np.int64] = counts.diagonal(axis1=1, axis2=2)
    shares = np.full(images.shape, np.nan)
    np.divide(right, images, out=shares, where=images > 0)
    return shares


def mistakes(given: Answers, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The images to which the replicas together give the highest probabilities of a wrong class, the worst first.

    Args:
        given: The answers.
        count: How many to name at most; images of which the right class is the most probable are no mistakes.

    Returns:
        Numbers of the images, the classes they are taken for (int64) and the probabilities of these (float), `(M,)`.
    """
    probability, predicted = given.probabilities.max(dim=1)
    wrong = ((predicted != given.labels) & probability.isfinite()).nonzero().flatten()
    chosen = wrong[probability[wrong].argsort(descending=True, stable=True)[:count]]
    return chosen, predicted[chosen], probability[chosen]


def reliability(given: Answers, bins: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Confidence and accuracy of all replicas' answers together, in bins of equal width of confidence.

    Returns:
        For each bin the number of answers, their mean confidence and the share of right ones (both 0 to 1, and 0 where
        there are none), `(bins,)`. Answers without a confidence are left out.
    """
    finite = given.confidence.isfinite()
    confidence = given.confidence[finite]
    correct = (given.predicted == given.labels)[finite].numpy()
    # as in `Totals`, so that the error is that of the curve test/ece
    bin_of = (confidence * bins).long().clamp(max=bins - 1).numpy()
    counts = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence.numpy(), correct)]
    means = [values / np.maximum(counts, 1) for values in sums]
    return counts, means[0], means[1]
