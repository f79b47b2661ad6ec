"""A penalty of confident predictions (Pereyra et al. 2017)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats of the predicted distribution: `-sum(p * log p)` with `p = softmax(logits)`.

    >>> entropy(torch.zeros(1, 4)).exp()
    tensor([4.])

    Args:
        logits: float `(..., K)`.
    """
    log = logits.log_softmax(dim=-1)
    return -(log.exp() * log).sum(dim=-1)


class ConfidencePenalty(Regularizer):
    """Subtract `strength` times the entropy of the predicted class probabilities from the training loss.

    Pereyra et al. (2017) compare it with label smoothing: that pulls predictions towards the uniform distribution by
    the Kullback-Leibler divergence in one direction, this in the other one.

    Args:
        strength: Weight of the mean entropy in nats, 0 or more; the paper tries 0.1 to 8, 0 changes nothing.
    """

    factor: Tensor

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__()
        if not 0 <= strength < float("inf"):
            raise UserError(f"confidence_penalty: strength: must be at least 0 and finite, got {strength}")
        self.strength = strength
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("factor", torch.tensor(float(strength)), persistent=False)

    def loss_term(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the penalty of each replica, `(S,)`, in nats."""
        return -self.factor * entropy(logits).mean(dim=1)
