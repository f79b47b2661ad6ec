"""Early stopping of each network by validation (Prechelt 1998)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.selection import Metric, Selection, improved


class EarlyStopping(Selection):
    """Stop training a network whose validation has not improved for `patience` epochs; evaluate its best epoch.

    A network that has stopped is frozen: parameters and running statistics are those of its best epoch, whatever the
    optimizer does, while the others go on; the record keeps a row for each epoch and seed. Networks that never stopped
    are evaluated at their best epoch too, once training has ended. It needs a validation set after every epoch.

    Args:
        patience: Epochs without improvement after which a network stops, at least 1; 3 to 20 is usual.
        min_delta: What a value must be better by to count as an improvement, 0 or more.
        metric: `val/loss` or `val/ece`, of which the lowest is the best, or `val/acc`.
    """

    waited: Tensor

    def __init__(self, patience: int = 5, min_delta: float = 0.0, metric: Metric = "val/loss") -> None:
        super().__init__(metric)
        if not patience >= 1:
            raise UserError(f"early_stopping: patience: must be at least 1, got {patience}")
        if not min_delta >= 0:
            raise UserError(f"early_stopping: min_delta: must not be negative, got {min_delta}")
        self.patience = patience
        self.min_delta = min_delta

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Begin without a best epoch."""
        super().attach(network, seeds)
        self.register_buffer("waited", torch.zeros_like(self.stopped, dtype=torch.int64))

    def after_step(self, network: nn.Module) -> None:
        """Undo the step in networks that have stopped."""
        super().after_step(network)
        self.put_kept_(network, self.stopped)

    def select(self, value: Tensor, network: nn.Module) -> None:
        """Keep the weights of each replica whose value `(S,)` has improved; stop those that have waited too long."""
        better = improved(value, self.best, self.min_delta) & ~self.stopped
        self.keep(better, value, network)
        self.waited.copy_(torch.where(better, 0, self.waited + 1))
        self.stopped |= self.waited >= self.patience
        self.put_kept_(network, self.stopped)
