"""The report says what the records say, the same way every time, and needs nothing else."""

import html
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from fashionreg.errors import UserError
from fashionreg.studies import plots
from fashionreg.studies.answer import cells as difference_cells
from fashionreg.studies.findings import find, most_telling
from fashionreg.studies.report import MOST_SHOWN, write_combined_report, write_report
from fashionreg.studies.results import read_results
from fashionreg.studies.statistics import holm
from fashionreg.studies.verdict import details, verdict
from fashionreg.text import p_cell
from sample_studies import write_study
from samples import files, message

FACTORIAL = {f"a{a} b{b}": {"a": a, "b": b} for a in (0, 1) for b in (0, 1)}


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path / "study")


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A study's folder with its report, for tests that only read it, and the findings."""
    folder = write_study(tmp_path_factory.mktemp("reported") / "study")
    return folder, write_report(folder)


def rows(page, caption):
    """The cells of the table with this caption, by the first cell of their row."""
    titled = rf"<caption><span[^>]*>{re.escape(caption)}\b.*?</caption>(.*?)</table>"
    table = re.search(titled, page, flags=re.DOTALL)[1]
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL):
        first, *rest = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        found[html.unescape(first.replace("<wbr>", ""))] = [html.unescape(cell.replace("<wbr>", "")) for cell in rest]
    return found


def test_a_report_has_a_page_markdown_a_table_and_figures_in_two_formats(reported):
    folder, _ = reported
    names = {path.name for path in folder.glob("figures/*")}
    assert {path.name for path in folder.glob("re*")} == {"report.html", "report.md", "results.csv"}
    stems = {"curves", "final", "differences", "targets", "overfitting"}
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    for path in folder.glob("figures/*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 200
    page = (folder / "report.html").read_text()
    assert page.count("<svg ") == page.count("</svg>") == len(stems)
    explained = 'href="https://github.com/fashionreg/fashionreg/blob/main/docs/reports.md"'
    assert page.count(explained) == 1
    assert not re.search(r"(src|href)=\"(?!data:|#)", page.replace(explained, ""))
    text = (folder / "report.md").read_text()
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(linked) == len(stems)
    assert all((folder / path).is_file() for path in linked)


def test_the_same_records_give_the_same_bytes(reported, folder):
    write_report(folder)
    first, second = (
        {path.relative_to(each): content for path, (content, _) in files(each).items()}
        for each in (reported[0], folder)
    )
    assert first == second


def test_a_report_needs_neither_torch_nor_lightning(folder):
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning", "torchvision", "torchmetrics"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from fashionreg.cli import main
raise SystemExit(main(["report", sys.argv[1]]))
"""
    out = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert (out.returncode, out.stderr) == (0, "")
    assert "bn improves test accuracy over plain" in out.stdout
    assert (folder / "report.html").is_file()


def test_numbers_of_the_tables_follow_from_the_results(reported):
    folder, _ = reported
    page = (folder / "report.html").read_text()
    table = pd.read_csv(folder / "results.csv")
    last = table[table.epoch == table.epoch.max()].set_index(["variant", "split", "metric", "seed"]).value.sort_index()
    final = rows(page, "After 12 epochs")
    head = final.pop("variant")
    for variant, cells in final.items():
        shown = dict(zip(head, cells, strict=True))
        test, train = (100 * last[variant, split, "acc"] for split in ("test", "train"))
        assert shown["seeds"] == "10"
        assert shown["test accuracy (%)"] == f"{test.mean():.2f} ± {test.std():.2f}"
        share, error = test.mean() / 100, stats.sem(test) / 100
        ends = stats.t.interval(0.95, 9, np.log(share / (1 - share)), error / share / (1 - share))
        low, high = (100 / (1 + np.exp(-end)) for end in ends)
        assert shown["95% interval"] == f"{low:.2f} to {high:.2f}"
        gap = train - test
        assert shown["generalization gap (points)"] == f"{gap.mean():.2f} ± {gap.std():.2f}"
        loss = last[variant, "test", "loss"]
        assert shown["test loss (nats)"] == f"{loss.mean():.4f} ± {loss.std():.4f}"
        seconds = {name: np.median(epoch_seconds(folder, name)) / 10 for name in ("plain", variant)}
        assert shown["seconds an epoch and seed"] == f"{seconds[variant]:.3f}"
        assert shown["cost (plain is 1)"] == f"{seconds[variant] / seconds['plain']:.2f}"
    assert list(final) == ["plain", "bn", "dropout"]

    differences = rows(page, "Difference in test accuracy")
    head = differences.pop("variant")
    p_values = {}
    for variant, cells in differences.items():
        shown = dict(zip(head, cells, strict=True))
        pairs = 100 * (last[variant, "test", "acc"] - last["plain", "test", "acc"])
        assert shown["difference (points)"] == f"{pairs.mean():+.2f}".replace("-", "\N{MINUS SIGN}")
        low, high = stats.t.interval(0.975, 9, pairs.mean(), stats.sem(pairs))
        assert shown["95% simultaneous interval"] == f"{low:+.2f} to {high:+.2f}".replace("-", "\N{MINUS SIGN}")
        wins = (np.sign(pairs).mean() + 1) / 2
        assert shown["better in (ties count half)"] == f"{wins:.0%}"
        p_values[variant] = stats.ttest_1samp(pairs, 0).pvalue, shown["adjusted p, t test"]
    (low, small), (high, large) = sorted(p_values.values())
    assert small == p_cell(min(2 * low, 1))
    assert large == p_cell(max(high, min(2 * low, 1)))


def epoch_seconds(folder, variant):
    return json.loads((folder / variant / "version_0" / "record.json").read_text())["epoch_seconds"]


def test_the_first_table_has_every_outcome_with_its_own_adjusted_p_values(tmp_path):
    folder = write_study(tmp_path / "study", outcomes=["gap", "loss"])
    write_report(folder)
    table = pd.read_csv(folder / "results.csv").query("epoch == 12")
    last = table.set_index(["variant", "split", "metric", "seed"]).value.sort_index()

    def outcomes(variant):
        return {
            "generalization gap (points)": 100 * (last[variant, "train", "acc"] - last[variant, "test", "acc"]),
            "test loss (nats)": last[variant, "test", "loss"],
        }

    shown = rows((folder / "report.html").read_text(), "Compared with plain, after 12 epochs: difference")
    head = shown.pop("variant")
    assert head == ["generalization gap (points)", "adjusted p", "test loss (nats)", "adjusted p"]
    for position, (outcome, plain) in enumerate(outcomes("plain").items()):
        pairs = {name: outcomes(name)[outcome] - plain for name in shown}
        corrected = holm([stats.ttest_1samp(each, 0).pvalue for each in pairs.values()])
        for (name, difference), p in zip(pairs.items(), corrected, strict=True):
            middle, adjusted = shown[name][2 * position : 2 * position + 2]
            decimals = 2 if "points" in outcome else 4
            expected = f"{difference.mean():+.{decimals}f} (".replace("-", "\N{MINUS SIGN}")
            assert middle.startswith(expected)
            assert adjusted == p_cell(p)


def test_how_the_answer_depends_on_what_counts_is_shown(tmp_path):
    folder = write_study(tmp_path / "study", epochs=30, validation=True, estimate={"kind": "tail"}, seeds=range(5))
    found = write_report(folder)
    page = (folder / "report.html").read_text()
    shown = rows(page, "Differences from plain by what counts")
    assert shown.pop("variant, outcome") == [
        "After 30 epochs",
        "adjusted p",
        "Mean of the last 3 of 30 epochs (chosen)",
        "adjusted p",
        "At the best epoch by validation accuracy",
        "adjusted p",
    ]
    assert set(shown) == {
        f"{name}, {what}" for name in ("bn", "dropout") for what in ("test accuracy", "generalization gap")
    }
    assert shown["bn, test accuracy"][2:4] == list(difference_cells("acc", found.comparisons["bn"]))
    chosen = [variant.best.mean for variant in found.variants]
    assert shown["bn, test accuracy"][4].startswith(f"{100 * (chosen[1] - chosen[0]):+.2f} (")


def test_values_are_shown_under_the_pointer(reported):
    folder, found = reported
    page, file = (folder / "report.html").read_text(), (folder / "figures" / "final.svg").read_text()
    for variant in found.variants:
        for seed, value in variant.values["acc"].items():
            title = f"<title>{variant.name}, seed {seed}: {100 * value:.2f}%</title>"
            assert title in page
            assert title in file
    curve = found.results.table.query("variant == 'bn' and split == 'test' and metric == 'acc' and epoch == 3")
    assert f"<title>bn, epoch 3: {100 * curve.value.mean():.2f}%</title>" in page


def test_figures_within_a_page_share_no_id_and_have_the_colours_of_the_page(reported):
    page = (reported[0] / "report.html").read_text()
    ids = [*re.findall(r'\bid="([^"]*)"', page)]
    assert len(set(ids)) == len(ids)
    figures = "".join(re.findall("<svg .*?</svg>", page, flags=re.DOTALL))
    named = {*re.findall(r'href="#([^"]*)"', figures), *re.findall(r"url\(#([^)]*)\)", figures)}
    assert named <= set(ids)
    assert "#000000" not in figures
    assert "#ffffff" not in figures
    assert "<!--" not in figures


def test_results_csv_is_the_tidy_table(reported):
    folder, _ = reported
    table = pd.read_csv(folder / "results.csv")
    assert list(table.columns) == ["study", "variant", "seed", "epoch", "split", "metric", "value"]
    pd.testing.assert_frame_equal(table, read_results(folder).table)


def test_the_verdict_comes_first_and_is_that_of_the_findings(reported):
    folder, found = reported
    page = (folder / "report.html").read_text()
    first = re.search(r"<section.*?</section>", page, flags=re.DOTALL)[0]
    (answered,) = re.findall(r'<p class="answer">(.*?)</p>', first)
    assert html.unescape(answered) == verdict(found)[0]
    assert [html.unescape(item) for item in re.findall(r"<li>(.*?)</li>", first)] == details(found)
    assert set(details(found)) < set(verdict(found))
    text = (folder / "report.md").read_text().replace("\\", "")
    assert f"## Verdict\n\n**{verdict(found)[0]}**\n" in text
    assert "\n".join(f"- {sentence}" for sentence in details(found)) in text


def test_methods_name_what_was_done(reported):
    folder, _ = reported
    text = " ".join((folder / "report.md").read_text().split())
    for fact in (
        "3 variants, 10 seeds (0 to 9) each, 12 epochs",
        "over 2 comparisons",
        "Fashion-MNIST | test | 10,000",
        "9a494dc49efeb996",
        "torch 2.15.0",
        "153cc6aed419",
        "fashionreg study configs/studies/fake.yaml --seeds 10",
        "nothing was selected by them",
        "One strength of each regularizer and the learning rates of the table of configurations were compared.",
        "What counts for a seed, in every table, test and sentence: after 12 epochs.",
        "tensorboard --logdir .",
        "**generalization gap**: Train accuracy minus test accuracy",
        "| variant | model.init_args.batch_norm | model.init_args.dropout |",
        "| bn | true | 0.1 |",
    ):
        assert fact in text, fact


@pytest.mark.usefixtures("drawn")
def test_the_longer_side_of_the_table_of_configurations_goes_down(tmp_path):
    write_report(write_study(tmp_path / "two", ["plain", "bn"], seeds=[0], epochs=1))
    assert "| model.init_args.dropout | 0.0 | 0.1 |" in (tmp_path / "two" / "report.md").read_text()


@pytest.mark.usefixtures("drawn")
def test_the_top_of_a_report_says_what_all_variants_share_and_where_it_is_explained(folder):
    write_report(folder)
    for name in ("report.md", "report.html"):
        text = re.sub("<[^>]*>", "", (folder / name).read_text().replace("</dt>", ": ")).replace("\\", "")
        top = text.replace("**", "").partition("adjusted p")[0]
        for fact in (
            "network: RegularizedMLP, hidden layers [64, 32]\n",
            "batch size: 64\n",
            "epochs: 12\n",
            "data: Fashion-MNIST (60,000 train, 10,000 test images)\n",
            "compared: 3 variants, 10 seeds (0 to 9) each\n",
            "what counts: After 12 epochs\n",
        ):
            assert fact in top, fact
        assert "docs/reports.md" in text
    plan = json.loads((folder / "study.json").read_text())
    plan["variants"][1]["config"]["data"]["init_args"]["batch_size"] = 32
    (folder / "study.json").write_text(json.dumps(plan))
    write_report(folder)
    assert "\n- **batch size**: 64 or 32\n" in (folder / "report.md").read_text()


@pytest.mark.usefixtures("drawn")
def test_the_top_of_a_report_names_the_regularizers_that_all_variants_share(folder):
    def setup():
        write_report(folder)
        text = (folder / "report.md").read_text().replace("\\", "")
        methods = text.partition("## Methods")[2].partition("## Data")[0]
        # the sentence on pairing names variants, one of which is called dropout
        assert not any("dropout" in line for line in methods.splitlines() if "by design" not in line)
        return [line.removeprefix("- **in every variant**: ") for line in text.splitlines() if "**in every" in line]

    assert setup() == []
    plan = json.loads((folder / "study.json").read_text())
    for position, variant in enumerate(plan["variants"]):
        penalty = {"class_path": "my.L1", "init_args": {"strength": 0.001}}
        other = {"class_path": "my.Noise", "init_args": {"std": 0.1 * position}}
        variant["config"]["model"]["init_args"] |= {"batch_norm": True, "dropout": 0.5}
        variant["config"]["model"]["init_args"] |= {"regularizers": {"l1": penalty, "noise": other}}
        variant["config"]["model"]["init_args"] |= {"optimizer": {"init_args": {"weight_decay": 0.01}}}
    (folder / "study.json").write_text(json.dumps(plan))
    assert setup() == ["batch norm, dropout 0.5, l1: L1 strength 0.001, weight decay 0.01"]
    for variant in plan["variants"][1:]:
        variant["config"]["model"]["init_args"] |= {"dropout": 0.0, "regularizers": None}
    (folder / "study.json").write_text(json.dumps(plan))
    assert setup() == ["batch norm, weight decay 0.01"]


def test_names_and_questions_are_shown_as_they_are(tmp_path):
    nasty = '<b>&"| *x* _y_ `z`'
    folder = write_study(tmp_path / "study", ["plain", "b < c & d | e"], question=nasty)
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert "<b>" not in page
    assert nasty in html.unescape(page)
    assert "b &lt; c &amp; d | e" in page
    assert "b < c \\& d \\| e |" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": [3]},
        {"seeds": [0, 1]},
        {"variants": ["only"]},
        {"epochs": 1},
        {"targets": [], "metric": "loss"},
        {"metric": "ece"},
        {"absent": {"bn": range(10)}},
        {"absent": {"plain": range(10)}},
        {"absent": {"dropout": [4]}},
        {"validation": True, "split": "val"},
        {"variants": [f"variant {number}" for number in range(9)]},
        {"variants": FACTORIAL},
        {"evaluate_train": False},
    ],
    ids=str,
)
def test_every_study_has_a_report_without_nan_in_it(tmp_path, options):
    folder = write_study(tmp_path / "study", **options)
    found = write_report(folder)
    page = re.sub(r"base64,[^\"]+", "", (folder / "report.html").read_text())
    assert not re.search(r"\b(nan|inf|None)\b", page)
    if any(options.get("absent", {})):
        assert "Incomplete" in page
        assert "Warnings" in page
    if len(found.variants) == 9 or options.get("variants") is FACTORIAL:
        assert all(f"{variant.name}<" in page for variant in found.variants)
    assert ("effects.png" in {path.name for path in folder.glob("figures/*")}) == (options.get("variants") is FACTORIAL)


def test_a_variant_looks_the_same_in_every_figure_whoever_is_missing(tmp_path):
    whole = find(read_results(write_study(tmp_path / "whole")))
    part = find(read_results(write_study(tmp_path / "part", absent={"bn": range(10)})))
    looks = plots.looks(whole)
    assert plots.looks(part) == looks
    assert len({look.colour for look in looks.values()}) == 3
    for draw in (plots.curves, plots.final_values):
        colours = {line.get_color() for axes in draw(whole).axes for line in axes.get_lines()}
        assert {look.colour for look in looks.values()} <= colours


def test_drift_is_shown_where_it_was_watched(folder):
    generator = np.random.default_rng(0)
    for variant in ("plain", "bn"):
        lines = ["seed,step,layer,statistic,value"]
        for seed in range(10):
            for step in range(0, 200, 50):
                for layer in ("hidden1", "hidden2"):
                    statistics = ("p15", "p50", "p85", "mean_drift", "std_drift", "dead", "gradient_norm")
                    lines += [f"{seed},{step},{layer},{one},{generator.random()}" for one in statistics]
        (folder / variant / "version_0" / "drift.csv").write_text("\n".join(lines) + "\n")
    found = write_report(folder)
    assert (folder / "figures" / "drift.png").is_file()
    table = found.results.drift
    end = table.query("variant == 'bn' and layer == 'hidden2' and statistic == 'mean_drift' and step == 150").value
    assert any(f"{end.mean():.2g} in bn" in sentence for sentence in verdict(found))


@pytest.mark.usefixtures("drawn")
def test_several_studies_have_one_report(tmp_path):
    first = write_study(tmp_path / "a", ["plain", "bn"], name="first", seeds=range(3), epochs=3)
    second = write_study(tmp_path / "b", FACTORIAL, name="second", seeds=range(3), epochs=3)
    write_combined_report([first, second], tmp_path / "both")
    page = (tmp_path / "both" / "report.html").read_text()
    assert "Study first" in page
    assert "Study second" in page
    table = pd.read_csv(tmp_path / "both" / "results.csv")
    assert set(table.study) == {"first", "second"}
    assert {"overview.png", "first_curves.png", "second_effects.svg"} <= {
        path.name for path in (tmp_path / "both" / "figures").iterdir()
    }
    assert (first / "report.html").is_file()


def test_figures_of_many_variants_show_the_reference_and_the_best_and_tables_show_all(tmp_path, drawn):
    names = [f"variant {number}" for number in range(MOST_SHOWN + 8)]
    found = write_report(write_study(tmp_path / "study", names, seeds=range(5), epochs=3, name="many"))
    ends = {variant.name: variant.values["acc"].mean() for variant in found.variants}
    best = sorted(names[1:], key=lambda name: -ends[name])[: MOST_SHOWN - 1]
    shown = most_telling(found, MOST_SHOWN)
    assert {variant.name for variant in shown.variants} == {names[0], *best}
    assert set(shown.comparisons) == set(best)
    assert len(found.comparisons) == len(names) - 1
    assert max(len(figure.axes) for figure in drawn) == MOST_SHOWN
    text = (tmp_path / "study" / "report.md").read_text()
    assert (
        text.count(
            f"Shown are {MOST_SHOWN} of {len(names)} variants: the reference and those with the best final results"
        )
        == 5
    )
    assert set(rows((tmp_path / "study" / "report.html").read_text(), "After 3 epochs")) >= set(names)
    few = find(read_results(write_study(tmp_path / "few", seeds=range(5), epochs=3)))
    assert most_telling(few, MOST_SHOWN) is few
    write_combined_report([tmp_path / "study", tmp_path / "few"], tmp_path / "both")
    caption = f"Shown are {MOST_SHOWN + 3} of {len(names) + 3} variants"
    overview = (tmp_path / "both" / "report.md").read_text().partition("## Study")[0]
    assert caption in overview


def test_the_work_of_a_report_grows_no_faster_than_the_number_of_variants(tmp_path):
    def cells_searched(count):
        """The cells of all tables that are grouped or compared with something while the findings are made."""
        results = read_results(write_study(tmp_path / str(count), [f"v{n}" for n in range(count)], seeds=[0], epochs=2))
        searched = 0

        def counting(search):
            def counted(self, *arguments, **options):
                nonlocal searched
                searched += len(self)
                return search(self, *arguments, **options)

            return counted

        with pytest.MonkeyPatch.context() as patch:
            for operator in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
                patch.setattr(pd.Series, operator, counting(getattr(pd.Series, operator)))
            for search in ("groupby", "pivot", "query"):
                patch.setattr(pd.DataFrame, search, counting(getattr(pd.DataFrame, search)))
            find(results)
        return searched

    assert cells_searched(60) < 1.5 * 3 * cells_searched(20)


@pytest.mark.usefixtures("drawn")
def test_what_cannot_be_reported_is_refused(tmp_path, folder):
    empty = write_study(tmp_path / "empty", absent={name: range(10) for name in ("plain", "bn", "dropout")})
    with pytest.raises(UserError) as error:
        write_report(empty)
    assert "no run of this study is finished; fashionreg study configs/studies/fake.yaml runs it" in message(error)
    with pytest.raises(UserError, match="is the folder of one of the studies"):
        write_combined_report([folder, empty], folder)
    twin = write_study(tmp_path / "twin")
    with pytest.raises(UserError, match="have the same name: fake, fake"):
        write_combined_report([folder, twin], tmp_path / "out")
    assert json.loads((folder / "study.json").read_text())["name"] == "fake"


@pytest.mark.usefixtures("drawn")
def test_a_report_leaves_its_folder_through_no_link(folder, tmp_path, refusal):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "final.png").write_text("precious")
    (folder / "figures").symlink_to(victim)
    assert f"{folder / 'figures'}: is a link" in refusal("report", folder)[1]
    assert [path.read_text() for path in victim.iterdir()] == ["precious"]
    # a folder that the user names is where the user wants it
    (folder / "figures").unlink()
    (tmp_path / "elsewhere").symlink_to(folder)
    write_report(tmp_path / "elsewhere")
    assert (folder / "figures").is_dir()


@pytest.mark.parametrize("metric", ["acc", "loss"])
def test_bands_of_learning_curves_are_the_intervals_of_the_table_and_accuracies_stay_within_0_to_100(findings, metric):
    def change(_variant, table):
        # three seeds far apart near 0: Student's t interval of an accuracy would end below 0%
        return table.value.where(table.metric != "acc", 0.02 + 0.15 * (table.seed == 1))

    found = findings(change, seeds=[0, 1, 2], metric=metric, targets=[])
    (axes,) = plots.curves(found).axes
    for variant, band in zip(found.variants, axes.collections, strict=True):
        vertices = band.get_paths()[0].vertices
        last = vertices[vertices[:, 0] == vertices[:, 0].max(), 1]
        interval, unit = variant.final[f"test/{metric}"], 100 if metric == "acc" else 1
        assert (last.min(), last.max()) == pytest.approx((unit * interval.low, unit * interval.high), rel=1e-9)
        assert metric == "loss" or (vertices[:, 1].min() > 0 and vertices[:, 1].max() < 100)
