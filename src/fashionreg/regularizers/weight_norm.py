"""Weight normalization: direction and length of weights as separate parameters (Salimans and Kingma 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, Tensors, incoming_axes


def with_length(directions: Tensor, length: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Compute the weights `g v / |v|` of each unit.

    >>> import torch
    >>> with_length(torch.tensor([[[3.0], [4.0]]]), torch.tensor([[10.0]]), (1,)).flatten()
    tensor([6., 8.])

    Args:
        directions: v, `(S, ...)`.
        length: g, `(S, units)`.
        axes: Along which the weights of one unit lie.
    """
    norms: Tensor = directions.norm(dim=axes, keepdim=True)
    return directions * (length.view_as(norms) / norms)


class WeightNorm(Regularizer):
    """Train length g and direction v of the incoming weights of each unit, which are `g v / |v|`.

    The lengths start as the norms of the initial weights, so that the untrained network is the same; they are further
    parameters `..._length` of the network. Penalties and limits of weights by other regularizers act on v and g.
    """

    def __init__(self) -> None:
        super().__init__()
        self._axes: dict[str, tuple[int, ...]] = {}

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Add the lengths to the parameters of the network."""
        self._axes = incoming_axes(network)
        for name, axes in self._axes.items():
            prefix, _, kind = name.rpartition(".")
            weights = network.get_parameter(name)
            length = weights.detach().norm(dim=axes)  # (S, units)
            owner = network.get_submodule(prefix)
            owner.register_parameter(f"{kind}_length", nn.Parameter(length, weights.requires_grad))

    def weights(self, parameters: Tensors, key: Key | None) -> Tensors:
        """Compute the weights from lengths and directions."""
        return parameters | {
            name: with_length(parameters[name], parameters[f"{name}_length"], axes) for name, axes in self._axes.items()
        }
