"""The networks of both notebooks as LightningModules, without any regularizer and with them, and a user's own."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier
from fashionreg.models.networks import MLP, ReplicaNetwork
from fashionreg.models.stacked import NetworkCallable, StackedNetwork
from fashionreg.regularizers import BatchNorm, Dropout, Regularizer
from fashionreg.regularizers.base import LAYER_HOOKS


class BaselineMLP(Classifier):
    """The multilayer perceptron without any regularizer: linear and ReLU for each hidden layer, then linear.

    Args:
        hidden_sizes: Width of each hidden layer.
        optimizer: The optimizer; weight decay is its argument.
        lr_scheduler: Learning rate scheduler; none by default.
        seeds: One replica is trained for each seed.
    """

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (64, 32),
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__(None, optimizer, lr_scheduler, seeds)
        self.hidden_sizes = hidden_sizes

    def make_network(self, inputs: int, classes: int, seeds: Sequence[int]) -> MLP:
        """Make multilayer perceptrons of the chosen widths."""
        return MLP([inputs, *self.hidden_sizes, classes], seeds)


class RegularizedMLP(Classifier):
    """The multilayer perceptron with regularizers.

    Args:
        hidden_sizes: Width of each hidden layer.
        batch_norm: Short form of the regularizer `batch_norm: {class_path: BatchNorm}`.
        dropout: Short form of the regularizer `dropout: {class_path: Dropout, init_args: {p: ...}}`; 0 is none.
        regularizers: Regularizers by name, each a class path with its arguments; they act in this order.
        optimizer: The optimizer; weight decay is its argument.
        lr_scheduler: Learning rate scheduler; none by default.
        seeds: One replica is trained for each seed.
        residual: Whether each hidden layer that is as wide as what it is given adds its input to its output.
    """

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (64, 32),
        batch_norm: bool = False,
        dropout: float = 0.0,
        regularizers: Mapping[str, Regularizer] | None = None,
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
        seeds: Sequence[int] = (0,),
        residual: bool = False,
    ) -> None:
        named = dict(regularizers or {})
        short: dict[str, Regularizer] = {}
        if batch_norm:
            short["batch_norm"] = BatchNorm()
        if dropout != 0:
            short["dropout"] = Dropout(dropout)
        if twice := short.keys() & named.keys():
            raise UserError(f"{min(twice)}: is given in its short form and among the regularizers; give it once")
        super().__init__(short | named, optimizer, lr_scheduler, seeds)
        self.hidden_sizes = hidden_sizes
        self.residual = residual

    def make_network(self, inputs: int, classes: int, seeds: Sequence[int]) -> MLP:
        """Make multilayer perceptrons of the chosen widths, with the layers of the regularizers.

        Raises:
            UserError: If there are to be residual connections, and no hidden layer can have one.
        """
        if self.residual and not any(fan_in == width for fan_in, width in pairwise([inputs, *self.hidden_sizes])):
            raise UserError(
                f"residual: needs a hidden layer as wide as what it is given, got widths {[inputs, *self.hidden_sizes]}"
            )
        named = {name: one for name, one in self.regularizers.items() if isinstance(one, Regularizer)}
        return MLP([inputs, *self.hidden_sizes, classes], seeds, named, residual=self.residual)


class StackedClassifier(Classifier):
    """Any network written as a `torch.nn.Module` for one seed, trained for many side by side.

    Args:
        network: Makes the network from its number of inputs and of classes: a class path with further arguments.
        regularizers: Regularizers by name; they cannot insert layers here, as the network is not made of known ones.
        optimizer: The optimizer; weight decay is its argument.
        lr_scheduler: Learning rate scheduler; none by default.
        seeds: One replica is trained for each seed.
    """

    def __init__(
        self,
        network: NetworkCallable,
        regularizers: Mapping[str, Regularizer] | None = None,
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__(regularizers, optimizer, lr_scheduler, seeds)
        for name, one in self.regularizers.items():
            assert isinstance(one, Regularizer)
            if any(map(one.overrides, LAYER_HOOKS)):
                raise UserError(
                    f"regularizers.{name}: inserts layers, which only RegularizedMLP has a place for; put them into "
                    "your network"
                )
        self.make_plain_network = network

    def make_network(self, inputs: int, classes: int, seeds: Sequence[int]) -> ReplicaNetwork:
        """Make and stack S of the user's networks."""
        return StackedNetwork(self.make_plain_network, inputs, classes, seeds)
