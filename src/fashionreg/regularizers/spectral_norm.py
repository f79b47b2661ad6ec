"""Spectral normalization of the weight matrices (Miyato et al. 2018)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, Tensors, buffer_name, per_replica


def power_iteration(matrix: Tensor, left: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Improve an estimate of the singular vectors with the largest singular value of each replica's matrix.

    >>> left, right = power_iteration(torch.diag(torch.tensor([2.0, 1.0]))[None], torch.tensor([[0.6, 0.8]]), 20)
    >>> [round(x, 4) for x in left.flatten().tolist()]
    [1.0, 0.0]

    Args:
        matrix: `(S, rows, columns)`.
        left: `(S, rows)`, of length 1.
        iterations: At least 1.

    Returns:
        Left and right vectors, `(S, rows)` and `(S, columns)`, of length 1.
    """
    for _ in range(iterations):
        right = F.normalize(torch.einsum("src,sr->sc", matrix, left), dim=1)
        left = F.normalize(torch.einsum("src,sc->sr", matrix, right), dim=1)
    return left, right


class SpectralNorm(Regularizer):
    """Divide each weight matrix by its largest singular value, so that no layer stretches what passes through it.

    The singular value is `u^T W v` with vectors that one step of power iteration improves after each step of the
    optimizer; gradients flow through it, with u and v constant (Miyato et al. 2018). The vectors start exact.

    Args:
        iterations: Of power iteration after each step, at least 1; 1 is usual.
    """

    def __init__(self, iterations: int = 1) -> None:
        super().__init__()
        if not iterations >= 1:
            raise UserError(f"spectral_norm: iterations: must be at least 1, got {iterations}")
        self.iterations = iterations
        self._names: list[str] = []

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Find the singular vectors of the initial weights."""
        matrices = {name: x.detach().flatten(2) for name, x in network.named_parameters() if x.dim() > 2}
        self._names = list(matrices)
        for name, matrix in matrices.items():
            left, _, right = torch.linalg.svd(matrix, full_matrices=False)
            self.register_buffer(f"{buffer_name(name)}/left", left[:, :, 0].clone())  # (S, rows)
            self.register_buffer(f"{buffer_name(name)}/right", right[:, 0].clone())  # (S, columns)

    def weights(self, parameters: Tensors, key: Key | None) -> Tensors:
        """Divide each matrix by its largest singular value."""
        used = dict(parameters)
        for name in self._names:
            x = parameters[name]
            left, right = self._vectors(name)
            value = torch.einsum("sr,src,sc->s", left, x.flatten(2), right)
            used[name] = x / per_replica(value, x)
        return used

    def after_step(self, network: nn.Module) -> None:
        """Let the singular vectors follow the weights."""
        parameters = dict(network.named_parameters())
        for name in self._names:
            left, right = self._vectors(name)
            new_left, new_right = power_iteration(parameters[name].flatten(2), left, self.iterations)
            left.copy_(new_left)
            right.copy_(new_right)

    def _vectors(self, name: str) -> tuple[Tensor, Tensor]:
        return getattr(self, f"{buffer_name(name)}/left"), getattr(self, f"{buffer_name(name)}/right")
