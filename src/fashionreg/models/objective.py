"""What a training step minimizes: the one place where regularizers meet the network."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fashionreg.models.networks import ReplicaNetwork
from fashionreg.randomness import Key
from fashionreg.regularizers.base import (
    ComputeGradients,
    ComputeLogits,
    Regularizer,
    Tensors,
    naming,
    swap_,
    with_hook,
)

#: From logits `(S, B, K)` and targets (int64 `(S, B)` or float `(S, B, K)`) to the loss of each image, `(S, B)`.
Loss = Callable[[Tensor, Tensor], Tensor]


class StepLosses(NamedTuple):
    """What one training step computes.

    Attributes:
        total: `(S,)`, what each replica minimizes: its mean loss, penalties and other terms.
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
        self._batch = with_hook(regularizers, "batch")
        self._penalties = with_hook(regularizers, "penalty")
        self._terms = with_hook(regularizers, "loss_term")
        self.weight_hooks = with_hook(regularizers, "weights")
        self.gradient_hooks = with_hook(regularizers, "gradients")
        #: Names of all consumers of random numbers in a step.
        self.consumers = [*network.draws, *map(batch_key, self._batch), *map(weights_key, self.weight_hooks)]
        self.consumers += map(gradients_key, self.gradient_hooks)

    def forward(self, images: Tensor, targets: Tensor, keys: Mapping[str, Key]) -> StepLosses:
        """Compute the losses of a step.

        Args:
            images: float `(S, B, D)`.
            targets: int64 `(S, B)`.
            keys: A key for each of `consumers`.
        """
        for name, regularizer in self._batch.items():
            with naming(name, "batch"):
                images, targets = regularizer.batch(images, targets, keys[batch_key(name)])
        logits = logits_of(self.network, self.weight_hooks, images, keys)  # (S, B, K)
        losses = self.loss(logits, targets).mean(dim=1)  # (S,)
        total = losses
        for name, regularizer in self._penalties.items():
            with naming(name, "penalty"):
                total = total + regularizer.penalty(self.network)
        for name, regularizer in self._terms.items():
            with naming(name, "loss_term"):
                total = total + regularizer.loss_term(logits, targets)
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
        parameters = trained(self.network)

        def loss_at(state: Tensors) -> Tensor:
            named = {f"network.{name}": x for name, x in state.items()}
            with context():
                losses: StepLosses = functional_call(self, named, (images, targets, keys))
            return losses.total.sum()

        compute = gradients_at(self.network, parameters, derivatives(loss, parameters), loss_at)
        for name, regularizer in self.gradient_hooks.items():
            compute = partial(chosen_gradients, name, regularizer, compute, keys[gradients_key(name)])
        return compute(parameters)


def chosen_gradients(
    name: str, regularizer: Regularizer, compute: ComputeGradients, key: Key, at: Mapping[str, Tensor]
) -> Tensors:
    """Return the gradients at some parameters as the hook `gradients` of a regularizer chooses them."""
    with naming(name, "gradients"):
        return regularizer.gradients(compute, at, key)


def _used(parameters: Tensors, hooks: Mapping[str, Regularizer], keys: Mapping[str, Key]) -> Tensors:
    """Return the parameters that a network uses, by name, as the hooks `weights` compute them."""
    for name, regularizer in hooks.items():
        with naming(name, "weights"):
            parameters = regularizer.weights(parameters, keys.get(weights_key(name)))
    return parameters


def logits_of(
    network: ReplicaNetwork,
    hooks: Mapping[str, Regularizer],
    images: Tensor,
    keys: Mapping[str, Key],
    state: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Compute the logits `(S, B, K)` of a training step.

    Args:
        network: The S networks.
        hooks: The regularizers with the hook `weights`.
        images: float `(S, B, D)`.
        keys: A key for each consumer of random numbers.
        state: Parameters and buffers by name, in place of those of the network.
    """
    if not hooks and state is None:
        plain: Tensor = network(images, keys)
        return plain
    state = dict(state or {})
    parameters = {name: state.get(name, x) for name, x in network.named_parameters()}
    logits: Tensor = functional_call(network, state | _used(parameters, hooks, keys), (images, keys))
    return logits


def predicted(name: str, regularizer: Regularizer, compute: ComputeLogits, images: Tensor) -> Tensor:
    """Return the logits of evaluation as the hook `predict` of a regularizer changes them."""
    with naming(name, "predict"):
        return regularizer.predict(compute, images)


@contextmanager
def used_weights(network: ReplicaNetwork, hooks: Mapping[str, Regularizer]) -> Iterator[None]:
    """Put the parameters that the hooks `weights` compute for evaluation into a network, and undo it afterwards."""
    with torch.no_grad():
        own: Tensors = dict(network.named_parameters())
        used = {name: x.clone() for name, x in _used(own, hooks, {}).items() if x is not own[name]}
    swap_(network, used)
    try:
        yield
    finally:
        swap_(network, used)


def trained(network: nn.Module) -> Tensors:
    """Return the parameters that are trained, by name."""
    return {name: x for name, x in network.named_parameters() if x.requires_grad}


def derivatives(loss: Tensor, parameters: Tensors) -> Tensors:
    """Return the gradient of a loss for each parameter, by name; zero where the loss does not depend on it."""
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def gradients_at(
    network: nn.Module, parameters: Tensors, here: Tensors, loss_at: Callable[[Tensors], Tensor]
) -> ComputeGradients:
    """Return what the hook `gradients` is given to compute gradients with.

    Args:
        network: The S networks.
        parameters: Their parameters, as the hook is given them.
        here: The gradients at these, which the step has computed already.
        loss_at: From parameters and buffers by name to the sum over replicas of the losses of the step.
    """

    def compute(at: Mapping[str, Tensor]) -> Tensors:
        if at is parameters:
            return here
        moved = {name: x.detach().requires_grad_() for name, x in at.items()}
        # copies of buffers, so that a step changes running statistics once however often the loss is computed
        buffers = {name: x.clone() for name, x in network.named_buffers()}
        with torch.enable_grad():
            loss = loss_at(moved | buffers)
        return derivatives(loss, moved)

    return compute


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


def weights_key(name: str) -> str:
    """Return the name under which the hook `weights` of a regularizer receives its key."""
    return f"{name}/weights"


def gradients_key(name: str) -> str:
    """Return the name under which the hook `gradients` of a regularizer receives its key."""
    return f"{name}/gradients"
