"""The answer to a study's question in one sentence of plain words, and the table that it rests on."""

import math

from fashionreg.studies.findings import Findings
from fashionreg.studies.page import Table
from fashionreg.studies.settings import learning_rate
from fashionreg.studies.statistics import ALPHA, Comparison
from fashionreg.text import NOTHING, counted, p_cell, unit_of_difference

#: With more variants than this beside the reference the sentence counts them.
MOST_NAMED = 5


def answer(found: Findings) -> str:
    """Return what the study shows: what each variant changes, and where no effect was shown. Empty without tests."""
    compared = found.compared
    names = [name for name in _compared_names(found) if any(tested(each.get(name)) for each in compared.values())]
    if not names:
        return ""
    if len(names) > MOST_NAMED:
        return f"{circumstances(found)}, {_counts(found)}."
    changed = {name: [outcome for outcome, each in compared.items() if shown(each.get(name))] for name in names}
    clauses = [f"{name} {_changes(found, name, outcomes)}" for name, outcomes in changed.items() if outcomes]
    without = _without(found, changed)
    return f"{circumstances(found)}, {'; '.join([*clauses, *without])}."


def circumstances(found: Findings) -> str:
    """Return the reference and what results depend on: `Compared with plain at learning rate 0.1, after 5 epochs`."""
    rate = learning_rate(found.plan)
    return f"Compared with {found.plan.reference}{f' at learning rate {rate}' if rate else ''}, {found.phrase}"


def tested(one: Comparison | None) -> bool:
    """Say whether there is a p value."""
    return one is not None and not math.isnan(one.t_p_holm)


def shown(one: Comparison | None) -> bool:
    """Say whether a difference was shown: the corrected test decides."""
    return one is not None and one.t_p_holm < ALPHA


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


def _without(found: Findings, changed: dict[str, list[str]]) -> list[str]:
    """Return the clause on what was tested and not shown, if there is anything."""
    idle = [name for name, outcomes in changed.items() if not outcomes]
    active = [name for name, outcomes in changed.items() if outcomes]
    if not active:
        outcomes = [outcome for outcome, each in found.compared.items() if any(map(tested, each.values()))]
        on = listed([_plain(found, outcome) for outcome in outcomes], "or")
        return [f"no effect of {listed(idle, 'or')} on {on} was shown"]
    parts = []
    for outcome, each in found.compared.items():
        missed = [name for name in active if tested(each.get(name)) and outcome not in changed[name]]
        of = "" if missed == active else f"of {listed(missed, 'or')} "
        parts += [f"{of}on {_plain(found, outcome)}"] if missed else []
    parts += [f"of {listed(idle, 'or')} on anything"] if idle else []
    return [f"no effect was shown {', nor '.join(parts)}"] if parts else []


def _counts(found: Findings) -> str:
    """Return how many of many variants are better and worse by the primary outcome, and which most."""
    primary = found.plan.primary
    parts = []
    for word, good in (("better", True), ("worse", False)):
        ones = {n: c for n, c in found.comparisons.items() if shown(c) and better(found, primary, c) == good}
        if ones:
            most = max(ones, key=lambda name: abs(ones[name].difference.mean))
            size = unit_of_difference(primary).short(ones[most].difference.mean, signed=True)
            parts.append(f"{len(ones)} {'is' if len(ones) == 1 else 'are'} {word}, most of all {most} ({size})")
    of = f"of {counted(len(found.comparisons), 'variant')}"
    said = "; ".join(parts) if parts else "none is shown to be better or worse"
    return f"{of}, by {_plain(found, primary)}: {said}"


def better(found: Findings, outcome: str, one: Comparison) -> bool:
    """Say whether a variant's outcome is better than the reference's: a higher accuracy, a lower loss."""
    return (one.difference.mean > 0) == found.plan.more_is_better(outcome)


def table(found: Findings) -> Table:
    """Return the differences: a row for each variant, a column for each outcome."""
    compared = {outcome: each for outcome, each in found.compared.items() if each}
    head = ["variant"]
    for outcome in compared:
        head += [unit_of_difference(outcome).after(found.plan.label(outcome)), "adjusted p"]
    rows = [
        [name, *(cell for outcome, each in compared.items() for cell in cells(outcome, each.get(name)))]
        for name in _compared_names(found)
    ]
    return Table(f"{circumstances(found)}: difference (95% interval)", head, rows)


def cells(outcome: str, one: Comparison | None) -> tuple[str, str]:
    """Return a difference with its interval, `+0.26 (+0.12 to +0.40)`, and its adjusted p value."""
    if one is None:
        return NOTHING, NOTHING
    unit, about = unit_of_difference(outcome), one.difference
    interval = f" ({unit.number(about.low, signed=True)} to {unit.number(about.high, signed=True)})"
    return unit.number(about.mean, signed=True) + interval * (not math.isnan(about.low)), p_cell(one.t_p_holm)
