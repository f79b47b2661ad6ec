"""What a regularizer is: an object that changes how S networks are trained side by side.

A regularizer is one small class in one file, a user's own as well as ours: it overrides the hooks that it needs, and is
named in a configuration under `regularizers:`. Hooks that nobody overrides cost nothing.

Axes: S replicas, B images of a batch, D inputs of a network, C features of a layer, K classes.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key

#: Parameters or gradients by the name of the parameter, each with a leading replica axis `(S, ...)`.
Tensors = dict[str, Tensor]

#: The hooks that insert layers into a network.
LAYER_HOOKS = ("before_activation", "after_activation", "branch_end")

#: From parameters to the gradients of the sum over replicas of their training losses, on the batch of this step.
ComputeGradients = Callable[[Mapping[str, Tensor]], Tensors]


#: From images `(S, B, D)`, or `(B, D)` shown to all replicas, to logits `(S, B, K)`, in evaluation.
ComputeLogits = Callable[[Tensor], Tensor]


class TrainingData(NamedTuple):
    """What there is to know about the images and labels that networks are trained on.

    Attributes:
        image: The axes of one image, whose product is D: (height, width) or (channels, height, width); (D,) where the
            data have no pictures, or do not say how these lie in the D inputs.
        classes: Number of classes K.
        black, white: What the darkest and the brightest pixel are as inputs of a network.
    """

    image: tuple[int, ...]
    classes: int
    black: float = 0.0
    white: float = 1.0


class ReplicaLayer(nn.Module):
    """A layer of S networks side by side, float `(S, B, C)` to float `(S, B, C)`.

    Replica k computes what `replica(k)` computes alone; no number of one replica depends on another. Buffers that a
    training step changes (running statistics) are changed in `forward`, in training only.

    Attributes:
        draws: Whether the layer draws random numbers in training; then `forward` is given a key.
    """

    #: The fewest images of a batch that training needs.
    smallest_batch = 1
    draws = False

    def forward(self, x: Tensor, key: Key | None = None) -> Tensor:
        """Compute the layer; in training with `key`, if it `draws`."""
        raise NotImplementedError(f"{type(self).__name__}: implement forward(x, key)")

    def replica(self, index: int) -> nn.Module:
        """Return replica `index` as a plain torch layer for `(B, C)` with copied parameters, for export."""
        raise NotImplementedError(
            f"{type(self).__name__}: to export a network, implement replica(index), a plain torch layer"
        )

    def probe(self, x: Tensor) -> Tensor:
        """Compute the layer in training mode without random numbers and without changing buffers, for observers."""
        return x if self.draws else self(x)


class Regularizer(nn.Module):
    """Changes how S networks are trained, side by side. Override the hooks that are needed.

    No hook may mix replicas: this is checked for every regularizer, before training, by running two replicas together
    and each of them alone (`fashionreg.models.independence`). All random numbers must come from `key`.

    Every argument of the constructor must be kept as an attribute of the same name, as `describe` shows them: this is
    checked too.
    """

    #: Whether its hooks are called before those of all others, whatever the order, as it must see the images as they
    #: are.
    first = False

    #: Whether its hooks are called after those of all others, as it must see what these have done.
    last = False

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Prepare for the networks that will be trained: called once, before all other hooks but the layers.

        Args:
            network: All S networks; its parameters have a leading replica axis.
            seeds: The S seeds.
        """

    def attach_data(self, data: TrainingData) -> None:
        """Prepare for the data that the networks will be trained on: called after `attach`, before the first step.

        Raises:
            UserError: If the data are not of the kind that it needs.
        """

    def before_activation(self, features: int, seeds: Sequence[int]) -> ReplicaLayer | None:
        """Make the layer to insert before the activation of a hidden layer of `features` units; None for no layer."""
        return None

    def after_activation(self, features: int, seeds: Sequence[int]) -> ReplicaLayer | None:
        """Make the layer to insert after the activation of a hidden layer of `features` units; None for no layer."""
        return None

    def branch_end(self, features: int, depth: float, seeds: Sequence[int]) -> ReplicaLayer | None:
        """Make the layer to insert at the end of a residual branch, before its input is added; None for no layer.

        Args:
            features: Units of the branch.
            depth: Which of the L branches it is, `l / L` with l = 1 ... L from the inputs on.
            seeds: The S seeds.
        """
        return None

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Change the batch of a training step; evaluation never calls it.

        Args:
            images: float `(S, B, D)`, one batch for each replica.
            targets: int64 `(S, B)`, the labels, or float `(S, B, K)`, class probabilities, where a regularizer that
                comes before this one made them.
            key: The source of random numbers.

        Returns:
            Images and targets in these forms.
        """
        return images, targets

    def weights(self, parameters: Tensors, key: Key | None) -> Tensors:
        """Compute the parameters that the network uses from those that are trained; gradients flow through it.

        Evaluation and export use what it returns too. The hook `penalty` sees the parameters that are trained.

        Args:
            parameters: Each `(S, ...)`, by name, as regularizers that come before this one changed them; not to be
                changed in place.
            key: The source of random numbers in a training step; None in evaluation, where nothing is drawn.

        Returns:
            The same names with tensors of the same shapes.
        """
        return parameters

    def penalty(self, network: nn.Module) -> Tensor:
        """Compute a term `(S,)` in nats that is added to the training loss of each replica, but not reported."""
        weights = next(network.parameters())  # (S, ...)
        return weights.new_zeros(len(weights))

    def loss_term(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute a term `(S,)` in nats that is added to the training loss of each replica, but not reported.

        Args:
            logits: Those of the training step, float `(S, B, K)`.
            targets: int64 `(S, B)` or float `(S, B, K)`, as `batch` left them.
        """
        return logits.new_zeros(len(logits))

    def gradients(self, compute: ComputeGradients, parameters: Mapping[str, Tensor], key: Key) -> Tensors:
        """Choose the gradients with which the optimizer makes its step.

        Args:
            compute: From parameters `(S, ...)` to the gradients there, on the batch of this step, with the same random
                numbers at each call. Call it with `parameters`, or with others as sharpness-aware minimization does;
                running statistics change once in a step all the same.
            parameters: The parameters of the networks; not to be changed in place.
            key: The source of random numbers.

        Returns:
            A gradient `(S, ...)` for every parameter.
        """
        return compute(parameters)

    def after_step(self, network: nn.Module) -> None:
        """Change the networks in place after each step of the optimizer; gradients are off."""

    def after_epoch(self, network: nn.Module, metrics: Mapping[str, Tensor]) -> None:
        """Change the networks in place after each epoch and its evaluation; gradients are off.

        The metrics of the epoch are those before the change. The checkpoint of the epoch holds the networks after it,
        so that its evaluation differs from the last epoch of the record.

        Args:
            network: All S networks.
            metrics: `(S,)` for each of `train/loss`, `train/acc`, with `evaluate_train` `train/ece` and, in epochs with
                a validation, `val/loss`, `val/acc` and `val/ece`. Test metrics are not among them: test data never
                selects.
        """

    def evaluating(self, network: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which `network` holds the weights to evaluate and to export, for example an average."""
        return nullcontext()

    def predict(self, compute: ComputeLogits, images: Tensor) -> Tensor:
        """Compute the logits to evaluate, `(S, B, K)`; training never calls it.

        Override `exported` too: an exported network must compute the same.

        Args:
            compute: From images to the logits of the networks, as regularizers that come before this one changed them.
                It may be called several times.
            images: float `(S, B, D)`, or `(B, D)` shown to all replicas.
        """
        return compute(images)

    def exported(self, network: nn.Module, index: int) -> nn.Module:
        """Return a plain module that computes for replica `index` alone what `predict` computes for all.

        Args:
            network: The replica as a plain module, `(B, D)` to `(B, K)`, as regularizers that come before this one
                changed it.
            index: Which replica it is.
        """
        return network

    def overrides(self, hook: str) -> bool:
        """Return whether this regularizer overrides a hook."""
        return getattr(type(self), hook) is not getattr(Regularizer, hook)

    def describe(self) -> str:
        """Return name and non-default arguments: `dropout 0.3`, `weight decay strength=0.1`."""
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__)
        # BatchNorm becomes batch norm, and an abbreviation such as EMA stays
        words = [word if word.isupper() else word.lower() for word in name.split()]
        arguments = constructor_arguments(type(self))
        given = [
            (argument.name, getattr(self, argument.name))
            for argument in arguments
            if getattr(self, argument.name, argument.default) != argument.default
        ]
        only = len(arguments) == 1
        return " ".join([*words, *(f"{value}" if only else f"{name}={value}" for name, value in given)])


def constructor_arguments(kind: type[Regularizer]) -> list[inspect.Parameter]:
    """Return the arguments of a regularizer's constructor that have a name."""
    unnamed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [argument for argument in inspect.signature(kind).parameters.values() if argument.kind not in unnamed]


def with_hook(regularizers: Mapping[str, Regularizer], hook: str) -> dict[str, Regularizer]:
    """Return those regularizers that override a hook, by name, in order; what must be `first` or `last` is there."""
    found = {name: regularizer for name, regularizer in regularizers.items() if regularizer.overrides(hook)}
    return dict(sorted(found.items(), key=lambda item: (not item[1].first, item[1].last)))


@contextmanager
def naming(name: str, hook: str) -> Iterator[None]:
    """Turn an error of a hook into one line with the names of the regularizer in the configuration and of the hook."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"regularizers.{name}: {hook}: {text}") from error


def show_data(name: str, regularizer: Regularizer, data: TrainingData) -> None:
    """Call the hook `attach_data`.

    Raises:
        UserError: If it fails or refuses the data, with the name of the regularizer.
    """
    with naming(name, "attach_data"):
        try:
            regularizer.attach_data(data)
        except UserError as error:
            raise UserError(f"regularizers.{name}: {error}") from error


@torch.no_grad()
def end_epoch(name: str, regularizer: Regularizer, network: nn.Module, metrics: Mapping[str, Tensor]) -> None:
    """Call the hook `after_epoch`.

    Raises:
        UserError: If it fails; with the metrics that there are, if it reads another.
    """
    with naming(name, "after_epoch"):
        try:
            regularizer.after_epoch(network, metrics)
        except KeyError as error:
            if str(error.args[0]).partition("/")[0] not in ("train", "val", "test"):
                raise
            raise UserError(
                f"regularizers.{name}: after_epoch: reads {error.args[0]}; an epoch of this run has "
                f"{', '.join(metrics)} (val/* needs data.init_args.val_size, and no epoch is evaluated that "
                "trainer.check_val_every_n_epoch leaves out)"
            ) from error


def per_replica(values: Tensor, like: Tensor) -> Tensor:
    """Append axes of length 1 to `(S,)`, so that it broadcasts against `like`, `(S, ...)`."""
    return values.view(-1, *[1] * (like.dim() - 1))


def incoming_axes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return, for the name of each weight matrix, the axes along which the weights lie that enter the same unit.

    A `ReplicaLayer` keeps `(S, in, out)`. All other modules are those of torch, stacked: `(S, out, in, ...)`.
    """
    axes = {}
    for prefix, module in network.named_modules():
        for name, x in module.named_parameters(prefix, recurse=False):
            if x.dim() > 2:
                axes[name] = (1,) if isinstance(module, ReplicaLayer) else tuple(range(2, x.dim()))
    return axes


def buffer_name(name: str) -> str:
    """Return a name for a buffer that belongs to a parameter or buffer of a network; it cannot hold a dot."""
    return name.replace(".", "/")


def state_of(network: nn.Module, names: Sequence[str]) -> Tensors:
    """Return parameters and buffers of a network by their names."""
    # not by `state_dict`, which cannot be compiled
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    return {name: tensors[name] for name in names}


@torch.no_grad()
def swap_(network: nn.Module, others: Tensors) -> None:
    """Exchange, in place, parameters and buffers of `network` with tensors of the same names."""
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    for name, other in others.items():
        own = state[name].clone()
        state[name].copy_(other)
        other.copy_(own)
