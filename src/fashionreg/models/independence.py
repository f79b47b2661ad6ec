"""The check that a regularizer treats each replica as if it were alone."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.models.objective import batch_key, cross_entropy, gradients_key
from fashionreg.randomness import Key, epoch_keys, generator
from fashionreg.regularizers.base import Regularizer

#: Two seeds, trained together and each alone, for so many steps of so many images.
SEEDS, STEPS, IMAGES = [3, 7], 2, 4

#: What the hooks returned: the name of each, and tensors with a leading replica axis.
Trace = list[tuple[str, list[Tensor]]]


def check_independent(name: str, regularizer: Regularizer, inputs: int, classes: int) -> None:
    """Run every hook of a regularizer for two seeds together and for each alone: the results must be the same.

    Args:
        name: Its name in the configuration.
        regularizer: It is not changed: hooks of copies are called, on a small network.
        inputs: Number of inputs D.
        classes: Number of classes K.

    Raises:
        UserError: With the name of the first hook that fails, gives another shape than it must, mixes the replicas, or
            draws random numbers that do not come from its key.
    """
    with torch.random.fork_rng(devices=[]):
        traces = [_trace(name, regularizer, seeds, inputs, classes) for seeds in (SEEDS, SEEDS[:1], SEEDS[1:])]
        for (hook, together), (_, first), (_, second) in zip(*traces, strict=True):
            for got, *alone in zip(together, first, second, strict=True):
                if got.shape[:1] != (2,) or any(one.shape[:1] != (1,) for one in alone):
                    raise UserError(
                        f"regularizers.{name}: {hook}: must give tensors with the replica axis first, (S, ...), got "
                        f"the shape {tuple(got.shape)} for S = 2"
                    )
                # together and alone, the same few float32 terms are summed in another order
                if not torch.allclose(got, torch.cat(alone), rtol=1e-3, atol=1e-5, equal_nan=True):
                    raise UserError(
                        f"regularizers.{name}: {hook}: seed {SEEDS[0]} alone gives other numbers than beside seed "
                        f"{SEEDS[1]}; a hook must not mix replicas, and all its random numbers must come from its key"
                    )


def _trace(name: str, regularizer: Regularizer, seeds: Sequence[int], inputs: int, classes: int) -> Trace:
    """Train `seeds` side by side; return the results of each hook of the regularizer, in order."""
    trace: Trace = []
    regularizer = copy.deepcopy(regularizer).train()

    def call(hook: str, *arguments: object) -> object:
        try:
            return getattr(regularizer, hook)(*arguments)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"regularizers.{name}: {hook}: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error

    layers = " or ".join(hook for hook in ("before_activation", "after_activation") if regularizer.overrides(hook))
    try:
        network = MLP([inputs, 5, classes], seeds, {name: regularizer})
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"regularizers.{name}: {layers}: {type(error).__name__}: {error}") from error
    call("attach", network, seeds)
    draws = [generator(seed, "check") for seed in seeds]
    images = torch.stack([torch.rand(STEPS, IMAGES, inputs, generator=draw) for draw in draws], dim=1)  # (T, S, B, D)
    labels = torch.stack([torch.randint(classes, (STEPS, IMAGES), generator=draw) for draw in draws], dim=1)
    consumers = [*network.draws, batch_key(name), gradients_key(name)]
    for step in range(STEPS):
        keys = {
            consumer: Key(words)
            for consumer, words in zip(consumers, epoch_keys(list(seeds), consumers, step), strict=True)
        }
        x, targets = images[step], labels[step]
        if regularizer.overrides("batch"):
            x, targets = call("batch", x, targets, keys[batch_key(name)])  # type: ignore[misc]
            trace.append(("batch", [x, targets.float()]))
        parameters = {key: value.detach().clone().requires_grad_() for key, value in network.named_parameters()}

        def compute(
            at: dict[str, Tensor], x: Tensor = x, targets: Tensor = targets, keys: dict[str, Key] = keys
        ) -> dict[str, Tensor]:
            logits = torch.func.functional_call(network, at, (x, keys))
            losses = cross_entropy(logits, targets).mean(dim=1)
            return dict(zip(at, torch.autograd.grad(losses.sum(), list(at.values())), strict=True))

        if layers:
            trace.append((layers, [network(x, keys).detach(), *compute(parameters).values()]))
        if regularizer.overrides("penalty"):
            penalty = call("penalty", network)
            assert isinstance(penalty, Tensor)
            trace.append(("penalty", [penalty.detach()]))
        gradients = call("gradients", compute, parameters, keys[gradients_key(name)])
        assert isinstance(gradients, dict)
        if regularizer.overrides("gradients"):
            trace.append(("gradients", [gradients[key] for key in parameters]))
        with torch.no_grad():
            for key, value in network.named_parameters():
                value.sub_(0.1 * gradients[key])
            call("after_step", network)
            trace.append(("after_step", _weights(network)))
    with torch.no_grad():
        seen = {
            f"{split}/{metric}": images[0].mean(dim=(1, 2))
            for split in ("train", "val")
            for metric in ("loss", "acc", "ece")
        }
        call("after_epoch", network, seen)
        trace.append(("after_epoch", _weights(network)))
        with regularizer.evaluating(network):
            trace.append(("evaluating", _weights(network)))
    return trace


def _weights(network: MLP) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]
