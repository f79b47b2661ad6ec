"""Regularizers: each changes training through the hooks of `Regularizer`, and is one file with one class."""

from fashionreg.regularizers.base import Regularizer, ReplicaLayer, TrainingData
from fashionreg.regularizers.batch_norm import BatchNorm
from fashionreg.regularizers.dropout import Dropout
from fashionreg.regularizers.ema import EMA
from fashionreg.regularizers.weight_decay import WeightDecay

__all__ = ["EMA", "BatchNorm", "Dropout", "Regularizer", "ReplicaLayer", "TrainingData", "WeightDecay"]
