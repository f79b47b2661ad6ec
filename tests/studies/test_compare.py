"""`fashionreg compare`: tables and runs that no study made get the statistics and the page of a study."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fashionreg as fr
from conftest import made_by
from fashionreg.errors import UserError
from fashionreg.studies.elsewhere import results_of_table
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.findings import find
from fashionreg.studies.report import write_report
from fashionreg.studies.results_table import read_results_table
from sample_studies import write_study

TAIL = Estimand("tail")


def results(variants=("plain", "bn", "dropout"), seeds=10, scale=1.0):
    """A row for each variant and seed; the second variant is better."""
    generator = np.random.default_rng(4)
    rows = [
        (variant, seed, scale * (0.8 + 0.02 * (variant == "bn") + generator.normal(0, 0.004)))
        for variant in variants
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "value"])


def curves(epochs):
    """A row for each variant, seed and epoch."""
    generator = np.random.default_rng(5)
    frame = results().merge(pd.DataFrame({"epoch": range(1, epochs + 1)}), how="cross")
    return frame.assign(value=frame.value - 0.3 / frame.epoch + generator.normal(0, 0.002, len(frame)))


def written(frame, name="results.csv"):
    frame.to_csv(name, index=False)
    return Path(name)


class Elements(HTMLParser):
    """The elements of a page, each with the names of its attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [name for name, _ in attrs]))


def headings(page):
    return re.findall(r"<h[23][^>]*>(.*?)</h[23]>", page)


def test_the_page_of_a_table_has_the_tests_of_scipy_and_no_section_without_data(run, drawn):
    frame = results()
    path = written(frame)
    code, out, err = run("compare", path, "--reference", "plain", "--metric", "acc", "--out", "out")
    assert (code, err) == (0, "")
    assert out.startswith("compare results: 3 variants x 10 seeds, reference plain; higher accuracy is better\n")
    assert "Compared with plain, in the given results, bn raises accuracy (+" in out
    wide = frame.pivot(index="seed", columns="variant", values="value")
    p = sorted(stats.ttest_rel(wide[name], wide.plain).pvalue for name in ("bn", "dropout"))
    compared = find(results_of_table(path, "plain", metric="acc", estimand=TAIL)).comparisons
    assert compared["bn"].t_p_holm == pytest.approx(2 * p[0], rel=1e-9)
    assert compared["dropout"].t_p_holm == pytest.approx(max(2 * p[0], p[1]), rel=1e-9)
    page = Path("out/report.html").read_text()
    assert headings(page)[:4] == ["Verdict", "Results", "Comparison with plain", "Methods"]
    for absent in ("epoch", "image", "seconds", "learning rate", "TensorBoard", "Training metrics"):
        assert absent not in page.partition(">Terms<")[0].partition("<body")[2], absent
    assert "fashionreg compare results.csv --reference plain --metric acc" in page
    assert "Higher accuracy is better." in page


def test_a_table_with_epochs_has_learning_curves_and_counts_the_mean_of_the_last_epochs(run, drawn):
    frame = curves(30)
    code, out, err = run("compare", written(frame), "--metric", "acc", "--out", "out")
    assert (code, err) == (0, "")
    assert "in the mean of the last 3 of 30 epochs" in out
    page = Path("out/report.html").read_text()
    assert headings(page)[:2] == ["Verdict", "Learning curves"]
    assert "Convergence" in headings(page)
    for absent in ("nats", " a accuracy", "seconds", "learning rate", "network", "image"):
        assert absent not in re.sub(r"<(style|script).*?</\1>|<svg.*?</svg>", "", page, flags=re.DOTALL), absent
    tails = frame[frame.epoch > 27].groupby(["variant", "seed"]).value.mean()
    table = fr.compare(frame, reference="plain")
    assert table.difference["bn"] == pytest.approx((tails["bn"] - tails["plain"]).mean(), rel=1e-9)
    last = frame[frame.epoch == 30]
    pd.testing.assert_frame_equal(fr.compare(frame, "plain", estimate="last"), fr.compare(last, "plain"))


@pytest.mark.parametrize("epochs", [1, 12, 25])
def test_the_table_of_a_study_gives_its_comparisons(tmp_path, drawn, epochs):
    folder = write_study(tmp_path / "study", epochs=epochs, estimate={"kind": "tail"}, evaluate_train=False)
    found = write_report(folder)
    again = find(results_of_table(folder / "results.csv", None, estimand=TAIL))
    assert again.comparisons == found.comparisons
    table = fr.compare(pd.read_csv(folder / "results.csv"), reference="plain")
    assert {name: one.difference.mean for name, one in found.comparisons.items()} == table.difference.to_dict()
    assert {name: one.t_p_holm for name, one in found.comparisons.items()} == table.t_p_holm.to_dict()
    losses = find(results_of_table(folder / "results.csv", "bn", metric="loss", split="train", estimand=TAIL))
    assert losses.plan.label("loss") == "train loss"
    assert set(losses.comparisons) == {"plain", "dropout"}


@pytest.mark.parametrize("frame", [results(), curves(3), curves(3).assign(split="cv", metric="f1")])
def test_the_table_that_a_comparison_writes_is_one_that_it_reads(run, drawn, frame):
    assert run("compare", written(frame), "--out", "first")[0] == 0
    assert run("compare", "first/results.csv", "--out", "second")[0] == 0
    assert Path("first/results.csv").read_text() == Path("second/results.csv").read_text()
    said = [
        [line for line in Path(out, "report.md").read_text().splitlines() if "|" in line] for out in ("first", "second")
    ]
    assert said[0] == said[1]


def test_numbers_that_are_infinite_or_not_a_number_are_read_as_those_of_a_diverged_network(run, drawn):
    frame = results()
    frame.loc[13, "value"] = np.inf
    frame.loc[14, "value"] = np.nan
    frame.to_csv("losses.csv", index=False, na_rep="nan")
    code, out, err = run("compare", "losses.csv", "--metric", "loss", "--out", "out")
    assert (code, err) == (0, "")
    assert "Not finite: the loss of bn is infinite or not a number for 2 seeds (3, 4)." in out
    assert "bn is not compared: its loss is infinite or not a number for some seeds." in out
    code, _, err = run("compare", "out/results.csv", "--out", "again")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (0, "By value nothing is compared: the reference's value is infinite or not a number for some seeds."),
        (10, "bn is not compared: its value is infinite or not a number for some seeds."),
    ],
)
def test_without_finite_numbers_on_both_sides_it_is_said_why_nothing_is_compared(run, drawn, row, sentence):
    frame = results(["plain", "bn"])
    frame.loc[row, "value"] = np.nan
    frame.to_csv("results.csv", index=False, na_rep="nan")
    code, out, err = run("compare", "results.csv", "--out", "out")
    assert (code, err) == (0, "")
    assert out.count("not a number") == 2
    assert sentence in out
    assert "one variant" not in Path("out/report.md").read_text()


def test_less_of_a_measure_is_better_where_that_is_declared(run, drawn):
    path = written(results(scale=1000))
    code, out, err = run("compare", path, "--metric", "RMSE", "--higher_is_better", "false", "--out", "out")
    assert (code, err) == (0, "")
    assert "lower RMSE is better" in out
    assert "bn worsens RMSE compared with plain by " in out
    assert "bn improves RMSE over plain by " in run("compare", path, "--metric", "RMSE", "--out", "more")[1]
    page = Path("out/report.html").read_text()
    assert "Lower RMSE is better." in page
    assert "points)" not in page.partition(">Terms<")[0]
    assert "()" not in page.partition("<body")[2]
    share = fr.compare(results(), "plain", higher_is_better=False).probability_better["bn"]
    assert share == 1 - fr.compare(results(), "plain").probability_better["bn"]


def test_seeds_that_a_variant_lacks_are_named_and_the_others_compared(run, drawn):
    frame = results().query("not (variant == 'bn' and seed > 7)")
    code, out, err = run("compare", written(frame), "--out", "out")
    assert (code, err) == (0, "")
    assert "Incomplete: bn has no results for 2 of 10 seeds." in out
    compared = find(results_of_table(Path("results.csv"), None, estimand=TAIL)).comparisons
    assert {name: one.n for name, one in compared.items()} == {"bn": 8, "dropout": 10}


@pytest.mark.parametrize(
    "other",
    [
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace(",", " ,"),
        lambda text: "\ufeff" + text,
    ],
    ids=["old line ends", "line ends of Windows", "spaces after commas", "spaces before commas", "byte order mark"],
)
def test_line_ends_and_spaces_around_cells_say_nothing(tmp_path, other):
    path = tmp_path / "results.csv"
    path.write_bytes(other(results().to_csv(index=False)).encode())
    read = read_results_table(path)
    pd.testing.assert_frame_equal(read, results(), check_exact=True)


@pytest.mark.parametrize(("word", "value"), [("NaN", np.nan), ("Infinity", np.inf), ("-Inf", -np.inf)])
def test_the_words_of_other_programs_for_what_is_no_finite_number_are_read(tmp_path, word, value):
    path = tmp_path / "results.csv"
    path.write_text(f"{CELLS}bn,1,{word}\n")
    assert np.array_equal(read_results_table(path).value, [0.5, 0.6, 0.7, value], equal_nan=True)


CELLS = "variant,seed,value\nplain,0,0.5\nplain,1,0.6\nbn,0,0.7\n"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty, expected the columns variant, seed, value and a row for each result"),
        (b"variant,seed,value\n", "has no row below its header"),
        (b"variant,seed,value\n\n\n", "has no row below its header"),
        (b"variant,seed,acc\nplain,0,1\n", "value: there is no such column; there are variant, seed, acc"),
        (b"variant,seed,value,value\nplain,0,1,1\n", "value: there are 2 columns of this name"),
        ((CELLS + "bn,1,high\n").encode(), "row 5: value: must be a number, got high"),
        ((CELLS + "bn,1,1e999\n").encode(), "row 5: value: must be a number, got 1e999"),
        ((CELLS + "bn,1,\n").encode(), "row 5: value: is empty"),
        ((CELLS + "bn,1\n").encode(), "row 5: value: is empty"),
        ((CELLS + ",1,0.5\n").encode(), "row 5: variant: is empty"),
        ((CELLS + "bn,one,0.5\n").encode(), "row 5: seed: must be a whole number, got one"),
        ((CELLS + "bn,-1,0.5\n").encode(), "row 5: seed: must be a whole number, got -1"),
        ((CELLS + "bn,0,0.5\n").encode(), "row 5: variant bn, seed 0: appears twice"),
        ((CELLS + "\nbn,0,0.5\n").encode(), "row 6: variant bn, seed 0: appears twice"),
        ((CELLS + "bn,1,0.5,1\n").encode(), "row 5: has 4 cells, where the header has 3 columns"),
        (b"variant,seed,value\nplain,0,0.5,\nbn,0,0.5,\n", "row 2: has 4 cells, where the header has 3 columns"),
        (b"variant;seed;value\nplain;0;1\n", "variant: there is no such column; there are variant;seed;value; commas"),
        ((CELLS + '"bn,1,0.5\n').encode(), "row 5: a quotation mark is not closed"),
        (f"{CELLS}bn,1,{'x' * 200_000}\n".encode(), "row 5: value: must be a number, got xxx"),
        (f"{'x' * 200_000},seed,value\n".encode(), "row 1: field larger than field limit"),
        ((CELLS + "bn, 0 ,0.5\n").encode(), "row 5: variant bn, seed 0: appears twice"),
        ((CELLS + "bn , 0,0.5\n").encode(), "row 5: variant bn, seed 0: appears twice"),
        ((CELLS + "bn,1, \n").encode(), "row 5: value: is empty"),
        ((CELLS + "bn,1,0.5\n" * 2).replace("\n", "\r").encode(), "row 6: variant bn, seed 1: appears twice"),
        (
            (CELLS + "a\x1b[2Jb,1,0.5\n").encode(),
            "row 5: variant: must be 1 to 200 printable characters, got a\\x1b[2Jb",
        ),
        ((CELLS + f"{'x' * 201},1,0.5\n").encode(), "row 5: variant: must be 1 to 200 printable characters, got xxx"),
        (b"variant,seed,value\nplain,0,0.5\n", "variant: there is only plain; two or more are compared"),
        (b"variant,seed,value\nplain,0,0.5\nbn,1,0.5\n", "variant bn: has no seed in common with plain"),
        (b"variant,seed,value,epoch\na,0,1,0\n", "row 2: epoch: must be counted from 1, got 0"),
        (
            b"variant,seed,value,epoch\na,0,1,1\na,0,1,2\nb,0,1,1\nb,0,1,3\n",
            "row 4: variant b, seed 0: has results of 2 of 3 epochs",
        ),
        (b"variant,seed,value,metric\na,0,1,f1\na,0,1,auc\n", "metric: there are f1, auc; say which is compared"),
        (b"variant,seed,value,metric\na,0,1,gap\nb,0,1,gap\n", "metric: gap is what reports call"),
        (b"variant,seed,value,metric\na,0,81.5,acc\nb,0,1,acc\n", "row 2: value: must be from 0 to 1 (0.8 is 80%)"),
        (b"variant,seed,value\npl\xe4in,0,0.5\n", "line 2: must be UTF-8 text, found byte 0xe4"),
        ("variant,seed,value\n".encode("utf-16"), "line 1: must be UTF-8 text, found UTF-16"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a pointer of Git LFS in place of"),
    ],
)
def test_a_table_that_cannot_be_compared_is_refused_with_its_row(refusal, content, fault):
    Path("bad.csv").write_bytes(content)
    code, line = refusal("compare", "bad.csv")
    assert code == 1
    assert line.startswith(f"fashionreg: error: bad.csv: {fault}")
    assert not Path("logs").exists()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--reference", "other"], "reference: there is no variant 'other'; there are 'plain', 'bn', 'dropout'"),
        (["--metric", "acc", "--higher_is_better", "false"], "higher_is_better: must be true for acc"),
        (["--metric", "loss", "--higher_is_better", "true"], "higher_is_better: must be false for loss"),
        (["--metric", "a\x07"], "metric: must be 1 to 200 printable characters"),
    ],
)
def test_options_that_do_not_fit_a_table_are_refused(refusal, options, fault):
    written(results())
    code, line = refusal("compare", "results.csv", *options)
    assert code == 1
    assert fault in line


def test_a_table_that_is_too_large_is_not_read(refusal, monkeypatch):
    from fashionreg.studies import results_table

    monkeypatch.setattr(results_table, "MAX_TABLE", 100)
    written(results())
    assert (
        "results.csv: is larger than 100 bytes; a CSV file cannot be that large" in refusal("compare", "results.csv")[1]
    )


def test_more_networks_than_a_study_may_have_are_refused(refusal):
    variants, seeds = [0] * 1000 + list(range(1, 1101)), [*range(1000), *[0] * 1100]
    written(pd.DataFrame({"variant": variants, "seed": seeds, "value": 1.0}))
    assert "must be at most 1,000,000 networks" in refusal("compare", "results.csv")[1]


def test_nothing_in_a_table_is_markup_and_nothing_a_path(run):
    names = ["<script>alert(1)</script>", "../../up", "=cmd|' /C calc'!A0", 'a" onload="x', "$x^2$ & ü"]
    frame = results(names).assign(metric="<b>f1</b>", split="--")
    path = written(frame, "<img src=x>.csv")
    code, out, err = run("compare", path, "--out", "out")
    assert (code, err) == (0, "")
    page = Elements()
    page.feed(Path("out/report.html").read_text())
    assert not {"script", "b", "img"} & {tag for tag, _ in page.found}
    assert not any(attribute.startswith("on") for _, attributes in page.found for attribute in attributes)
    for name in names:
        assert name in out
    for picture in Path("out/figures").glob("*.svg"):
        ElementTree.fromstring(picture.read_bytes())
    assert {path.name for path in Path().iterdir()} == {"tiny.yaml", "<img src=x>.csv", "out"}
    assert set(pd.read_csv("out/results.csv").variant) == set(names)


def test_a_report_is_replaced_only_on_demand_and_never_what_it_is_made_of(run, refusal, drawn):
    path = written(results())
    assert run("compare", path)[0] == 0
    place = Path("logs/comparisons/results")
    before = (place / "report.html").read_bytes()
    assert refusal("compare", path)[1].endswith(
        f"{place / 'report.html'}: exists; choose another --out, or replace it with --force"
    )
    written(results(seeds=8))
    assert run("compare", path, "--force")[0] == 0
    assert (place / "report.html").read_bytes() != before
    assert "out: . holds the results that are compared" in refusal("compare", path, "--out", ".", "--force")[1]
    write_study(Path("study"), seeds=range(3), epochs=2)
    assert "out: study is the folder of a study" in refusal("compare", path, "--out", "study", "--force")[1]
    Path("mine/figures").mkdir(parents=True)
    assert f"{Path('mine/figures')}: exists" in refusal("compare", path, "--out", "mine")[1]


@pytest.fixture(scope="session")
def fits(tmp_path_factory):
    """A folder with finished runs `a`, seeds 0 to 3, and `b`, seeds 1 to 4."""
    folder = made_by(tmp_path_factory.mktemp("fits"), "fit", "--config", "tiny.yaml", "--name", "a", "--seeds", 4)
    return made_by(folder, "fit", "--config", "tiny.yaml", "--name", "b", "--seeds", "[1, 2, 3, 4]")


@pytest.fixture
def two(run, fits):
    """Finished runs `a` and `b`; returns the runner."""
    shutil.copytree(fits / "logs", "logs")
    return run


def test_runs_are_compared_on_the_seeds_that_they_share(two, drawn):
    code, out, err = two("compare", "a", "logs/b/version_0", "--out", "out")
    assert (code, err) == (0, "")
    assert out.startswith("compare b against a: 2 variants x 3 seeds, reference a; higher test accuracy is better\n")
    assert "Left out: 1 seed of a (0), as not all runs have it.\n" in out
    assert "Left out: 1 seed of b (4), as not all runs have it.\n" in out
    page = Path("out/report.html").read_text()
    assert headings(page)[:3] == ["Verdict", "Learning curves", "Results"]
    for unknown in ("nothing was selected", "nothing was tuned"):
        assert unknown not in page
    assert "How variants, settings and seeds were chosen is not known here" in page
    for there in ("hidden layers [8]", "seconds an epoch and seed", "synthetic", "Environment"):
        assert there in page
    assert "fashionreg compare logs/a/version_0 logs/b/version_0" in page
    assert "tensorboard" not in page
    table = pd.read_csv("out/results.csv")
    assert set(table.seed) == {1, 2, 3}
    for name in ("a", "b"):
        kept = table[table.variant == name].reset_index(drop=True)
        history = fr.Run.load(f"logs/{name}/version_0").history.query("seed in (1, 2, 3)")
        expected = history.sort_values(["seed", "epoch", "split", "metric"], ignore_index=True)
        pd.testing.assert_frame_equal(kept[expected.columns.tolist()], expected, check_dtype=False)


def test_runs_of_the_same_name_are_called_by_their_folders(two, drawn):
    shutil.copytree("logs/a/version_0", "logs/a/version_10")
    code, out, err = two("compare", "logs/a/version_0", "a", "--out", "out")
    assert (code, err) == (0, "")
    names = [str(Path("logs/a") / version) for version in ("version_0", "version_10")]
    assert set(pd.read_csv("out/results.csv").variant) == set(names)
    assert f"reference {names[0]};" in out


def test_another_metric_and_reference_of_runs(two, drawn):
    code, out, err = two("compare", "a", "b", "--reference", "b", "--metric", "loss", "--split", "train")
    assert (code, err) == (0, "")
    assert out.startswith("compare a against b: 2 variants x 3 seeds, reference b; lower train loss is better\n")
    assert Path("logs/comparisons/a_against_b/report.html").is_file()


def with_status(status):
    path = Path("logs/b/version_0/record.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": status}))


@pytest.mark.parametrize(
    ("words", "change", "fault"),
    [
        (["a"], lambda: None, "a: is one run; name two or more"),
        (["logs/a"], lambda: None, "logs/a: is one run; name two or more"),
        (["."], lambda: None, ".: holds no run of fashionreg fit"),
        (["none"], lambda: None, "none: is neither the folder of a run nor the name of one in logs"),
        (["a", "none"], lambda: None, "none: is neither the folder of a run nor the name of one in logs"),
        (["a", "a"], lambda: None, f"{Path('logs/a/version_0')}: appears twice"),
        (["a", "tiny.yaml"], lambda: None, "tiny.yaml: is a file; a file is compared alone"),
        (["a", "b", "--metric", "f1"], lambda: None, "metric: there is no f1; runs have acc, loss, ece"),
        (["a", "b", "--split", "val"], lambda: None, f"{Path('logs/a/version_0')}: has no acc on val"),
        (["a", "b", "--reference", "c"], lambda: None, "reference: there is no run 'c'; there are 'a', 'b'"),
        (["a", "b", "--higher_is_better", "true"], lambda: None, "higher_is_better: is known of the metrics of runs"),
        (
            ["a", "b"],
            lambda: with_status("interrupted"),
            f"{Path('logs/b/version_0')}: is not the folder of a finished",
        ),
        (["a", "b"], lambda: Path("logs/b/version_1").mkdir(), f"{Path('logs/b/version_1')}: holds no record of a"),
        (["a", "logs"], lambda: None, "logs: holds no run of fashionreg fit"),
        (
            ["a", "s"],
            lambda: write_study(Path("s"), seeds=[0], epochs=1),
            "s: is the folder of a study; fashionreg report",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_named(two, refusal, words, change, fault):
    change()
    code, line = refusal("compare", *words)
    assert code == 1
    assert line.startswith(f"fashionreg: error: {fault}")
    assert not Path("logs/comparisons").exists()


def test_runs_without_a_seed_in_common_are_refused(two, refusal):
    assert two("fit", "--config", "tiny.yaml", "--name", "c", "--seeds", "[7]", "--trainer.max_epochs", 1)[0] == 0
    line = refusal("compare", "a", "c")[1]
    assert "seeds: the runs have none in common, and pairs are made by seed: a has 0 to 3; c has 7" in line


def test_a_name_that_a_terminal_would_obey_is_refused(two, refusal):
    path = Path("logs/b/version_0/record.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "b\x1b[2J"}))
    assert f"{path}: name: must be 1 to 200 printable characters, got b\\x1b[2J" in refusal("compare", "a", "b")[1]


def test_report_says_that_compare_is_for_runs(two, refusal):
    for folder in ("logs/a", "logs/a/version_0"):
        line = refusal("report", folder)[1]
        assert line.endswith("there is no study.json; fashionreg compare compares the runs of several fits")


@pytest.mark.parametrize(
    ("change", "options", "fault"),
    [
        (
            lambda f: f.assign(epoch=f.epoch - 1),
            {},
            "variant plain, seed 0: epoch must be a whole number from 1, got 0",
        ),
        (lambda f: f.assign(epoch=f.epoch + 0.5), {}, "variant plain, seed 0: epoch must be a whole number from 1"),
        (lambda f: f.drop(index=1), {}, "variant plain, seed 0: has results of 2 of 3 epochs"),
        (lambda f: f, {"estimate": "best"}, "estimate: must be tail or last, got best"),
        (lambda f: f.assign(metric="auc"), {"metric": "acc"}, "metric: there is no acc; there are auc"),
        (lambda f: f.assign(metric="loss"), {"higher_is_better": True}, "higher_is_better: must be false for loss"),
        (lambda f: pd.concat([f, f.head(1)]), {}, "variant plain, seed 0, epoch 1: appears twice"),
    ],
)
def test_a_frame_that_cannot_be_compared_is_refused(change, options, fault):
    with pytest.raises(UserError, match=fault):
        fr.compare(change(curves(3)), "plain", **options)


def decisions(frame, margin):
    """By hand: two one-sided t tests at once with the paired t test, both corrected by Holm's method (two variants)."""
    wide = frame.pivot(index="seed", columns="variant", values="value")
    found = {}
    for name in ("bn", "dropout"):
        difference = wide[name] - wide.plain
        sides = (
            stats.ttest_1samp(difference, -margin, alternative="greater").pvalue,
            stats.ttest_1samp(difference, margin, alternative="less").pvalue,
        )
        found[name] = (stats.ttest_rel(wide[name], wide.plain).pvalue, max(sides))
    adjusted = {}
    for test in (0, 1):
        (first, low), (second, high) = sorted(((name, p[test]) for name, p in found.items()), key=lambda each: each[1])
        adjusted[test] = {first: min(1, 2 * low), second: min(1, max(2 * low, high))}
    return adjusted[1]


@pytest.mark.parametrize("metric", ["acc", "f1"])
def test_relevant_is_in_points_for_an_accuracy_and_in_the_unit_of_the_values_for_others(run, drawn, metric):
    frame, relevant, words = results(), {"acc": 0.6, "f1": 0.006}[metric], {"acc": "0.6 points", "f1": "0.006"}[metric]
    table = fr.compare(frame, "plain", metric=metric, relevant=relevant)
    assert table.equivalence_p_holm.to_dict() == pytest.approx(decisions(frame, 0.006), rel=1e-9)
    code, _, err = run("compare", written(frame), "--metric", metric, "--relevant", relevant, "--out", "out")
    assert (code, err) == (0, "")
    found = find(results_of_table(Path("results.csv"), None, metric=metric, relevant=relevant, estimand=TAIL))
    assert {name: one.decision for name, one in found.evidence.items()} == table.decision.to_dict()
    page = Path("out/report.md").read_text()
    assert f"Relevant: {words}" in page
    assert f"--relevant {relevant}" in page


def test_shares_that_nobody_called_so_are_not_all_equivalent_within_half_a_point(refusal):
    path = written(results())
    assert "relevant: 0.5 is more than all differences of the values" in refusal("compare", path, "--relevant", 0.5)[1]
    with pytest.raises(UserError, match="relevant: 0.5 is more than all differences"):
        fr.compare(results(), "plain", relevant=0.5)
    assert set(fr.compare(results(), "plain", metric="auc", relevant=0.5).decision) == {"equivalent"}


@pytest.mark.parametrize("relevant", ["0", "-1", "nan", "inf"])
def test_a_relevant_difference_is_a_number_above_zero(two, refusal, relevant):
    written(results())
    for words in (["results.csv"], ["results.csv", "--metric", "loss"], ["a", "b"], ["a", "b", "--metric", "loss"]):
        assert "relevant: must be " in refusal("compare", *words, "--relevant", relevant)[1]
    with pytest.raises(UserError, match="relevant: must be a number above 0"):
        fr.compare(results(), "plain", relevant=float(relevant))


def test_runs_are_compared_with_the_relevant_difference(two, drawn):
    code, _, err = two("compare", "a", "b", "--relevant", 99, "--out", "out")
    assert (code, err) == (0, "")
    assert "Relevant: 99 points" in Path("out/report.md").read_text()
