"""What README and docs show is there, can be run, and has the numbers of the records."""

import doctest
import importlib
import inspect
import json
import re
import shlex
import shutil
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from fashionreg import regularizers
from fashionreg.cli import build_parser
from fashionreg.data.csv_files import write_csv
from fashionreg.runs.export import load_classifier
from sample_studies import write_study
from samples import random_images

CHECKOUT = Path(__file__).parents[1]
#: The text of every page by its place in the checkout.
PAGES = {
    str(path.relative_to(CHECKOUT)): path.read_text(encoding="utf-8")
    for path in sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("benchmarks/*.md")])
}

#: The most words that the README may have: what a reader finishes.
README_WORDS = 1300


def modules():
    """The modules that the pages show, by file name; the first line of each is its name."""
    return {
        named[1]: block
        for page in PAGES
        for block in blocks(page, "python")
        if (named := re.match(r"# (\w+\.py)\n", block))
    }


def blocks(page, language):
    """The fenced code of a page in one language; fences are read in pairs."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    return [code for marked, code in fenced if marked == language]


def commands():
    """Each command that the pages show, once, under the first page that shows it."""
    seen = set()
    for page in PAGES:
        for block in [*blocks(page, "sh"), *blocks(page, "")]:
            for line in block.splitlines():
                if line.strip().startswith(("fashionreg ", "!fashionreg ")):
                    words = shlex.split(line.strip().removeprefix("!"), comments=True)
                    if (said := tuple(words)) in seen:
                        continue
                    seen.add(said)
                    yield pytest.param(words[1:], id=f"{page}: {' '.join(words)}")


@pytest.fixture
def place(workplace, monkeypatch):
    """A working folder with what the pages take for granted: configurations, examples, data, the modules they show."""
    (workplace / "configs" / "studies").mkdir(parents=True)
    for path in (CHECKOUT / "configs").glob("**/*.yaml"):
        (workplace / path.relative_to(CHECKOUT)).symlink_to(path)
    for page in PAGES:
        for block in blocks(page, "yaml"):
            if named := re.match(r"# (configs/\S+)", block):
                (workplace / named[1]).write_text(block)
    (workplace / "examples").symlink_to(CHECKOUT / "examples")
    monkeypatch.setattr(sys, "path", [*sys.path, str(CHECKOUT / "examples"), str(workplace)])
    for name, code in modules().items():
        (workplace / name).write_text(code)
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
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
        "atlas",
        "compare",
        "export",
    }


def names_a_shown_module(words):
    """Whether an option, or a configuration file that a page shows, names a class of a module that a page shows."""
    files = [Path(word) for word in words if word.startswith("configs/")]
    text = "\n".join([*words, *(file.read_text() for file in files)])
    return any(re.search(rf"\b{Path(name).stem}\.[A-Z]", text) for name in modules())


SMALL = ["--data", "SyntheticDataModule", "--data.init_args.train_size", "200", "--data.init_args.test_size", "50"]


@pytest.mark.parametrize("words", [*commands()])
def test_a_command_of_the_pages_does_what_it_says(words, run, place):
    command, *rest = words
    if command == "study":
        rest += [] if "--dry_run" in rest else ["--dry_run"]
        if "batch_norm" in rest[0] or "examples" in rest[0] or "--trainer.accelerator" in rest:
            rest += [*SMALL, "--trainer.accelerator", "cpu"]
    elif command in ("report", "atlas"):
        for folder in (word for word in rest if word.startswith("logs/studies")):
            write_study(Path(folder), seeds=range(5), epochs=3)
    elif command == "compare":
        frame = pd.DataFrame(
            {"variant": ["plain"] * 6 + ["bn"] * 6, "seed": [*range(6)] * 2, "value": np.arange(12) / 20}
        )
        for word in (word for word in rest if word.endswith(".csv")):
            frame.to_csv(place / word, index=False)
        if not rest[0].endswith(".csv"):
            for name in ("baseline", "bn"):
                assert run("fit", "--config", "tiny.yaml", "--name", name, "--seeds", 2)[0] == 0
    elif command == "data" or (command == "export" and "--ckpt_path" not in rest):
        assert build_parser().parse_args(words).run
        return
    elif any("logs/bn/version_0" in word for word in rest) or "last" in rest:
        # the same words about a small run, and pictures that are there
        name = rest[rest.index("--name") + 1] if "--name" in rest else "bn"
        assert run("fit", "--config", "tiny.yaml", "--name", name)[0] == 0
        for name in ("shoe.jpg", "shirt.png"):
            Image.new("L", (28, 28), 200).save(place / name)
        rest += ["--trainer.max_epochs", "3"] if command == "fit" and "--ckpt_path" in rest else []
    elif command == "fit" and names_a_shown_module(rest):
        rest += ["--trainer.max_epochs", "1", *([] if "--data" in rest else SMALL)]
    elif command == "fit":
        rest += ["--print_config"]
    code, _, err = run(command, *rest)
    assert code == 0, err


def test_configurations_of_the_pages_are_understood(run, place):
    printed = []
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml")):
            content = yaml.safe_load(block)
            if "variants" in content or "grid" in content:
                continue
            path = place / "configs" / f"page{number}.yaml"
            path.write_text(block)
            code, out, err = run("fit", "--config", "tiny.yaml", "--config", path, "--print_config")
            assert code == 0, err
            printed.append(out)
    assert len(printed) >= 6
    for name in ("Histograms", "ContinuousDropout", "AdamW"):
        assert any(name in out for out in printed)


def test_every_file_and_picture_that_a_page_names_is_there():
    for page, text in PAGES.items():
        folder = (CHECKOUT / page).parent
        named = re.findall(r"\]\((?!http)([^)]+)\)|src=\"([^\"]+)\"", text)
        for path in (path for pair in named for path in pair if path):
            file, _, heading = path.partition("#")
            assert not file or (folder / file).exists(), f"{page}: {path}"
            if heading:
                target = (folder / file).read_text(encoding="utf-8") if file else text
                titles = re.findall(r"^#+ (.*)$", target, flags=re.MULTILINE)
                assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, path


def test_every_source_file_that_a_page_names_in_its_text_is_there():
    for page, text in PAGES.items():
        for path in re.findall(r"`((?:src|tests|docs|configs|examples|benchmarks|stress)/[\w./-]+)`", text):
            # NAME stands for any; the worked example of CONTRIBUTING.md is no part of the package
            assert "NAME" in path or "gradient_centralization" in path or (CHECKOUT / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- from " in PAGES[page]])
def test_what_a_page_quotes_is_what_the_files_say(page):
    from make_pictures import quoted

    assert quoted(CHECKOUT / page) == PAGES[page]


def test_the_readme_quotes_its_results_and_its_example():
    quotes = re.findall(r"<!-- from (\S+?)[: ]", PAGES["README.md"])
    assert {"docs/studies", "benchmarks/results.md", "examples/random_brightness.py"} <= {*quotes}


def test_the_readme_is_short():
    assert len(PAGES["README.md"].split()) <= README_WORDS


def test_every_example_is_shown_and_every_shipped_study_named():
    shown = "".join(PAGES[page] for page in PAGES)
    for path in [*CHECKOUT.glob("examples/*.py"), *CHECKOUT.glob("examples/*.yaml")]:
        quoted = f"<!-- from ../examples/{path.name} -->"
        assert quoted in PAGES["docs/extend.md"] or f"fashionreg study examples/{path.name}" in shown, path
    for path in CHECKOUT.glob("configs/studies/*.yaml"):
        assert f"`{path.name}`" in PAGES["docs/how-to.md"], path


def test_python_of_the_pages_is_python_and_begins_with_its_imports():
    for page in PAGES:
        for block in blocks(page, "python"):
            compile(block, page, "exec")
    assert len(modules()) >= 5


def test_the_library_page_runs(place):
    (place / "configs" / "bn.yaml").unlink()
    (place / "configs" / "bn.yaml").write_text((place / "tiny.yaml").read_text().replace("name: tiny", "name: bn"))
    for number, block in enumerate(blocks("docs/library.md", "python")):
        exec(compile(block, f"block {number + 1} of docs/library.md", "exec"), {})


def test_the_table_of_a_cross_validation_is_one_that_is_compared(run, place):
    pytest.importorskip("sklearn")
    (block,) = (block for block in blocks("docs/how-to.md", "python") if "sklearn" in block)
    exec(compile(block, "docs/how-to.md", "exec"), {})
    code, out, err = run("compare", "results.csv", "--metric", "acc")
    assert (code, err) == (0, "")
    assert "Compared with bayes, in the given results, neighbours raises accuracy" in out


def test_the_table_of_an_export_is_one_that_is_compared(run, place):
    (block,) = (block for block in blocks("docs/how-to.md", "python") if "wandb" in block)
    rows = [(f"run-{n}", "finished", ["plain", "bn"][n % 2], n // 2, 0.8 + n % 2 / 10 + n / 1000) for n in range(12)]
    pd.DataFrame(rows, columns=["Name", "State", "Group", "seed", "test_acc"]).to_csv("wandb_export.csv", index=False)
    exec(compile(block, "docs/how-to.md", "exec"), {})
    code, out, err = run("compare", "results.csv", "--metric", "acc")
    assert (code, err) == (0, "")
    assert "2 variants x 6 seeds" in out


def test_the_error_of_the_independence_check_is_the_one_shown(run, place):
    (place / "wrong.yaml").write_text("model: {init_args: {regularizers: {noise: {class_path: wrong.WrongNoise}}}}\n")
    code, _, err = run("fit", "--config", "tiny.yaml", "--config", "wrong.yaml")
    assert (code, err.strip()) == (1, blocks("docs/extend.md", "text")[0].strip())


def test_the_worked_example_of_a_regularizer_holds_what_it_promises(run, place, monkeypatch):
    module, test = (
        textwrap.dedent(block)
        for block in re.findall(r"   ```python\n(.*?)   ```", PAGES["CONTRIBUTING.md"], flags=re.DOTALL)
    )
    (place / "gradient_centralization.py").write_text(module)
    monkeypatch.syspath_prepend(place)
    import gradient_centralization

    assert doctest.testmod(gradient_centralization).failed == 0
    assert doctest.testmod(gradient_centralization).attempted == 2
    # here it is a module of the working folder, not of the package
    name = "GradientCentralization"
    test = test.replace(f"class_path: {name}", f"class_path: gradient_centralization.{name}")
    test = test.replace('last.ckpt")', 'last.ckpt"), trusted=True')
    names = {"Path": Path, "load_classifier": load_classifier, "torch": torch}
    exec(test, names)
    names["test_the_sum_of_each_units_weights_stays_as_it_began"](run)


def modules_with_examples():
    sources = CHECKOUT / "src"
    for path in sorted(sources.rglob("*.py")):
        if ">>>" in path.read_text():
            yield ".".join(path.relative_to(sources).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("module", [*modules_with_examples()])
def test_examples_in_docstrings_hold(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0
    assert result.attempted > 0


def walk():
    """The functions and classes that the reader's walk names, in order, by their names there."""
    text = PAGES["CONTRIBUTING.md"].partition("## A reader's walk")[2]
    named = re.findall(r"`((?:[a-z_]+\.)+[\w.]+)`", text)
    names = [
        name for name in named if not (CHECKOUT / name).exists() and not name.endswith((".csv", ".npy", ".py", ".json"))
    ]
    found = []
    for name in names:
        parts = name.split(".")
        depth = next(n for n in range(len(parts), 0, -1) if _is_module(parts[:n]))
        thing = importlib.import_module(".".join(["fashionreg", *parts[:depth]]))
        for part in parts[depth:]:
            thing = getattr(thing, part)
        found.append((name, inspect.unwrap(thing.__init__ if isinstance(thing, type) else thing).__code__))
    return found


def test_the_readers_walk_names_each_function_once():
    names = [name for name, _ in walk()]
    assert len(names) >= 15
    assert len({*names}) == len(names)


def test_the_readers_walk_is_the_way_that_a_study_goes(run, workplace):
    variants = "  a: [tiny.yaml]\n  b: [tiny.yaml, {model: {init_args: {dropout: 0.0}}}]\n"
    (workplace / "study.yaml").write_text(f"name: walk\nvariants:\n{variants}")
    calls = Counter()

    def count(frame, event, _):
        if event == "call":
            calls[frame.f_code] += 1

    walked = walk()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        code, _, err = run("study", "study.yaml", "--seeds", 2)
    finally:
        sys.setprofile(before)
    assert code == 0, err
    # a counter keeps the order in which its keys came
    names = {code: name for name, code in walked}
    assert [names[code] for code in calls if code in names] == [name for name, _ in walked]
    times = {name: calls[code] for name, code in walked}
    assert times["training.fit.resolve"] == times["training.fit.train"] == 2
    assert times["training.cli.TrainingCLI"] == 4


def _is_module(parts):
    path = CHECKOUT.joinpath("src", "fashionreg", *parts)
    return path.with_suffix(".py").is_file() or path.is_dir()


@pytest.mark.parametrize("name", ["batch_norm", "lecture7"])
def test_kept_reports_follow_from_kept_records_byte_for_byte(name, tmp_path, run):
    kept = CHECKOUT / "docs" / "studies" / name
    shutil.copytree(kept, tmp_path / name, ignore=shutil.ignore_patterns("report.*", "results.csv", "figures"))
    assert run("report", tmp_path / name)[0] == 0
    made = {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*") if path.is_file()}
    assert made == {path.relative_to(kept) for path in kept.rglob("*") if path.is_file()}
    for path in made:
        assert (tmp_path / name / path).read_bytes() == (kept / path).read_bytes(), path


#: Where finished studies of the atlas are kept; there may be none yet.
ATLAS = sorted((CHECKOUT / "docs" / "studies").glob("atlas_*"))


def test_the_atlas_follows_from_kept_records_byte_for_byte(tmp_path, run):
    docs = CHECKOUT / "docs"
    kept = {
        path.relative_to(docs) for part in ("atlas.md", "images/atlas.*", "regularizers/*") for path in docs.glob(part)
    }
    if not ATLAS:
        assert kept == set()
        return
    for study in ATLAS:
        shutil.copytree(
            study, tmp_path / study.name, ignore=shutil.ignore_patterns("report.*", "results.csv", "figures")
        )
    code, _, err = run("atlas", *(tmp_path / study.name for study in ATLAS), "--out", tmp_path / "out")
    assert code == 0, err
    made = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert made == kept
    for path in made:
        assert (tmp_path / "out" / path).read_bytes() == (docs / path).read_bytes(), path


def test_the_shipped_atlas_measures_every_regularizer():
    text = (CHECKOUT / "configs" / "studies" / "atlas_digits.yaml").read_text()
    for name in regularizers.__all__:
        kind = getattr(regularizers, name)
        if issubclass(kind, regularizers.Regularizer) and kind is not regularizers.Regularizer:
            assert re.search(rf"regularizers: {{\w+: ({{class_path: )?{name}[,}}]", text), name


def test_the_table_of_the_benchmark_is_that_of_its_measurements():
    from benchmarks.report import tables

    folder = CHECKOUT / "benchmarks"
    assert (folder / "results.md").read_text() == tables(json.loads((folder / "results.json").read_text()))


def test_numbers_in_the_text_of_the_readme_are_those_of_the_records():
    table = pd.read_csv(CHECKOUT / "docs" / "studies" / "batch_norm" / "results.csv")
    final = table.query("split == 'test' and metric == 'acc' and epoch == 5").groupby("variant").value.mean() * 100
    for name in ("baseline", "bn"):
        assert (
            f"{final[name]:.1f}% after 5 epochs" in PAGES["README.md"]
            or f"without {final[name]:.1f}%" in PAGES["README.md"]
        )
