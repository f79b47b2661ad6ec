"""`python -m simulations`: simulate studies, write `docs/statistics.md`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fashionreg.text import counted
from simulations import coverage, errors
from simulations.noise import noises
from simulations.page import INTRODUCTION, PAGE, Row, table

#: Numbers of seeds.
SEEDS = (5, 10, 20, 50)

#: Simulated studies for each number: a share of 95% then has a standard error of 0.56%.
STUDIES = 1500

#: Numbers of seeds and of splits that are crossed.
CROSSED = ((10, 3), (10, 5), (20, 5), (10, 10))

#: What differences of crossed seeds and splits consist of: standard deviations of seeds, of splits and of the rest.
PARTS = {
    "seeds, splits and the rest alike": (1.0, 1.0, 1.0),
    "splits and the rest alike, seeds do not matter": (0.0, 1.0, 1.0),
    "splits a third of the rest, seeds do not matter": (0.0, 1 / 3, 1.0),
    "seeds and the rest alike, splits do not matter": (1.0, 0.0, 1.0),
    "neither seeds nor splits matter": (0.0, 0.0, 1.0),
}


def sections(studies: int, seeds: Sequence[int]) -> list[str]:
    """Simulate everything with this many studies for each number; return the tables with their headings."""
    kinds = noises()
    covered: list[Row] = []
    for name, source in kinds.items():
        columns = [coverage.of_one_interval(source, n, studies, seed=1) for n in seeds]
        covered += [[f"{what}; {name}", *(column[what] for column in columns)] for what in columns[0]]
    together: list[Row] = []
    for effects in ([0.0] * 4, [0.0] * 20, [3.0] * 4, [1.0] * 4, [0.0, 3.0, 3.0, 3.0], [0.0] + [3.0] * 19):
        zero = effects.count(0)
        what = f"{len(effects)} variants, {zero} without effect" + (
            f", others {max(effects):g} sd" if any(effects) else ""
        )
        together.append([what, *(coverage.simultaneous(None, effects, n, max(1, studies // 2), seed=2) for n in seeds)])
    wrong: list[Row] = []
    for name, source in kinds.items():
        for variants in (1, 4, 20):
            pairs = [errors.false_positives(source, variants, n, max(1, studies // 2), seed=3) for n in seeds]
            wrong += [[f"{counted(variants, 'variant')}, {name}: without correction", *(pair[0] for pair in pairs)]]
            wrong += [[f"{counted(variants, 'variant')}, {name}: with Holm's", *(pair[1] for pair in pairs)]]
    rule: list[Row] = []
    for name, source in kinds.items():
        for effect, relevant in ((0.0, 0.5), (0.5, 0.5), (1.0, 0.5)):
            said = errors.stopping_rule(source, effect, relevant, 50, max(1, studies // 2), seed=4)
            shares = [said.better, said.worse, said.equivalent, said.undecided]
            rule.append([f"true difference {effect:g} sd, {name}", *shares, f"{said.seeds:.1f}"])
    images: list[Row] = [
        [f"{n} seeds, 1,000 images", *coverage.over_images(n, 1000, max(1, studies // 2), seed=5)] for n in seeds
    ]
    found: list[Row] = [[f"{n} seeds", *errors.power(n, studies, seed=6)] for n in seeds]
    of_parts: list[Row] = [
        [what, *(coverage.over_splits(parts, n, k, studies, seed=7) for n, k in CROSSED)]
        for what, parts in PARTS.items()
    ]
    heads = ["", *(f"n = {n}" for n in seeds)]
    return [
        f"## Coverage of intervals in %\n\n{table(heads, covered)}",
        f"## Coverage of all simultaneous intervals together in %\n\nNormal noise.\n\n{table(heads, together)}",
        f"## Any false positive in %\n\nNo variant differs from the reference.\n\n{table(heads, wrong)}",
        "## The stopping rule in %\n\nOne variant, at most 50 seeds; 0.5 sd of the differences are relevant.\n\n"
        + table(["", "better", "worse", "equivalent", "undecided", "mean seeds"], rule),
        "## Coverage for new images in %\n\n" + table(["", "over seeds and images", "over seeds"], images),
        "## Coverage for new seeds and splits in %\n\nEach seed is trained on each split.\n\n"
        + table(["", *(f"{n} seeds x {k} splits" for n, k in CROSSED)], of_parts),
        "## Power of the minimum detectable effect in %\n\n" + table(["", "stated", "simulated"], found),
    ]


def main(args: Sequence[str] | None = None) -> int:
    """Simulate and write the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulations", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help=f"for each number (default: {STUDIES})")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page (default: docs/statistics.md)")
    options = parser.parse_args(args)
    note = (
        f"Each number is from {options.studies:,} simulated studies, or half as many in the tables of simultaneous "
        "intervals, false positives, the stopping rule and new images."
    )
    parts = [INTRODUCTION + f"\n{note}", *sections(options.studies, SEEDS)]
    options.out.write_text("\n\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
