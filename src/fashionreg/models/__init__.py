"""Networks with a replica axis and the LightningModules that train them."""

from fashionreg.models.classifier import Classifier
from fashionreg.models.mlps import BaselineMLP, RegularizedMLP
from fashionreg.models.networks import MLP

__all__ = ["MLP", "BaselineMLP", "Classifier", "RegularizedMLP"]
