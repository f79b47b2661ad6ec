"""What watches training: console, record, reports. A callback costs nothing when it is not there.

The callbacks named here are switched on under `trainer.callbacks` of a configuration. The figures' library is imported
when a figure is drawn, not before.
"""

from fashionreg.callbacks.drift import ActivationDrift
from fashionreg.callbacks.histograms import Histograms
from fashionreg.callbacks.images import TestFigures, TrainingImages

__all__ = ["ActivationDrift", "Histograms", "TestFigures", "TrainingImages"]
