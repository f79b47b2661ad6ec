"""The weights of the best epoch by validation, while training goes on (Prechelt 1998)."""

from fashionreg.regularizers.selection import Metric, Selection


class BestCheckpoint(Selection):
    """Evaluate and export, of each network, the weights of its best epoch by validation images.

    Training is unchanged, and so is the record, whose rows are the epochs as they were. The checkpoint of an epoch
    holds the best weights until then beside those to go on with. It needs a validation set after every epoch.

    Args:
        metric: `val/loss` or `val/ece`, of which the lowest is the best, or `val/acc`.
    """

    def __init__(self, metric: Metric = "val/loss") -> None:
        super().__init__(metric)
