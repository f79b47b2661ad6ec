"""Soft orthogonality of the weight matrices (Brock et al. 2017, Bansal et al. 2018)."""

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer


def distance_from_orthogonal(weights: Tensor) -> Tensor:
    """Compute `||W^T W - I||^2` of each replica (Frobenius), of `W W^T` where W has fewer rows than columns.

    >>> distance_from_orthogonal(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]))
    tensor([9.])

    Args:
        weights: `(S, rows, columns, ...)`; axes after the second count as columns.

    Returns:
        `(S,)`.
    """
    matrix = weights.flatten(2)
    if matrix.shape[1] < matrix.shape[2]:
        matrix = matrix.transpose(1, 2)
    gram = matrix.transpose(1, 2) @ matrix
    return (gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)).square().sum(dim=(1, 2))


class OrthogonalPenalty(Regularizer):
    """Add `strength * ||W^T W - I||^2` of each weight matrix to the training loss of each network.

    It keeps singular values near 1, so that layers neither stretch nor shrink what passes through them.

    Args:
        strength: Factor of the penalty, 0 or more; 1e-5 to 1e-2 is usual.
    """

    factor: Tensor

    def __init__(self, strength: float = 1e-4) -> None:
        super().__init__()
        if not strength >= 0:
            raise UserError(f"orthogonal_penalty: strength: must not be negative, got {strength}")
        self.strength = strength
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("factor", torch.tensor(strength), persistent=False)

    def penalty(self, network: nn.Module) -> Tensor:
        """Compute the penalty of each replica, `(S,)`, in nats."""
        matrices = [x for x in network.parameters() if x.requires_grad and x.dim() > 2]
        return self.factor * sum(map(distance_from_orthogonal, matrices), super().penalty(network))
