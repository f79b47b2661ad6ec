"""What selects an epoch of each replica by validation: the weights of the best epoch so far, and what it measured."""

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer, Tensors, buffer_name, per_replica, state_of

Metric = Literal["val/loss", "val/acc", "val/ece"]


def improved(value: Tensor, best: Tensor, min_delta: float = 0.0) -> Tensor:
    """Return for each replica whether a value is below the best so far by more than `min_delta`; NaN never is.

    >>> improved(torch.tensor([0.5, 0.9, float("nan")]), torch.tensor([1.0, 1.0, 1.0]), 0.2)
    tensor([ True, False, False])
    """
    return value < best - min_delta


class Selection(Regularizer, ABC):
    """Keeps the weights of each replica's best epoch, which are evaluated and exported once the epoch has ended.

    The evaluation of an epoch is that of its own weights, as it is what selects. The weights that are kept are those
    that were evaluated: averages, for example, where another regularizer averages. Validation images alone select.

    Args:
        metric: `val/loss` or `val/ece`, of which the lowest is the best, or `val/acc`.

    Attributes:
        best: float64 `(S,)`, the best value so far (of an accuracy its negative); infinite before the first.
        stopped: bool `(S,)`, the replicas that are no longer trained.
    """

    last = True
    best: Tensor
    stopped: Tensor
    pending: Tensor

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        if metric not in ("val/loss", "val/acc", "val/ece"):
            raise UserError(f"{type(self).__name__}: metric: must be val/loss, val/acc or val/ece, got {metric}")
        self.metric = metric
        self._names: list[str] = []
        #: The weights that are being evaluated, until their metrics are known.
        self._evaluated: Tensors = {}

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Begin without a best epoch."""
        device = next(network.parameters()).device
        self.register_buffer("best", torch.full((len(seeds),), torch.inf, dtype=torch.float64, device=device))
        self.register_buffer("stopped", torch.zeros(len(seeds), dtype=torch.bool, device=device))
        # whether the weights have changed since the last epoch ended
        self.register_buffer("pending", torch.zeros((), dtype=torch.bool, device=device))
        self._names = list(network.state_dict())
        for name, tensor in state_of(network, self._names).items():
            self.register_buffer(buffer_name(name), tensor.detach().clone())

    def after_step(self, network: nn.Module) -> None:
        """Note that there are new weights."""
        self.pending.fill_(True)

    def after_epoch(self, network: nn.Module, metrics: Mapping[str, Tensor]) -> None:
        """Keep the weights of those replicas that are better than before."""
        self.select(metrics[self.metric].double() * (-1 if self.metric == "val/acc" else 1), network)
        self.pending.fill_(False)

    def select(self, value: Tensor, network: nn.Module) -> None:
        """Keep the weights of each replica whose value `(S,)` is lower than ever."""
        self.keep(improved(value, self.best), value, network)

    def keep(self, chosen: Tensor, value: Tensor, network: nn.Module) -> None:
        """Keep values and evaluated weights of the chosen replicas, bool `(S,)`."""
        self.best.copy_(torch.where(chosen, value, self.best))
        evaluated = self._evaluated or state_of(network, self._names)
        for name, kept in self._kept().items():
            kept.copy_(torch.where(per_replica(chosen, kept), evaluated[name], kept))
        self._evaluated = {}

    def put_kept_(self, network: nn.Module, chosen: Tensor) -> None:
        """Set the chosen replicas, bool `(S,)`, of a network to the weights of their best epochs."""
        for x, kept in zip(state_of(network, self._names).values(), self._kept().values(), strict=True):
            x.copy_(torch.where(per_replica(chosen, x), kept, x))

    @contextmanager
    def evaluating(self, network: nn.Module) -> Iterator[None]:
        """Put in the best weights of all replicas after an epoch, and within one those of stopped replicas."""
        with torch.no_grad():
            state = state_of(network, self._names)
            own = {name: x.clone() for name, x in state.items()}
            if self.pending:
                self._evaluated = own
                self.put_kept_(network, self.stopped)
            else:
                self.put_kept_(network, self.best.isfinite())
        try:
            yield
        finally:
            with torch.no_grad():
                for name, x in state.items():
                    x.copy_(own[name])

    def _kept(self) -> Tensors:
        return {name: getattr(self, buffer_name(name)) for name in self._names}
