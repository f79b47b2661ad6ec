"""Dropout after each activation (Srivastava et al. 2014)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key, bernoulli_threshold
from fashionreg.regularizers.base import Regularizer, ReplicaLayer


def dropout(x: Tensor, keep: Tensor, p: float | Tensor) -> Tensor:
    """Set to zero what is not kept and scale the rest, so that the expected value stays the same.

    >>> dropout(torch.tensor([1.0, 2.0]), torch.tensor([True, False]), 0.5)
    tensor([2., 0.])

    Args:
        x: float of any shape.
        keep: Bool of the same shape, True with probability `1 - p`.
        p: Probability with which an element is dropped, 0 <= p < 1.
    """
    return x * (keep * (1 / (1 - p)))


class ReplicaDropout(ReplicaLayer):
    """Dropout in S networks, each with masks of its seed.

    Args:
        p: Probability with which an element is dropped, 0 <= p < 1.
    """

    draws = True
    scale: Tensor
    threshold: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        # tensors, not constants, so that a compiled step serves every p
        self.register_buffer("scale", torch.tensor(1 / (1 - p)), persistent=False)
        self.register_buffer("threshold", bernoulli_threshold(1 - p), persistent=False)

    def forward(self, x: Tensor, key: Key | None = None) -> Tensor:
        """Drop elements of `(S, B, C)`; in training `key` is required.

        Raises:
            ValueError: In training without a key.
        """
        if not self.training or not self.p:
            return x
        if key is None:
            raise ValueError("dropout in training needs a key, the source of its masks; got None")
        keep = key.bits(*self.mask_shape(x)) < self.threshold
        return x * (keep * self.scale.to(x.dtype))

    def mask_shape(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape of a replica's mask for `(S, B, C)`: one element for each unit of each image."""
        return tuple(x.shape[1:])

    def replica(self, index: int) -> nn.Module:
        """Return the plain layer, whose masks come from torch's global generator."""
        return nn.Dropout(self.p)


class Dropout(Regularizer):
    """Set each hidden unit to zero with probability p in training, and scale the others by `1 / (1 - p)`.

    Args:
        p: Probability with which a hidden unit is dropped, 0 <= p < 1; 0.1 to 0.5 is usual, 0 changes nothing.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"dropout: must be at least 0 and below 1, got {p}")
        self.p = p

    def after_activation(self, features: int, seeds: Sequence[int]) -> ReplicaDropout:
        """Make one layer for each hidden layer."""
        return ReplicaDropout(self.p)
