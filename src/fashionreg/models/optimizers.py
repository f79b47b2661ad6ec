"""Checks of an optimizer: it must update each replica as if that were alone."""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from fashionreg.errors import UserError

#: What an optimizer of torch raises that refuses its arguments, a parameter's shape, or a step without a closure.
STEP_ERRORS = (RuntimeError, TypeError, ValueError, AssertionError)


def check_replica_wise(optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]) -> None:
    """Refuse an optimizer that updates two replicas together otherwise than each of them alone.

    It is tried on a small problem. Optimizers that act element by element (SGD, Adam, AdamW, ...) pass. Those that use
    a whole tensor, its rows and columns, or the loss (LBFGS, Muon, Adafactor, ...) would mix replicas and are refused.

    Args:
        optimizer: Makes the optimizer from parameters, as `Classifier` receives it.

    Raises:
        UserError: If the optimizer mixes replicas or cannot be used without a closure.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, 4, generator=generator)
    gradients = [torch.randn(2, 3, 4, generator=generator) * scale for scale in (1.0, 10.0, 0.1)]
    together = nn.Parameter(start.clone())
    alone = [nn.Parameter(start[[k]].clone()) for k in range(2)]
    try:
        for parameters in ([together], alone[:1], alone[1:]):
            stepper = optimizer(parameters)
            for gradient in gradients:
                for parameter in parameters:
                    rows = gradient if parameter is together else gradient[[0 if parameter is alone[0] else 1]]
                    parameter.grad = rows.clone()
                stepper.step()
        independent = torch.allclose(together, torch.cat([*alone]), rtol=1e-4, atol=1e-6)
        name = type(stepper).__name__
    except STEP_ERRORS as error:
        raise UserError(
            f"optimizer: cannot train several seeds side by side ({error}); use one seed, or SGD"
        ) from error
    if not independent:
        raise UserError(
            f"optimizer: {name} mixes the seeds that are trained side by side (it does not act element by element); "
            "use one seed, or an optimizer such as SGD, Adam or AdamW"
        )


def state_of_a_parameter(optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]) -> int:
    """Return how many numbers the optimizer keeps for each parameter: SGD 0, with momentum 1, Adam 2.

    The optimizer makes a step on one small parameter; where it refuses, 2 is assumed.

    Args:
        optimizer: Makes the optimizer from parameters, as `Classifier` receives it.
    """
    parameter = nn.Parameter(torch.zeros(1, 1))
    parameter.grad = torch.ones(1, 1)
    try:
        stepper = optimizer([parameter])
        stepper.step()
    except STEP_ERRORS:
        return 2
    kept = stepper.state[parameter].values()
    return sum(value.shape == parameter.shape for value in kept if isinstance(value, torch.Tensor))
