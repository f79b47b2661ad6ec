"""What README and docs show is there, can be run, and has the numbers of the records."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from fashionreg.cli import build_parser
from fashionreg.data.csv_files import write_csv
from samples import random_images
from studies import write_study

CHECKOUT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]}


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], flags=re.DOTALL)


def commands():
    for page in PAGES:
        for block in [*blocks(page, "sh"), *blocks(page, "")]:
            for line in block.splitlines():
                if line.strip().startswith(("fashionreg ", "!fashionreg ")):
                    words = shlex.split(line.strip().removeprefix("!"), comments=True)
                    yield pytest.param(words[1:], id=f"{page}: {' '.join(words)}")


@pytest.fixture
def place(workplace, monkeypatch):
    """A working folder with what the pages take for granted: configurations, data, a study, modules of one's own."""
    (workplace / "configs" / "studies").mkdir(parents=True)
    for path in (CHECKOUT / "configs").glob("**/*.yaml"):
        (workplace / path.relative_to(CHECKOUT)).symlink_to(path)
    for page in PAGES:
        for block in blocks(page, "yaml"):
            if named := re.match(r"# (configs/\S+)", block):
                (workplace / named[1]).write_text(block)
    (workplace / "mine.py").write_text("\n\n".join(blocks("how-to.md", "python")))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    images = random_images(300)
    write_csv(images, workplace / "data" / "fmnist_small.csv")
    np.savez(workplace / "digits.npz", images=images.images.numpy(), labels=images.labels.numpy())
    return workplace


def test_the_pages_show_commands():
    assert {param.values[0][0] for param in commands()} >= {
        "fit",
        "test",
        "predict",
        "data",
        "study",
        "report",
        "export",
    }


SMALL = ["--data", "SyntheticDataModule", "--data.init_args.train_size", "200", "--data.init_args.test_size", "50"]


@pytest.mark.parametrize("words", [*commands()])
def test_a_command_of_the_pages_does_what_it_says(words, run, place):
    command, *rest = words
    if command == "study":
        rest += [] if "--dry_run" in rest else ["--dry_run"]
        if "batch_norm" in rest[0] or "--trainer.accelerator" in rest:
            rest += [*SMALL, "--trainer.accelerator", "cpu"]
    elif command == "report":
        for folder in (word for word in rest if word.startswith("logs/studies")):
            write_study(Path(folder), seeds=range(5), epochs=3)
    elif command == "data" or (command == "export" and "--ckpt_path" not in rest):
        assert build_parser().parse_args(words).run
        return
    elif any("logs/bn/version_0" in word for word in rest) or "last" in rest:
        # the same words about a small run, and pictures that are there
        assert run("fit", "--config", "tiny.yaml", "--name", "bn")[0] == 0
        for name in ("shoe.jpg", "shirt.png"):
            Image.new("L", (28, 28), 200).save(place / name)
        rest += ["--trainer.max_epochs", "3"] if command == "fit" and "--ckpt_path" in rest else []
    elif "mine." in " ".join(rest):
        rest += ["--trainer.max_epochs", "1", *([] if "--data" in rest else SMALL)]
    elif command == "fit":
        rest += ["--print_config"]
    code, _, err = run(command, *rest)
    assert code == 0, err


def test_configurations_of_the_pages_are_understood(run, place):
    tried = 0
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml")):
            content = yaml.safe_load(block)
            if "variants" in content or "grid" in content:
                continue
            path = place / "configs" / f"page{number}.yaml"
            path.write_text(block)
            code, out, err = run("fit", "--config", "tiny.yaml", "--config", path, "--print_config")
            assert code == 0, err
            tried += 1
    assert tried >= 2
    assert "Histograms" in out


def test_every_file_and_picture_that_a_page_names_is_there():
    for page, text in PAGES.items():
        folder = CHECKOUT if page == "README.md" else CHECKOUT / "docs"
        named = re.findall(r"\]\((?!http)([^)]+)\)|src=\"([^\"]+)\"", text)
        for path in (path for pair in named for path in pair if path):
            file, _, heading = path.partition("#")
            assert not file or (folder / file).exists(), f"{page}: {path}"
            if heading:
                target = PAGES[Path(file).name] if file else text
                titles = re.findall(r"^#+ (.*)$", target, flags=re.MULTILINE)
                assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, path


def test_what_the_readme_quotes_is_what_the_files_say():
    from make_pictures import quoted

    assert quoted(CHECKOUT / "README.md") == PAGES["README.md"]
    assert PAGES["README.md"].count("<!-- from ") >= 3


@pytest.mark.parametrize("name", ["batch_norm", "lecture7"])
def test_kept_reports_follow_from_kept_records_byte_for_byte(name, tmp_path, run):
    kept = CHECKOUT / "docs" / "studies" / name
    shutil.copytree(kept, tmp_path / name, ignore=shutil.ignore_patterns("report.*", "results.csv", "figures"))
    assert run("report", tmp_path / name)[0] == 0
    made = {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*") if path.is_file()}
    assert made == {path.relative_to(kept) for path in kept.rglob("*") if path.is_file()}
    for path in made:
        assert (tmp_path / name / path).read_bytes() == (kept / path).read_bytes(), path


def test_the_table_of_the_benchmark_is_that_of_its_measurements():
    from benchmarks.report import tables

    folder = CHECKOUT / "benchmarks"
    assert (folder / "results.md").read_text() == tables(json.loads((folder / "results.json").read_text()))


def test_numbers_in_the_text_of_the_readme_are_those_of_the_records():
    import pandas as pd

    table = pd.read_csv(CHECKOUT / "docs" / "studies" / "batch_norm" / "results.csv")
    final = table.query("split == 'test' and metric == 'acc' and epoch == 5").groupby("variant").value.mean() * 100
    for name in ("baseline", "bn"):
        assert (
            f"{final[name]:.1f}% after 5 epochs" in PAGES["README.md"]
            or f"without {final[name]:.1f}%" in PAGES["README.md"]
        )
