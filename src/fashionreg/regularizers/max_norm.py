"""Incoming weights of limited norm (Srebro et al. 2005, Srivastava et al. 2014)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer, incoming_axes


def limit_norms_(weights: Tensor, axes: tuple[int, ...], limit: float | Tensor) -> Tensor:
    """Scale the weights of each unit, in place, to a norm of at most `limit`.

    >>> limit_norms_(torch.tensor([[[3.0], [4.0]]]), (1,), 1.0).flatten()
    tensor([0.6000, 0.8000])

    Args:
        weights: `(S, ...)`.
        axes: Along which the weights of one unit lie.
        limit: Above 0.
    """
    norms = weights.norm(dim=axes, keepdim=True)
    return weights.mul_((limit / norms.clamp(min=1e-12)).clamp(max=1.0))


class MaxNorm(Regularizer):
    """Keep the norm of the incoming weights of each unit at most `limit`, by scaling them after each step.

    Srivastava et al. (2014) found it to help dropout in particular. Biases are left alone.

    Args:
        limit: Above 0; 1 to 4 is usual.
    """

    limits: Tensor

    def __init__(self, limit: float = 3.0) -> None:
        super().__init__()
        if not limit > 0:
            raise UserError(f"max_norm: limit: must be above 0, got {limit}")
        self.limit = limit
        # a tensor, not a constant, so that one compiled step serves every limit
        self.register_buffer("limits", torch.tensor(limit), persistent=False)
        self._axes: dict[str, tuple[int, ...]] = {}

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Find the axes of each unit's weights."""
        self._axes = incoming_axes(network)

    def after_step(self, network: nn.Module) -> None:
        """Scale the weights of all replicas."""
        for name, x in network.named_parameters():
            if name in self._axes:
                limit_norms_(x, self._axes[name], self.limits)
