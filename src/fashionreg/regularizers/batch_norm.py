"""Batch normalization of each hidden layer (Ioffe and Szegedy 2015)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import ReplicaLayer
from fashionreg.regularizers.normalization import Normalization, Place


class ReplicaBatchNorm(ReplicaLayer):
    """Batch normalization of each replica by its own batch statistics.

    As `torch.nn.BatchNorm1d`: running statistics are exponential averages, used in evaluation.

    Attributes:
        weight, bias: `(S, C)`.
        running_mean, running_var: `(S, C)`.
    """

    smallest_batch = 2
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, replicas: int, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(replicas, features))
        self.bias = nn.Parameter(torch.zeros(replicas, features))
        self.register_buffer("running_mean", torch.zeros(replicas, features))
        self.register_buffer("running_var", torch.ones(replicas, features))

    def forward(self, x: Tensor, key: Key | None = None) -> Tensor:
        """Normalize `(S, B, C)`, in training by the statistics of the batch, where B must be at least 2."""
        return self._normalize(x, self.training, self.momentum)

    def probe(self, x: Tensor) -> Tensor:
        """Normalize `(S, B, C)` by batch statistics, without changing the running ones."""
        return self._normalize(x, True, 0.0)

    def _normalize(self, x: Tensor, training: bool, momentum: float) -> Tensor:
        replicas, batch, features = x.shape
        # the fused kernel sees S * C features and computes the statistics of each over the batch
        columns = x.transpose(0, 1).reshape(batch, replicas * features)  # (B, S * C)
        normalized = F.batch_norm(
            columns,
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.weight.view(-1),
            self.bias.view(-1),
            training,
            momentum,
            self.eps,
        )
        return normalized.view(batch, replicas, features).transpose(0, 1)  # (S, B, C)

    def replica(self, index: int) -> nn.BatchNorm1d:
        """Return replica `index` as a plain layer with copied parameters and statistics."""
        norm = nn.BatchNorm1d(self.weight.shape[1], self.eps, self.momentum, dtype=self.weight.dtype)
        state = {name: tensor[index] for name, tensor in self.state_dict().items()}
        norm.load_state_dict(norm.state_dict() | state)
        return norm


class BatchNorm(Normalization):
    """Normalize each hidden unit to mean 0 and variance 1 over the batch, then scale and shift it.

    Each unit computes `weight * (x - mean) / sqrt(var + eps) + bias` with the mean and variance of the batch in
    training, and with their running averages in evaluation. Ioffe and Szegedy (2015) introduced it to reduce internal
    covariate shift; it speeds up training at small learning rates. A batch needs at least two images.

    Args:
        eps: Added to the variance, for numerical stability; above 0.
        momentum: Weight of the newest batch in the running averages, 0 to 1.
        place: Whether it stands before the activation, as in the paper, or after it.
    """

    option = "batch_norm"

    def __init__(self, eps: float = 1e-5, momentum: float = 0.1, place: Place = "before_activation") -> None:
        super().__init__(place)
        if not eps > 0:
            raise UserError(f"eps: must be above 0, got {eps}")
        if not 0 <= momentum <= 1:
            raise UserError(f"momentum: must be from 0 to 1, got {momentum}")
        self.eps = eps
        self.momentum = momentum

    def layer(self, features: int, seeds: Sequence[int]) -> ReplicaBatchNorm:
        """Make the normalization of one hidden layer."""
        return ReplicaBatchNorm(len(seeds), features, self.eps, self.momentum)
