"""Short definitions of the terms of a report, in plain language; docs/reports.md says more."""

from fashionreg.studies.answer import part
from fashionreg.studies.findings import Findings
from fashionreg.text import POINTS, unit_of_difference

#: What a seed is in a training of this package; and where results were made elsewhere, all that is known of one.
SEED = "Fixes the random numbers of one training: initial weights, order of the images, masks of dropout."
PAIRED = "Names a result of each variant. Results of the same seed are compared with one another."
POINTS_EXAMPLE = " From 80% to 82% is a difference of 2 points."

#: Terms of every report, with their definitions.
ALWAYS = [
    (
        "95% interval",
        "A range that plausibly contains the true mean difference: if everything were repeated with other seeds, about "
        "95 of 100 such intervals would contain it. Simultaneous intervals are wider, so that those of all variants "
        "together are right.",
    ),
    ("minimum detectable effect", "The smallest true difference that this number of seeds would show 4 times in 5."),
]
#: Terms of a report on a study that declares which difference is relevant.
RELEVANT = [
    (
        "equivalent",
        "The difference was shown to be smaller than what was declared to matter. Undecided: neither this nor a "
        "difference was shown.",
    ),
]
#: A term of a report on runs whose time is known.
COST = ("cost", "Median time of an epoch and seed, as a multiple of the reference's.")
#: Terms of a report on overfitting.
OVERFITTING = [
    ("overfitting", "The network is better on the images that it was trained on than on new ones."),
    ("generalization gap", "Train accuracy minus test accuracy, in percentage points: the size of overfitting."),
]
#: Terms for the other measures.
LOSS = [
    ("loss", "Mean of minus the logarithm of the probability that the network gives to the right class, in nats."),
    (
        "calibration error",
        "How far the network's confidence is from its accuracy, on average: 10% where it is 90% sure and right in 80%.",
    ),
]


def terms(found: Findings) -> list[tuple[str, str]]:
    """Return the terms that this report uses, with their definitions."""
    gap = any("gap" in variant.final for variant in found.variants)
    adjusted = (
        "How often chance alone makes a difference at least as large, corrected for the number of variants compared "
        f"(Holm). Below {found.level:.3g} a difference counts as shown. A larger value does not show that there is no "
        "difference."
    )
    trained, relevant = bool(found.results.runs), RELEVANT if found.plan.relevant is not None else []
    points = POINTS_EXAMPLE * (unit_of_difference(found.plan.primary) is POINTS)
    several = f" and {word}" if (word := part(found)) else ""
    mean = f"Variant minus reference for each seed{several}, then the mean over {'all' if several else 'seeds'}."
    return [
        ("seed", SEED if trained else PAIRED),
        ("variant", "One configuration under comparison. The others are compared with the reference."),
        ("difference", mean + points),
        *ALWAYS,
        *([COST] if trained else []),
        ("adjusted p", adjusted),
        *relevant,
        *(OVERFITTING if gap else []),
        *(LOSS if trained else []),
    ]
