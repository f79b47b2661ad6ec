"""What normalization layers share: whether they stand before or after the activation."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from fashionreg.errors import UserError
from fashionreg.regularizers.base import Regularizer, ReplicaLayer

Place = Literal["before_activation", "after_activation"]


class Normalization(Regularizer, ABC):
    """Inserts one normalization into each hidden layer.

    Args:
        place: Whether it stands before or after the activation.

    Attributes:
        option: The usual name of the normalization in a configuration, for errors.
    """

    option: str

    def __init__(self, place: Place) -> None:
        super().__init__()
        if place not in ("before_activation", "after_activation"):
            raise UserError(f"{self.option}: place: must be before_activation or after_activation, got {place}")
        self.place = place

    @abstractmethod
    def layer(self, features: int, seeds: Sequence[int]) -> ReplicaLayer:
        """Make the normalization of a hidden layer of `features` units."""

    def before_activation(self, features: int, seeds: Sequence[int]) -> ReplicaLayer | None:
        """Make one normalization for each hidden layer, if they stand here."""
        return self.layer(features, seeds) if self.place == "before_activation" else None

    def after_activation(self, features: int, seeds: Sequence[int]) -> ReplicaLayer | None:
        """Make one normalization for each hidden layer, if they stand here."""
        return self.layer(features, seeds) if self.place == "after_activation" else None
