"""Averages over an image and its mirror image in evaluation (Krizhevsky et al. 2012)."""

import torch
from torch import Tensor, nn

from fashionreg.regularizers.base import ComputeLogits, Regularizer, TrainingData
from fashionreg.regularizers.pictures import picture_shape


def mirrored(images: Tensor, width: int) -> Tensor:
    """Exchange left and right of images whose pixels lie row by row.

    >>> mirrored(torch.tensor([[1, 2, 3, 4]]), 2)
    tensor([[2, 1, 4, 3]])

    Args:
        images: `(..., D)`.
        width: Pixels of a row; a divisor of D.
    """
    rows: Tensor = images.unflatten(-1, (-1, width))
    return rows.flip(-1).flatten(-2)


def mean_probability(one: Tensor, other: Tensor) -> Tensor:
    """Return logits whose softmax is the mean of the softmax of two logits `(..., K)`."""
    halves = torch.stack([one.log_softmax(dim=-1), other.log_softmax(dim=-1)]) - torch.log(one.new_tensor(2.0))
    return halves.logsumexp(dim=0)


class MirrorAverage(nn.Module):
    """A plain network whose class probabilities are means over an image and its mirror image.

    Args:
        network: From float `(B, D)` to logits `(B, K)`.
        width: Pixels of a row of an image.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network = network
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        """Map `(B, D)` to logits `(B, K)`."""
        return mean_probability(self.network(images), self.network(mirrored(images, self.width)))


class TestTimeFlip(Regularizer):
    """Evaluate the mean of the class probabilities of each image and of its mirror image; training is unchanged.

    Krizhevsky et al. (2012) average over mirrored and shifted images. It suits networks trained with `HorizontalFlip`,
    and doubles the time of evaluation. It needs images with height and width. Predictions and exported networks are
    such means too.
    """

    # pytest would collect the class because of its name
    __test__ = False

    width: Tensor

    def __init__(self) -> None:
        super().__init__()
        # kept with the checkpoint: who predicts and exports may not have the data
        self.register_buffer("width", torch.zeros((), dtype=torch.int64))

    def attach_data(self, data: TrainingData) -> None:
        """Keep the width of the images."""
        self.width.fill_(picture_shape(data)[2])

    def predict(self, compute: ComputeLogits, images: Tensor) -> Tensor:
        """Compute the logits of the mean probabilities, `(S, B, K)`."""
        return mean_probability(compute(images), compute(mirrored(images, self._width(images))))

    def exported(self, network: nn.Module, index: int) -> MirrorAverage:
        """Return a plain network that computes both."""
        return MirrorAverage(network, int(self.width))

    def _width(self, images: Tensor) -> int:
        # before the data are known, in the check of independence, an image is one row
        return int(self.width) or images.shape[-1]
