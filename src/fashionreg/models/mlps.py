"""The networks of both notebooks as LightningModules: without any regularizer, and with them."""

from collections.abc import Sequence

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

from fashionreg.models.classifier import Classifier
from fashionreg.models.networks import MLP

#: Fashion-MNIST: 28 x 28 pixels, ten classes.
INPUT_SIZE, NUM_CLASSES = 784, 10


class BaselineMLP(Classifier):
    """The multilayer perceptron without any regularizer: linear and ReLU for each hidden layer, then linear.

    Args:
        hidden_sizes: Width of each hidden layer.
        optimizer: The optimizer; weight decay is its argument.
        lr_scheduler: Learning rate scheduler, stepped after each epoch; none by default.
        seeds: One replica is trained for each seed.
    """

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (64, 32),
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
        seeds: Sequence[int] = (0,),
    ) -> None:
        network = MLP([INPUT_SIZE, *hidden_sizes, NUM_CLASSES], seeds)
        super().__init__(network, seeds, optimizer, lr_scheduler)


class RegularizedMLP(Classifier):
    """The multilayer perceptron with regularizers: linear, [batch norm], ReLU, [dropout] for each hidden layer.

    Args:
        hidden_sizes: Width of each hidden layer.
        batch_norm: Whether to normalize the input of each ReLU (Ioffe and Szegedy 2015).
        dropout: Probability with which a hidden unit is dropped in training, 0 <= dropout < 1.
        optimizer: The optimizer; weight decay is its argument.
        lr_scheduler: Learning rate scheduler, stepped after each epoch; none by default.
        seeds: One replica is trained for each seed.
    """

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (64, 32),
        batch_norm: bool = False,
        dropout: float = 0.0,
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
        seeds: Sequence[int] = (0,),
    ) -> None:
        network = MLP([INPUT_SIZE, *hidden_sizes, NUM_CLASSES], seeds, batch_norm=batch_norm, dropout=dropout)
        super().__init__(network, seeds, optimizer, lr_scheduler)
