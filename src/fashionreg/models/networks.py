"""Networks with a replica axis: what a network must offer, and the multilayer perceptron of both notebooks."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.models.layers import ReplicaLinear, Residual
from fashionreg.randomness import Key, generator
from fashionreg.regularizers.base import Regularizer, ReplicaLayer, naming
from fashionreg.text import counted

#: The widest layer: torch can count the bytes of a matrix between two of these.
MAX_WIDTH = 10**8

Keys = Mapping[str, Key]


class ReplicaNetwork(nn.Module, ABC):
    """S networks side by side: what a network must offer to be trained, exported and observed.

    Every parameter and every buffer has a leading replica axis, and no number of one replica depends on another. A
    network written for a single seed becomes one by `fashionreg.models.StackedNetwork`.
    """

    @property
    def draws(self) -> list[str]:
        """Names of the consumers of random numbers in `forward`; in training it is given a key for each."""
        return []

    @property
    def smallest_batch(self) -> int:
        """The fewest images that a training step needs: 2 with batch statistics."""
        return 1

    @abstractmethod
    def forward(self, images: Tensor, keys: Keys | None = None) -> Tensor:
        """Compute the logits of every replica.

        Args:
            images: float `(S, B, D)`, or `(B, D)` shown to all replicas.
            keys: A key for each of `draws`; needed in training.

        Returns:
            Unnormalized logits, float `(S, B, K)`.
        """

    @abstractmethod
    def replica(self, index: int) -> nn.Module:
        """Return replica `index` as a plain torch module, `(B, D)` to `(B, K)`, with copied parameters."""

    @abstractmethod
    def describe(self) -> str:
        """Return a short description of the architecture: `784-64-32-10`."""

    def readable_parameters(self) -> dict[str, nn.Parameter]:
        """Return each parameter `(S, ...)` by a name for a human reader: `linear1.weight`."""
        return dict(self.named_parameters())

    def pre_activations(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the input of each activation, by name, float `(S, B, C)`, in training mode without random numbers.

        Raises:
            UserError: If this network does not implement it.
        """
        raise UserError(f"{type(self).__name__}: does not show its pre-activations; implement pre_activations(images)")

    def hidden_weights(self) -> dict[str, nn.Parameter]:
        """Return the weights `(S, ...)` of each of `pre_activations`, by the same names."""
        raise UserError(f"{type(self).__name__}: does not show its hidden weights; implement hidden_weights()")


@contextmanager
def single_precision() -> Iterator[None]:
    """Make tensors float32 by default: initial parameters are drawn so, whatever the precision of the trainer."""
    precision = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(precision)


def _layers(
    regularizers: Mapping[str, Regularizer], hook: str, *arguments: int | float | Sequence[int]
) -> list[tuple[str, nn.Module]]:
    """Return the layers that a hook of the regularizers inserts, with the name of each regularizer."""
    layers = []
    for name, one in regularizers.items():
        with naming(name, hook):
            layers.append((name, getattr(one, hook)(*arguments)))
    return [(name, layer) for name, layer in layers if layer is not None]


class MLP(ReplicaNetwork):
    """S multilayer perceptrons: each hidden layer is linear, [layers of regularizers], ReLU, [layers of regularizers].

    With residual connections a hidden layer that is as wide as what it is given is a branch, to whose output its input
    is added: `x + branch(x)` (He et al. 2016).

    Args:
        sizes: Width of the input, of each hidden layer, and number of classes: `[784, 128, 64, 10]`.
        seeds: One seed for each of the S replicas; seed k alone fixes the initial parameters of replica k.
        regularizers: By name; their layers stand before and after each activation in the order of this mapping.
        residual: Whether there are residual connections.

    Attributes:
        branches: For each residual branch the index in `layers` of its first layer, and that after its last one.

    Raises:
        UserError: If a width is not positive.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        seeds: Sequence[int],
        regularizers: Mapping[str, Regularizer] | None = None,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if not all(isinstance(size, int) and 1 <= size <= MAX_WIDTH for size in sizes):
            raise UserError(
                f"hidden_sizes: each width must be a whole number from 1 to {MAX_WIDTH:,}, got {list(sizes[1:-1])}"
            )
        regularizers = regularizers or {}
        generators = [generator(seed, "init") for seed in seeds]
        named: list[tuple[str, nn.Module]] = []
        self.branches: dict[int, int] = {}
        count = sum(fan_in == width for fan_in, width in pairwise(sizes[:-1])) if residual else 0
        for fan_in, width in pairwise(sizes[:-1]):
            first = len(named)
            named.append(("linear", ReplicaLinear(fan_in, width, generators)))
            named += _layers(regularizers, "before_activation", width, seeds)
            named.append(("relu", nn.ReLU()))
            named += _layers(regularizers, "after_activation", width, seeds)
            if count and fan_in == width:
                depth = (len(self.branches) + 1) / count
                named += _layers(regularizers, "branch_end", width, depth, seeds)
                self.branches[first] = len(named)
        named.append(("linear", ReplicaLinear(sizes[-2], sizes[-1], generators)))
        self.layers = nn.ModuleList(layer for _, layer in named)
        self.sizes = list(sizes)
        for name, layer in named:
            if not isinstance(layer, ReplicaLayer | nn.ReLU):
                raise UserError(
                    f"regularizers.{name}: a layer must be a ReplicaLayer (docs/extend.md), got {type(layer).__name__}"
                )
        counts: Counter[str] = Counter()
        #: A name for each of `layers` to show, counted by kind: linear1, batch_norm1, relu1, dropout1, linear2, ...
        self.layer_names: list[str] = []
        #: The name under which each of `layers` receives its key: linear/1, ..., dropout/1. The slash keeps layer 11 of
        #: `dropout` apart from layer 1 of `dropout1`, which are shown by the same name.
        self.key_names: list[str] = []
        for name, _ in named:
            counts[name] += 1
            self.layer_names.append(f"{name}{counts[name]}")
            self.key_names.append(f"{name}/{counts[name]}")

    @property
    def draws(self) -> list[str]:
        """The layers that draw random numbers in training."""
        layers = zip(self.key_names, self.layers, strict=True)
        return [name for name, layer in layers if isinstance(layer, ReplicaLayer) and layer.draws]

    @property
    def smallest_batch(self) -> int:
        """The fewest images that a training step needs."""
        return max(layer.smallest_batch for layer in self.layers if isinstance(layer, ReplicaLayer))

    def _named_layers(self) -> list[tuple[str, nn.Module]]:
        return list(zip(self.layer_names, self.layers, strict=True))

    def describe(self) -> str:
        """Return the widths: `784-64-32-10`."""
        widths = "-".join(map(str, self.sizes))
        return f"{widths} with {counted(len(self.branches), 'residual connection')}" if self.branches else widths

    def readable_parameters(self) -> dict[str, nn.Parameter]:
        """Return each parameter `(S, ...)` by the name of its layer: `linear1.weight`."""
        return {
            f"{name}.{kind}": parameter
            for name, layer in self._named_layers()
            for kind, parameter in layer.named_parameters()
        }

    def forward(self, images: Tensor, keys: Keys | None = None) -> Tensor:
        """Compute the logits, float `(S, B, K)`; see `ReplicaNetwork.forward`.

        Raises:
            ValueError: In training, if a layer that draws random numbers has no key.
        """

        def compute(position: int, x: Tensor) -> Tensor:
            name, layer = self.key_names[position], self.layers[position]
            y: Tensor = layer(x, keys[name]) if keys and name in keys else layer(x)
            return y

        return self._through_layers(images, compute)

    def _through_layers(self, x: Tensor, compute: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Apply `compute`, which is given the index of each layer and its input, and the residual connections."""
        skipped, end = x, 0
        for position in range(len(self.layers)):
            if position in self.branches:
                skipped, end = x, self.branches[position]
            x = compute(position, x)
            if position + 1 == end:
                x = skipped + x
        return x

    @torch.no_grad()
    def pre_activations(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the input of each ReLU in training mode without random numbers; running statistics do not change.

        Args:
            images: float `(S, B, sizes[0])`, or `(B, sizes[0])` shown to all replicas, B at least `smallest_batch`.

        Returns:
            For each hidden layer (`relu1`, `relu2`, ...) float `(S, B, C)`.
        """
        inputs = {}

        def compute(position: int, x: Tensor) -> Tensor:
            layer = self.layers[position]
            if isinstance(layer, nn.ReLU):
                inputs[self.layer_names[position]] = x
            y: Tensor = layer.probe(x) if isinstance(layer, ReplicaLayer) else layer(x)
            return y

        self._through_layers(images, compute)
        return inputs

    def hidden_weights(self) -> dict[str, nn.Parameter]:
        """Return the weights `(S, in, out)` before each ReLU."""
        names = [name for name, layer in self._named_layers() if isinstance(layer, nn.ReLU)]
        linear = [layer.weight for layer in self.layers if isinstance(layer, ReplicaLinear)]
        return dict(zip(names, linear, strict=False))

    @torch.no_grad()
    def replica(self, index: int) -> nn.Sequential:
        """Return replica `index` as a plain `torch.nn.Sequential`, with copied parameters and statistics.

        Each residual branch is a module of it, a `Residual`.
        """
        layers = [layer.replica(index) if isinstance(layer, ReplicaLayer) else nn.ReLU() for layer in self.layers]
        blocks: list[nn.Module] = []
        done = 0
        for first, end in self.branches.items():
            blocks += [*layers[done:first], Residual(*layers[first:end])]
            done = end
        return nn.Sequential(*blocks, *layers[done:]).train(self.training)
