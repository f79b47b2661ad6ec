"""The answer to a study's question in one sentence of plain words, and the table that it rests on."""

import math
from collections.abc import Collection

from fashionreg.studies.findings import Findings
from fashionreg.studies.page import Table
from fashionreg.studies.results import StudyPlan
from fashionreg.studies.settings import learning_rate
from fashionreg.studies.statistics import Comparison
from fashionreg.text import NOTHING, PLAIN, counted, p_cell, unit_of_difference

#: With more variants than this beside the reference the sentence counts them.
MOST_NAMED = 5


def answer(found: Findings) -> str:
    """Return what the study shows: what each variant changes, and where no effect was shown. Empty without tests."""
    compared = found.compared
    names = [name for name in _compared_names(found) if any(tested(each.get(name)) for each in compared.values())]
    if not names:
        return ""
    if len(names) > MOST_NAMED:
        of = f"of {counted(len(found.comparisons), 'variant')}, by {_plain(found, found.plan.primary)}"
        return f"{circumstances(found)}, {of}: {counts(found)}."
    small = [name for name in names if is_equivalent(found, name)]
    changed = {
        name: [
            outcome for outcome in compared if shown(compared[outcome].get(name)) and not _settled(found, name, outcome)
        ]
        for name in names
    }
    clauses = [f"{name} {_changes(found, name, outcomes)}" for name, outcomes in changed.items() if outcomes]
    clauses += [_too_small(found, small)] if small else []
    return f"{circumstances(found)}, {'; '.join([*clauses, *_without(found, changed)])}."


def circumstances(found: Findings) -> str:
    """Return the reference and what results depend on: `Compared with plain at learning rate 0.1, after 5 epochs`."""
    rate = learning_rate(found.plan)
    shared = f" at learning rate {rate}" if rate else ""
    tuned = ", each variant tuned on validation images," if found.plan.tuned else ","
    return f"Compared with {found.plan.reference}{shared}{tuned} {found.phrase}"


def tested(one: Comparison | None) -> bool:
    """Say whether there is a p value."""
    return one is not None and not math.isnan(one.t_p_holm)


def shown(one: Comparison | None) -> bool:
    """Say whether a difference was shown: the corrected test decides, and the simultaneous interval excludes 0."""
    return one is not None and one.simultaneous.excludes_zero


def is_equivalent(found: Findings, name: str) -> bool:
    """Say whether a variant's difference by the primary outcome was shown to be too small to matter."""
    return name in found.evidence and found.evidence[name].decision == "equivalent"


def interval_name(found: Findings) -> str:
    """Return what intervals of differences are called: with several comparisons they hold for all of them at once."""
    return "95% simultaneous interval" if any(len(each) > 1 for each in found.compared.values()) else "95% interval"


def matters(plan: StudyPlan) -> tuple[float, str]:
    """Return the smallest difference that matters, in the unit of the primary outcome and in words.

    If the study declares no `relevant` difference, it is a percentage point, or 0.01 nats. For a measure with an
    unknown unit it is NaN, with an empty text.
    """
    unit = unit_of_difference(plan.primary)
    if plan.relevant is None and unit is PLAIN:
        return math.nan, ""
    amount = plan.relevant if plan.relevant is not None else 0.01 * unit.factor
    name = unit.name if amount != 1 else unit.name.replace("points", "point")
    return amount / unit.factor, f"{amount:g}{name}"


def unadjusted(compared: Collection[object]) -> str:
    """Return what to add to the name of an interval that is made for one comparison, where there are several."""
    return ", not adjusted for the number of comparisons" if len(compared) > 1 else ""


def listed(parts: list[str], word: str = "and") -> str:
    """Return parts as a list in words: `a, b and c`."""
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _plain(found: Findings, outcome: str) -> str:
    return "overfitting" if outcome == "gap" else found.plan.label(outcome)


def _compared_names(found: Findings) -> list[str]:
    """Return the variants that are compared by some outcome, in the plan's order."""
    return [variant.name for variant in found.variants if any(variant.name in each for each in found.compared.values())]


def _changes(found: Findings, name: str, outcomes: list[str]) -> str:
    """Return `reduces overfitting (gap -3.3 points), lowers test loss (-0.26 nats) and test accuracy (-0.8 points)`."""
    parts, before = [], ""
    for outcome in outcomes:
        difference = found.compared[outcome][name].difference.mean
        size = unit_of_difference(outcome).short(difference, signed=True)
        words = ("reduces", "increases") if outcome == "gap" else ("lowers", "raises")
        verb, what = words[difference > 0], f"{_plain(found, outcome)} ({'gap ' * (outcome == 'gap')}{size})"
        parts.append(what if verb == before else f"{verb} {what}")
        before = verb
    return listed(parts)


def _settled(found: Findings, name: str, outcome: str) -> bool:
    return outcome == found.plan.primary and is_equivalent(found, name)


def _too_small(found: Findings, names: list[str]) -> str:
    """Return the clause on differences that were shown to be too small to matter."""
    what = f"on {_plain(found, found.plan.primary)} is too small to matter (within ±{matters(found.plan)[1]})"
    return f"the effect of {listed(names)} {what}"


def _without(found: Findings, changed: dict[str, list[str]]) -> list[str]:
    """Return the clause on what was tested and not shown, if there is anything."""
    active = [name for name, outcomes in changed.items() if outcomes or is_equivalent(found, name)]
    idle = [name for name in changed if name not in active]
    if not active:
        outcomes = [outcome for outcome, each in found.compared.items() if any(map(tested, each.values()))]
        on = listed([_plain(found, outcome) for outcome in outcomes], "or")
        return [f"no effect of {listed(idle, 'or')} on {on} was shown"]
    parts = []
    for outcome, each in found.compared.items():
        missed = [name for name in active if tested(each.get(name)) and outcome not in changed[name]]
        missed = [name for name in missed if not _settled(found, name, outcome)]
        of = "" if missed == active else f"of {listed(missed, 'or')} "
        parts += [f"{of}on {_plain(found, outcome)}"] if missed else []
    only = "any outcome" if len(found.compared) > 1 else _plain(found, found.plan.primary)
    parts += [f"of {listed(idle, 'or')} on {only}"] if idle else []
    return [f"no effect was shown {', nor '.join(parts)}"] if parts else []


def counts(found: Findings) -> str:
    """Return how many of many variants are better and worse by the primary outcome, and which most."""
    primary = found.plan.primary
    parts = []
    for word in ("better", "worse", "equivalent"):
        ones = {n: c for n, c in found.comparisons.items() if found.evidence[n].decision == word}
        if ones:
            most = max(ones, key=lambda name: abs(ones[name].difference.mean))
            size = unit_of_difference(primary).short(ones[most].difference.mean, signed=True)
            extent = f" within ±{matters(found.plan)[1]}" if word == "equivalent" else f", most of all {most} ({size})"
            parts.append(f"{len(ones)} {'is' if len(ones) == 1 else 'are'} {word}{extent}")
    return "; ".join(parts) if parts else "none is shown to be better or worse"


def part(found: Findings) -> str:
    """Return what a seed has several results of, `split` or `fold`; empty where it has one."""
    return "" if found.results.cells is None else "split" if found.plan.splits > 1 else "fold"


def of_parts(found: Findings, before: str = ",") -> str:
    """Return how a seed is shown that has several results: `, the mean over its splits`; empty where it has one."""
    return f"{before} the mean over its {word}s" if (word := part(found)) else ""


def sample(found: Findings, one: Comparison) -> str:
    """Return how many results a difference rests on: `10 seeds`, `10 seeds x 5 splits` or `10 folds`."""
    if found.results.cells is None:
        return counted(one.n, "seed")
    splits, word = int(found.results.cells.fold.nunique()), part(found)
    seeds = one.n // splits
    return f"{counted(seeds, 'seed')} x {counted(splits, word)}" if seeds > 1 else counted(splits, word)


def better(found: Findings, outcome: str, one: Comparison) -> bool:
    """Say whether a variant's outcome is better than the reference's: a higher accuracy, a lower loss."""
    return (one.difference.mean > 0) == found.plan.more_is_better(outcome)


def table(found: Findings) -> Table:
    """Return the differences: a row for each variant, a column for each outcome."""
    compared = {outcome: each for outcome, each in found.compared.items() if each}
    decided = found.plan.relevant is not None
    head = ["variant"]
    for outcome in compared:
        head += [unit_of_difference(outcome).after(found.plan.label(outcome)), "adjusted p"]
        head += ["decision"] * (decided and outcome == found.plan.primary)
    rows = []
    for name in _compared_names(found):
        row = [name]
        for outcome, each in compared.items():
            row += cells(outcome, each.get(name))
            if decided and outcome == found.plan.primary:
                row.append(found.evidence[name].decision if name in found.evidence else NOTHING)
        rows.append(row)
    return Table(f"{circumstances(found)}: difference ({interval_name(found)})", head, rows)


def cells(outcome: str, one: Comparison | None) -> tuple[str, str]:
    """Return a difference with its interval, `+0.26 (+0.12 to +0.40)`, and its adjusted p value."""
    if one is None:
        return NOTHING, NOTHING
    return unit_of_difference(outcome).with_interval(one.difference.mean, *one.simultaneous), p_cell(one.t_p_holm)
