"""Random mirror images (Krizhevsky et al. 2012)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key, bernoulli_threshold
from fashionreg.regularizers.base import Regularizer, TrainingData
from fashionreg.regularizers.pictures import picture_shape


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Exchange left and right of some pictures.

    Args:
        images: float `(S, B, C, H, W)`.
        mirrored: Of which, bool `(S, B)`.
    """
    return torch.where(mirrored[:, :, None, None, None], images.flip(-1), images)


class HorizontalFlip(Regularizer):
    """Exchange left and right of each training image with probability p.

    It helps where a mirror image has the same label, as clothes have, and harms digits and letters. Krizhevsky et al.
    (2012) use it for photographs. It needs images with height and width.

    Args:
        p: Probability, 0 to 1; 0.5 is usual, 0 changes nothing.
    """

    threshold: Tensor

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError(f"horizontal_flip: p: must be from 0 to 1, got {p}")
        self.p = p
        self._shape = (1, 1, 1)
        # a tensor, not a constant, so that one compiled step serves every p
        self.register_buffer("threshold", bernoulli_threshold(p), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the axes of the images."""
        self._shape = picture_shape(data)

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Mirror some of the images."""
        mirrored = key.bits(images.shape[1]) < self.threshold  # (S, B)
        return flip(images.unflatten(2, self._shape), mirrored).flatten(2), targets
