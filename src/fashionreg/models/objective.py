"""What a training step minimizes: the one place where regularizers meet the network."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fashionreg.models.networks import ReplicaNetwork
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer, Tensors

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

    def gradients(
        self,
        loss: Tensor,
        images: Tensor,
        targets: Tensor,
        keys: Mapping[str, Key],
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Tensors:
        """Compute the gradients of a step as the hooks `gradients` change them, by the name of the parameter.

        Args:
            loss: Sum over replicas of the losses of the step, from `forward` with the other arguments.
            images: float `(S, B, D)`.
            targets: int64 `(S, B)`.
            keys: A key for each of `consumers`.
            context: Makes the context in which losses are computed: that of the precision.
        """
        parameters: Tensors = {name: x for name, x in self.network.named_parameters() if x.requires_grad}
        here = _derivatives(loss, parameters)

        def compute(at: Mapping[str, Tensor]) -> Tensors:
            if at is parameters:
                return here
            moved = {name: x.detach().requires_grad_() for name, x in at.items()}
            # copies of buffers, so that a step changes running statistics once however often the loss is computed
            state = moved | {name: x.clone() for name, x in self.network.named_buffers()}
            with context(), torch.enable_grad():
                named = {f"network.{name}": x for name, x in state.items()}
                total = functional_call(self, named, (images, targets, keys)).total.sum()
            return _derivatives(total, moved)

        for name, regularizer in self.gradient_hooks.items():
            compute = partial(regularizer.gradients, compute, key=keys[gradients_key(name)])
        return compute(parameters)


def _derivatives(loss: Tensor, parameters: Tensors) -> Tensors:
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


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
