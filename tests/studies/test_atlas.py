"""The numbers of an atlas are those of the records, and its descriptions are those of the docstrings."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from statsmodels.stats.multitest import multipletests

from conftest import made_by
from fashionreg import regularizers
from fashionreg.studies.descriptions import PACKAGE, describe
from sample_studies import write_study

STUDY = """\
name: atlas_tiny
question: Does the chain hold?
seeds: 4
outcomes: [acc, loss, gap, ece]
relevant: 0.5
shared:
  - tiny.yaml
  - data: {init_args: {val_size: 50, evaluate_train: true}}
    model: {init_args: {batch_norm: false, dropout: 0.0}}
    trainer: {max_epochs: 1}
variants:
  plain: []
  wide: [{model: {init_args: {hidden_sizes: [12], regularizers: {drop: Dropout}}}}]
  norm: [{model: {init_args: {regularizers: {norm: {class_path: BatchNorm, init_args: {place: after_activation}}}}}}]
tune:
  grid: {lr: [0.05, 0.3]}
  variants: {wide: {drop.p: [0.1, 0.2, 0.5]}}
  draws: 2
  seeds: 2
"""

#: The classes of the package that a study may name.
CLASSES = [
    name
    for name in regularizers.__all__
    if name != "Regularizer" and issubclass(getattr(regularizers, name), regularizers.Regularizer)
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small study, tuned and trained, and its atlas."""
    folder = tmp_path_factory.mktemp("atlas")
    (folder / "study.yaml").write_text(STUDY)
    made_by(folder, "study", "study.yaml", "--out", "study")
    return made_by(folder, "atlas", "study", "--out", "out")


def table(path, position=0):
    """A table of a Markdown file, a mapping for each row."""
    found = re.findall(r"(?:^\|.*\n)+", path.read_text(), flags=re.MULTILINE)[position]
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in found.splitlines()]
    head, _, *rows = [[cell.strip().replace(r"\|", "|") for cell in line] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


def by_name(row):
    return re.sub(r"\W.*", "", row["technique"].lstrip("["))


def numbers(text):
    return [float(number.replace("\N{MINUS SIGN}", "-")) for number in re.findall(r"[+\N{MINUS SIGN}]?\d+\.?\d*", text)]


def test_every_number_of_the_table_is_that_of_the_results(trained):
    results = pd.read_csv(trained / "study" / "results.csv")
    last = results[results.epoch == results.epoch.max()].assign(key=lambda rows: rows.split + "/" + rows.metric)
    ends = last.pivot_table(index=["variant", "seed"], columns="key", values="value")
    ends["gap"] = ends["train/acc"] - ends["test/acc"]
    rows = {by_name(row): row for row in table(trained / "out" / "atlas.md")}
    assert rows.keys() == {"wide", "norm"}
    for key, head, factor, decimals in (
        ("test/acc", "test accuracy (points)", 100, 2),
        ("test/loss", "test loss (nats)", 1, 4),
        ("gap", "generalization gap (points)", 100, 2),
        ("test/ece", "test calibration error (points)", 100, 2),
    ):
        differences = {name: (ends.loc[name, key] - ends.loc["plain", key]).to_numpy() * factor for name in rows}
        tested = [stats.ttest_1samp(each, 0).pvalue for each in differences.values()]
        adjusted = multipletests(tested, method="holm")[1]
        for (name, each), p in zip(differences.items(), adjusted, strict=True):
            mean, low, high = numbers(rows[name][head])
            half = stats.t.ppf(1 - 0.05 / 2 / len(rows), len(each) - 1) * stats.sem(each)
            # half a unit of the last digit that is printed
            assert mean == pytest.approx(each.mean(), abs=0.5001 * 10**-decimals)
            if p < 0.05:
                # Holm's later steps cut an interval at 0
                assert min(abs(low), abs(high)) <= abs(abs(each.mean()) - half) + 10**-decimals
            else:
                assert (low, high) == pytest.approx((mean - half, mean + half), abs=1.0001 * 10**-decimals)
            said = rows[name][f"adjusted p, {head.partition(' (')[0]}"]
            assert said == "< 0.001" if p < 0.001 else float(said) == pytest.approx(p, rel=0.006)
            assert rows[name]["verdict"] in ("better", "worse", "equivalent", "undecided")
    times = {}
    for name in ("plain", *rows):
        (record,) = (trained / "study" / name).glob("version_*/record.json")
        times[name] = np.median(json.loads(record.read_text())["epoch_seconds"])
    for name, row in rows.items():
        assert float(row["cost"]) == pytest.approx(times[name] / times["plain"], abs=0.0051)
    effects = [numbers(row["test accuracy (points)"])[0] for row in table(trained / "out" / "atlas.md")]
    assert effects == sorted(effects, reverse=True)


def test_the_option_and_what_was_tuned_are_those_of_the_trial_that_won(trained):
    plan = json.loads((trained / "study" / "study.json").read_text())
    configs = {variant["name"]: variant["config"]["model"]["init_args"] for variant in plan["variants"]}
    page = trained / "out" / "atlas.md"
    rows = {by_name(row): row for row in table(page)}
    # as it would be written, one line below `init_args:` or behind it
    options = {name: yaml.safe_load(row["option"].strip("`")) for name, row in rows.items()}
    p = configs["wide"]["regularizers"]["drop"]["init_args"]["p"]
    # 0.5 is the default
    drop = "Dropout" if p == 0.5 else {"class_path": "Dropout", "init_args": {"p": p}}
    assert options["wide"] == {"hidden_sizes": [12], "regularizers": {"drop": drop}}
    norm = {"class_path": "BatchNorm", "init_args": {"place": "after_activation"}}
    assert options["norm"] == {"regularizers": {"norm": norm}}
    rates = {name: config["optimizer"]["init_args"]["lr"] for name, config in configs.items()}
    assert rows["wide"]["tuned to"] == f"lr {rates['wide']}, drop.p {p}"
    assert rows["norm"]["tuned to"] == f"lr {rates['norm']}"
    assert f"**plain (lr {rates['plain']})**" in page.read_text()


def test_the_page_says_what_was_trained_where_and_how_much_was_compared(trained):
    text = (trained / "out" / "atlas.md").read_text()
    for said in (
        "Does the chain hold?",
        "3 variants, 4 seeds (0 to 3) each",
        "2 for each outcome, corrected for their number; less than 0.5 points of test accuracy",
        "2 trials each, with 2 seeds that the comparison does not use",
        "**machine**: ",
        "- **Effect on test accuracy:** on tiny, of 2 variants ",
        "[wide](regularizers/Dropout.md)",
        "[norm](regularizers/BatchNorm.md)",
        "Ioffe and Szegedy 2015",
    ):
        assert said in text, said
    assert {path.name for path in (trained / "out" / "regularizers").iterdir()} == {"Dropout.md", "BatchNorm.md"}
    assert (trained / "out" / "images" / "atlas.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (trained / "out" / "images" / "atlas.svg").read_bytes()


def test_a_card_has_the_docstring_and_the_rows_of_the_page(trained):
    card, page = trained / "out" / "regularizers" / "BatchNorm.md", trained / "out" / "atlas.md"
    words = inspect.cleandoc(regularizers.BatchNorm.__doc__).partition("Args:")[0]
    assert all(" ".join(paragraph.split()) in card.read_text() for paragraph in words.split("\n\n"))
    arguments = {row["argument"]: row["default"] for row in table(card)}
    assert arguments == {"`eps`": "`1e-05`", "`momentum`": "`0.1`", "`place`": '`"before_activation"`'}
    (measured,) = table(card, 1)
    (row,) = (row for row in table(page) if by_name(row) == "norm")
    assert {head: cell for head, cell in measured.items() if head in row}.items() <= row.items()
    assert (measured["task"], measured["variant"]) == ("tiny", "norm")


@pytest.mark.parametrize("name", CLASSES)
def test_a_description_is_that_of_the_class(name):
    kind, found = getattr(regularizers, name), describe(PACKAGE + name)
    signature = inspect.signature(kind).parameters.values()
    assert {each.name: json.loads(each.default) for each in found.arguments} == {
        each.name: each.default for each in signature
    }
    assert all(each.text for each in found.arguments)
    assert " ".join([found.summary, *found.text]) == " ".join(inspect.getdoc(kind).partition("\n\nArgs:")[0].split())
    # every technique of the atlas names who introduced it
    assert re.fullmatch(r"[A-Z].* \d{4}", found.source), found.source


def test_the_source_of_a_users_own_regularizer_is_read_and_not_run(workplace):
    Path("mine.py").write_text(
        '"""Noise (Nobody et al. 2024)."""\nraise SystemExit\n\n\n'
        'class Noise(Regularizer):\n    """Add noise. Much.\n\n'
        '    Loud.\n\n    Args:\n        std: How much,\n            really.\n        kind: Which.\n    """\n\n'
        "    def __init__(self, kind, std: float = 0.5):\n        pass\n"
    )
    found = describe("mine.Noise")
    assert (found.name, found.summary, found.text, found.source) == (
        "mine.Noise",
        "Add noise.",
        ["Much.", "Loud."],
        "Nobody et al. 2024",
    )
    assert [(each.name, each.default, each.text) for each in found.arguments] == [
        ("std", "0.5", "How much, really."),
        ("kind", None, "Which."),
    ]
    assert describe("nowhere.Noise").summary == ""


def test_several_tasks_have_a_table_each_and_rows_of_the_figure_are_shared(run, workplace, drawn):
    for task, variants in (("one", ["plain", "a", "b", "c"]), ("two", ["plain", "c", "d"])):
        write_study(workplace / f"atlas_{task}", variants, name=f"atlas_{task}", relevant=0.5)
    code, out, err = run("atlas", "atlas_one", "atlas_two", "--out", "out")
    assert (code, err) == (0, "")
    assert out.startswith("one: Compared with plain")
    page = workplace / "out" / "atlas.md"
    tables = [[by_name(row) for row in table(page, position)] for position in (0, 1)]
    assert [sorted(names) for names in tables] == [["a", "b", "c"], ["c", "d"]]
    first, second = drawn[0].axes
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names == [*tables[0], *(name for name in tables[1] if name not in tables[0])]
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["one", "two"]
    # a mark for each variant that the study has
    marks = [[line for line in axes.lines if line.get_marker() != "None"] for axes in (first, second)]
    assert [len(each) for each in marks] == [3, 2]


def test_an_atlas_that_cannot_be_written_is_refused_in_one_line(refusal, run, workplace, drawn):
    for name, variants in (("one", ["plain", "a"]), ("again", ["plain", "a"]), ("alone", ["plain"])):
        write_study(workplace / name, variants, name="alone" if name == "alone" else "one", seeds=range(3))
    assert "no study" in refusal("atlas", ".", "--out", "out")[1]
    assert "alone: no variant is compared with plain yet" in refusal("atlas", "alone", "--out", "out")[1]
    assert "again: another of the studies is named one too" in refusal("atlas", "one", "again", "--out", "out")[1]
    assert run("atlas", "one", "--out", "out")[0] == 0
    assert "atlas.md: exists" in refusal("atlas", "one", "--out", "out")[1]
    assert run("atlas", "one", "--out", "out", "--force")[0] == 0
    assert not (workplace / "out" / "regularizers").exists()


def test_names_and_questions_are_no_markup(run, workplace, drawn):
    write_study(workplace / "one", ["plain", "a|b*c*"], name="x", question="Is *this* [a](b) | table?", seeds=range(3))
    assert run("atlas", "one", "--out", "out")[0] == 0
    text = (workplace / "out" / "atlas.md").read_text()
    assert r"Is \*this\* \[a\](b) \| table?" in text
    (row,) = table(workplace / "out" / "atlas.md")
    assert row["technique"] == r"a|b\*c\*"
