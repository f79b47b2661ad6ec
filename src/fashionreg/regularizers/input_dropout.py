"""Dropout of inputs (Srivastava et al. 2014)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key, bernoulli_threshold
from fashionreg.regularizers.base import Regularizer


class InputDropout(Regularizer):
    """Set each input to zero with probability p in training, and scale the others by `1 / (1 - p)`.

    Srivastava et al. (2014) drop inputs less often than hidden units. Zero is a black pixel, or with the option
    `normalize` of the data a pixel of mean brightness.

    Args:
        p: Probability with which an input is dropped, 0 <= p < 1; 0.05 to 0.3 is usual, 0 changes nothing.
    """

    threshold: Tensor
    scale: Tensor

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"input_dropout: p: must be at least 0 and below 1, got {p}")
        self.p = p
        # tensors, not constants, so that a compiled step serves every p
        self.register_buffer("threshold", bernoulli_threshold(1 - p), persistent=False)
        self.register_buffer("scale", torch.tensor(1 / (1 - p)), persistent=False)

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Drop inputs of the images."""
        keep = key.bits(*images.shape[1:]) < self.threshold  # (S, B, D)
        return images * (keep * self.scale.to(images.dtype)), targets
