"""The atlas: one page on every technique of one or more studies, a card for each regularizer, and a figure.

Everything follows from the records and from the docstrings of regularizers: the same ones give the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fashionreg.errors import UserError
from fashionreg.files import check_output, whole_file
from fashionreg.studies import plots
from fashionreg.studies.answer import cells, circumstances, counts, interval_name, matters, shown
from fashionreg.studies.descriptions import Description
from fashionreg.studies.findings import Findings
from fashionreg.studies.page import escaped
from fashionreg.studies.report import look_at
from fashionreg.studies.settings import setup
from fashionreg.studies.techniques import Technique, techniques
from fashionreg.studies.tried import tuning_sentence
from fashionreg.text import NOTHING, counted, unit_of, unit_of_difference

#: The studies of an atlas may be named `atlas_digits`: the rest is the task.
PREFIX = "atlas_"

PAGE = "atlas.md"

#: How a reader of the page finds its way.
LEAD = (
    "What each technique does to a small network, measured: every one alone against the same network without it, with "
    "the same seeds. This page and its cards are generated from the records (`fashionreg atlas`)."
)
COLUMNS = (
    "Differences are means over seeds with {interval}s and adjusted p values; of accuracy more is better, of gap, loss "
    "and calibration error less. The option is written under `model.init_args`, with the strength that was compared. "
    "Cost is the median time of an epoch and seed as a multiple of that of {reference}."
)

#: A table: the names of the columns, and a row for each technique.
Row = dict[str, str]


def write_atlas(folders: Sequence[Path], out: Path, *, force: bool) -> dict[str, Findings]:
    """Write `atlas.md`, `images/atlas.svg`, `images/atlas.png` and `regularizers/NAME.md` into a folder.

    Args:
        folders: Those of finished studies, one for each task.
        out: The folder.
        force: Whether files that are there may be replaced.

    Returns:
        What was found, by task.

    Raises:
        UserError: If there is no study, nothing was compared in it, a record is damaged, two studies have the same
            name, or a file is there and may not be replaced.
    """
    check_output(out / PAGE, force=force)
    studies: dict[str, Findings] = {}
    for folder in folders:
        found = look_at(folder)
        if (task := found.plan.name.removeprefix(PREFIX)) in studies:
            raise UserError(f"{folder}: another of the studies is named {found.plan.name} too")
        if not found.comparisons:
            raise UserError(f"{folder}: no variant is compared with {found.plan.reference} yet")
        studies[task] = found
    files = {name: text.encode() for name, text in pages(studies).items()}
    figure = plots.atlas(studies)
    files |= {f"images/atlas.{kind}": plots.render(figure, kind) for kind in ("svg", "png")}
    for name in files:
        check_output(out / name, force=force)
    for name, content in files.items():
        with whole_file(out / name, within=out) as file:
            file.write(content)
    return studies


def pages(studies: Mapping[str, Findings]) -> dict[str, str]:
    """Return the page and the cards as Markdown, by their paths from the folder of the page."""
    known = {task: techniques(found) for task, found in studies.items()}
    described = {
        one.name: one for each in known.values() for technique in each.values() for one in technique.regularizers
    }
    parts = [
        "# Atlas of regularizers",
        LEAD,
        *_findings(studies),
        "![Effect of every technique by task](images/atlas.svg)",
        *(part for task, found in studies.items() for part in _section(task, found, known[task])),
    ]
    cards = {_place(one): _card(one, studies, known) for one in described.values()}
    return {PAGE: _page(parts), **dict(sorted(cards.items()))}


def _findings(studies: Mapping[str, Findings]) -> list[str]:
    """Return the plainest findings: on accuracy (or what else is primary), on overfitting and on cost."""
    primary = {found.plan.label(found.plan.primary): None for found in studies.values()}
    heads = [f"Effect on {' or '.join(primary)}", "Overfitting", "Cost"]
    lines = []
    for head, sentence in zip(heads, (_on_primary, _on_overfitting, _on_cost), strict=True):
        said = [f"on {escaped(task)}, {text}" for task, found in studies.items() if (text := sentence(found))]
        lines += [f"- **{head}:** {'; '.join(said)}."] if said else []
    return ["\n".join(lines)] if lines else []


def _on_primary(found: Findings) -> str:
    return escaped(f"of {counted(len(found.comparisons), 'variant')} {counts(found)}")


def _on_overfitting(found: Findings) -> str:
    gaps = found.compared.get("gap", {})
    smaller = {name: one for name, one in gaps.items() if shown(one) and one.difference.mean < 0}
    if not gaps or found.plan.primary == "gap":
        return ""
    if not smaller:
        return f"none of {counted(len(gaps), 'variant')} was shown to reduce it"
    name = min(smaller, key=lambda name: smaller[name].difference.mean)
    size = unit_of_difference("gap").short(smaller[name].difference.mean, signed=True)
    also = (
        f"; by {found.plan.label(found.plan.primary)} it is {found.evidence[name].decision}"
        if name in found.evidence
        else ""
    )
    return (
        f"{len(smaller)} of {counted(len(gaps), 'variant')} reduce it, most of all {escaped(name)} (gap {size}{also})"
    )


def _on_cost(found: Findings) -> str:
    costs = {name: cost for name in found.by_effect() if (cost := found.cost(name)) > 1}
    if not costs:
        return ""
    name = max(costs, key=lambda name: costs[name])
    return f"{escaped(name)} costs most, {costs[name]:.1f} times the time of {escaped(found.plan.reference)}"


def _section(task: str, found: Findings, known: Mapping[str, Technique]) -> list[str]:
    """Return what was trained for a task, and its table."""
    reference, plan = found.plan.reference, found.plan
    plain = next(variant for variant in found.variants if variant.name == reference)
    ends = ", ".join(
        f"{plan.label(outcome)} {unit_of(outcome).with_spread(plain.final[key].mean, plain.final[key].std)}"
        for outcome in found.compared
        if (key := plan.key(outcome)) in plain.final
    )
    machines = dict.fromkeys(
        f"{' '.join(str(part) for part in run.machine.values())}, {run.device}, "
        f"{counted(run.threads, 'thread') if run.threads else 'threads unknown'}"
        for run in found.results.runs
    )
    chosen = f" ({known[reference].settings})" if known[reference].settings else ""
    small = f"; less than {matters(plan)[1]} of {plan.label(plan.primary)} was declared not to matter" * bool(
        plan.relevant
    )
    facts = [
        *setup(found),
        (f"{reference}{chosen}", ends),
        ("comparisons", f"{len(found.comparisons)} for each outcome, corrected for their number{small}"),
        *([("tuning", tuning_sentence(found))] if plan.tuned else []),
        ("machine", "; ".join(machines)),
    ]
    rows = [_page_row(found, name, known[name]) for name in _sorted(found)]
    return [
        f"## {escaped(task)}",
        escaped(plan.question),
        "\n".join(f"- **{escaped(name)}**: {escaped(text)}" for name, text in facts),
        escaped(f"{circumstances(found)}.") + " " + _explained(found),
        _table(rows),
    ]


def _explained(found: Findings) -> str:
    return COLUMNS.format(interval=interval_name(found), reference=escaped(found.plan.reference))


def _sorted(found: Findings) -> list[str]:
    """Return the other variants, the best effect first; last those that could not be compared."""
    compared = found.by_effect()
    named = [variant.name for variant in found.plan.variants if variant.name != found.plan.reference]
    return [*compared, *(name for name in named if name not in compared)]


def _page_row(found: Findings, name: str, technique: Technique) -> Row:
    links = [f"[{escaped(one.name)}]({_place(one)})" for one in technique.regularizers]
    alone = f"[{escaped(name)}]({_place(technique.regularizers[0])})" if len(links) == 1 else ""
    return {
        "technique": alone or " ".join([escaped(name), *([f"({', '.join(links)})"] if links else [])]),
        "what it does": _cell(" ".join(one.summary for one in technique.regularizers)),
        **_option(technique),
        "source": _cell("; ".join(one.source for one in technique.regularizers if one.source)),
        **_measured(found, name),
        **_tuned(technique),
    }


def _option(technique: Technique) -> Row:
    return {"option": _cell(f"`{technique.option}`" if technique.option else "")}


def _tuned(technique: Technique) -> Row:
    return {"tuned to": _cell(escaped(technique.settings))} if technique.settings else {}


def _measured(found: Findings, name: str) -> Row:
    """Return the cells with the effects of a variant, its cost and the verdict."""
    row = {}
    for outcome, each in found.compared.items():
        size, p = cells(outcome, each.get(name))
        row[unit_of_difference(outcome).after(found.plan.label(outcome))] = size
        row[f"adjusted p, {found.plan.label(outcome)}"] = p
    cost = found.cost(name)
    row["cost"] = f"{cost:.2f}" if cost > 0 else NOTHING
    row["verdict"] = found.evidence[name].decision if name in found.evidence else NOTHING
    return {head: _cell(escaped(text)) for head, text in row.items()}


def _card(one: Description, studies: Mapping[str, Findings], known: Mapping[str, Mapping[str, Technique]]) -> str:
    """Return the card of a regularizer: what its docstring says, and what it did in each study."""
    parts = [f"# {escaped(one.name)}", one.summary, *one.text, *([f"**Source:** {one.source}"] if one.source else [])]
    if one.arguments:
        rows = [
            {
                "argument": f"`{each.name}`",
                "default": f"`{each.default}`" if each.default else "",
                "meaning": _cell(each.text),
            }
            for each in one.arguments
        ]
        parts += ["## Hyperparameters", _table(rows)]
    rows, notes = [], dict[str, None]()
    for task, found in studies.items():
        for name in _sorted(found):
            technique = known[task][name]
            if one in technique.regularizers:
                rows.append(
                    {"task": escaped(task), "variant": escaped(name), **_option(technique)}
                    | {**_measured(found, name), **_tuned(technique)}
                )
                said = circumstances(found)
                notes[escaped(f"On {task}: {said[0].lower()}{said[1:]}.")] = None
    explained = _explained(next(iter(studies.values())))
    parts += ["## Measured effect", " ".join([*notes, explained]), _table(rows), f"All techniques: [{PAGE}](../{PAGE})"]
    return _page(parts)


def _place(one: Description) -> str:
    """Return the path of a card from the folder of the page."""
    return f"regularizers/{one.name}.md"


def _cell(text: str) -> str:
    """Return Markdown as a cell of a table, where a bar ends a cell even within code."""
    return text.replace("\\|", "|").replace("|", "\\|") or NOTHING


def _table(rows: Sequence[Row]) -> str:
    """Return a table with every column that some row has."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    lines = [heads, ["---"] * len(heads), *([row.get(head, NOTHING) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
