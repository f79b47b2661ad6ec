"""Layer normalization (Ba et al. 2016)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import ReplicaLayer
from fashionreg.regularizers.normalization import Normalization, Place


class ReplicaLayerNorm(ReplicaLayer):
    """Layer normalization in S networks, as `torch.nn.LayerNorm`.

    Attributes:
        weight, bias: `(S, C)`.
    """

    def __init__(self, replicas: int, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(replicas, features))
        self.bias = nn.Parameter(torch.zeros(replicas, features))

    def forward(self, x: Tensor, key: Key | None = None) -> Tensor:
        """Normalize each image of `(S, B, C)` over its features."""
        normalized = F.layer_norm(x, x.shape[-1:], eps=self.eps)
        return normalized * self.weight.unsqueeze(1) + self.bias.unsqueeze(1)

    def replica(self, index: int) -> nn.LayerNorm:
        """Return replica `index` as a plain layer with copied parameters."""
        norm = nn.LayerNorm(self.weight.shape[1], self.eps, dtype=self.weight.dtype)
        norm.load_state_dict({"weight": self.weight[index], "bias": self.bias[index]})
        return norm


class LayerNorm(Normalization):
    """Normalize the units of a hidden layer to mean 0 and variance 1 for each image, then scale and shift them.

    Each unit computes `weight * (x - mean) / sqrt(var + eps) + bias` with mean and variance over the units of its layer
    for one image: the same in training and evaluation, and for any size of a batch.

    Args:
        eps: Added to the variance, for numerical stability; above 0.
        place: Whether it stands before or after the activation.
    """

    option = "layer_norm"

    def __init__(self, eps: float = 1e-5, place: Place = "before_activation") -> None:
        super().__init__(place)
        if not eps > 0:
            raise UserError(f"layer_norm: eps: must be above 0, got {eps}")
        self.eps = eps

    def layer(self, features: int, seeds: Sequence[int]) -> ReplicaLayerNorm:
        """Make the normalization of one hidden layer."""
        return ReplicaLayerNorm(len(seeds), features, self.eps)
