"""A study that grows: seeds are added until every variant is decided, or the declared maximum is reached."""

from dataclasses import replace

from fashionreg.studies.findings import Findings
from fashionreg.studies.results import StudyPlan
from fashionreg.studies.statistics import next_seeds
from fashionreg.text import counted

#: Number of seeds at the first look: with fewer next to no error may be spent, and nothing would be decided.
FIRST_LOOK = 10

#: The maximum, where a study file declares none.
MAX_SEEDS = 50


def grown(plan: StudyPlan, found: Findings) -> StudyPlan | None:
    """Return the plan with the seeds of the next look; None where it does not grow, or has come to its end."""
    seeds = len(plan.seeds)
    undecided = any(one.decision == "undecided" for one in found.evidence.values())
    if not plan.auto or plan.max_seeds is None or seeds >= plan.max_seeds or not undecided:
        return None
    more = next_seeds(seeds, plan.max_seeds)
    variants = [replace(variant, config=variant.config | {"seeds": more}) for variant in plan.variants]
    return replace(plan, variants=variants, seeds=list(range(more)))


def progress(found: Findings) -> str:
    """Return what is decided at this look: `look with 10 seeds: bn better; dropout undecided`."""
    decisions = "; ".join(f"{name} {one.decision}" for name, one in found.evidence.items())
    return f"look with {counted(len(found.plan.seeds), 'seed')}: {decisions or 'nothing to compare'}"
