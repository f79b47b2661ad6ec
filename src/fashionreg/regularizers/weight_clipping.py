"""Weights limited to an interval (Arjovsky et al. 2017)."""

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer


def clip_(weights: Tensor, limit: float | Tensor) -> Tensor:
    """Limit every element to -limit..limit, in place.

    >>> clip_(torch.tensor([-2.0, 0.5]), 1.0)
    tensor([-1.0000,  0.5000])
    """
    bound = torch.as_tensor(limit)
    return weights.clamp_(-bound, bound)


class WeightClipping(Regularizer):
    """Limit every parameter to -limit..limit after each step of the optimizer.

    Scales of normalization layers start at 1: a limit below shrinks them in the first step.

    Args:
        limit: Above 0; 0.1 to 1 is usual.
    """

    limits: Tensor

    def __init__(self, limit: float = 1.0) -> None:
        super().__init__()
        if not limit > 0:
            raise UserError(f"weight_clipping: limit: must be above 0, got {limit}")
        self.limit = limit
        # a tensor, not a constant, so that one compiled step serves every limit
        self.register_buffer("limits", torch.tensor(limit), persistent=False)

    def after_step(self, network: nn.Module) -> None:
        """Limit the parameters of all replicas, element by element."""
        for x in network.parameters():
            clip_(x, self.limits.to(x.dtype))
