"""Gaussian noise on hidden units (Poole et al. 2014)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, ReplicaLayer


class ReplicaNoise(ReplicaLayer):
    """Normal noise on the units of S networks, each with draws of its seed.

    Args:
        std: Standard deviation, 0 or more.
        relative: Whether it is a share of each unit's value: `x + std * |x| * noise`; otherwise `x + std * noise`.
    """

    draws = True
    deviation: Tensor

    def __init__(self, std: float, *, relative: bool = False) -> None:
        super().__init__()
        self.relative = relative
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("deviation", torch.tensor(float(std)), persistent=False)

    def forward(self, x: Tensor, key: Key | None = None) -> Tensor:
        """Add noise to `(S, B, C)`; in training `key` is required.

        Raises:
            ValueError: In training without a key.
        """
        if not self.training:
            return x
        if key is None:
            raise ValueError("noise in training needs a key, the source of its draws; got None")
        noise = (self.deviation * key.normal(*x.shape[1:])).to(x.dtype)
        # noise is symmetric, so that the sign of x does not matter
        return x * (1 + noise) if self.relative else x + noise

    def replica(self, index: int) -> nn.Identity:
        """Return the layer as it is in evaluation."""
        return nn.Identity()


class ActivationNoise(Regularizer):
    """Add normal noise of mean 0 and standard deviation `std` to each hidden unit, after its activation, in training.

    Poole et al. (2014) compare noise on inputs, before and after activations; small units lose more of their signal
    than with multiplied noise (`GaussianDropout`), so that noise favours large and sparse activations.

    Args:
        std: Standard deviation, 0 or more; 0.05 to 0.5 is usual, 0 changes nothing.
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        if not 0 <= std < float("inf"):
            raise UserError(f"activation_noise: std: must be at least 0 and finite, got {std}")
        self.std = std

    def after_activation(self, features: int, seeds: Sequence[int]) -> ReplicaNoise:
        """Make one layer for each hidden layer."""
        return ReplicaNoise(self.std)
