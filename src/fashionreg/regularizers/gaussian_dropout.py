"""Gaussian dropout after each activation (Srivastava et al. 2014, section 10)."""

import math
from collections.abc import Sequence

from fashionreg.errors import UserError
from fashionreg.regularizers.activation_noise import ReplicaNoise
from fashionreg.regularizers.base import Regularizer


def noise_like_dropout(p: float) -> float:
    """Return the standard deviation of the factor by which dropout multiplies a unit: `sqrt(p / (1 - p))`.

    >>> noise_like_dropout(0.5)
    1.0
    """
    return math.sqrt(p / (1 - p))


class GaussianDropout(Regularizer):
    """Multiply each hidden unit in training by normal noise of mean 1 and the variance that dropout's factor has.

    The variance is `p / (1 - p)`. No unit is set to zero; Srivastava et al. (2014) found it at least as good as
    dropout.

    Args:
        p: The probability of the dropout whose variance the noise has, 0 <= p < 1; 0.1 to 0.5 is usual, 0 changes
            nothing.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"gaussian_dropout: p: must be at least 0 and below 1, got {p}")
        self.p = p

    def after_activation(self, features: int, seeds: Sequence[int]) -> ReplicaNoise:
        """Make one layer for each hidden layer."""
        return ReplicaNoise(noise_like_dropout(self.p), relative=True)
