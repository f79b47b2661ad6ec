"""Over what a difference in test accuracy holds: other seeds on these images only, or new images too.

It rests on which test images each seed is right about after the last epoch (`fashionreg.runs.correct`) or, of results
made elsewhere, on the score of each image.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fashionreg.studies.folds import IMAGE
from fashionreg.studies.page import Block, Section, Table, Text
from fashionreg.studies.results import Correct, StudyResults
from fashionreg.studies.statistics import Comparison, Estimate, Interval, corrected_t, estimate, seeds_and_images
from fashionreg.text import POINTS, unit_of_difference

#: What the verdict says a difference holds for.
NEW, THESE, NEITHER = "on new images too", "on these images", "not shown"


@dataclass(frozen=True)
class OverImages:
    """A difference in test accuracy after the last epoch (-1 to 1) or in scores, from the seeds of both variants.

    Attributes:
        seeds: The difference with Student's t interval over seeds; where each seed has its own test images, over splits
            of the same images.
        interval: 95% interval over images too: `seeds_and_images` or, where each seed has its own test images,
            `corrected_t`.
        images: Number of test images of a seed.
        image_std: Standard deviation between images of the difference that all seeds share; NaN where each seed has its
            own test images.
    """

    seeds: Estimate
    interval: Interval
    images: int
    image_std: float

    @property
    def holds(self) -> str:
        """For what the difference holds, by these two intervals."""
        if not _excludes_zero(self.seeds.low, self.seeds.high):
            return NEITHER
        return NEW if _excludes_zero(*self.interval) else THESE


def _excludes_zero(low: float, high: float) -> bool:
    return low > 0 or high < 0


def over_images(results: StudyResults) -> dict[str, OverImages]:
    """Compare each other variant with the reference, where both were tested on the same images and this is recorded."""
    if results.scores is not None:
        scores = _by_seed_and_image(results, results.scores)
        of_reference = scores.pop(results.plan.reference)
        compared = {name: of_scores(each, of_reference) for name, each in scores.items()}
        return {name: one for name, one in compared.items() if np.isfinite(one.seeds.mean)}
    reference = results.correct.get(results.plan.reference, [])
    found = {
        name: _compared(runs, reference) for name, runs in results.correct.items() if name != results.plan.reference
    }
    return {name: one for name, one in found.items() if one is not None}


def _by_seed_and_image(results: StudyResults, scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return for each variant what counts for each seed (rows) and image (columns)."""
    keys, parts = ["seed", IMAGE], scores.groupby("variant", sort=False)
    curves = {str(name): rows.pivot(index=keys, columns="epoch", values="value") for name, rows in parts}
    return {name: results.plan.estimate.of(curve, None).unstack(IMAGE) for name, curve in curves.items()}


def of_scores(variant: pd.DataFrame, reference: pd.DataFrame) -> OverImages:
    """Compare scores of the same images, a row for each seed and a column for each image; NaN if one is not finite."""
    seeds, images = sorted(set(variant.index) & set(reference.index)), reference.columns
    ours, theirs = (each.loc[seeds, images].to_numpy(np.float64) for each in (variant, reference))  # (n, m)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        unknown = Estimate(math.nan, math.nan, math.nan, math.nan, len(seeds))
        return OverImages(unknown, Interval(math.nan, math.nan), len(images), math.nan)
    both = seeds_and_images(ours, theirs)
    return OverImages(both.seeds, both.interval, len(images), both.image_std)


def _compared(variant: Sequence[Correct], reference: Sequence[Correct]) -> OverImages | None:
    """Compare the seeds that both have; None if there are fewer than two, or their images differ."""
    one, two = (
        {seed: row for run in runs for seed, row in zip(run.seeds, run.right, strict=True)}
        for runs in (variant, reference)
    )
    seeds = sorted(one.keys() & two.keys())
    runs = [*variant, *reference]
    kinds = {(run.data.fingerprints["test"], run.right.shape[1], "test" in run.data.by_seed) for run in runs}
    sizes = {run.data.sizes.get("train", 0) for run in runs}
    if len(seeds) < 2 or len(kinds) > 1:
        return None
    ours, theirs = (np.stack([rows[seed] for seed in seeds]) for rows in (one, two))  # (n, m)
    ((_, images, by_seed),) = kinds
    if not by_seed:
        both = seeds_and_images(ours, theirs)
        return OverImages(both.seeds, both.interval, images, both.image_std)
    if len(sizes) > 1 or 0 in sizes:
        return None
    differences = ours.mean(axis=1) - theirs.mean(axis=1)
    split = corrected_t(differences, sizes.pop(), images).difference
    return OverImages(estimate(differences), Interval(split.low, split.high), images, math.nan)


def sentences(
    results: StudyResults, over: Mapping[str, OverImages], compared: Mapping[str, Mapping[str, Comparison]]
) -> list[str]:
    """Return for which of the differences that were shown it is known over what they hold, as one sentence.

    Args:
        results: The results.
        over: As `over_images` returns it.
        compared: The comparisons by each outcome; their simultaneous intervals decide what was shown.
    """
    plan, scored = results.plan, results.scores is not None
    outcome, what = (plan.primary, plan.label(plan.primary)) if scored else ("acc", "accuracy")
    comparisons = compared.get(outcome, {}) if scored or plan.split == "test" else {}
    where = "images" if scored else "test images after the last epoch"
    known = {name: over[name] for name, one in comparisons.items() if one.simultaneous.excludes_zero and name in over}
    new, these = ([name for name, one in known.items() if one.holds == kind] for kind in (NEW, THESE))
    if not new and not these:
        return []
    parts = [f"{kind}: {', '.join(names)}" for kind, names in ((NEW, new), (THESE, these)) if names]
    images = next(iter(known.values())).images
    return [f"Differences in {what} on {images:,} {where} are shown {'; '.join(parts)}."]


def section(results: StudyResults, over: Mapping[str, OverImages]) -> list[Block]:
    """Return the table of differences with intervals over seeds and over images; nothing without any."""
    if not over:
        return []
    plan, scored = results.plan, results.scores is not None
    unit, images = (unit_of_difference(plan.primary), "images") if scored else (POINTS, "test images")
    by_seed = not scored and all(math.isnan(one.image_std) for one in over.values())
    wider = "95% interval, overlap of splits" if by_seed else "95% interval, seeds and images"
    hint = (
        "Each seed has its own split of the same images. The first interval is over seeds and such splits; the second "
        "allows for the overlap of their training images, as a claim about new images must (Nadeau and Bengio 2003)."
        if by_seed
        else f"The first interval is over seeds, on these {images}; the second is over seeds and images, as a claim "
        "about new images must be (two-way analysis of variance, seeds and images as crossed random effects)."
    )
    rows = [
        [
            name,
            str(one.seeds.n),
            f"{one.images:,}",
            unit.number(one.seeds.mean, signed=True),
            unit.ends(one.seeds.low, one.seeds.high, signed=True),
            unit.ends(*one.interval, signed=True),
            one.holds,
        ]
        for name, one in over.items()
    ]
    several = " (intervals not adjusted for the number of comparisons)" if len(rows) > 1 else ""
    head = ["variant", "seeds", images, unit.after("difference"), "95% interval, seeds", wider, "shown"]
    what = plan.label(plan.primary) if scored else "test accuracy"
    caption = f"Difference in {what} from {plan.reference}{'' if scored else ' after the last epoch'}{several}"
    return [Section("On these images, or on new ones", [Text(hint, True), Table(caption, head, rows)])]


def scope(results: StudyResults) -> str:
    """Return what the intervals of a report describe, as a sentence; without runs nothing is known of images."""
    runs = results.runs
    if results.plan.splits > 1:
        return (
            f"Each seed was trained on {results.plan.splits} splits. Intervals of differences describe other seeds and "
            "other splits of the same images, not new images; those of means describe other seeds on these splits."
        )
    if not runs and results.cells is not None:
        return "Intervals of differences describe other folds, with everything else unchanged."
    if results.scores is not None:
        return (
            "Intervals describe other seeds on the same images, not other images, for which a table has intervals over "
            "seeds and images."
        )
    if not runs:
        return "Intervals describe other seeds, with everything else unchanged."
    if any("test" in run.data.by_seed for run in runs):
        return (
            "Each seed has its own split into training and test images. Intervals describe other seeds and splits of "
            "the same images, not new images."
        )
    if any(run.data.by_seed for run in runs):
        return (
            "Each seed draws its own training images, and all have the same test images. Intervals describe other "
            "seeds and draws on these test images, not other test images."
        )
    return "Intervals describe other seeds on the same images, not other images."
