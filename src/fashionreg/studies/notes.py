"""What a reader must know of a study before believing its numbers, as values that say which kind they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fashionreg.config import flat
from fashionreg.data.location import SYNTHETIC_SOURCE
from fashionreg.studies.answer import listed
from fashionreg.studies.curves import STALL
from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings, VariantFindings
from fashionreg.studies.folds import SPLIT_NUMBER
from fashionreg.studies.statistics import outliers
from fashionreg.text import counted, named_seeds, unit_of

#: What makes results doubtful.
Alarm = Literal[
    "incomplete",
    "mixed",
    "diverged",
    "collapsed",
    "synthetic",
    "lengths",
    "images",
    "uncorrected_looks",
    "looks_at_more",
]

#: What explains how results were made.
Remark = Literal["selection", "running_means", "stalls", "looks"]

#: A seed has collapsed only if it is worse than the median of its variant by more than this.
COLLAPSED = {"acc": 0.05, "loss": 0.5}

#: How many stalls are named.
MOST_NAMED = 5


@dataclass(frozen=True)
class Note:
    """Something to know about a study.

    Attributes:
        kind: What it is about.
        text: One sentence.
    """

    kind: Alarm | Remark
    text: str

    @property
    def warns(self) -> bool:
        """Whether results are doubtful for this reason."""
        return self.kind in get_args(Alarm)


def notes(found: Findings) -> list[Note]:
    """Return what must be known, warnings first."""
    return [
        *_incomplete(found),
        *_left_out(found),
        *_collapsed(found),
        *_different(found),
        *_looks(found),
        *_remarks(found),
    ]


def _incomplete(found: Findings) -> Iterator[Note]:
    """Yield what is missing and what is not a number."""
    plan, table = found.plan, found.results.table
    for name, seeds in found.results.missing().items():
        yield Note("incomplete", f"Incomplete: {name} has no results for {len(seeds)} of {len(plan.seeds)} seeds.")
    for name, rows in table[~np.isfinite(table.value)].groupby("variant", sort=False):
        seeds = sorted({int(seed) for seed in rows.seed})
        which = f"{counted(len(seeds), 'seed')} ({named_seeds(seeds)})"
        if found.results.runs:
            yield Note("diverged", f"Diverged: the loss of {name} is infinite or not a number for {which}.")
        else:
            what = found.plan.label(found.plan.metric)
            yield Note("diverged", f"Not finite: the {what} of {name} is infinite or not a number for {which}.")


def _left_out(found: Findings) -> Iterator[Note]:
    """Yield the seeds of compared runs that not all of them have."""
    if found.results.command == "study" or not found.results.runs:
        return
    for variant, run in zip(found.plan.variants, found.results.runs, strict=True):
        if left := sorted(set(run.seeds) - set(found.plan.seeds)):
            which = f"{counted(len(left), 'seed')} of {variant.name} ({named_seeds(left)})"
            yield Note("incomplete", f"Left out: {which}, as not all runs have {'it' if len(left) == 1 else 'them'}.")


def _collapsed(found: Findings) -> Iterator[Note]:
    """Yield the seeds that did not train, though all of their numbers are finite."""
    plan = found.plan
    metric = "loss" if plan.primary == "loss" else "acc"
    beside = any(one.robust is not None for one in found.evidence.values())
    for variant in found.variants:
        if metric not in variant.single:
            continue
        # a mean over splits would hide the one on which a network collapsed
        values = variant.single[metric]
        positions = outliers(values.to_numpy(), COLLAPSED[metric], higher_is_better=metric == "acc").collapsed
        if positions:
            unit = unit_of(metric)
            which, of = _collapsed_results(found, variant, [values.index[position] for position in positions])
            worst = ", ".join(unit.text(values.iloc[position]) for position in positions[:MOST_NAMED])
            usual = unit.text(float(values[np.isfinite(values)].median()))
            text = f"Collapsed: {which}: {plan.label(metric)} {worst}, where the median of its {of} is {usual}."
            text += " Median and interquartile mean stand beside the mean." * beside
            yield Note("collapsed", text)


def _collapsed_results(found: Findings, variant: VariantFindings, where: Sequence[Any]) -> tuple[str, str]:
    """Return which results of a variant collapsed, and what its results are called.

    Args:
        found: The findings.
        variant: The variant.
        where: Their seeds; pairs of seed and fold where each seed has several results.
    """
    if found.results.cells is None:
        return f"{counted(len(where), 'seed')} of {variant.name} ({named_seeds(list(map(int, where)))})", "seeds"
    column = SPLIT_NUMBER if found.plan.splits > 1 else "fold"
    named = [f"seed {seed}, {column} {fold}" for seed, fold in where[:MOST_NAMED]]
    more = f" and {len(where) - len(named)} more" * (len(where) > len(named))
    return f"{counted(len(where), 'result')} of {variant.name} ({'; '.join(named)}{more})", "results"


def _different(found: Findings) -> Iterator[Note]:
    """Yield what differs between runs and should not."""
    runs = found.results.runs
    for what, field in (("versions", "versions"), ("git commits", "git_commit"), ("devices", "device")):
        if len({str(getattr(run, field)) for run in runs}) > 1:
            yield Note("mixed", f"Mixed: the runs were made with different {what}; see Environment.")
    if any(run.data.source == SYNTHETIC_SOURCE for run in runs):
        yield Note("synthetic", "Trained on synthetic garments: nothing here is about Fashion-MNIST.")
    if len(set(found.lengths.values())) > 1:
        ends = ", ".join(f"{name} {epochs}" for name, epochs in found.lengths.items())
        text = f"The variants were not trained equally long; the end of each counts: {ends} epochs."
        yield Note("lengths", text)
    images: dict[object, set[str]] = {}
    for run in runs:
        split = flat(run.config).get("data.init_args.split_seed") if found.plan.splits > 1 else None
        images.setdefault(split, set()).add(str(sorted(run.data.fingerprints.items())))
    if any(len(different) > 1 for different in images.values()):
        yield Note("images", "The variants were not trained and tested on the same images.")


def _looks(found: Findings) -> Iterator[Note]:
    """Yield how often results were compared while seeds were added, and what that does to the tests."""
    looked = found.looked
    if looked.more:
        more = listed([str(number) for number in looked.more])
        yield Note(
            "looks_at_more",
            f"This is not the last look: results were compared with {more} seeds before, and that counts. Whoever "
            "chooses the number of seeds after a look chooses the result.",
        )
    if not looked.seeds or (len(looked.seeds) == 1 and looked.maximum is None):
        return
    numbers = listed([str(number) for number in looked.seeds])
    times = f"Results were compared {counted(len(looked.seeds), 'time')}, with {numbers} seeds"
    if looked.maximum is None:
        yield Note(
            "uncorrected_looks",
            f"{times}. The p values and intervals are not corrected for that, as no largest number of seeds "
            "(max_seeds) was declared before the first look and kept: adding seeds until a difference is shown shows "
            "one too often.",
        )
    else:
        yield Note(
            "looks",
            f"{times}, of at most {looked.maximum}. So that all looks together err in 5%, an adjusted p value shows a "
            f"difference below {found.level:.3g} at this one, and intervals are wider to match (Lan and DeMets 1983).",
        )


def _remarks(found: Findings) -> Iterator[Note]:
    """Yield how results were selected and evaluated, where that is known."""
    if not found.results.runs:
        return
    if found.plan.split == "test" and found.results.command == "study":
        best = "; beside it stands the epoch that is best on validation images" if found.variants[0].best else ""
        text = "Test results are shown for every epoch, and nothing was selected by them. What counts for a seed"
        yield Note("selection", f"{text}: {title(found.phrase).lower()}{best}.")
    if found.stalls:
        longest = sorted(found.stalls, key=lambda stall: -stall.times)[:MOST_NAMED]
        named = ", ".join(f"{one.variant} epoch {one.epoch} ({one.times:.0f} times)" for one in longest)
        more = len(found.stalls) - len(longest)
        yield Note(
            "stalls",
            f"Stalls: {counted(len(found.stalls), 'epoch')} took more than {STALL} times the median of the run: {named}"
            f"{f' and {more} more' if more else ''}. Times are medians over epochs, which they hardly change.",
        )
    if not found.plan.train_evaluated:
        yield Note(
            "running_means",
            "Training metrics are means over the steps of an epoch (in training mode, weights changing), so the "
            "generalization gap is only approximately that of the trained network.",
        )
