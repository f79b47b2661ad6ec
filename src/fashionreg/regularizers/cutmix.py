"""CutMix (Yun et al. 2019)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, TrainingData
from fashionreg.regularizers.mixup import at_quantile, beta_quantiles, check_alpha, mix
from fashionreg.regularizers.pictures import below, picture_shape, rectangle
from fashionreg.regularizers.targets import probabilities


def paste(images: Tensor, inside: Tensor) -> Tensor:
    """Replace a part of each image by that of its neighbour in the batch (see `mixup.mix`).

    Args:
        images: float `(S, B, C, H, W)`.
        inside: Which pixels are replaced, bool `(S, H, W)`.
    """
    return torch.where(inside[:, None, None], images.roll(1, dims=1), images)


def cut(share: Tensor, row: Tensor, column: Tensor, height: int, width: int) -> Tensor:
    """Return the rectangle around a pixel that has the sides of the picture times `sqrt(1 - share)`, bool `(S, H, W)`.

    As in the code of Yun et al. (2019): what lies outside the picture is cut off, and half sides are rounded down.

    Args:
        share: What remains of a picture if nothing is cut off, float `(S,)`, 0 to 1.
        row: That of the centre, int64 `(S,)`.
        column: That of the centre, int64 `(S,)`.
        height: Of the picture, in pixels.
        width: Of the picture.
    """
    side = (1 - share).sqrt()
    half_height, half_width = ((side * size).long() // 2 for size in (height, width))
    return rectangle(row - half_height, row + half_height, column - half_width, column + half_width, height, width)


class CutMix(Regularizer):
    """Replace a rectangle of each image by that of another one, and mix the labels by the areas (Yun et al. 2019).

    In each step, the batch of each replica is changed with probability p: the area of the rectangle is that of
    Beta(alpha, alpha), its centre any pixel. It needs images with height and width. Training loss and accuracy of the
    record are those of the mixtures: the label of the larger area counts.

    Args:
        alpha: Parameter of the beta distribution, above 0; the paper uses 1, which draws the area uniformly.
        p: Probability with which a batch is changed, 0 to 1; the paper uses 0.5 for small images, 1 for ImageNet.
    """

    quantiles: Tensor
    chance: Tensor

    def __init__(self, alpha: float = 1.0, p: float = 0.5) -> None:
        super().__init__()
        check_alpha("cutmix", alpha)
        if not 0 <= p <= 1:
            raise UserError(f"cutmix: p: must be from 0 to 1, got {p}")
        self.alpha = alpha
        self.p = p
        self._classes = 0
        self._shape = (1, 1, 1)
        # tensors, not constants, so that one compiled step serves all values
        self.register_buffer("quantiles", beta_quantiles(alpha), persistent=False)
        self.register_buffer("chance", torch.tensor(float(p)), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the axes of the images and the number of classes."""
        self._classes, self._shape = data.classes, picture_shape(data)

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Exchange rectangles of the images, and mix the targets."""
        _, height, width = self._shape
        draws = key.uniform(4)  # (S, 4)
        share = at_quantile(self.quantiles, draws[:, 0])
        inside = cut(share, below(draws[:, 1], height), below(draws[:, 2], width), height, width)  # (S, H, W)
        inside = inside & (draws[:, 3] < self.chance)[:, None, None]
        kept = 1 - inside.float().mean(dim=(1, 2))
        mixed = paste(images.unflatten(2, self._shape), inside).flatten(2)
        return mixed, mix(probabilities(targets, self._classes, images.dtype), kept)
