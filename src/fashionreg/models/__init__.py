"""Networks with a replica axis and the LightningModules that train them."""

from fashionreg.models.classifier import BaselineMLP, Classifier, RegularizedMLP

__all__ = ["BaselineMLP", "Classifier", "RegularizedMLP"]
