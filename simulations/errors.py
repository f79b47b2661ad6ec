"""How often tests and the stopping rule err, and how often they find what is there."""

from dataclasses import dataclass

import numpy as np

from fashionreg.studies.growth import FIRST_LOOK
from fashionreg.studies.statistics import ALPHA, compare, decide, decision_power, equivalence, looks_levels, next_seeds
from fashionreg.studies.statistics.comparisons import t_test
from simulations.noise import Floats, draw


def false_positives(source: Floats | None, variants: int, n: int, studies: int, seed: int) -> tuple[float, float]:
    """Return how often any of the variants, none of which differs, is shown to: without, and with Holm's correction."""
    generator = np.random.default_rng([seed, n, variants])
    alone = together = 0
    for _ in range(studies):
        reference, *results = draw(source, generator, variants + 1, n)
        compared = compare(dict(zip(map(str, range(variants)), results, strict=True)), reference).values()
        alone += any(one.t_p < ALPHA for one in compared)
        together += any(one.t_p_holm < ALPHA for one in compared)
    return alone / studies, together / studies


@dataclass(frozen=True)
class Stopped:
    """What the stopping rule said.

    Attributes:
        better: Share of studies that end with better, or with worse, or with equivalent, or undecided.
        worse: See `better`.
        equivalent: See `better`.
        undecided: See `better`.
        seeds: Mean number of seeds at the end.
    """

    better: float
    worse: float
    equivalent: float
    undecided: float
    seeds: float


def stopping_rule(
    source: Floats | None, effect: float, relevant: float, maximum: int, studies: int, seed: int
) -> Stopped:
    """Run `--seeds auto` with one variant up to a maximum of seeds; effect and relevance in standard deviations."""
    generator = np.random.default_rng([seed, maximum])
    looks = [min(FIRST_LOOK, maximum)]
    while looks[-1] < maximum:
        looks.append(next_seeds(looks[-1], maximum))
    levels = looks_levels(looks, maximum)
    said, used = dict.fromkeys(("better", "worse", "equivalent", "undecided"), 0), 0
    for _ in range(studies):
        one, two = draw(source, generator, 2, maximum)
        differences = (one - two) / 2**0.5 + effect
        for look, level in zip(looks, levels, strict=True):
            seen = differences[:look]
            decision = decide(float(seen.mean()), t_test(seen), equivalence(seen, relevant).p, alpha=level)
            if decision != "undecided":
                break
        said[decision] += 1
        used += look
    return Stopped(**{word: count / studies for word, count in said.items()}, seeds=used / studies)


def power(n: int, studies: int, seed: int) -> tuple[float, float]:
    """Return the power to find what `compare` calls detectable, stated and simulated, for normal differences."""
    generator = np.random.default_rng([seed, n])
    sample = generator.normal(size=n)
    size = compare({"v": sample / sample.std(ddof=1)}, np.zeros(n))["v"].detectable
    values = draw(None, generator, studies, n) + size
    found = np.mean([compare({"v": row}, np.zeros(n))["v"].t_p < ALPHA for row in values])
    return decision_power(n, size, 0), float(found)
