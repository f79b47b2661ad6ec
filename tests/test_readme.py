"""What the README shows is there and can be run."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from fashionreg.cli import build_parser, main

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"```(?:sh)?\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.strip().removeprefix("!") for block in BLOCKS for line in block.splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in LINES if line.lstrip("!").startswith("fashionreg ")]


def test_the_readme_shows_commands():
    assert {words[1] for words in COMMANDS} >= {"fit", "test", "predict", "data"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_is_understood(words, run, workplace):
    _, command, *rest = words
    (workplace / "configs").symlink_to(CHECKOUT / "configs")
    if command in ("data", "export"):
        assert build_parser().parse_args([command, *rest]).run
        return
    if "--ckpt_path" in rest:
        # the same words about a small checkpoint and pictures that are there
        assert run("fit", "--config", "tiny.yaml", "--name", "bn")[0] == 0
        for name in ("shoe.jpg", "shirt.png"):
            Image.new("L", (28, 28), 200).save(workplace / name)
    if command == "fit":
        rest += ["--trainer.max_epochs", "3"] if "--ckpt_path" in rest else ["--print_config"]
    code, _, err = run(command, *rest)
    assert code == 0, err


def test_the_configuration_of_ones_own_in_the_readme_is_understood(monkeypatch, tmp_path, capsys):
    mine = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)[1]
    (tmp_path / "mine.yaml").write_text(mine.replace("base: bn.yaml", f"base: {CHECKOUT}/configs/bn.yaml"))
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "mine.yaml", "--print_config"]) == 0
    shown = capsys.readouterr().out
    assert "batch_norm: true" in shown
    assert "CosineAnnealingLR" in shown
    assert "weight_decay: 0.01" in shown


def test_every_file_and_picture_that_the_readme_names_is_there():
    named = re.findall(r"\]\((?!http)([^)]+)\)|src=\"([^\"]+)\"", README)
    paths = [path for pair in named for path in pair if path]
    assert len(paths) >= 5
    for path in paths:
        assert (CHECKOUT / path).exists(), path


def test_numbers_of_the_readme_are_those_of_the_records():
    import pandas as pd

    for name in ("baseline", "bn"):
        table = pd.read_csv(CHECKOUT / "docs" / "records" / name / "record.csv")
        final = 100 * table.query("split == 'test' and metric == 'acc' and epoch == 5").value
        text = " ".join(README.split())
        assert f"{final.mean():.1f} ± {final.std():.1f}%" in text
