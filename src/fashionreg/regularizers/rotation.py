"""Random rotations of the images (Simard et al. 2003)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, TrainingData
from fashionreg.regularizers.pictures import picture_shape


def rotate(images: Tensor, degrees: Tensor, fill: float) -> Tensor:
    """Rotate each picture about its centre, with bilinear interpolation.

    Args:
        images: float `(S, B, C, H, W)`.
        degrees: Counter-clockwise angle of each, `(S, B)`.
        fill: What comes in at the corners.
    """
    height, width = images.shape[-2:]
    # of the centres of the pixels, from the centre of the picture: x to the right, y down
    y = (torch.arange(height, device=images.device) - (height - 1) / 2)[:, None]
    x = (torch.arange(width, device=images.device) - (width - 1) / 2)[None, :]
    radians = torch.deg2rad(degrees)[..., None, None]  # (S, B, 1, 1)
    sine, cosine = radians.sin(), radians.cos()
    # where each pixel comes from, in halves of the picture: (S, B, H, W, 2)
    source = torch.stack([(cosine * x - sine * y) * (2 / width), (sine * x + cosine * y) * (2 / height)], dim=-1)
    moved = F.grid_sample(
        (images - fill).flatten(0, 1), source.flatten(0, 1).to(images.dtype), align_corners=False
    )  # zero outside
    return moved.view_as(images) + fill


class Rotation(Regularizer):
    """Rotate each training image about its centre by an angle from -`degrees` to `degrees`, all equally likely.

    Pixels are interpolated (bilinear); what comes in at the corners is black. Simard et al. (2003) use rotations,
    among other affine maps, for handwritten digits. It needs images with height and width.

    Args:
        degrees: Largest angle, 0 to 180; 5 to 20 is usual, 0 changes nothing.
    """

    largest: Tensor

    def __init__(self, degrees: float = 10.0) -> None:
        super().__init__()
        if not 0 <= degrees <= 180:
            raise UserError(f"rotation: degrees: must be from 0 to 180, got {degrees}")
        self.degrees = degrees
        self._shape = (1, 1, 1)
        self._black = 0.0
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("largest", torch.tensor(float(degrees)), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the axes of the images and what black is."""
        self._shape, self._black = picture_shape(data), data.black

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Rotate the images."""
        degrees = self.largest * (2 * key.uniform(images.shape[1]) - 1)  # (S, B)
        return rotate(images.unflatten(2, self._shape), degrees, self._black).flatten(2), targets
