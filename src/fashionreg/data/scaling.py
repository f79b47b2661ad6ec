"""How numbers that are no pixels become inputs of networks: each is shifted and scaled."""

import torch
from torch import Tensor

from fashionreg.data.images import LabelledImages


def standardization(values: Tensor) -> Tensor:
    """Compute the shift and the scale that bring each column to mean 0 and standard deviation 1.

    Args:
        values: float64 `(N, D)`, of the images that are trained on.

    Returns:
        float64 `(2, D)`: means, and standard deviations (of N, not N - 1), 1 where all values of a column are equal.
        Both are rounded to float32, so that the order in which a machine adds does not show in what is scaled.
    """
    # a column that does not vary may have a mean that is off by its last bit
    varies = (values != values[0]).any(dim=0)
    deviations = torch.where(varies, values.std(dim=0, correction=0), 1.0)
    found = torch.stack([values.mean(dim=0), deviations]).float().double()
    # what varies by less than a float32 can hold
    found[1].masked_fill_(found[1] == 0, 1.0)
    return found


def scaled(data: LabelledImages, scaling: Tensor) -> LabelledImages:
    """Shift and scale numbers.

    Args:
        data: N images, float64 `(N, ...)` with D numbers in each.
        scaling: float64 `(2, R, D)`: shifts and scales of each of R replicas, or of all of them (R = 1).

    Returns:
        The images of the first replica, then those of the next one, float32 `(R N, ...)`.
    """
    shift, scale = scaling.unsqueeze(2)  # (R, 1, D) each
    images = ((data.images.flatten(1) - shift) / scale).float()  # (R, N, D)
    labels = data.labels.repeat(len(shift))
    return LabelledImages(images.view(-1, *data.images.shape[1:]), labels, data.class_names)
