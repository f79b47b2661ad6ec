"""Ghost batch normalization (Hoffer et al. 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.regularizers.batch_norm import ReplicaBatchNorm
from fashionreg.regularizers.normalization import Normalization, Place


class ReplicaGhostBatchNorm(ReplicaBatchNorm):
    """Batch normalization of each part of a batch by its own statistics; in evaluation as batch norm.

    Args:
        replicas: S.
        features: C.
        eps: Added to the variance.
        momentum: Weight of the newest part in the running averages.
        size: The fewest images of a part, at least 2.
    """

    def __init__(self, replicas: int, features: int, eps: float, momentum: float, size: int) -> None:
        super().__init__(replicas, features, eps, momentum)
        self.size = size

    def _normalize(self, x: Tensor, training: bool, momentum: float) -> Tensor:
        if not training:
            return super()._normalize(x, training, momentum)
        parts = x.tensor_split(max(1, x.shape[1] // self.size), dim=1)
        return torch.cat([super(ReplicaGhostBatchNorm, self)._normalize(part, True, momentum) for part in parts], dim=1)


class GhostBatchNorm(Normalization):
    """Normalize as batch norm does, by the statistics of small parts of a batch instead of those of the whole batch.

    The noise of small batches regularizes (Hoffer et al. 2017). A batch of B images is divided into `B // size` parts
    of nearly equal size, one after the other; each moves the running averages, which evaluation uses.

    Args:
        size: The fewest images of a part, at least 2; 8 to 64 is usual. Whole batches smaller than this are one part.
        eps: Added to the variance, for numerical stability; above 0.
        momentum: Weight of the newest part in the running averages, 0 to 1.
        place: Whether it stands before or after the activation.
    """

    option = "ghost_batch_norm"

    def __init__(
        self, size: int = 16, eps: float = 1e-5, momentum: float = 0.1, place: Place = "before_activation"
    ) -> None:
        super().__init__(place)
        if not size >= 2:
            raise UserError(f"ghost_batch_norm: size: must be at least 2, got {size}")
        if not eps > 0:
            raise UserError(f"ghost_batch_norm: eps: must be above 0, got {eps}")
        if not 0 <= momentum <= 1:
            raise UserError(f"ghost_batch_norm: momentum: must be from 0 to 1, got {momentum}")
        self.size = size
        self.eps = eps
        self.momentum = momentum

    def layer(self, features: int, seeds: Sequence[int]) -> ReplicaGhostBatchNorm:
        """Make the normalization of one hidden layer."""
        return ReplicaGhostBatchNorm(len(seeds), features, self.eps, self.momentum, self.size)
