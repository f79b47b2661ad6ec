"""The Colab notebook runs from top to bottom, here on a CPU, without network and on drawn garments."""

import os
import signal
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "fashionreg.ipynb"


def text(output):
    data = output.get("data", {})
    return output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")


@pytest.fixture
def no_server_left(tmp_path):
    """Ends the TensorBoard that the notebook has started, as a machine on Colab ends with its notebook."""
    from tensorboard import manager

    yield
    for info in manager.get_all():
        # no other one: a test that runs beside this one may have started it
        if Path(info.logdir).is_relative_to(tmp_path):
            os.kill(info.pid, signal.SIGTERM)
            time.sleep(0.2)


# jupyter_client's own use of asyncio and of its folders
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("no_server_left")
def test_the_notebook_runs_from_top_to_bottom_and_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHIONREG_QUICK", "1")
    monkeypatch.setenv("FASHIONREG_LOGS", str(tmp_path / "logs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for outputs_say in ("test accuracy after 2 epochs", "lecture7_full: finished already"):
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parents[1])}}).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        said = "\n".join(map(text, outputs))
        assert outputs_say in said
        assert "srcdoc=" in said
        assert "Verdict" in said
        assert not any(output.output_type == "error" for output in outputs)
        assert not any(output.get("name") == "stderr" for output in outputs), said
    assert len(list((tmp_path / "logs" / "lecture7_full").glob("version_*"))) == 1


def test_the_committed_notebook_carries_the_outputs_of_a_real_run():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    said = "\n".join(text(output) for cell in cells for output in cell.outputs)
    assert "on Fashion-MNIST" in said
    assert "synthetic" not in said.split("srcdoc")[0]
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
