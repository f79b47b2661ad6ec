"""Mixup (Zhang et al. 2018)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, TrainingData, per_replica
from fashionreg.regularizers.targets import probabilities

#: Into how many parts of equal probability the beta distribution is divided; within a part it is taken as uniform.
PARTS = 1024


def mix(x: Tensor, share: Tensor) -> Tensor:
    """Mix each image, or its target, with that of its neighbour in the batch: `share * x + (1 - share) * neighbour`.

    As the order of a batch is random already, the neighbour (the one before, for the first the last) is a random one.

    Args:
        x: float `(S, B, ...)`.
        share: What remains of each image, `(S,)`, 0 to 1.
    """
    neighbour = x.roll(1, dims=1)
    return neighbour + per_replica(share, x).to(x.dtype) * (x - neighbour)


def beta_quantiles(alpha: float) -> Tensor:
    """Return the quantiles of the distribution Beta(alpha, alpha) at 0, 1 / `PARTS`, ..., 1: float32 `(PARTS + 1,)`."""
    # not at the top: a command that trains nothing does not need it
    from scipy.special import betaincinv

    return torch.tensor([betaincinv(alpha, alpha, part / PARTS) for part in range(PARTS + 1)], dtype=torch.float32)


def at_quantile(quantiles: Tensor, uniform: Tensor) -> Tensor:
    """Turn uniform draws into draws of a distribution that is given by its quantiles.

    The distribution function of the draws is off by less than 1 / `PARTS`, at the quantiles by nothing.

    Args:
        quantiles: As `beta_quantiles` returns them.
        uniform: From 0 to below 1, any shape.
    """
    position = uniform * PARTS
    part = position.long()
    return quantiles[part].lerp(quantiles[part + 1], (position - part).to(quantiles.dtype))


def check_alpha(name: str, alpha: float) -> None:
    """Refuse a parameter of the beta distribution that it cannot have.

    Raises:
        UserError: With the name of the regularizer.
    """
    if not 0 < alpha < float("inf"):
        raise UserError(f"{name}: alpha: must be above 0 and finite, got {alpha}")


class Mixup(Regularizer):
    """Train on mixtures of two images and of their labels: `m * one + (1 - m) * other`.

    The share m is drawn from Beta(alpha, alpha), once for the batch of each replica in each step, as in the code of
    Zhang et al. (2018). Training loss and accuracy of the record are those of the mixtures: the label of the larger
    share counts.

    Args:
        alpha: Parameter of the beta distribution, above 0; the paper uses 0.1 to 0.4, and 1 draws m uniformly.
    """

    quantiles: Tensor

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        check_alpha("mixup", alpha)
        self.alpha = alpha
        self._classes = 0
        # a tensor, not a constant, so that one compiled step serves every alpha
        self.register_buffer("quantiles", beta_quantiles(alpha), persistent=False)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the number of classes."""
        self._classes = data.classes

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Mix images and targets."""
        share = at_quantile(self.quantiles, key.uniform(1).squeeze(1))  # (S,)
        return mix(images, share), mix(probabilities(targets, self._classes, images.dtype), share)
