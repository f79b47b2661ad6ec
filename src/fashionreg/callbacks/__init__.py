"""Callbacks that observe training: console, record, figures. A callback that is not configured costs nothing.

Add those named here under `trainer.callbacks` of a configuration. matplotlib is imported when a figure is drawn, not
before.
"""

from fashionreg.callbacks.drift import ActivationDrift
from fashionreg.callbacks.histograms import Histograms
from fashionreg.callbacks.images import TestFigures, TrainingImages

__all__ = ["ActivationDrift", "Histograms", "TestFigures", "TrainingImages"]
