"""Stochastic depth: dropout of whole residual branches (Huang et al. 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer
from fashionreg.regularizers.dropout import ReplicaDropout


class ReplicaStochasticDepth(ReplicaDropout):
    """The end of a residual branch, `(S, B, C)`, in S networks: an image passes it as a whole or not at all."""

    def mask_shape(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape of a replica's mask: one element for each image."""
        return (x.shape[1], 1)

    def replica(self, index: int) -> nn.Module:
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
