"""L2 regularization of the weights, also known as weight decay or ridge penalty."""

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer


def squared_norm(x: Tensor) -> Tensor:
    """Sum the squared elements of each replica: float `(S, ...)` to `(S,)`."""
    return x.flatten(1).square().sum(dim=1)


class WeightDecay(Regularizer):
    """Add `strength / 2 * ||w||^2` to the training loss of each network (Krogh and Hertz 1991).

    With plain SGD it computes what the optimizer's argument `weight_decay` computes; with adaptive optimizers it is
    coupled L2 regularization, not the decoupled weight decay of AdamW (Loshchilov and Hutter 2019).

    Args:
        strength: Factor of the penalty, 0 or more; 1e-5 to 1e-2 is usual.
        biases: Whether biases and the parameters of normalization layers are penalized too, as torch's optimizers do.
    """

    factor: Tensor

    def __init__(self, strength: float = 1e-4, biases: bool = True) -> None:
        super().__init__()
        if not strength >= 0:
            raise UserError(f"weight_decay: strength: must not be negative, got {strength}")
        self.strength = strength
        self.biases = biases
        # a tensor, not a constant, so that one compiled step serves every strength
        self.register_buffer("factor", torch.tensor(strength / 2), persistent=False)

    def penalty(self, network: nn.Module) -> Tensor:
        """Compute the penalty of each replica, `(S,)`, in nats."""
        # a weight matrix has the axes (S, in, out), a bias and the parameters of a normalization (S, out)
        penalized = [x for x in network.parameters() if x.requires_grad and (self.biases or x.dim() > 2)]
        return self.factor * sum(map(squared_norm, penalized), super().penalty(network))
