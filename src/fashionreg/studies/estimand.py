"""The estimand: which number of a learning curve stands for a seed, declared before anything runs.

The last epoch alone is mostly noise of stochastic gradient descent where training is long; a mean of the last epochs is
not.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import pandas as pd

from fashionreg.runs.schema import Between, SchemaError

Kind = Literal["last", "tail", "best"]

#: The rule of a tail without a length: from this many epochs on the last tenth of them, and at least so many; the last
#: epoch where training is shorter, since a network that still learns is not at its end.
LONG, LEAST = 20, 3

MAX_EPOCHS = 1_000_000


@dataclass(frozen=True)
class Estimand:
    """What of a learning curve counts.

    Attributes:
        kind: `last` epoch; `tail`, the mean of the last epochs; `best`, the epoch with the highest validation accuracy.
        epochs: Of a tail: how many epochs.
        share: Of a tail, in place of `epochs`: which share of the epochs. With neither, the rule of `LONG` and `LEAST`.
    """

    kind: Kind = "last"
    epochs: Annotated[int, Between(1, MAX_EPOCHS)] | None = None
    share: Annotated[float, Between(0, 1)] | None = None

    def __post_init__(self) -> None:
        lengths = [length for length in (self.epochs, self.share) if length is not None]
        if len(lengths) > (self.kind == "tail"):
            raise SchemaError("estimate: only a tail has a length, and either epochs or a share")
        if self.share is not None and not 0 < self.share < 1:
            raise SchemaError(f"estimate: a share must be above 0 and below 1, got {self.share:g}")

    def length(self, total: int) -> int:
        """Return over how many of the last epochs a curve of `total` epochs is averaged.

        >>> [Estimand("tail").length(total) for total in (5, 20, 100)]
        [1, 3, 10]
        """
        if self.kind != "tail":
            return 1
        if self.epochs is not None:
            return min(self.epochs, total)
        if self.share is not None:
            return max(1, round(self.share * total))
        return max(LEAST, round(total / 10)) if total >= LONG else 1

    def of(self, curves: pd.DataFrame, best: "pd.Series[int] | None") -> "pd.Series[float]":
        """Return the number of each seed; not finite where an epoch that counts is not.

        Args:
            curves: A row for each seed, a column for each epoch (from 1, in order).
            best: For each seed the epoch with the highest validation accuracy, if there are validation images.
        """
        if self.kind == "best" and best is not None:
            return pd.Series({seed: curves.at[seed, epoch] for seed, epoch in best.items()}, dtype=float)
        tail = curves.iloc[:, -self.length(curves.shape[1]) :]
        # the value itself where there is one: a mean may differ from it by rounding
        return tail.iloc[:, 0] if tail.shape[1] == 1 else tail.mean(axis=1, skipna=False)

    def phrase(self, totals: Collection[int]) -> str:
        """Return how numbers of curves of these lengths are made, as a part of a sentence.

        A length of 0 is that of a training of which one number is known.

        >>> Estimand("tail").phrase([2, 3]), Estimand("tail").phrase([20, 3])
        ('after the last epoch', 'in the mean of the last epochs')
        """
        if not any(totals):
            return "in the given results"
        if self.kind == "best":
            return "at the best epoch by validation accuracy"
        if len(set(totals)) > 1:
            several = any(self.length(total) > 1 for total in totals)
            return "in the mean of the last epochs" if several else "after the last epoch"
        total = max(totals)
        if (length := self.length(total)) == 1:
            return f"after {total:,} epoch{'s' * (total != 1)}"
        return f"in the mean of the last {length:,} of {total:,} epochs"


def title(phrase: str) -> str:
    """Return `Estimand.phrase` as the beginning of a caption: `Mean of the last 10 of 100 epochs`."""
    words = phrase.removeprefix("in the ")
    return words[0].upper() + words[1:]


def alternatives(chosen: Estimand, total: int, *, validated: bool) -> list[Estimand]:
    """Return the chosen estimand and what else could have been chosen, for curves of `total` epochs: last, tail, best.

    Where training is too short for the rule of a tail, it is the mean of the last three epochs.
    """
    tail = chosen if chosen.length(total) > 1 else Estimand("tail")
    if tail.length(total) == 1:
        tail = Estimand("tail", epochs=LEAST)
    listed = [Estimand("last"), *([tail] if total > 1 else []), *([Estimand("best")] if validated else [])]
    return listed if total > 1 else []


def read_estimand(value: Any) -> Estimand:
    """Return what a study file declares.

    Args:
        value: `last`, `tail`, `best`, `{tail: 10}` for a number of epochs or `{tail: 0.2}` for a share of them.

    Raises:
        SchemaError: If it is anything else.
    """
    if isinstance(value, str) and value in get_args(Kind):
        return Estimand(value)  # type: ignore[arg-type]
    if isinstance(value, dict) and list(value) == ["tail"]:
        length = value["tail"]
        if type(length) is int and 1 <= length <= MAX_EPOCHS:
            return Estimand("tail", epochs=length)
        if type(length) is float and 0 < length < 1:
            return Estimand("tail", share=length)
    raise SchemaError(
        "estimate: must be last, tail, best, or {tail: 10} with a number of epochs or a share below 1, "
        f"got {value!r:.60}"
    )
