"""Sharpness-aware minimization (Foret et al. 2021)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import ComputeGradients, Regularizer, Tensors, per_replica


def ascended(parameters: Mapping[str, Tensor], gradients: Tensors, rho: float | Tensor) -> Tensors:
    """Move the parameters of each replica by `rho` in the direction of its gradient: `w + rho g / |g|`.

    >>> ascended({"w": torch.zeros(1, 2)}, {"w": torch.tensor([[3.0, 4.0]])}, 0.5)
    {'w': tensor([[0.3000, 0.4000]])}

    Args:
        parameters: Each `(S, ...)`, by name.
        gradients: The same; a replica whose gradient is zero stays where it is.
        rho: The distance, 0 or more.
    """
    norms = torch.stack([x.flatten(1).norm(dim=1) for x in gradients.values()]).norm(dim=0)  # (S,)
    scale = rho / (norms + 1e-12)
    return {name: x + per_replica(scale, x) * gradients[name] for name, x in parameters.items()}


class SAM(Regularizer):
    """Step along the gradient at the worst point nearby: sharpness-aware minimization.

    Each step computes the gradient g at the weights w, moves to `w + rho g / |g|`, where the loss is about the highest
    within the distance rho, and steps from w along the gradient there (Foret et al. 2021). A step costs about twice as
    much. The norm is that of all parameters of one network. Regularizers before this one in the configuration change
    both gradients, those after it the last one only.

    Args:
        rho: The distance, 0 or more; 0.01 to 0.2 is usual, 0 changes nothing.
    """

    distance: Tensor

    def __init__(self, rho: float = 0.05) -> None:
        super().__init__()
        if not rho >= 0:
            raise UserError(f"sam: rho: must not be negative, got {rho}")
        self.rho = rho
        # a tensor, not a constant, so that one compiled step serves every distance
        self.register_buffer("distance", torch.tensor(rho), persistent=False)

    def gradients(self, compute: ComputeGradients, parameters: Mapping[str, Tensor], key: Key) -> Tensors:
        """Compute the gradients at the worst point nearby."""
        return compute(ascended(parameters, compute(parameters), self.distance))
