"""DropConnect: dropout of weights (Wan et al. 2013)."""

import torch
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.randomness import Key, bernoulli_threshold
from fashionreg.regularizers.base import Regularizer, Tensors
from fashionreg.regularizers.dropout import dropout


class DropConnect(Regularizer):
    """Set each weight to zero with probability p in each training step, and scale the others by `1 / (1 - p)`.

    All images of a batch share one mask, as in Merity et al. (2018); Wan et al. (2013) draw one for each image.
    Evaluation uses the mean of the weights, which are the weights themselves. Biases are kept.

    Args:
        p: Probability with which a weight is dropped, 0 <= p < 1; 0.1 to 0.5 is usual, 0 changes nothing.
    """

    share: Tensor
    threshold: Tensor

    def __init__(self, p: float = 0.3) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"drop_connect: p: must be at least 0 and below 1, got {p}")
        self.p = p
        # tensors, not constants, so that a compiled step serves every p
        self.register_buffer("share", torch.tensor(p), persistent=False)
        self.register_buffer("threshold", bernoulli_threshold(1 - p), persistent=False)

    def weights(self, parameters: Tensors, key: Key | None) -> Tensors:
        """Drop elements of every weight matrix, in training."""
        if key is None or not self.p:
            return parameters
        matrices = [name for name, x in parameters.items() if x.dim() > 2]
        used = dict(parameters)
        for number, name in enumerate(matrices):
            x = parameters[name]
            keep = key.fold_in(number).bits(*x.shape[1:]) < self.threshold
            used[name] = dropout(x, keep, self.share.to(x.dtype))
        return used
