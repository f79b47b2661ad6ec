"""L1 regularization of the weights, also known as the lasso penalty (Tibshirani 1996)."""

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer


def absolute_sum(x: Tensor) -> Tensor:
    """Sum the absolute values of each replica: float `(S, ...)` to `(S,)`.

    >>> absolute_sum(torch.tensor([[[1.0, -2.0]], [[0.0, 3.0]]]))
    tensor([3., 3.])
    """
    return x.flatten(1).abs().sum(dim=1)


class L1(Regularizer):
    """Add `strength * sum |w|` to the training loss of each network, which draws weights towards zero.

    Args:
        strength: Factor of the penalty, 0 or more; 1e-6 to 1e-3 is usual.
        biases: Whether biases and the parameters of normalization layers are penalized too.
    """

    factor: Tensor

    def __init__(self, strength: float = 1e-5, biases: bool = False) -> None:
        super().__init__()
        if not strength >= 0:
            raise UserError(f"l1: strength: must not be negative, got {strength}")
        self.strength = strength
        self.biases = biases
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("factor", torch.tensor(strength), persistent=False)

    def penalty(self, network: nn.Module) -> Tensor:
        """Compute the penalty of each replica, `(S,)`, in nats."""
        penalized = [x for x in network.parameters() if x.requires_grad and (self.biases or x.dim() > 2)]
        return self.factor * sum(map(absolute_sum, penalized), super().penalty(network))
