"""Gradients of limited size: by norm, by value, or adaptive to the weights (Pascanu et al. 2013, Brock et al. 2021)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import ComputeGradients, Regularizer, Tensors, incoming_axes, per_replica


def clipping_scale(gradients: Sequence[Tensor], largest: float | Tensor) -> Tensor:
    """Compute `(S,)`, by what the gradients `(S, ...)` of each replica are multiplied for a norm of at most `largest`.

    As `torch.nn.utils.clip_grad_norm_` does for a single network.
    """
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # (S,)
    scale: Tensor = (largest / (norms + 1e-6)).clamp(max=1.0)
    return scale


def adaptively_clipped(gradient: Tensor, weights: Tensor, axes: tuple[int, ...], ratio: float | Tensor) -> Tensor:
    """Scale the gradient of each unit to a norm of at most `ratio` times that of its weights.

    >>> adaptively_clipped(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]]), (1,), 0.1)
    tensor([[0.6000, 0.8000]])

    Args:
        gradient: `(S, ...)`.
        weights: Of the same shape; a norm below 1e-3 counts as 1e-3, so that weights of zero can grow.
        axes: Along which the numbers of one unit lie.
        ratio: Above 0.
    """
    largest = ratio * weights.norm(dim=axes, keepdim=True).clamp(min=1e-3)
    norm = gradient.norm(dim=axes, keepdim=True)
    scale: Tensor = (largest / norm.clamp(min=1e-6)).clamp(max=1.0)
    return gradient * scale


class GradientClipping(Regularizer):
    """Limit the gradient of each network before the optimizer makes its step.

    With `norm` the gradient of a whole network is scaled to a norm of at most `limit` (Pascanu et al. 2013); with
    `value` each element is limited to -limit..limit; with `adaptive` the gradient of each unit's incoming weights, and
    that of each vector of biases, is scaled to a norm of at most `limit` times that of these weights (Brock et al.
    2021, who leave out the last layer; here it is clipped too).

    Args:
        limit: Above 0; 0.1 to 10 is usual for `norm`, 0.01 to 1 for `value`, 0.01 to 0.2 for `adaptive`.
        kind: What is limited.
    """

    limits: Tensor

    def __init__(self, limit: float = 1.0, kind: Literal["norm", "value", "adaptive"] = "norm") -> None:
        super().__init__()
        if not limit > 0:
            raise UserError(f"gradient_clipping: limit: must be above 0, got {limit}")
        if kind not in ("norm", "value", "adaptive"):
            raise UserError(f"gradient_clipping: kind: must be norm, value or adaptive, got {kind}")
        self.limit = limit
        self.kind = kind
        # a tensor, not a constant, so that one compiled step serves every limit
        self.register_buffer("limits", torch.tensor(limit), persistent=False)
        self._axes: dict[str, tuple[int, ...]] = {}

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Find the axes of each unit's weights."""
        self._axes = incoming_axes(network)

    def gradients(self, compute: ComputeGradients, parameters: Mapping[str, Tensor], key: Key) -> Tensors:
        """Compute the gradients and limit them."""
        found = compute(parameters)
        if self.kind == "value":
            return {name: x.clamp(-self.limits.to(x.dtype), self.limits.to(x.dtype)) for name, x in found.items()}
        if self.kind == "norm":
            scale = clipping_scale(list(found.values()), self.limits)
            return {name: x * per_replica(scale, x) for name, x in found.items()}
        return {
            name: adaptively_clipped(x, parameters[name], self._axes.get(name, tuple(range(1, x.dim()))), self.limits)
            for name, x in found.items()
        }
