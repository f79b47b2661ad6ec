"""Labels and class probabilities: what targets of a batch may be."""

import torch
from torch import Tensor


def probabilities(targets: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return targets as class probabilities.

    >>> probabilities(torch.tensor([[1, 0]]), 2, torch.float32)
    tensor([[[0., 1.],
             [1., 0.]]])

    Args:
        targets: int64 `(S, B)`, or float `(S, B, K)`, which stays as it is.
        classes: Number of classes K.
        dtype: The type of the result.

    Returns:
        float `(S, B, K)`.
    """
    if targets.is_floating_point():
        return targets.to(dtype)
    # not by one_hot, which a compiled step cannot contain: it looks at the numbers
    return (targets.unsqueeze(-1) == torch.arange(classes, device=targets.device)).to(dtype)
