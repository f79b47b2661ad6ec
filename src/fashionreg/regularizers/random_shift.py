"""Random shifts of the images (LeCun et al. 1998; as padding and cropping, He et al. 2016)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, TrainingData
from fashionreg.regularizers.pictures import below, picture_shape

#: The farthest shift in pixels.
MOST_PIXELS = 10_000


def shift(images: Tensor, down: Tensor, right: Tensor, fill: float) -> Tensor:
    """Move each picture by whole pixels.

    Args:
        images: float `(S, B, C, H, W)`.
        down: By how many rows, int64 `(S, B)`; negative is up.
        right: By how many columns, int64 `(S, B)`; negative is left.
        fill: What comes in at the border.
    """
    height, width = images.shape[-2:]

    def origin(size: int, steps: Tensor, stride: int) -> Tensor:
        """Return where the pixels of an axis come from, far below 0 outside the picture: float64 `(S, B, size)`."""
        place = torch.arange(size, device=images.device) - steps.unsqueeze(-1)
        return torch.where((place >= 0) & (place < size), stride * place, -height * width).double()

    row, column = origin(height, down, width), origin(width, right, 1)
    # row + column for each pixel as a matrix product: a compiled step would draw the shift again for each pixel
    left = torch.stack([row, torch.ones_like(row)], dim=-1)  # (S, B, H, 2)
    source = (left @ torch.stack([torch.ones_like(column), column], dim=-2)).long()  # (S, B, H, W)
    flat = images.flatten(3)  # (S, B, C, H * W)
    moved = flat.gather(3, source.clamp(min=0).flatten(2).unsqueeze(2).expand_as(flat)).view_as(images)
    return torch.where((source >= 0).unsqueeze(2), moved, fill)


class RandomShift(Regularizer):
    """Move each training image by whole pixels, down and right each by -`pixels` to `pixels`, all equally likely.

    What comes in at the border is black. It is what padding by `pixels` and cropping at random does (He et al. 2016).
    It needs images with height and width.

    Args:
        pixels: Largest shift, a whole number, 0 or more; 1 to 4 is usual for small images, 0 changes nothing.
    """

    count: Tensor

    def __init__(self, pixels: int = 2) -> None:
        super().__init__()
        if not 0 <= pixels <= MOST_PIXELS:
            raise UserError(f"random_shift: pixels: must be from 0 to {MOST_PIXELS}, got {pixels}")
        self.pixels = pixels
        self._shape = (1, 1, 1)
        self._black = 0.0
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("count", torch.tensor(2 * pixels + 1), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the axes of the images and what black is."""
        self._shape, self._black = picture_shape(data), data.black

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Move the images."""
        draws = key.uniform(2, images.shape[1])
        down, right = (below(draws, self.count) - self.count // 2).unbind(1)  # (S, B) each
        return shift(images.unflatten(2, self._shape), down, right, self._black).flatten(2), targets
