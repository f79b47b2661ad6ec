"""fashionreg: which regularizer helps, with evidence.

    import fashionreg as fr

    run = fr.fit("configs/bn.yaml", seeds=10)
    run.history                     # DataFrame: seed, epoch, split, metric, value
    run.network(seed=3)             # the plain network of one seed
    study = fr.study("configs/studies/lecture7.yaml")
    print(study.verdict())
    fr.compare(frame, reference="plain")   # anybody's results: columns variant, seed, value

Importing it takes no time: torch, Lightning and pandas load at first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fashionreg.runs.run import Run
    from fashionreg.studies.study import Study, compare, study
    from fashionreg.training.fit import fit

__all__ = ["Run", "Study", "compare", "fit", "study"]

__version__ = "0.1.0"

_PLACES = {"Run": "runs.run", "Study": "studies.study", "compare": "studies.study", "study": "studies.study"}
_PLACES |= {"fit": "training.fit"}


def __getattr__(name: str) -> Any:
    """Import a name of the public interface at its first use."""
    if name not in _PLACES:
        raise AttributeError(f"module 'fashionreg' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(f"fashionreg.{_PLACES[name]}"), name)
    return value
