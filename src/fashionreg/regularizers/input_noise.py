"""Gaussian noise on the inputs (Bishop 1995)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer


class InputNoise(Regularizer):
    """Add normal noise of mean 0 and standard deviation `std` to each input in training.

    For small noise and a squared error this is Tikhonov regularization (Bishop 1995): it penalizes the squared
    gradient of the outputs with respect to the inputs. Noisy pixels may be darker than black and brighter than white.

    Args:
        std: Standard deviation on the scale of the inputs, 0 or more; these are 0 to 1, or with the option `normalize`
            of the data about -0.8 to 2. 0.05 to 0.3 is usual, 0 changes nothing.
    """

    deviation: Tensor

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        if not 0 <= std < float("inf"):
            raise UserError(f"input_noise: std: must be at least 0 and finite, got {std}")
        self.std = std
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("deviation", torch.tensor(float(std)), persistent=False)

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Add noise to the images."""
        noise = self.deviation * key.normal(*images.shape[1:])  # (S, B, D)
        return images + noise.to(images.dtype), targets
