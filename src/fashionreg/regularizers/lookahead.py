"""Lookahead: slow weights that follow the fast ones every k steps (Zhang et al. 2019)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer, buffer_name, state_of, swap_


class Lookahead(Regularizer):
    """Every `steps` steps move slow weights towards the weights, and set the weights back to them.

    `slow = slow + rate (w - slow)`, then `w = slow`; the optimizer keeps its momentum (Zhang et al. 2019). Slow weights
    are evaluated and exported. The running statistics of batch norm that go with them follow in the same way, but those
    of training are not set back.

    Args:
        steps: Number of steps k of the fast weights, at least 1; 5 to 10 is usual.
        rate: Share of the way that the slow weights go, above 0 and at most 1; 0.5 to 0.8 is usual.
    """

    taken: Tensor
    period: Tensor
    share: Tensor

    def __init__(self, steps: int = 5, rate: float = 0.5) -> None:
        super().__init__()
        if not steps >= 1:
            raise UserError(f"lookahead: steps: must be at least 1, got {steps}")
        if not 0 < rate <= 1:
            raise UserError(f"lookahead: rate: must be above 0 and at most 1, got {rate}")
        self.steps = steps
        self.rate = rate
        # tensors, not constants, so that one compiled step serves every value
        self.register_buffer("period", torch.tensor(steps), persistent=False)
        self.register_buffer("share", torch.tensor(rate, dtype=torch.float64), persistent=False)
        self._names: list[str] = []
        self._trained: set[str] = set()

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Start the slow weights from the initial ones."""
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self._names = [name for name, value in network.state_dict().items() if value.is_floating_point()]
        self._trained = {name for name, _ in network.named_parameters()}
        for name, tensor in state_of(network, self._names).items():
            self.register_buffer(buffer_name(name), tensor.detach().clone())

    def after_step(self, network: nn.Module) -> None:
        """Move the slow weights, and set back the others, if it is time."""
        self.taken += 1
        now = self.taken % self.period == 0
        for name, tensor in state_of(network, self._names).items():
            slow = getattr(self, buffer_name(name))
            slow.copy_(torch.where(now, slow.lerp(tensor, self.share.to(tensor.dtype)), slow))
            if name in self._trained:
                tensor.copy_(torch.where(now, slow, tensor))

    @contextmanager
    def evaluating(self, network: nn.Module) -> Iterator[None]:
        """Swap the slow weights into the networks, and back afterwards."""
        slow = {name: getattr(self, buffer_name(name)) for name in self._names}
        swap_(network, slow)
        try:
            yield
        finally:
            swap_(network, slow)
