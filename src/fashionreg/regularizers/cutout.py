"""Cutout (DeVries and Taylor 2017)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, TrainingData
from fashionreg.regularizers.pictures import below, picture_shape, rectangle

#: The longest side of a square in pixels.
MOST_PIXELS = 10_000


def cutout(images: Tensor, row: Tensor, column: Tensor, size: int | Tensor) -> Tensor:
    """Set a square of each picture to zero; what lies outside the picture is cut off.

    Args:
        images: float `(S, B, C, H, W)`.
        row: That of the centre, int64 `(S, B)`; with an even side of the pixel below and right of it.
        column: Likewise.
        size: Side of the square in pixels, a whole number.
    """
    top, left = row - size // 2, column - size // 2
    inside = rectangle(top, top + size, left, left + size, *images.shape[-2:])  # (S, B, H, W)
    return images * ~inside.unsqueeze(2)


class Cutout(Regularizer):
    """Set a square of each training image to zero, with its centre at any pixel (DeVries and Taylor 2017).

    The square may reach beyond the border, which the paper found important. Zero is a black pixel, or with the option
    `normalize` of the data a pixel of mean brightness, as in the paper. It needs images with height and width.

    Args:
        size: Side of the square in pixels, a whole number, 0 or more; a quarter to a half of the image's is usual, 0
            changes nothing.
    """

    side: Tensor

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        if not 0 <= size <= MOST_PIXELS:
            raise UserError(f"cutout: size: must be from 0 to {MOST_PIXELS}, got {size}")
        self.size = size
        self._shape = (1, 1, 1)
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("side", torch.tensor(size), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the axes of the images."""
        self._shape = picture_shape(data)

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Cut a square out of each image."""
        _, height, width = self._shape
        draws = key.uniform(2, images.shape[1])
        row, column = below(draws[:, 0], height), below(draws[:, 1], width)  # (S, B) each
        return cutout(images.unflatten(2, self._shape), row, column, self.side).flatten(2), targets
