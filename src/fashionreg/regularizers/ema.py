"""An exponential moving average of the weights, evaluated in place of the last ones (Polyak and Juditsky 1992)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer, buffer_name, state_of, swap_


class EMA(Regularizer):
    """Evaluate and export an exponential moving average of the networks.

    After each step `average = decay * average + (1 - decay) * weights`, with the smaller decay `(1 + t) / (10 + t)` in
    the first steps t, so that the start is forgotten (as in TensorFlow's ExponentialMovingAverage). Running statistics
    of batch norm are averaged in the same way. Training itself is unchanged.

    Args:
        decay: Weight of the past in each step, 0 <= decay < 1; 0.99 to 0.9999 is usual.
    """

    steps: Tensor
    largest: Tensor

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"ema: decay: must be at least 0 and below 1, got {decay}")
        self.decay = decay
        # a tensor, not a constant, so that one compiled step serves every decay
        self.register_buffer("largest", torch.tensor(decay, dtype=torch.float64), persistent=False)
        self._names: list[str] = []

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Start the average from the initial weights."""
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._names = [name for name, value in network.state_dict().items() if value.is_floating_point()]
        for name, tensor in state_of(network, self._names).items():
            self.register_buffer(buffer_name(name), tensor.detach().clone())

    def after_step(self, network: nn.Module) -> None:
        """Move the average towards the weights."""
        self.steps += 1
        decay = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.largest)
        for name, tensor in state_of(network, self._names).items():
            average = getattr(self, buffer_name(name))
            average.lerp_(tensor, (1 - decay).to(tensor.dtype))

    @contextmanager
    def evaluating(self, network: nn.Module) -> Iterator[None]:
        """Swap the average into the networks, and back afterwards."""
        averages = {name: getattr(self, buffer_name(name)) for name in self._names}
        swap_(network, averages)
        try:
            yield
        finally:
            swap_(network, averages)
