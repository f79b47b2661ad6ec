"""What tests of studies share."""

import pandas as pd
import pytest

from fashionreg.studies.findings import find
from fashionreg.studies.results import read_results
from sample_studies import write_study


@pytest.fixture
def drawn(monkeypatch):
    """Figures of reports as they are made. They are not rendered: for tests of what else a report holds."""
    from fashionreg.studies import plots

    figures = []
    monkeypatch.setattr(plots, "render", lambda figure, kind: figures.append(figure) or b"<svg></svg>")
    return figures


@pytest.fixture
def findings(tmp_path):
    """The findings of a fake study, after `change` has been made to the value column of each variant's record."""

    def findings(change=None, **options):
        folder = write_study(tmp_path / "study", **options)
        for path in folder.glob("*/version_0/record.csv"):
            if change is not None:
                table = pd.read_csv(path)
                table["value"] = change(path.parts[-3], table)
                table.to_csv(path, index=False, na_rep="nan")
        return find(read_results(folder))

    return findings


@pytest.fixture
def of_accuracies(findings):
    """The findings of a fake study where `accuracy(variant, seeds, epochs)` gives the accuracies on test images."""

    def of_accuracies(accuracy, **options):
        def change(variant, table):
            chosen = (table.split == "test") & (table.metric == "acc")
            return table.value.where(~chosen, accuracy(variant, table.seed, table.epoch))

        return findings(change, **options)

    return of_accuracies
