"""Regularizers: each changes training through the hooks of `Regularizer`, and is one file with one class."""

from fashionreg.regularizers.base import Regularizer, ReplicaLayer
from fashionreg.regularizers.batch_norm import BatchNorm
from fashionreg.regularizers.best_checkpoint import BestCheckpoint
from fashionreg.regularizers.decoupled_weight_decay import DecoupledWeightDecay
from fashionreg.regularizers.drop_connect import DropConnect
from fashionreg.regularizers.dropout import Dropout
from fashionreg.regularizers.early_stopping import EarlyStopping
from fashionreg.regularizers.ema import EMA
from fashionreg.regularizers.ghost_batch_norm import GhostBatchNorm
from fashionreg.regularizers.gradient_clipping import GradientClipping
from fashionreg.regularizers.l1 import L1
from fashionreg.regularizers.layer_norm import LayerNorm
from fashionreg.regularizers.lookahead import Lookahead
from fashionreg.regularizers.max_norm import MaxNorm
from fashionreg.regularizers.orthogonal_penalty import OrthogonalPenalty
from fashionreg.regularizers.sam import SAM
from fashionreg.regularizers.spectral_norm import SpectralNorm
from fashionreg.regularizers.swa import SWA
from fashionreg.regularizers.weight_clipping import WeightClipping
from fashionreg.regularizers.weight_decay import WeightDecay
from fashionreg.regularizers.weight_norm import WeightNorm

__all__ = [
    "EMA",
    "L1",
    "SAM",
    "SWA",
    "BatchNorm",
    "BestCheckpoint",
    "DecoupledWeightDecay",
    "DropConnect",
    "Dropout",
    "EarlyStopping",
    "GhostBatchNorm",
    "GradientClipping",
    "LayerNorm",
    "Lookahead",
    "MaxNorm",
    "OrthogonalPenalty",
    "Regularizer",
    "ReplicaLayer",
    "SpectralNorm",
    "WeightClipping",
    "WeightDecay",
    "WeightNorm",
]
