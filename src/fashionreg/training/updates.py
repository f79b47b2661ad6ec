"""The updates of torch's optimizers as functions of tensors, for a step that is compiled as a whole.

`torch.optim` holds its rates as numbers: a compiled step would be compiled anew whenever a scheduler changes one. Here
every rate is a tensor, and the state is the optimizer's own, so that compiled and ordinary
steps can alternate.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

#: From a parameter, its gradient, its state and the rates of its group, each by name: changes parameter and state. The
#: number of steps so far, `step`, is counted elsewhere, as several parameters may share it.
Apply = Callable[[Tensor, Tensor, Mapping[str, Tensor], Mapping[str, Tensor]], None]


#: Options that change how fast torch computes an update, or what it begins with, but not what it computes.
_SAME_UPDATE = ("foreach", "fused", "capturable", "initial_accumulator_value")


class Update(NamedTuple):
    """How an optimizer changes the parameters of a group.

    Attributes:
        rates: Names of the options of the group that are numbers; `betas.0` and `betas.1` are the two of `betas`.
        apply: The update, in place.
        choices: Names of the options of the group that chose between kinds of this update.
    """

    rates: tuple[str, ...]
    apply: Apply
    choices: tuple[str, ...] = ()


def update_of(optimizer: Optimizer, group: Mapping[str, Any]) -> Update | None:
    """Return how an optimizer changes the parameters of one of its groups; None where this module does not know it.

    An option that the update does not know, of a later torch for example, must be off: False, None or 0.
    """
    make = UPDATES.get(type(optimizer))
    if make is None:
        return None
    update = make(group)
    known = {*(name.partition(".")[0] for name in update.rates), *update.choices, *_SAME_UPDATE}
    return update if not any(group[name] for name in optimizer.defaults.keys() - known) else None


def rates_of(update: Update, group: Mapping[str, Any]) -> list[float]:
    """Return the rates of a group as they are now: a scheduler may have changed them."""
    pairs = ("betas.0", "betas.1")
    # a learning rate may be a tensor, which a scheduler changes in place
    return [float(group["betas"][pairs.index(name)] if name in pairs else group[name]) for name in update.rates]


def _sgd(group: Mapping[str, Any]) -> Update:
    nesterov = bool(group["nesterov"])

    def apply(parameter: Tensor, gradient: Tensor, state: Mapping[str, Tensor], rates: Mapping[str, Tensor]) -> None:
        gradient = gradient + rates["weight_decay"] * parameter
        if "momentum_buffer" in state:
            buffer = state["momentum_buffer"]
            buffer.mul_(rates["momentum"]).add_((1 - rates["dampening"]) * gradient)
            gradient = gradient + rates["momentum"] * buffer if nesterov else buffer
        parameter.sub_(rates["lr"] * gradient)

    return Update(("lr", "weight_decay", "momentum", "dampening"), apply, ("nesterov",))


def _adam(group: Mapping[str, Any]) -> Update:
    decoupled = bool(group.get("decoupled_weight_decay"))

    def apply(parameter: Tensor, gradient: Tensor, state: Mapping[str, Tensor], rates: Mapping[str, Tensor]) -> None:
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        if decoupled:
            parameter.mul_(1 - rates["lr"] * rates["weight_decay"])
        else:
            gradient = gradient + rates["weight_decay"] * parameter
        mean.add_((1 - rates["betas.0"]) * (gradient - mean))
        square.mul_(rates["betas.1"]).add_((1 - rates["betas.1"]) * gradient.square())
        # in float64 as torch computes them in Python: in float32 the first corrections would have no digits to spare
        time = state["step"].to(rates["lr"]) + 1
        size = rates["lr"] / (1 - rates["betas.0"] ** time)
        correction = (1 - rates["betas.1"] ** time).sqrt()
        parameter.sub_(size * mean / (square.sqrt() / correction + rates["eps"]))

    return Update(("lr", "weight_decay", "betas.0", "betas.1", "eps"), apply, ("decoupled_weight_decay",))


def _rmsprop(group: Mapping[str, Any]) -> Update:
    def apply(parameter: Tensor, gradient: Tensor, state: Mapping[str, Tensor], rates: Mapping[str, Tensor]) -> None:
        gradient = gradient + rates["weight_decay"] * parameter
        square = state["square_avg"]
        square.mul_(rates["alpha"]).add_((1 - rates["alpha"]) * gradient.square())
        gradient = gradient / (square.sqrt() + rates["eps"])
        if "momentum_buffer" in state:
            gradient = state["momentum_buffer"].mul_(rates["momentum"]).add_(gradient)
        parameter.sub_(rates["lr"] * gradient)

    return Update(("lr", "weight_decay", "alpha", "eps", "momentum"), apply)


def _adagrad(group: Mapping[str, Any]) -> Update:
    def apply(parameter: Tensor, gradient: Tensor, state: Mapping[str, Tensor], rates: Mapping[str, Tensor]) -> None:
        total = state["sum"]
        gradient = gradient + rates["weight_decay"] * parameter
        total.add_(gradient.square())
        size = rates["lr"] / (1 + state["step"].to(rates["lr"]) * rates["lr_decay"])
        parameter.sub_(size * gradient / (total.sqrt() + rates["eps"]))

    return Update(("lr", "weight_decay", "lr_decay", "eps"), apply)


UPDATES: dict[type[Optimizer], Callable[[Mapping[str, Any]], Update]] = {
    SGD: _sgd,
    Adam: _adam,
    AdamW: _adam,
    RMSprop: _rmsprop,
    Adagrad: _adagrad,
}
