"""What tests of studies share."""

import pytest


@pytest.fixture
def drawn(monkeypatch):
    """Figures of reports as they are made. They are not rendered: for tests of what else a report holds."""
    from fashionreg.studies import plots

    figures = []
    monkeypatch.setattr(plots, "render", lambda figure, kind: figures.append(figure) or b"<svg></svg>")
    return figures
