"""The check that a training step of a user treats each replica as if it were alone."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.models.independence import IMAGES, SEEDS, agree, shown
from fashionreg.models.objective import derivatives, trained
from fashionreg.randomness import epoch_keys, generator
from fashionreg.regularizers.base import Tensors


def check_independent_step(model: Any, inputs: int, classes: int) -> None:
    """Take a training step of two seeds together and of each alone: the gradients must be the same.

    Args:
        model: A `Classifier` with its network built; it is not changed: copies take the steps.
        inputs: Number of inputs D.
        classes: Number of classes K.

    Raises:
        UserError: If the step divides its gradients by the number of seeds, mixes the replicas, or draws random numbers
            that do not come from a key; or if `loss` returns something else than it must.
    """
    logits, targets = torch.zeros(2, IMAGES, classes), torch.zeros(2, IMAGES, dtype=torch.int64)
    losses: Any = model.loss(logits.to(model.device), targets.to(model.device))
    if not isinstance(losses, Tensor) or losses.shape != targets.shape:
        raise UserError(
            f"loss: must return the loss of each image, (S, B), here {tuple(targets.shape)}; got {shown(losses)}; the "
            "mean over images and the sum over replicas are taken elsewhere"
        )
    with torch.random.fork_rng(devices=[]):
        together, first, second = (_gradients(model, seeds, inputs, classes) for seeds in (SEEDS, SEEDS[:1], SEEDS[1:]))
    for name in together:
        if agree(together[name], first[name], second[name]):
            continue
        if all(agree(2 * together[key], first[key], second[key]) for key in together):
            raise UserError(
                "training_step: the gradients of a seed are divided by the number of seeds, as of a mean over all; "
                "return the sum over seeds of each one's mean, or override loss(logits, targets) -> (S, B) instead"
            )
        raise UserError(
            f"training_step: seed {SEEDS[0]} alone has other gradients of {name} than beside seed {SEEDS[1]}; network, "
            "loss and step must not mix replicas, and all random numbers must come from keys, not from torch.rand or "
            "torch.randn"
        )


def _gradients(model: Any, seeds: Sequence[int], inputs: int, classes: int) -> Tensors:
    """Return the gradients of a training step of `seeds`, by name; none where the step gives no loss."""
    trial = copy.copy(model)
    trial.__dict__["_modules"] = {}
    for name, module in model._modules.items():
        if name != "network":
            setattr(trial, name, copy.deepcopy(module))
    trial.trainer, trial.seeds, trial.shape, trial._totals = model.trainer, list(seeds), None, {}
    # what a step logs is not of the run
    trial.__dict__ |= {"log": _ignored, "log_dict": _ignored}
    trial.build(inputs, classes).to(model.device).train()
    trial.epoch_keys = None
    if consumers := trial.objective.consumers:
        trial.epoch_keys = epoch_keys(trial.seeds, consumers, 0).to(model.device)
    draws, count = [generator(seed, "check") for seed in seeds], max(IMAGES, trial.network.smallest_batch)
    images = torch.stack([torch.rand(count, inputs, generator=draw) for draw in draws])  # (S, B, D)
    labels = torch.stack([torch.randint(classes, (count,), generator=draw) for draw in draws])  # (S, B)
    loss: Any = trial.training_step((images.to(model.device), labels.to(model.device)), 0)
    loss = loss.get("loss") if isinstance(loss, Mapping) else loss
    if not isinstance(loss, Tensor) or loss.dim():
        return {}
    found = derivatives(loss, trained(trial.network))
    return {name: gradient.detach() for name, gradient in found.items()}


def _ignored(*args: Any, **kwargs: Any) -> None:
    """Take the place of `log` and `log_dict`."""
