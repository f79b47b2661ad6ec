"""The tables on differences by the primary outcome: how large, whether they matter, and whether few seeds make them."""

from fashionreg.studies.answer import interval_name, matters, part, unadjusted
from fashionreg.studies.findings import Findings
from fashionreg.studies.page import Table
from fashionreg.studies.statistics import Comparison, Estimate, seeds_to_decide
from fashionreg.studies.verdict import seeds_text
from fashionreg.text import NOTHING, PERCENT, Unit, p_cell, unit_of_difference


def tables(found: Findings) -> list[Table]:
    """Return the differences, their relevance where it is declared what matters, and their robust summaries."""
    relevance = [_relevance(found)] if found.plan.relevant is not None else []
    known = all(one.robust is not None for one in found.evidence.values())
    return [_differences(found), *relevance, *([_robust(found)] if known else [])]


def _outcome(found: Findings) -> str:
    return found.plan.label(found.plan.primary)


def _differences(found: Findings) -> Table:
    unit, (_, words) = unit_of_difference(found.plan.primary), matters(found.plan)
    # of several results of a seed neither ranks are tested nor a number of seeds is known
    alone = not part(found)
    words = words if alone else ""
    rows = [
        [
            name,
            str(one.n),
            unit.number(one.difference.mean, signed=True),
            unit.ends(*one.simultaneous, signed=True),
            p_cell(one.t_p_holm),
            *([p_cell(one.wilcoxon_p_holm)] if alone else []),
            f"{one.probability_better:.0%}",
            unit.number(one.detectable),
            *([_needed(found, one)] if words else []),
        ]
        for name, one in found.comparisons.items()
    ]
    head = ["variant", "pairs", unit.after("difference"), interval_name(found), "adjusted p, t test"]
    head += ["adjusted p, Wilcoxon"] if alone else []
    head += ["better in (ties count half)", "minimum detectable effect"]
    head += [f"seeds to show {words} (95% interval)"] if words else []
    return Table(f"Difference in {_outcome(found)}", head, rows)


def _needed(found: Findings, one: Comparison) -> str:
    """Return how many seeds would show the smallest difference that matters."""
    if not one.difference.std > 0:
        return NOTHING
    size, _ = matters(found.plan)
    return seeds_text(seeds_to_decide(one.difference.std, one.n, size, comparisons=len(found.comparisons)))


def _relevance(found: Findings) -> Table:
    unit, (_, words) = unit_of_difference(found.plan.primary), matters(found.plan)
    rows = []
    for name, one in found.evidence.items():
        if (same := one.equivalence) is not None:
            interval, within = unit.ends(*same.interval, signed=True), PERCENT.text(same.probability_within)
            seeds = [] if part(found) else [NOTHING if one.seeds is None else seeds_text(one.seeds)]
            rows.append([name, one.decision, interval, p_cell(one.equivalence_p), within, *seeds])
    head = ["variant", "decision", _headed("90% interval", unit, unadjusted(rows)), "adjusted p, equivalence"]
    head += [f"probability of being within ±{words}"]
    head += [] if part(found) else ["seeds to decide (95% interval)"]
    return Table(f"Does the difference in {_outcome(found)} matter? Relevant: {words}", head, rows)


def _headed(what: str, unit: Unit, remark: str) -> str:
    """Return the head of a column with its unit and a remark, where there are any."""
    inside = f"{unit.name}{remark}".lstrip(" ,").strip()
    return f"{what} ({inside})" if inside else what


def _robust(found: Findings) -> Table:
    def cell(one: Estimate) -> str:
        return unit.with_interval(one.mean, one.low, one.high)

    unit, rows = unit_of_difference(found.plan.primary), []
    for name, evidence in found.evidence.items():
        if (one := evidence.robust) is None:
            continue
        three = [cell(each) for each in (one.mean, one.interquartile_mean, one.median)]
        rows.append([name, *three, "no" if one.disagree else "yes"])
    head = ["variant", "mean", "interquartile mean", "median", "same answer"]
    caption = f"Difference in {_outcome(found)} by three summaries (95% intervals{unadjusted(rows)})"
    return Table(caption, head, rows)
