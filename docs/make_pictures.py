"""Makes the pictures of the README from what the project's own commands leave behind.

    python docs/make_pictures.py

Run it where Fashion-MNIST is at hand (see `fashionreg data fetch`). It trains the two networks of the batch norm study
with ten seeds each, keeps their records in `docs/records`, and writes `docs/images`. The picture of TensorBoard needs
Chromium, and is left as it is where there is none.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from fashionreg.cli import main
from fashionreg.data.location import data_root
from fashionreg.figures import learning_curves

DOCS = Path(__file__).parent.absolute()
CONFIGS = DOCS.parent / "configs"


def fashionreg(*words: str) -> None:
    """Run a command; stop where it fails."""
    print("$ fashionreg", *words)
    if main(list(words)):
        raise SystemExit(1)


def train(name: str) -> Path:
    """Fit a configuration with ten seeds and return its folder; its record goes to `docs/records`."""
    fashionreg("fit", "--config", str(CONFIGS / f"{name}.yaml"), "--seeds", "10")
    record = DOCS / "records" / name
    record.mkdir(parents=True, exist_ok=True)
    for file in ("record.csv", "record.json"):
        shutil.copy(f"logs/{name}/version_0/{file}", record)
    return Path("logs", name, "version_0")


def photograph_tensorboard(logs: str, image: Path) -> None:
    """Start TensorBoard on `logs`, open its scalars in headless Chromium, and write what is seen there."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print(f"no Chromium here: {image} stays as it is")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(serve, stderr=subprocess.DEVNULL) as server, tempfile.TemporaryDirectory() as profile:
        time.sleep(10)
        view = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        view += ["--disable-background-networking", "--window-size=1280,640", "--virtual-time-budget=30000"]
        view += [f"--user-data-dir={profile}", f"--screenshot={image}"]
        address = f"http://127.0.0.1:{port}/?darkMode=false#scalars&_smoothingWeight=0"
        subprocess.run([*view, address], check=True, stderr=subprocess.DEVNULL)
        server.terminate()


if __name__ == "__main__":
    images = DOCS / "images"
    images.mkdir(exist_ok=True)
    fashionreg("data", "show", "--out", str(images / "garments.png"), "--force")
    fashionreg("data", "show", "--synthetic", "--out", str(images / "synthetic.png"), "--force")
    # a folder of its own, so that neither numbers nor pictures depend on what `logs` holds already
    os.environ["FASHIONREG_DATA"] = str(data_root().absolute())
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        runs = {name: train(name) for name in ("baseline", "bn")}
        fashionreg("test", "--ckpt_path", str(runs["bn"] / "checkpoints" / "last.ckpt"))
        shutil.copy("logs/bn/test_0/confusion_matrix.png", images)
        photograph_tensorboard("logs", images / "tensorboard.png")
    tables = {name: pd.read_csv(DOCS / "records" / name / "record.csv") for name in ("baseline", "bn")}
    learning_curves(tables).savefig(images / "batch_norm.png", dpi=130)
