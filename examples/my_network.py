"""A network of your own, written for one seed as in any PyTorch program; fashionreg stacks it for many."""

import torch.nn.functional as F
from torch import Tensor, nn


class MyNetwork(nn.Module):
    """Two layers with layer norm and GELU, and a residual connection around the second.

    Args:
        inputs: Number of inputs, given by the data.
        classes: Number of classes, given by the data.
        width: Width of both layers.
    """

    def __init__(self, inputs: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.norm = nn.LayerNorm(width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, inputs) to logits (B, classes)."""
        x = F.gelu(self.norm(self.first(images)))  # (B, width)
        x = x + F.gelu(self.second(x))  # (B, width)
        return self.last(x)
