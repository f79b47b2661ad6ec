"""What a training step minimizes: the one place where regularizers meet the network."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from fashionreg.models.networks import ReplicaNetwork
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer

#: From logits `(S, B, K)` and targets (int64 `(S, B)` or float `(S, B, K)`) to the loss of each image, `(S, B)`.
Loss = Callable[[Tensor, Tensor], Tensor]


class StepLosses(NamedTuple):
    """What one training step computes.

    Attributes:
        total: `(S,)`, what each replica minimizes: its mean loss and the penalties.
        losses: `(S,)`, the mean loss of each replica alone, in nats.
        logits: `(S, B, K)`.
        targets: int64 `(S, B)` or float `(S, B, K)`: those of the batch, as regularizers changed them.
    """

    total: Tensor
    losses: Tensor
    logits: Tensor
    targets: Tensor


class Objective(nn.Module):
    """The training loss of S networks as a function of a batch and of keys.

    It is a module so that `torch.func.functional_call` can evaluate it at other parameters than those of the network.

    Args:
        network: The S networks.
        regularizers: By name.
        loss: The loss of each image.
    """

    def __init__(self, network: ReplicaNetwork, regularizers: Mapping[str, Regularizer], loss: Loss) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self._batch = {name: one for name, one in regularizers.items() if one.overrides("batch")}
        self._penalties = [one for one in regularizers.values() if one.overrides("penalty")]
        self.gradient_hooks = {name: one for name, one in regularizers.items() if one.overrides("gradients")}
        #: Names of all consumers of random numbers in a step.
        self.consumers = [*network.draws, *map(batch_key, self._batch), *map(gradients_key, self.gradient_hooks)]

    def forward(self, images: Tensor, targets: Tensor, keys: Mapping[str, Key]) -> StepLosses:
        """Compute the losses of a step.

        Args:
            images: float `(S, B, D)`.
            targets: int64 `(S, B)`.
            keys: A key for each of `consumers`.
        """
        for name, regularizer in self._batch.items():
            images, targets = regularizer.batch(images, targets, keys[batch_key(name)])
        logits = self.network(images, keys)  # (S, B, K)
        losses = self.loss(logits, targets).mean(dim=1)  # (S,)
        total = losses
        for regularizer in self._penalties:
            total = total + regularizer.penalty(self.network)
        return StepLosses(total, losses, logits, targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy of each image in nats.

    Args:
        logits: Unnormalized, float `(S, B, K)`.
        targets: int64 `(S, B)`, labels, or float `(S, B, K)`, class probabilities.

    Returns:
        float `(S, B)`.
    """
    replicas, batch, classes = logits.shape
    # one axis for all images of all replicas: (S * B, K) with labels (S * B,) or probabilities (S * B, K)
    flat = targets.reshape(-1, *targets.shape[2:])
    return F.cross_entropy(logits.reshape(-1, classes), flat, reduction="none").view(replicas, batch)


def batch_key(name: str) -> str:
    """Return the name under which the hook `batch` of a regularizer receives its key."""
    return f"{name}/batch"


def gradients_key(name: str) -> str:
    """Return the name under which the hook `gradients` of a regularizer receives its key."""
    return f"{name}/gradients"
