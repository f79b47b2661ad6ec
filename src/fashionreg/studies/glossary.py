"""Short definitions of the words of a report, in plain language; docs/reports.md says more."""

from fashionreg.studies.findings import Findings

#: Words of every report, and what they mean.
ALWAYS = [
    ("seed", "Fixes the random numbers of one training: initial weights, order of the images, masks of dropout."),
    ("variant", "One configuration under comparison. The others are compared with the reference."),
    (
        "difference",
        "Variant minus reference, seed by seed; the mean over seeds. In percentage points: from 80% to 82% are 2.",
    ),
    (
        "95% interval",
        "Where the true mean difference of all seeds plausibly lies. If the training were repeated with other seeds, "
        "about 95 of 100 such intervals would hold it.",
    ),
    (
        "adjusted p",
        "How often chance alone makes a difference at least as large, after a correction for the number of variants "
        "compared (Holm). Below 0.05 a difference counts as shown; above, it is not shown, which is not to say that "
        "there is none.",
    ),
    ("minimum detectable effect", "The smallest true difference that this number of seeds would show 4 times in 5."),
]
#: A word of a report on runs whose time is known.
COST = ("cost", "Median time of an epoch and seed, as a multiple of the reference's.")
#: Words of a report on overfitting.
OVERFITTING = [
    ("overfitting", "The network does better on the images that it was trained on than on new ones."),
    ("generalization gap", "Train accuracy minus test accuracy, in percentage points: the size of overfitting."),
]
#: Words for what else is measured.
LOSS = [
    ("loss", "Mean of minus the logarithm of the probability that the network gives to the right class, in nats."),
    (
        "calibration error",
        "How far the network's confidence is from its accuracy, on average: 10% where it is 90% sure and right in 80%.",
    ),
]


def terms(found: Findings) -> list[tuple[str, str]]:
    """Return the words that this report uses, with their definitions."""
    gap = any("gap" in variant.final for variant in found.variants)
    return [*ALWAYS, *([COST] if found.results.runs else []), *(OVERFITTING if gap else []), *LOSS]
