"""Regularizers: each changes training through the hooks of `Regularizer`, and is one file with one class."""

from fashionreg.regularizers.activation_noise import ActivationNoise
from fashionreg.regularizers.base import Regularizer, ReplicaLayer, TrainingData
from fashionreg.regularizers.batch_norm import BatchNorm
from fashionreg.regularizers.confidence_penalty import ConfidencePenalty
from fashionreg.regularizers.cutmix import CutMix
from fashionreg.regularizers.cutout import Cutout
from fashionreg.regularizers.dropout import Dropout
from fashionreg.regularizers.ema import EMA
from fashionreg.regularizers.gaussian_dropout import GaussianDropout
from fashionreg.regularizers.gradient_noise import GradientNoise
from fashionreg.regularizers.horizontal_flip import HorizontalFlip
from fashionreg.regularizers.input_dropout import InputDropout
from fashionreg.regularizers.input_noise import InputNoise
from fashionreg.regularizers.label_noise import LabelNoise
from fashionreg.regularizers.label_smoothing import LabelSmoothing
from fashionreg.regularizers.mixup import Mixup
from fashionreg.regularizers.random_erasing import RandomErasing
from fashionreg.regularizers.random_shift import RandomShift
from fashionreg.regularizers.rotation import Rotation
from fashionreg.regularizers.weight_decay import WeightDecay

__all__ = [
    "EMA",
    "ActivationNoise",
    "BatchNorm",
    "ConfidencePenalty",
    "CutMix",
    "Cutout",
    "Dropout",
    "GaussianDropout",
    "GradientNoise",
    "HorizontalFlip",
    "InputDropout",
    "InputNoise",
    "LabelNoise",
    "LabelSmoothing",
    "Mixup",
    "RandomErasing",
    "RandomShift",
    "Regularizer",
    "ReplicaLayer",
    "Rotation",
    "TrainingData",
    "WeightDecay",
]
