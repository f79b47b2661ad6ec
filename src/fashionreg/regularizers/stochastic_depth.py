"""Stochastic depth: dropout of whole residual branches (Huang et al. 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key, bernoulli_threshold
from fashionreg.regularizers.base import Regularizer, ReplicaLayer
from fashionreg.regularizers.dropout import dropout


class ReplicaStochasticDepth(ReplicaLayer):
    """The end of a residual branch in S networks, which each image passes or not.

    Args:
        p: Probability with which an image does without the branch, 0 <= p < 1.
    """

    draws = True
    share: Tensor
    threshold: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        # tensors, not constants, so that a compiled step serves every p
        self.register_buffer("share", torch.tensor(p), persistent=False)
        self.register_buffer("threshold", bernoulli_threshold(1 - p), persistent=False)

    def forward(self, x: Tensor, key: Key | None = None) -> Tensor:
        """Set the branch, `(S, B, C)`, of some images to zero; in training `key` is required.

        Raises:
            ValueError: In training without a key.
        """
        if not self.training or not self.p:
            return x
        if key is None:
            raise ValueError("stochastic depth in training needs a key, the source of its masks; got None")
        keep = key.bits(x.shape[1], 1) < self.threshold  # (S, B, 1)
        return dropout(x, keep, self.share.to(x.dtype))

    def replica(self, index: int) -> nn.Identity:
        """Return a layer that does nothing: an exported network is one for evaluation."""
        return nn.Identity()


class StochasticDepth(Regularizer):
    """Leave out residual branches at random in training, each for each image on its own.

    The l-th of L branches is left out with probability `p l / L`; where it is not, it is scaled by `1 / (1 - p l / L)`,
    so that evaluation uses all branches as they are. Huang et al. (2016) draw once for a whole batch, and scale in
    evaluation instead. It needs residual connections: `residual: true` of the model, and hidden layers of equal width.

    Args:
        p: Probability for the last branch, 0 <= p < 1; 0.1 to 0.5 is usual, 0 changes nothing.
    """

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"stochastic_depth: p: must be at least 0 and below 1, got {p}")
        self.p = p

    def branch_end(self, features: int, depth: float, seeds: Sequence[int]) -> ReplicaStochasticDepth:
        """Make the end of one branch."""
        return ReplicaStochasticDepth(self.p * depth)

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Refuse a network without branches, which would train as if there were no stochastic depth."""
        if not any(isinstance(layer, ReplicaStochasticDepth) for layer in network.modules()):
            raise UserError(
                "stochastic_depth: needs residual connections: set residual: true of RegularizedMLP, and hidden_sizes "
                "of which two neighbours are equal"
            )
