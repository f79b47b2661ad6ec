"""What regularizers that see images as pictures share: axes, rectangles, whole numbers."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.regularizers.base import TrainingData


def picture_shape(data: TrainingData) -> tuple[int, int, int]:
    """Return channels, height and width of the images.

    Raises:
        UserError: If the data do not say height and width.
    """
    if len(data.image) not in (2, 3):
        raise UserError(
            f"needs images with height and width, and the data have {' x '.join(map(str, data.image))} inputs; a "
            "datamodule says it by image_shape"
        )
    *channels, height, width = data.image
    return (channels[0] if channels else 1), height, width


def rectangle(top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, height: int, width: int) -> Tensor:
    """Return which pixels of a picture lie in a rectangle.

    Args:
        top: The first row, a number of any shape `(...)`; it may lie outside the picture, as may the next three.
        bottom: The row after the last one, `(...)`.
        left: The first column, `(...)`.
        right: The column after the last one, `(...)`.
        height: Of the picture, in pixels.
        width: Of the picture.

    Returns:
        bool `(..., height, width)`.
    """

    def between(low: Tensor, high: Tensor, size: int) -> Tensor:
        position = torch.arange(size, device=low.device)
        return ((position >= low.unsqueeze(-1)) & (position < high.unsqueeze(-1))).float()  # (..., size)

    # a matrix product, and not `&`: a compiled step would draw the random numbers of a picture again for each pixel
    rows, columns = between(top, bottom, height).unsqueeze(-1), between(left, right, width).unsqueeze(-2)
    return torch.matmul(rows, columns) > 0


def below(uniform: Tensor, count: int | Tensor) -> Tensor:
    """Turn uniform draws into whole numbers from 0 to `count - 1`, all equally likely.

    >>> below(torch.tensor([0.0, 0.49, 0.99]), 2)
    tensor([0, 0, 1])

    Args:
        uniform: From 0 to below 1, as `Key.uniform` draws them.
        count: At most 2**16, an integer or whole numbers that broadcast against the draws.

    Returns:
        int64.
    """
    # a count far below the 2**24 values of a uniform draw divides them evenly enough
    return (uniform * count).long()
