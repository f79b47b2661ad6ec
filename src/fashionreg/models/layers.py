"""The linear layer of S independent networks in one tensor operation, and the plain residual block."""

import math

import torch
from torch import Tensor, nn

from fashionreg.randomness import Key
from fashionreg.regularizers.base import ReplicaLayer


class ReplicaLinear(ReplicaLayer):
    """S affine maps side by side, `y[k] = x[k] @ weight[k] + bias[k]`.

    Attributes:
        weight: `(S, in_features, out_features)`; note that `torch.nn.Linear` keeps the transpose.
        bias: `(S, out_features)`.
    """

    def __init__(self, in_features: int, out_features: int, generators: list[torch.Generator]) -> None:
        super().__init__()
        # the distribution of torch.nn.Linear (He et al. 2015 with a = sqrt(5)): uniform within 1 / sqrt(in_features)
        bound = 1 / math.sqrt(in_features)
        weights, biases = [], []
        for generator in generators:
            weights.append(torch.empty(in_features, out_features).uniform_(-bound, bound, generator=generator))
            biases.append(torch.empty(out_features).uniform_(-bound, bound, generator=generator))
        self.weight = nn.Parameter(torch.stack(weights))
        self.bias = nn.Parameter(torch.stack(biases))

    def forward(self, x: Tensor, key: Key | None = None) -> Tensor:
        """Map `(S, B, in_features)`, or `(B, in_features)` shared by all replicas, to `(S, B, out_features)`."""
        if x.dim() == 2:
            x = x.expand(len(self.weight), *x.shape)  # (S, B, in)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight)  # (S, B, out)

    def replica(self, index: int) -> nn.Linear:
        """Return replica `index` as a plain layer with copied parameters."""
        _, inputs, outputs = self.weight.shape
        linear = nn.Linear(inputs, outputs, dtype=self.weight.dtype)
        linear.load_state_dict({"weight": self.weight[index].T.contiguous(), "bias": self.bias[index]})
        return linear


class Residual(nn.Sequential):
    """A plain residual block, `x + layers(x)` (He et al. 2016): what a replica has where its network has a branch."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C)` to `(B, C)`."""
        y = x
        for layer in self:
            y = layer(y)
        return x + y
