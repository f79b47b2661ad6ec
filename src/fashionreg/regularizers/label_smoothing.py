"""Label smoothing (Szegedy et al. 2016)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, TrainingData
from fashionreg.regularizers.targets import probabilities


def smooth(targets: Tensor, smoothing: float | Tensor) -> Tensor:
    """Mix class probabilities with the uniform distribution: `(1 - smoothing) * targets + smoothing / K`.

    >>> smooth(torch.tensor([0.0, 1.0]), 0.2)
    tensor([0.1000, 0.9000])

    Args:
        targets: float `(..., K)`.
        smoothing: Share of the uniform distribution, 0 to 1.
    """
    return targets + smoothing * (1 / targets.shape[-1] - targets)


class LabelSmoothing(Regularizer):
    """Train on a mixture of each label and the uniform distribution over the classes: `(1 - s) * label + s / K`.

    Szegedy et al. (2016) introduced it so that a network is less confident. It is what `label_smoothing` of torch's
    cross entropy computes. The training loss of the record is that of the smoothed targets, whose least value is
    their entropy; evaluation uses the labels.

    Args:
        smoothing: Share s of the uniform distribution, 0 to 1; 0.05 to 0.2 is usual, 0 changes nothing.
    """

    share: Tensor

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= smoothing <= 1:
            raise UserError(f"label_smoothing: smoothing: must be from 0 to 1, got {smoothing}")
        self.smoothing = smoothing
        self._classes = 0
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("share", torch.tensor(float(smoothing)), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the number of classes."""
        self._classes = data.classes

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Smooth the targets."""
        return images, smooth(probabilities(targets, self._classes, images.dtype), self.share)
