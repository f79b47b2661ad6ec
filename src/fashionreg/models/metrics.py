"""The metrics of a split, for each replica."""

import torch
from torch import Tensor

#: Bins of equal width in which confidence and accuracy are compared.
CALIBRATION_BINS = 15

#: What is measured in training steps, and in evaluation (see `Totals.means`).
TRAINING_METRICS = ("loss", "acc")
EVALUATION_METRICS = ("loss", "acc", "ece")


def calibration_bin(confidence: Tensor, bins: int = CALIBRATION_BINS) -> Tensor:
    """Return the bin of equal width, 0 to `bins - 1`, of each confidence (0 to 1), int64 of the same shape."""
    # an output that is no number has no bin; its error is no number either, wherever it is counted
    return (confidence * bins).long().clamp_(0, bins - 1)


class Totals:
    """Sums of loss, correct predictions and calibration of each replica, on the device: no synchronisation in a step.

    Args:
        replicas: Number of replicas S.
        device: Where the logits are.
        calibrated: Whether to compare confidence with accuracy; only in evaluation, as it doubles the cost.
        keeps_right: Whether to keep which images each replica is right about.

    Attributes:
        loss: Sum over images of the losses, `(S,)`.
        correct: Number of correct predictions, int64 `(S,)`.
        count: Number of images.
        right: If they are kept, for each batch which of its images each replica is right about, bool `(S, B)`.
    """

    def __init__(self, replicas: int, device: torch.device, *, calibrated: bool, keeps_right: bool = False) -> None:
        self.loss = torch.zeros(replicas, device=device)
        self.correct = torch.zeros(replicas, dtype=torch.int64, device=device)
        self._excess = torch.zeros(replicas, CALIBRATION_BINS, device=device) if calibrated else None
        self.count = 0
        self.right: list[Tensor] = []
        self._keeps_right = keeps_right

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: mean losses `(S,)`, logits `(S, B, K)`, labels `(S, B)` or `(B,)`."""
        batch = logits.shape[1]
        correct = logits.argmax(dim=-1) == labels
        self.loss += losses * batch
        self.correct += correct.sum(dim=-1)
        self.count += batch
        if self._keeps_right:
            self.right.append(correct)
        if self._excess is not None:
            confidence = logits.softmax(dim=-1).amax(dim=-1).to(self._excess.dtype)
            bins = calibration_bin(confidence)
            self._excess.scatter_add_(1, bins, confidence - correct.to(confidence.dtype))

    def means(self) -> dict[str, Tensor]:
        """Return `loss` (nats), `acc` (0 to 1) and, if calibrated, `ece` (0 to 1), each `(S,)`, over all images added.

        `acc` is float64 on the CPU, the exact share of images, so that equal differences between seeds are equal.

        `ece` is the expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean over images of the
        distance between mean confidence and accuracy in the image's bin.
        """
        means = {"loss": self.loss / self.count, "acc": self.correct.cpu().double() / self.count}
        if self._excess is not None:
            means["ece"] = self._excess.abs().sum(dim=1) / self.count
        return means
