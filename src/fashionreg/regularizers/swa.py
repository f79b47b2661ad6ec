"""Stochastic weight averaging: the mean of the weights at the ends of epochs (Izmailov et al. 2018)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer, buffer_name, state_of, swap_


def mean_with(average: Tensor, x: Tensor, count: Tensor) -> Tensor:
    """Return the mean of `count` tensors and one more, from their average.

    >>> mean_with(torch.tensor(2.0), torch.tensor(5.0), torch.tensor(2))
    tensor(3.)
    """
    return average + (x - average) / (count + 1)


class SWA(Regularizer):
    """Evaluate and export the mean of the networks at the ends of all epochs from `start` on.

    Training itself is unchanged; a constant or cyclic learning rate suits it, as averaged networks should differ. The
    evaluation of an epoch includes its own weights; before `start` the weights themselves are evaluated. Running
    statistics of batch norm are averaged in the same way. Izmailov et al. (2018) estimate them anew on the training
    images, for which a regularizer has no data; near the end of training, where the weights move little, both agree.

    Args:
        start: First epoch, counted from 0, that is averaged, 0 or more; three quarters of all epochs is usual.
    """

    epochs: Tensor
    averaged: Tensor
    pending: Tensor

    def __init__(self, start: int = 2) -> None:
        super().__init__()
        if not start >= 0:
            raise UserError(f"swa: start: must not be negative, got {start}")
        self.start = start
        self._names: list[str] = []

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Begin with an average of nothing."""
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.register_buffer("averaged", torch.zeros((), dtype=torch.int64))
        # whether the weights have changed since the last epoch ended
        self.register_buffer("pending", torch.zeros((), dtype=torch.bool))
        self._names = [name for name, value in network.state_dict().items() if value.is_floating_point()]
        for name, tensor in state_of(network, self._names).items():
            self.register_buffer(buffer_name(name), tensor.detach().clone())

    def after_step(self, network: nn.Module) -> None:
        """Note that there are new weights."""
        self.pending.fill_(True)

    def after_epoch(self, network: nn.Module, metrics: Mapping[str, Tensor]) -> None:
        """Add the weights to the average."""
        if self.epochs >= self.start:
            for name, tensor in state_of(network, self._names).items():
                average = getattr(self, buffer_name(name))
                average.copy_(mean_with(average, tensor, self.averaged))
            self.averaged += 1
        self.epochs += 1
        self.pending.fill_(False)

    @contextmanager
    def evaluating(self, network: nn.Module) -> Iterator[None]:
        """Swap the average into the networks, and back afterwards."""
        state = state_of(network, self._names)
        shown = {name: getattr(self, buffer_name(name)).clone() for name in state}
        with torch.no_grad():
            if self.pending and self.epochs >= self.start:
                shown = {name: mean_with(shown[name], x, self.averaged) for name, x in state.items()}
            elif not self.averaged:
                shown = {}
        swap_(network, shown)
        try:
            yield
        finally:
            swap_(network, shown)
