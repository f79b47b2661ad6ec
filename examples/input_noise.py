"""A regularizer of your own: one class in one file, named in YAML as `input_noise.InputNoise`."""

from torch import Tensor

from fashionreg.randomness import Key
from fashionreg.regularizers import Regularizer


class InputNoise(Regularizer):
    """Add normal noise of standard deviation `std` to every pixel in training (Bishop 1995)."""

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.std = std

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Images (S, B, D) with noise that follows the seed of each replica."""
        return images + self.std * key.normal(*images.shape[1:]), targets
