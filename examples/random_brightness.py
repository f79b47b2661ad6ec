"""A regularizer of your own: one class in one file, named in YAML as `random_brightness.RandomBrightness`."""

from torch import Tensor

from fashionreg.randomness import Key
from fashionreg.regularizers import Regularizer


class RandomBrightness(Regularizer):
    """Multiply each image by a number between `1 - spread` and `1 + spread` in training."""

    def __init__(self, spread: float = 0.1) -> None:
        super().__init__()
        self.spread = spread

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Images (S, B, D) with factors (S, B, 1) that follow the seed of each replica."""
        return images * (1 + self.spread * (2 * key.uniform(images.shape[1], 1) - 1)), targets
