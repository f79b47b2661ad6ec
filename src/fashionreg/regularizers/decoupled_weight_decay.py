"""Weight decay that is no part of the gradient (Loshchilov and Hutter 2019)."""

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer


class DecoupledWeightDecay(Regularizer):
    """Multiply the weights by `1 - strength` after each step of the optimizer.

    Adaptive optimizers rescale a penalty's gradient, but not this (Loshchilov and Hutter 2019). Their lambda is the
    strength here, whatever the learning rate; `weight_decay` of `torch.optim.AdamW` is multiplied by it.

    Args:
        strength: Share that is taken off in each step, 0 to 1; 1e-6 to 1e-3 is usual.
        biases: Whether biases and the parameters of normalization layers decay too.
    """

    kept: Tensor

    def __init__(self, strength: float = 1e-5, biases: bool = False) -> None:
        super().__init__()
        if not 0 <= strength <= 1:
            raise UserError(f"decoupled_weight_decay: strength: must be from 0 to 1, got {strength}")
        self.strength = strength
        self.biases = biases
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("kept", torch.tensor(1 - strength, dtype=torch.float64), persistent=False)

    def after_step(self, network: nn.Module) -> None:
        """Shrink the weights of all replicas."""
        for x in network.parameters():
            if x.requires_grad and (self.biases or x.dim() > 2):
                x.mul_(self.kept.to(x.dtype))
