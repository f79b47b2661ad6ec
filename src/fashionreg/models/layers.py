"""The layers of `torch.nn` with a leading replica axis: S independent networks in one tensor operation.

Shapes: S replicas, B images in a batch, C features. Replica k of a layer computes what the plain layer computes with
`parameter[k]`; no number of one replica depends on another.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ReplicaLinear(nn.Module):
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

    def forward(self, x: Tensor) -> Tensor:
        """`(S, B, in_features)`, or `(B, in_features)` shared by all replicas, to `(S, B, out_features)`."""
        if x.dim() == 2:
            x = x.expand(len(self.weight), *x.shape)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight)

    def replica(self, index: int) -> nn.Linear:
        """Replica `index` as a plain layer with copied parameters."""
        _, inputs, outputs = self.weight.shape
        linear = nn.Linear(inputs, outputs, dtype=self.weight.dtype)
        linear.load_state_dict({"weight": self.weight[index].T.contiguous(), "bias": self.bias[index]})
        return linear


class ReplicaBatchNorm(nn.Module):
    """Batch normalization of each replica by its own batch statistics (Ioffe and Szegedy 2015).

    As `torch.nn.BatchNorm1d`: epsilon 1e-5, running statistics with momentum 0.1, used in evaluation.

    Attributes:
        weight, bias: `(S, C)`.
        running_mean, running_var: `(S, C)`.
    """

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

    def forward(self, x: Tensor) -> Tensor:
        """`(S, B, C)` to `(S, B, C)`; in training B must be at least 2."""
        return self._normalize(x, self.training, self.momentum)

    def by_own_statistics(self, x: Tensor) -> Tensor:
        """`(S, B, C)` to `(S, B, C)` as in training, but without a trace in the running statistics."""
        return self._normalize(x, True, 0.0)

    def _normalize(self, x: Tensor, training: bool, momentum: float) -> Tensor:
        replicas, batch, features = x.shape
        # replicas are features to the fused kernel: statistics are taken over the batch for each of the S * C columns
        columns = x.transpose(0, 1).reshape(batch, replicas * features)
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
        return normalized.view(batch, replicas, features).transpose(0, 1)

    def replica(self, index: int) -> nn.BatchNorm1d:
        """Replica `index` as a plain layer with copied parameters and statistics."""
        norm = nn.BatchNorm1d(self.weight.shape[1], self.eps, self.momentum, dtype=self.weight.dtype)
        state = {name: tensor[index] for name, tensor in self.state_dict().items()}
        norm.load_state_dict(norm.state_dict() | state)
        return norm


class ReplicaDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) by a mask that the caller draws, so that randomness is an argument.

    As `torch.nn.Dropout`: in training what is dropped becomes zero, and the rest is scaled by `1 / (1 - p)`.

    Args:
        p: Probability with which an element is dropped, 0 < p < 1.
        features: Number of features C.
    """

    def __init__(self, p: float, features: int) -> None:
        super().__init__()
        self.p = p
        self.features = features

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """`(S, B, C)` to `(S, B, C)`; `keep` is bool with as many elements, True with probability `1 - p`."""
        return x * (keep.view(x.shape) * (1 / (1 - self.p)))

    def replica(self, index: int) -> nn.Dropout:
        """The plain layer, the same for every replica; its masks come from torch's global generator."""
        return nn.Dropout(self.p)
