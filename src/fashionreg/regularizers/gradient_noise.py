"""Gaussian noise on the gradients that fades as training goes on (Neelakantan et al. 2015)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key
from fashionreg.regularizers.base import ComputeGradients, Regularizer, Tensors


def noise_variance(step: Tensor, eta: Tensor | float, gamma: Tensor | float) -> Tensor:
    """Return the variance of the noise in a step: `eta / (1 + step) ** gamma`, equation 1 of Neelakantan et al. (2015).

    >>> noise_variance(torch.tensor(3), 1.0, 0.5)
    tensor(0.5000)

    Args:
        step: How many steps were made before, 0 or more.
        eta: The variance in the first step.
        gamma: How fast it fades.
    """
    return eta / (1 + step) ** gamma


class GradientNoise(Regularizer):
    """Add normal noise of mean 0 and variance `eta / (1 + t) ** gamma` to each element of the gradients in step t.

    Neelakantan et al. (2015) report that it helps very deep networks out of poor starts. It comes before gradient
    clipping (`trainer.gradient_clip_val`), and before the optimizer, whose learning rate scales it.

    Args:
        eta: Variance in the first step, 0 or more; the paper chooses 0.01, 0.3 or 1, for gradients of networks that
            start badly. 0 changes nothing.
        gamma: Power with which the variance fades, 0 or more; the paper uses 0.55, 0 keeps it constant.
    """

    steps: Tensor
    variance: Tensor
    power: Tensor

    def __init__(self, eta: float = 0.01, gamma: float = 0.55) -> None:
        super().__init__()
        for name, value in (("eta", eta), ("gamma", gamma)):
            if not 0 <= value < float("inf"):
                raise UserError(f"gradient_noise: {name}: must be at least 0 and finite, got {value}")
        self.eta = eta
        self.gamma = gamma
        # tensors, not constants, so that one compiled step serves every strength
        self.register_buffer("variance", torch.tensor(float(eta)), persistent=False)
        self.register_buffer("power", torch.tensor(float(gamma)), persistent=False)

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Begin to count the steps; a resumed run goes on counting."""
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def gradients(self, compute: ComputeGradients, parameters: Mapping[str, Tensor], key: Key) -> Tensors:
        """Add noise to the gradients."""
        found = compute(parameters)
        std = noise_variance(self.steps, self.variance, self.power).sqrt()
        sizes = [x[0].numel() for x in parameters.values()]
        # one draw for all of them: (S, total), then (S, ...) for each
        noise = (std * key.normal(sum(sizes))).split(sizes, dim=1)
        return {
            name: found[name] + part.view_as(x).to(x.dtype)
            for (name, x), part in zip(parameters.items(), noise, strict=True)
        }

    def after_step(self, network: nn.Module) -> None:
        """Count the step."""
        self.steps += 1
