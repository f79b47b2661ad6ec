"""Regularizers: each changes training through the hooks of `Regularizer`, and is one file with one class."""

from fashionreg.regularizers.activation_noise import ActivationNoise
from fashionreg.regularizers.base import Regularizer, ReplicaLayer, TrainingData
from fashionreg.regularizers.batch_norm import BatchNorm
from fashionreg.regularizers.best_checkpoint import BestCheckpoint
from fashionreg.regularizers.confidence_penalty import ConfidencePenalty
from fashionreg.regularizers.cutmix import CutMix
from fashionreg.regularizers.cutout import Cutout
from fashionreg.regularizers.decoupled_weight_decay import DecoupledWeightDecay
from fashionreg.regularizers.drop_connect import DropConnect
from fashionreg.regularizers.dropout import Dropout
from fashionreg.regularizers.early_stopping import EarlyStopping
from fashionreg.regularizers.ema import EMA
from fashionreg.regularizers.gaussian_dropout import GaussianDropout
from fashionreg.regularizers.ghost_batch_norm import GhostBatchNorm
from fashionreg.regularizers.gradient_clipping import GradientClipping
from fashionreg.regularizers.gradient_noise import GradientNoise
from fashionreg.regularizers.horizontal_flip import HorizontalFlip
from fashionreg.regularizers.input_dropout import InputDropout
from fashionreg.regularizers.input_noise import InputNoise
from fashionreg.regularizers.l1 import L1
from fashionreg.regularizers.label_noise import LabelNoise
from fashionreg.regularizers.label_smoothing import LabelSmoothing
from fashionreg.regularizers.layer_norm import LayerNorm
from fashionreg.regularizers.lookahead import Lookahead
from fashionreg.regularizers.max_norm import MaxNorm
from fashionreg.regularizers.mixup import Mixup
from fashionreg.regularizers.orthogonal_penalty import OrthogonalPenalty
from fashionreg.regularizers.random_erasing import RandomErasing
from fashionreg.regularizers.random_shift import RandomShift
from fashionreg.regularizers.rotation import Rotation
from fashionreg.regularizers.sam import SAM
from fashionreg.regularizers.spectral_norm import SpectralNorm
from fashionreg.regularizers.stochastic_depth import StochasticDepth
from fashionreg.regularizers.swa import SWA
from fashionreg.regularizers.test_time_flip import TestTimeFlip
from fashionreg.regularizers.weight_clipping import WeightClipping
from fashionreg.regularizers.weight_decay import WeightDecay
from fashionreg.regularizers.weight_norm import WeightNorm

__all__ = [
    "EMA",
    "L1",
    "SAM",
    "SWA",
    "ActivationNoise",
    "BatchNorm",
    "BestCheckpoint",
    "ConfidencePenalty",
    "CutMix",
    "Cutout",
    "DecoupledWeightDecay",
    "DropConnect",
    "Dropout",
    "EarlyStopping",
    "GaussianDropout",
    "GhostBatchNorm",
    "GradientClipping",
    "GradientNoise",
    "HorizontalFlip",
    "InputDropout",
    "InputNoise",
    "LabelNoise",
    "LabelSmoothing",
    "LayerNorm",
    "Lookahead",
    "MaxNorm",
    "Mixup",
    "OrthogonalPenalty",
    "RandomErasing",
    "RandomShift",
    "Regularizer",
    "ReplicaLayer",
    "Rotation",
    "SpectralNorm",
    "StochasticDepth",
    "TestTimeFlip",
    "TrainingData",
    "WeightClipping",
    "WeightDecay",
    "WeightNorm",
]
