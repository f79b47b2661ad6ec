"""Optimizer, learning rate scheduler and gradient clipping of S replicas."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fashionreg.errors import UserError
from fashionreg.regularizers.base import per_replica


def make_optimizer(
    factory: Callable[[Iterable[nn.Parameter]], Optimizer], parameters: Iterable[nn.Parameter]
) -> Optimizer:
    """Make the optimizer.

    Raises:
        UserError: If it refuses its arguments.
    """
    try:
        return factory(parameters)
    except (ValueError, TypeError) as error:
        raise UserError(f"optimizer: {error}") from error


def make_scheduler(factory: LRSchedulerCallable, optimizer: Optimizer, replicas: int) -> Any:
    """Make the learning rate scheduler, in a form that Lightning takes.

    Raises:
        UserError: If it refuses its arguments, or would let replicas influence one another.
    """
    try:
        scheduler = factory(optimizer)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"lr_scheduler: {error}") from error
    if not isinstance(scheduler, ReduceLROnPlateau):
        return scheduler
    if replicas > 1:
        raise UserError(
            "lr_scheduler: ReduceLROnPlateau would set the learning rate of every seed by the mean over seeds; "
            "use one seed, or a scheduler that follows the epoch"
        )
    # Lightning's subclass takes a monitor; torch's own class does not
    return {"scheduler": scheduler, "monitor": getattr(scheduler, "monitor", "train/loss")}


def clip_each_replica(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Scale the gradient of each replica, in place, to a norm of at most `largest`.

    Args:
        parameters: Each `(S, ...)`; those without a gradient are left out.
        largest: Above 0.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # (S,)
    scale = (largest / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(per_replica(scale, gradient))


def make_rates_tensors(optimizer: Optimizer) -> None:
    """Hold the learning rates of an optimizer as tensors, which a compiled update reads anew at each step."""
    for group in optimizer.param_groups:
        if not isinstance(group["lr"], Tensor):
            # float64, as Python's numbers: a scheduler that multiplies its last value rounds as without compilation
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)


def plain_rates(state: Any) -> Any:
    """Return param groups or the state of schedulers with numbers in place of learning rates that are tensors."""
    if isinstance(state, dict):
        return {key: plain_rates(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(plain_rates, state))
    return state.item() if isinstance(state, Tensor) and not state.dim() else state


def plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer as a checkpoint keeps it: rates as numbers, tensors without attributes.

    The compiler marks the tensors of an optimizer by attributes, and a tensor with attributes is saved as an object.
    """
    values = {
        index: {name: x.detach() if isinstance(x, Tensor) else x for name, x in value.items()}
        for index, value in state["state"].items()
    }
    return {"state": values, "param_groups": plain_rates(state["param_groups"])}
