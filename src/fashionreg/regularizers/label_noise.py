"""Wrong labels, to study how robust training is (Zhang et al. 2017), or as a regularizer (Xie et al. 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fashionreg.errors import UserError
from fashionreg.randomness import Key, bernoulli_threshold, fold_in, replica_keys
from fashionreg.regularizers.base import Regularizer, TrainingData


def move(targets: Tensor, steps: Tensor, classes: int) -> Tensor:
    """Add `steps` to each label, modulo the number of classes.

    Args:
        targets: int64 `(S, B)`, or float `(S, B, K)`, whose probabilities move with their classes.
        steps: int64 `(S, B)`, 0 to K - 1; 0 leaves a label as it is.
        classes: Number of classes K.
    """
    if not targets.is_floating_point():
        return (targets + steps) % classes
    source = (torch.arange(classes, device=targets.device) - steps.unsqueeze(-1)) % classes  # (S, B, K)
    return targets.gather(-1, source)


def fingerprints(pixels: Tensor) -> Tensor:
    """Return a number for each image that depends on all of its pixels and their places, int32 `(S, B)`.

    Args:
        pixels: int32 `(S, B, D)`.
    """
    position = torch.arange(pixels.shape[-1], dtype=torch.int32, device=pixels.device)
    # a sum of hashes, each of a pixel in its place; int32 sums wrap around
    return fold_in(pixels + 256 * position, 0).sum(dim=-1, dtype=torch.int32)


class LabelNoise(Regularizer):
    """Give each training image a wrong label with probability p, any other class being equally likely.

    By default an image keeps its label, right or wrong, throughout the training of a seed, as in a data set with
    mistakes (Zhang et al. 2017, "partially corrupted labels"): which label it gets depends on the seed and on its
    pixels alone. So it acts before all other regularizers, and equal images get equal labels. With `fixed: false` it
    draws anew in every step, which is a regularizer (DisturbLabel, Xie et al. 2016, who draw from all classes: their
    rate is `p * K / (K - 1)`).

    The training metrics of the steps are those of the wrong labels; `val`, `test`, and `train` with `evaluate_train`,
    have the right ones.

    Args:
        p: Share of wrong labels, 0 to 1; 0.1 to 0.6 is usual in studies, 0.05 to 0.2 as a regularizer, 0 changes
            nothing.
        fixed: Whether an image keeps its label.
    """

    first = True
    keys: Tensor
    threshold: Tensor

    def __init__(self, p: float = 0.2, fixed: bool = True) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError(f"label_noise: p: must be from 0 to 1, got {p}")
        self.p = p
        self.fixed = fixed
        self._data = TrainingData((1,), 2)
        # a tensor, not a constant, so that one compiled step serves every p
        self.register_buffer("threshold", bernoulli_threshold(p), persistent=False)

    def attach(self, network: nn.Module, seeds: Sequence[int]) -> None:
        """Make a key for each seed, the same in all epochs."""
        self.register_buffer("keys", replica_keys(list(seeds), "label_noise"), persistent=False)  # (S, 2)

    def attach_data(self, data: TrainingData) -> None:
        """Keep the number of classes and the range of the pixels.

        Raises:
            UserError: With a single class, which has no wrong label.
        """
        if data.classes < 2:
            raise UserError("needs at least two classes; the data have one")
        self._data = data

    def batch(self, images: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Change some of the targets."""
        _, classes, black, white = self._data
        if self.fixed:
            # the pixels 0 to 255 as they were: exact, however an input was computed from them
            pixels = ((images - black) * (255 / (white - black))).round().to(torch.int32)
            words = fold_in(self.keys.unsqueeze(1), fingerprints(pixels).unsqueeze(-1))  # (S, B, 2)
            words = fold_in(words, 1)
        else:
            words = key.bits(images.shape[1], 2)
        wrong, which = words.unbind(-1)
        uniform = ((which >> 8) & 0xFFFFFF) * 2**-24
        other = 1 + (uniform * (classes - 1)).long()  # 1 to K - 1
        return images, move(targets, torch.where(wrong < self.threshold, other, 0), classes)
