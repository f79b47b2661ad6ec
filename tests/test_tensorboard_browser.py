"""TensorBoard on a finished batch norm study, as a browser shows it, without any setting made by hand."""

from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from make_pictures import VIEWS, open_view, photograph_views, tensorboard

STUDY = Path(__file__).parents[1] / "configs" / "studies" / "batch_norm.yaml"
SMALL = ["--data", "SyntheticDataModule", "--data.init_args.train_size", 500, "--data.init_args.test_size", 100]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, and there is none"),
]


@pytest.fixture
def study(run):
    code, _, err = run("study", STUDY, "--seeds", 2, "--out", "study", *SMALL, "--trainer.max_epochs", 2)
    assert (code, err) == (0, "")
    return Path("study")


def test_curves_images_and_hyperparameters_of_both_variants_are_there(study, tmp_path):
    with tensorboard(study) as address, Browser(1280, 720) as browser:
        photograph_views(browser, address, tmp_path, "baseline/version_0", "bn/version_0")
        # two curves of each of two runs in one chart
        open_view(browser, f"{address}?darkMode=false#custom_scalars", "all splits", "every seed", "Matches (4)")
    assert all((tmp_path / f"{name}.png").stat().st_size > 20_000 for name in VIEWS)
