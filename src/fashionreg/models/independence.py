"""The check that a regularizer treats each replica as if it were alone."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.models.networks import ReplicaNetwork
from fashionreg.models.objective import (
    batch_key,
    cross_entropy,
    derivatives,
    gradients_at,
    gradients_key,
    logits_of,
    trained,
    used_weights,
    weights_key,
)
from fashionreg.randomness import Key, epoch_keys, generator
from fashionreg.regularizers.base import (
    LAYER_HOOKS,
    Regularizer,
    Tensors,
    constructor_arguments,
    end_epoch,
    naming,
    with_hook,
)

#: Two seeds, trained together and each alone, for so many steps of so many images.
SEEDS, STEPS, IMAGES = [3, 7], 2, 4

#: Makes the network of the model, float32 on the CPU, for some seeds, with the layers of this regularizer and no other.
NetworkWith = Callable[[Regularizer, Sequence[int]], ReplicaNetwork]

#: Name of a hook, and tensors by name, each with a leading replica axis: what the hook returned or changed.
Result = tuple[str, Tensors]


def check_independent(
    name: str,
    regularizer: Regularizer,
    make: NetworkWith,
    inputs: int,
    classes: int,
    metrics: Sequence[Sequence[str]],
) -> None:
    """Run every hook of a regularizer for two seeds together and for each alone: the results must be the same.

    Args:
        name: Its name in the configuration.
        regularizer: It is not changed: hooks of copies are called.
        make: Makes the network that the regularizer acts on.
        inputs: Number of inputs D.
        classes: Number of classes K.
        metrics: For each epoch to try, the names of the metrics that `after_epoch` is given.

    Raises:
        UserError: With the name of the first hook that fails, returns something else than it must, mixes the replicas,
            or draws random numbers that do not come from its key; or of an argument that is not kept.
    """
    for argument in constructor_arguments(type(regularizer)):
        if not hasattr(regularizer, argument.name):
            raise UserError(
                f"regularizers.{name}: {type(regularizer).__name__} must keep its argument {argument.name} as an "
                f"attribute of the same name (self.{argument.name} = {argument.name}), as its description shows it"
            )
    with torch.random.fork_rng(devices=[]):
        # the three run hook by hook beside one another, so that no result is kept longer than its comparison
        traces = [
            _trace(name, regularizer, make, seeds, inputs, classes, metrics) for seeds in (SEEDS, SEEDS[:1], SEEDS[1:])
        ]
        for (hook, together), (_, first), (_, second) in zip(*traces, strict=True):
            for key in [key for key in together if key in first and key in second]:
                if not agree(together[key], first[key], second[key]):
                    raise UserError(
                        f"regularizers.{name}: {hook}: seed {SEEDS[0]} alone gives other numbers than beside seed "
                        f"{SEEDS[1]}; a hook must not mix replicas, and all its random numbers must come from its key"
                    )


def _trace(
    name: str,
    regularizer: Regularizer,
    make: NetworkWith,
    seeds: Sequence[int],
    inputs: int,
    classes: int,
    metrics: Sequence[Sequence[str]],
) -> Iterator[Result]:
    """Train `seeds` side by side; yield what each hook that the regularizer overrides returns or changes, in order."""
    regularizer = copy.deepcopy(regularizer).cpu().float().train()
    has = regularizer.overrides

    def refuse(hook: str, must: str, got: str) -> UserError:
        return UserError(f"regularizers.{name}: {hook}: must return {must}; got {got}")

    layers = " or ".join(filter(has, LAYER_HOOKS))
    with naming(name, layers or "network"):
        network = make(regularizer, seeds)
    with naming(name, "attach"):
        regularizer.attach(network, seeds)
    draws = [generator(seed, "check") for seed in seeds]
    images = torch.stack([torch.rand(STEPS, IMAGES, inputs, generator=draw, dtype=torch.float32) for draw in draws], 1)
    labels = torch.stack([torch.randint(classes, (STEPS, IMAGES), generator=draw) for draw in draws], dim=1)
    consumers = [*network.draws, batch_key(name), weights_key(name), gradients_key(name)]
    forward = with_hook({name: regularizer}, "weights")
    computed = layers or ("weights" if forward else "")
    for step in range(STEPS):
        words = epoch_keys(list(seeds), consumers, step)
        keys = {consumer: Key(key) for consumer, key in zip(consumers, words, strict=True)}
        x, targets = images[step], labels[step]  # (S, B, D), (S, B)
        if has("batch"):
            with naming(name, "batch"):
                changed = regularizer.batch(x, targets, keys[batch_key(name)])
            if not _is_batch(changed, len(seeds), inputs, classes):
                must = "images, float (S, B, D), and targets, int64 (S, B) or float (S, B, K)"
                raise refuse("batch", must, shown(changed))
            x, targets = changed
            yield "batch", {"images": x, "targets": targets.float()}
        parameters, buffers = trained(network), dict(network.named_buffers())
        with naming(name, computed or "network"):
            logits = logits_of(network, forward, x, keys)
            here = derivatives(_loss(logits, targets), parameters)
        if replaced := [key for key, buffer in network.named_buffers() if buffer is not buffers.get(key)]:
            # gradients are taken with the tensors that the network had before
            raise UserError(
                f"regularizers.{name}: {computed or 'network'}: forward replaces the buffer {replaced[0]}; it must "
                "change it in place, for example by self.mean.copy_(...)"
            )
        if computed:
            yield computed, {"logits": logits.detach(), **here, **_state(network, len(seeds))}
        added = {
            "penalty": partial(regularizer.penalty, network),
            "loss_term": partial(regularizer.loss_term, logits, targets),
        }
        for hook, compute_term in added.items():
            if has(hook):
                with naming(name, hook):
                    term = compute_term()
                if not isinstance(term, Tensor) or term.shape != (len(seeds),):
                    got = f"{shown(term)} for S = {len(seeds)}"
                    raise refuse(hook, "a tensor with the replica axis, (S,)", got)
                yield hook, {hook: term.detach()}
        gradients = here
        if has("gradients"):
            compute = gradients_at(network, parameters, here, partial(_loss_at, network, forward, x, targets, keys))
            with naming(name, "gradients"):
                gradients = regularizer.gradients(compute, parameters, keys[gradients_key(name)])
            must = "a gradient (S, ...) for each parameter, by name"
            if not isinstance(gradients, Mapping):
                raise refuse("gradients", must, shown(gradients))
            for key, value in parameters.items():
                found = gradients.get(key)
                if not isinstance(found, Tensor) or found.shape != value.shape:
                    raise refuse(
                        "gradients", must, f"{shown(found)} for {key}, which has the shape {tuple(value.shape)}"
                    )
            yield "gradients", {key: gradients[key].detach() for key in parameters}
        with torch.no_grad():
            for key, value in parameters.items():
                value.sub_(0.1 * gradients[key])
            with naming(name, "after_step"):
                regularizer.after_step(network)
        if has("after_step"):
            yield "after_step", _state(network, len(seeds))
    if has("after_epoch"):
        for measured in metrics:
            end_epoch(name, regularizer, network, {metric: images[0].mean(dim=(1, 2)) for metric in measured})
            yield "after_epoch", _state(network, len(seeds))
    if computed or has("evaluating") or has("predict"):
        network.eval()
        hook = next(filter(has, ("evaluating", "predict")), computed)
        with torch.no_grad(), naming(name, hook):
            context = regularizer.evaluating(network)
            if not hasattr(context, "__enter__"):
                raise refuse("evaluating", "a context manager", shown(context))
            with context, used_weights(network, forward):
                result = {"logits": regularizer.predict(network, images[0]), **_state(network, len(seeds))}
        yield hook, result


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over replicas of the mean losses."""
    return cross_entropy(logits, targets).mean(dim=1).sum()


def _loss_at(
    network: ReplicaNetwork,
    hooks: Mapping[str, Regularizer],
    x: Tensor,
    targets: Tensor,
    keys: Mapping[str, Key],
    state: Tensors,
) -> Tensor:
    return _loss(logits_of(network, hooks, x, keys, state), targets)


def agree(together: Tensor, first: Tensor, second: Tensor) -> bool:
    """Return whether two replicas together have the numbers of each alone, to rounding."""
    if first.shape != second.shape or together[:1].shape != first.shape:
        return False
    # the same float32 terms, which are of the size of 1, are summed in another order
    return torch.allclose(together, torch.cat([first, second]), rtol=1e-3, atol=1e-5, equal_nan=True)


def _state(network: ReplicaNetwork, replicas: int) -> Tensors:
    """Return copies of the parameters and buffers with a replica axis."""
    state = network.state_dict()
    return {key: value.clone() for key, value in state.items() if value.shape[:1] == (replicas,)}


def _is_batch(value: object, replicas: int, inputs: int, classes: int) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not all(isinstance(one, Tensor) for one in value):
        return False
    images, targets = value
    if images.dim() != 3 or (len(images), images.shape[2]) != (replicas, inputs) or not images.is_floating_point():
        return False
    if targets.is_floating_point():
        return bool(targets.shape == (*images.shape[:2], classes))
    return bool(targets.dtype == torch.int64 and targets.shape == images.shape[:2])


def shown(value: object) -> str:
    """Describe a value that a hook returned: a tensor by its type and shape."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    return "None" if value is None else type(value).__name__
