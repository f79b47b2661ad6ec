"""Networks with a replica axis and the LightningModules that train them."""

from fashionreg.models.classifier import Classifier
from fashionreg.models.mlps import BaselineMLP, RegularizedMLP, StackedClassifier
from fashionreg.models.networks import MLP, ReplicaNetwork
from fashionreg.models.stacked import StackedNetwork

__all__ = [
    "MLP",
    "BaselineMLP",
    "Classifier",
    "RegularizedMLP",
    "ReplicaNetwork",
    "StackedClassifier",
    "StackedNetwork",
]
