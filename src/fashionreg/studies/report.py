"""Records into a report: one HTML page that needs nothing else, Markdown, a table and figures.

Everything follows from the records: the same records give the same bytes. Neither torch nor Lightning is needed.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from fashionreg.errors import UserError
from fashionreg.files import whole_file
from fashionreg.studies import plots
from fashionreg.studies.findings import Findings, VariantFindings, find, most_telling
from fashionreg.studies.methods import methods
from fashionreg.studies.page import Block, Items, Picture, Section, Table, Text, Warnings, to_html, to_markdown
from fashionreg.studies.results import read_study
from fashionreg.studies.statistics import Estimate, Reaching
from fashionreg.studies.verdict import METRIC_NAMES, NOTHING, in_p, in_units, notes, verdict

#: With more variants than this no figure is readable, and a page takes minutes.
MOST_SHOWN = 12


def write_report(folder: Path) -> Findings:
    """Write `report.html`, `report.md`, `results.csv` and `figures/` into a study's folder.

    Raises:
        UserError: If there is no study, nothing in it is finished, or a record is damaged.
    """
    found = _read(folder)
    pictures = _Pictures(folder)
    blocks = _page(found, pictures)
    _write(folder, found.plan.name, found.plan.question, blocks, found.results.table, pictures)
    return found


def write_combined_report(folders: Sequence[Path], out: Path) -> list[Findings]:
    """Rebuild the report of each study, and write one that shows them all into `out`.

    Raises:
        UserError: As `write_report`; or if `out` is one of the studies, or two studies have the same name.
    """
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise UserError(f"out: {out} is the folder of one of the studies; choose another")
    studies = [write_report(folder) for folder in folders]
    names = [found.plan.name for found in studies]
    if len(set(names)) < len(names):
        raise UserError(f"two of the studies have the same name: {', '.join(names)}")
    pictures = _Pictures(out)
    overview = pictures.add(
        "overview",
        plots.overview([most_telling(found, MOST_SHOWN) for found in studies]),
        "Final values of every variant of every study.",
        "Every dot is a seed; marks with lines are means with 95% intervals.",
    )
    verdicts = [Section(found.plan.name, _verdict(found)) for found in studies]
    blocks: list[Block] = [Section("Verdicts", verdicts), Section("Overview", [overview])]
    for found in studies:
        pictures.prefix = f"{_slug(found.plan.name)}_"
        blocks.append(Section(f"Study {found.plan.name}", _page(found, pictures)))
    table = pd.concat([found.results.table for found in studies], ignore_index=True)
    _write(out, " and ".join(names), f"{len(names)} studies side by side", blocks, table, pictures)
    return studies


def _read(folder: Path) -> Findings:
    results = read_study(folder)
    if results.table.empty:
        raise UserError(f"{folder}: no run of this study is finished; fashionreg study {results.plan.source} runs it")
    return find(results)


class _Pictures:
    """The figures of a page, gathered while it is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = ""
        self.note = ""
        self._bar = tqdm(desc="figures", unit="", delay=2, leave=False, disable=None)
        self.files: dict[str, bytes] = {}

    def add(self, name: str, figure: Figure, text: str, caption: str) -> Picture:
        svg = plots.render(figure, "svg")
        stem = f"figures/{self.prefix}{name}"
        self.files[f"{stem}.svg"] = svg
        self.files[f"{stem}.png"] = plots.render(figure, "png")
        self._bar.update()
        return Picture(f"{stem}.png", svg, text, caption + self.note)

    def close(self) -> None:
        """Take the bar away that counts the figures, where they take long and someone watches."""
        self._bar.close()


def _write(
    folder: Path, title: str, lead: str, blocks: Sequence[Block], table: pd.DataFrame, pictures: _Pictures
) -> None:
    pictures.close()
    for name, content in pictures.files.items():
        with whole_file(folder / name) as file:
            file.write(content)
    for name, text in (
        ("results.csv", table.to_csv(index=False, float_format="%.15g", lineterminator="\n")),
        ("report.md", to_markdown(title, lead, blocks)),
        ("report.html", to_html(title, lead, blocks)),
    ):
        with whole_file(folder / name) as file:
            file.write(text.encode())


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)


# -- the page ----------------------------------------------------------------------------------------------------


def _page(found: Findings, pictures: _Pictures) -> list[Block]:
    """Verdict first, then what it follows from, then how it was come by."""
    shown = most_telling(found, MOST_SHOWN)
    pictures.note = ""
    if len(shown.variants) < len(found.variants):
        pictures.note = (
            f" Shown are {len(shown.variants)} of {len(found.variants)} variants: the reference and those that end "
            "best; the tables have all."
        )
    return [
        Section("Verdict", _verdict(found)),
        Section("Course of training", [_curves(found, shown, pictures)]),
        Section("After the last epoch", _final(found, shown, pictures)),
        *_differences(found, shown, pictures),
        *_convergence(found, shown, pictures),
        *_overfitting(found, shown, pictures),
        *_effects(found, pictures),
        *_drift(found, shown, pictures),
        Section("Methods", methods(found)),
    ]


def _verdict(found: Findings) -> list[Block]:
    alarming = ("Incomplete", "Mixed", "Trained on synthetic", "Diverged", "The variants were not")
    warnings = [note for note in notes(found) if note.startswith(alarming)]
    return [
        Items(verdict(found) or ["There is one variant only: nothing to compare."], strong=True),
        *([Warnings(warnings)] if warnings else []),
    ]


def _metric(found: Findings) -> str:
    return f"{found.plan.split} {METRIC_NAMES[found.plan.metric]}"


def _curves(found: Findings, shown: Findings, pictures: _Pictures) -> Picture:
    return pictures.add(
        "curves",
        plots.curves(shown),
        f"Curves of {_metric(found)} by epoch for {len(found.variants)} variants.",
        f"{_metric(found).capitalize()} after every epoch. Thick: mean over seeds, with its 95% interval as a band; "
        "thin: every single seed. The legend names the means after the last epoch.",
    )


def _final(found: Findings, shown: Findings, pictures: _Pictures) -> list[Block]:
    plan, primary = found.plan, f"{found.plan.split}/{found.plan.metric}"
    columns: list[tuple[str, Callable[[VariantFindings], str]]] = [
        (_metric(found), lambda v: _with_spread(v.final[primary], plan.metric)),
        ("95% interval", lambda v: _interval(v.final[primary], plan.metric)),
    ]
    for key, title in (
        ("test/acc", "test accuracy"),
        ("val/acc", "val accuracy"),
        ("train/acc", "train accuracy"),
        ("gap", "generalization gap"),
        ("test/loss", "test loss (nats)"),
        ("test/ece", "test calibration error"),
    ):
        if key != primary and any(key in variant.final for variant in found.variants):
            columns.append((title, lambda v, key=key: _with_spread(v.final.get(key), key.rpartition("/")[2])))  # type: ignore[misc]
    if any(variant.best_epoch for variant in found.variants):
        columns.append(("best epoch by val", lambda v: f"{v.best_epoch.mean:.1f}" if v.best_epoch else NOTHING))
        columns.append((f"{_metric(found)} there", lambda v: _with_spread(v.best, plan.metric)))
    columns.append(("seconds an epoch and seed", lambda v: f"{v.seconds:.3f}"))
    rows = [[v.name, str(len(v.seeds)), *(cell(v) for _, cell in columns)] for v in found.variants]
    head = ["variant", "seeds", *(title for title, _ in columns)]
    figure = pictures.add(
        "final",
        plots.final_values(shown),
        f"Final {_metric(found)} of every seed for {len(found.variants)} variants.",
        f"{_metric(found).capitalize()} after {found.epochs} epochs: every dot is a seed; marks with lines are means "
        "with 95% intervals.",
    )
    return [
        Text("Means over seeds, with the standard deviation of single seeds; the interval is that of the mean.", True),
        Table(f"After {found.epochs} epochs", head, rows),
        figure,
    ]


def _differences(found: Findings, shown: Findings, pictures: _Pictures) -> list[Block]:
    if not found.comparisons:
        return []
    metric = found.plan.metric
    rows = [
        [
            name,
            str(one.n),
            in_units(one.difference.mean, metric, signed=True, difference=True),
            _interval(one.difference, metric, signed=True),
            in_p(one.t_p_holm),
            in_p(one.wilcoxon_p_holm),
            f"{one.probability_better:.0%}",
            in_units(one.detectable, metric, difference=True),
        ]
        for name, one in found.comparisons.items()
    ]
    head = ["variant", "pairs", "difference", "95% interval (BCa)", "t test (Holm)", "Wilcoxon (Holm)"]
    head += ["pairs in which it is better", "effect shown with 80% probability"]
    figure = pictures.add(
        "differences",
        plots.differences(shown),
        f"Differences in {_metric(found)} against {found.plan.reference}.",
        f"Each variant minus {found.plan.reference}, paired by seed: mean difference and 95% bootstrap interval. "
        "An interval that crosses the line is compatible with no difference. Intervals are for each comparison on its "
        "own; p values are corrected for the number of comparisons.",
    )
    hint = (
        "Seed by seed against the reference. A p value below 0.05 is evidence of a difference; a larger one is no "
        "evidence that there is none: the last column says how large a difference these seeds "
        "would have shown in four of five studies."
    )
    title = f"Against {found.plan.reference}"
    return [Section(title, [Text(hint, True), Table(f"Difference in {_metric(found)}", head, rows), figure])]


def _convergence(found: Findings, shown: Findings, pictures: _Pictures) -> list[Block]:
    if not found.reaching_epochs:
        return []
    metric, reference = found.plan.metric, found.plan.reference
    listed = found.reaching_epochs[reference]
    titles = [in_units(one.target, metric) for one in listed]
    titles[-1] += f" ({reference} at the end)"
    rows = []
    for name, reached in found.reaching_epochs.items():
        seconds = found.reaching_seconds[name]
        rows.append([name, *(_reached(one, time) for one, time in zip(reached, seconds, strict=True))])
    figure = pictures.add(
        "targets",
        plots.targets(shown),
        f"Epochs that each variant takes to reach a {_metric(found)}.",
        "Median over seeds with its 95% interval; an arrow at the right edge stands for seeds that never got there. "
        "Nothing is known before the first epoch is over.",
    )
    hint = (
        "Epochs until a value is reached: median over seeds, in brackets its 95% interval; then the wall time a seed."
    )
    return [
        Section(
            "How fast", [Text(hint, True), Table(f"Epochs to {_metric(found)}", ["variant", *titles], rows), figure]
        )
    ]


def _reached(epochs: Reaching, seconds: Reaching) -> str:
    if epochs.reached == 0:
        return "never"
    if math.isinf(epochs.median):
        return f"{epochs.reached} of {epochs.n} seeds only"
    text = f"{epochs.median:.1f}"
    if not math.isnan(epochs.low):
        text += f" ({epochs.low:.1f} to {'never' if math.isinf(epochs.high) else f'{epochs.high:.1f}'})"
    text += f", {seconds.median:.2g} s"
    return text + (f"; {epochs.n - epochs.reached} of {epochs.n} never" if epochs.reached < epochs.n else "")


def _overfitting(found: Findings, shown: Findings, pictures: _Pictures) -> list[Block]:
    if not any("gap" in variant.final for variant in found.variants):
        return []
    figure = pictures.add(
        "overfitting",
        plots.overfitting(shown),
        "Train and test accuracy by epoch, a panel for each variant.",
        "Dashed: training images; solid: test images; thin: single seeds. What lies between them at the end is the "
        "generalization gap. "
        + (
            "Training images are evaluated like test images, with dropout off."
            if found.train_evaluated
            else "Training accuracy is the mean over the epoch's own steps, with dropout on."
        ),
    )
    return [Section("Overfitting", [figure])]


def _effects(found: Findings, pictures: _Pictures) -> list[Block]:
    if not found.effects:
        return []
    metric = found.plan.metric
    rows = [
        [
            " x ".join(effect.factors),
            in_units(effect.estimate.mean, metric, signed=True, difference=True),
            _interval(effect.estimate, metric, signed=True),
            in_p(effect.p_holm),
        ]
        for effect in found.effects
    ]
    figure = pictures.add(
        "effects",
        plots.effects(found),
        "Main effects and interactions with intervals.",
        "Effects with 95% intervals; squares are interactions.",
    )
    hint = (
        "A main effect is the mean with the option minus the mean without it, over all settings of the others. An "
        "interaction is half of what the effect of one option changes when the other is on: zero if effects add up."
    )
    table = Table(f"Effects on {_metric(found)}", ["effect", "size", "95% interval", "t test (Holm)"], rows)
    return [Section("Do the effects add up?", [Text(hint, True), table, figure])]


def _drift(found: Findings, shown: Findings, pictures: _Pictures) -> list[Block]:
    if found.results.drift.empty or found.results.drift.step.nunique() == 1:
        return []
    figure = pictures.add(
        "drift",
        plots.drift(shown),
        "Percentiles of a unit's input over training steps, and the drift of each layer's inputs.",
        "Above: the 15th, 50th and 85th percentile over images of the input of one unit's ReLU in the last hidden "
        "layer, for the first seed, as in figure 1 of Ioffe and Szegedy (2015). Below: how far the mean input of a "
        "unit has moved since the first step, in its standard deviations of then; means over units and seeds.",
    )
    return [Section("The moving target", [figure])]


# -- numbers as text ---------------------------------------------------------------------------------------------


def _with_spread(one: Estimate | None, metric: str) -> str:
    """`81.52 ± 0.49%`."""
    if one is None or math.isnan(one.mean):
        return NOTHING
    mean = in_units(one.mean, metric)
    if math.isnan(one.std):
        return mean
    number, space, unit = mean.partition(" ") if metric == "gap" else (mean.removesuffix("%"), "", mean[-1:])
    if metric == "loss":
        number, space, unit = mean, "", ""
    spread = in_units(one.std, metric).removesuffix("%").removesuffix(" points")
    return f"{number} ± {spread}{space}{unit}"


def _interval(one: Estimate, metric: str, *, signed: bool = False) -> str:
    """`81.17 to 81.87%`."""
    if math.isnan(one.low):
        return NOTHING
    low, high = (in_units(end, metric, signed=signed, difference=signed) for end in (one.low, one.high))
    return f"{low.removesuffix('%').removesuffix(' points')} to {high}"
