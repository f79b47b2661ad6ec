"""The multilayer perceptron of both notebooks, as a plain module with a replica axis."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.models.layers import ReplicaBatchNorm, ReplicaDropout, ReplicaLinear
from fashionreg.randomness import generator, random_mask

#: The widest layer: torch can count the bytes of a matrix between two of these.
MAX_WIDTH = 10**8

#: What a layer of each kind is called, before its number.
KINDS: dict[type[nn.Module], str] = {
    ReplicaLinear: "linear",
    ReplicaBatchNorm: "batch_norm",
    nn.ReLU: "relu",
    ReplicaDropout: "dropout",
}


class MLP(nn.Module):
    """S multilayer perceptrons side by side; each hidden layer is linear, [batch norm], ReLU, [dropout].

    Args:
        sizes: Width of the input, of each hidden layer, and number of classes: `[784, 128, 64, 10]`.
        seeds: One seed for each of the S replicas; seed k alone fixes the initial parameters of replica k.
        batch_norm: Whether to normalize before each activation.
        dropout: Probability with which a hidden unit is dropped in training, 0 <= dropout < 1; 0 is no dropout.

    Raises:
        UserError: If a width is not positive or `dropout` is out of range.
    """

    def __init__(
        self, sizes: Sequence[int], seeds: Sequence[int], *, batch_norm: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not all(isinstance(size, int) and 1 <= size <= MAX_WIDTH for size in sizes):
            raise UserError(
                f"hidden_sizes: each width must be a whole number from 1 to {MAX_WIDTH:,}, got {list(sizes[1:-1])}"
            )
        if not 0 <= dropout < 1:
            raise UserError(f"dropout: must be at least 0 and below 1, got {dropout}")
        generators = [generator(seed, "init") for seed in seeds]
        layers: list[nn.Module] = []
        for fan_in, width in pairwise(sizes[:-1]):
            layers.append(ReplicaLinear(fan_in, width, generators))
            if batch_norm:
                layers.append(ReplicaBatchNorm(len(seeds), width))
            layers.append(nn.ReLU())
            if dropout > 0:
                layers.append(ReplicaDropout(dropout, width))
        layers.append(ReplicaLinear(sizes[-2], sizes[-1], generators))
        self.layers = nn.ModuleList(layers)
        self.sizes = list(sizes)
        self.batch_norm = batch_norm
        self.dropout = dropout

    def describe(self) -> str:
        """The architecture in a few words: `784-64-32-10, batch norm, dropout 0.3`."""
        regularizers = ["batch norm"] * self.batch_norm + [f"dropout {self.dropout}"] * (self.dropout > 0)
        return ", ".join(["-".join(map(str, self.sizes)), *regularizers])

    def layer_names(self) -> list[str]:
        """A name for each of `layers`, counted by kind: `linear1, batch_norm1, relu1, dropout1, linear2, ...`."""
        counts: Counter[str] = Counter()
        names = []
        for layer in self.layers:
            kind = KINDS[type(layer)]
            counts[kind] += 1
            names.append(f"{kind}{counts[kind]}")
        return names

    def forward(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        """Logits of every replica.

        Args:
            images: float `(S, B, sizes[0])`, or `(B, sizes[0])` shown to all replicas.
            keys: int32 `(S, 2)`, the source of this step's dropout masks; needed in training with dropout only.

        Returns:
            float `(S, B, sizes[-1])`, unnormalised.

        Raises:
            ValueError: In training with dropout, if there are no keys.
        """
        dropping = self.training and self.dropout > 0
        masks = self._draw_masks(keys, images.shape[-2]) if dropping else iter(())
        x = images
        for layer in self.layers:
            if not isinstance(layer, ReplicaDropout):
                x = layer(x)
            elif dropping:
                x = layer(x, next(masks))
        return x

    def _draw_masks(self, keys: Tensor | None, batch: int) -> Iterator[Tensor]:
        if keys is None:
            raise ValueError("dropout in training needs keys (int32 (S, 2)), the source of its masks; got None")
        # one draw for all layers: on small tensors the number of operations is the cost
        counts = [batch * layer.features for layer in self.layers if isinstance(layer, ReplicaDropout)]
        return iter(random_mask(keys, 1 - self.dropout, sum(counts)).split(counts, dim=1))

    @torch.no_grad()
    def pre_activations(self, images: Tensor) -> list[Tensor]:
        """What each ReLU is given, as in training but without dropout; running statistics stay as they are.

        Args:
            images: float `(S, B, sizes[0])`, or `(B, sizes[0])` shown to all replicas, B at least 2.

        Returns:
            For each hidden layer float `(S, B, C)`.
        """
        inputs = []
        x = images
        for layer in self.layers:
            if isinstance(layer, ReplicaBatchNorm):
                x = layer.by_own_statistics(x)
            elif not isinstance(layer, ReplicaDropout):
                if isinstance(layer, nn.ReLU):
                    inputs.append(x)
                x = layer(x)
        return inputs

    @torch.no_grad()
    def replica(self, index: int) -> nn.Sequential:
        """Replica `index` as a plain `torch.nn.Sequential`, with copies of its parameters and statistics."""
        plain = [
            layer.replica(index) if isinstance(layer, ReplicaLinear | ReplicaBatchNorm | ReplicaDropout) else nn.ReLU()
            for layer in self.layers
        ]
        return nn.Sequential(*plain).train(self.training)
