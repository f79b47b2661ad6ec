"""Random erasing (Zhong et al. 2020)."""

import math

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, TrainingData
from fashionreg.regularizers.pictures import below, picture_shape, rectangle

#: How many rectangles are tried; the first that fits into the picture is used (as in torchvision and timm).
ATTEMPTS = 10


def sides(area: Tensor, ratio: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the sides of a rectangle in pixels, of the first of several attempts that is smaller than the picture.

    Args:
        area: Share of the picture's area, float `(..., attempts)`.
        ratio: Height divided by width, float `(..., attempts)`.
        height: Of the picture, in pixels.
        width: Of the picture.

    Returns:
        Height and width, int64 `(...)`; both 0 where no attempt fits.
    """
    pixels = area * (height * width)
    rows = (pixels * ratio).sqrt().round().long()
    columns = (pixels / ratio).sqrt().round().long()
    fits = (rows < height) & (columns < width)
    # of equal values argmax finds the first
    first = fits.long().argmax(dim=-1, keepdim=True)
    found = [torch.where(fits, side, 0).gather(-1, first).squeeze(-1) for side in (rows, columns)]
    return found[0], found[1]


class RandomErasing(Regularizer):
    """Replace a rectangle of each training image by random pixels with probability p (Zhong et al. 2020).

    Its share of the area is drawn uniformly from `smallest` to `largest`, the logarithm of its aspect ratio uniformly
    from that of `ratio` to that of `1 / ratio` (as torchvision does), its place uniformly. Each pixel is drawn
    uniformly from black to white, which the paper found best. It needs images with height and width.

    Args:
        p: Probability, 0 to 1; 0.25 to 0.5 is usual, 0 changes nothing.
        smallest: Smallest share of the area, above 0; the paper uses 0.02.
        largest: Largest share of the area, at least `smallest` and at most 1; the paper uses 0.4.
        ratio: Least aspect ratio, above 0 and at most 1; the paper uses 0.3.
    """

    chance: Tensor
    least: Tensor
    most: Tensor
    logarithm: Tensor

    def __init__(self, p: float = 0.5, smallest: float = 0.02, largest: float = 0.4, ratio: float = 0.3) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError(f"random_erasing: p: must be from 0 to 1, got {p}")
        if not 0 < smallest <= largest <= 1:
            raise UserError(
                f"random_erasing: smallest, largest: must be above 0, at most 1 and in order, got {smallest}, {largest}"
            )
        if not 0 < ratio <= 1:
            raise UserError(f"random_erasing: ratio: must be above 0 and at most 1, got {ratio}")
        self.p = p
        self.smallest = smallest
        self.largest = largest
        self.ratio = ratio
        self._shape = (1, 1, 1)
        self._range = (0.0, 1.0)
        # tensors, not constants, so that one compiled step serves all values
        self.register_buffer("chance", torch.tensor(float(p)), persistent=False)
        self.register_buffer("least", torch.tensor(float(smallest)), persistent=False)
        self.register_buffer("most", torch.tensor(float(largest)), persistent=False)
        self.register_buffer("logarithm", torch.tensor(-math.log(ratio)), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the axes of the images and the range of pixels."""
        self._shape, self._range = picture_shape(data), (data.black, data.white)

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Erase a part of some images."""
        _, height, width = self._shape
        count, (black, white) = images.shape[1], self._range
        draws = key.fold_in(0).uniform(count, 2 * ATTEMPTS + 3)
        area, ratio, places = draws.split([ATTEMPTS, ATTEMPTS, 3], dim=2)
        area = self.least + (self.most - self.least) * area  # (S, B, attempts)
        ratio = (self.logarithm * (2 * ratio - 1)).exp()
        rows, columns = sides(area, ratio, height, width)  # (S, B) each
        top, left = below(places[..., 0], height - rows + 1), below(places[..., 1], width - columns + 1)
        inside = rectangle(top, top + rows, left, left + columns, height, width)  # (S, B, H, W)
        inside = inside & (places[..., 2] < self.chance)[..., None, None]
        pixels = images.unflatten(2, self._shape)  # (S, B, C, H, W)
        noise = black + (white - black) * key.fold_in(1).uniform(*pixels.shape[1:])
        return torch.where(inside.unsqueeze(2), noise.to(images.dtype), pixels).flatten(2), targets
