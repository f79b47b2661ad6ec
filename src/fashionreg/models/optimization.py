"""Optimizer, learning rate scheduler and gradient clipping of S replicas."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fashionreg.errors import UserError
from fashionreg.models.schedulers import RunLength, Schedule
from fashionreg.regularizers.base import per_replica
from fashionreg.regularizers.gradient_clipping import clipping_scale


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


def make_scheduler(schedule: Schedule, optimizer: Optimizer, replicas: int, run_length: RunLength | None) -> Any:
    """Make the learning rate scheduler, in a form that Lightning takes; without a run, one that has its state only.

    Raises:
        UserError: If it refuses its arguments, or would let replicas influence one another.
    """
    scheduler = schedule.without_run(optimizer) if run_length is None else schedule(optimizer, run_length)
    if not isinstance(scheduler, ReduceLROnPlateau):
        return {"scheduler": scheduler, "interval": schedule.interval}
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
    scale = clipping_scale(gradients, largest)
    for gradient in gradients:
        gradient.mul_(per_replica(scale, gradient))
