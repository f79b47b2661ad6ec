"""From the records of a study to its report: one HTML page that needs nothing else, Markdown, a table and figures.

Everything follows from the records: the same records give the same bytes. Neither torch nor Lightning is needed.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fashionreg.errors import UserError
from fashionreg.files import check_output, whole_file
from fashionreg.studies import plots
from fashionreg.studies.answer import part
from fashionreg.studies.findings import Findings, find, most_telling
from fashionreg.studies.looks import Look, record_look
from fashionreg.studies.page import Block, Link, Section, to_html, to_markdown
from fashionreg.studies.pictures import Pictures
from fashionreg.studies.results import PLAN_FILE, StudyResults, read_results
from fashionreg.studies.sections import MOST_SHOWN, left_out, sections, verdict_blocks

#: Where a reader finds what the terms mean.
EXPLAINED = Link(
    "How to read a report: docs/reports.md in the repository of fashionreg",
    "https://github.com/fashionreg/fashionreg/blob/main/docs/reports.md",
)


def write_report(folder: Path) -> Findings:
    """Write `report.html`, `report.md`, `results.csv` and `figures/` into a study's folder, and record the look.

    Raises:
        UserError: If there is no study, nothing in it is finished, or a record is damaged.
    """
    found = look_at(folder)
    return _write_one(found, folder, found.results.numbers)


def write_combined_report(folders: Sequence[Path], out: Path) -> list[Findings]:
    """Rebuild the report of each study, and write one that shows them all into `out`.

    Raises:
        UserError: As `write_report`; or if `out` is one of the studies, or two studies have the same name.
    """
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise UserError(f"out: {out} is the folder of one of the studies; choose another")
    studies = [write_report(folder) for folder in folders]
    names = [found.plan.name for found in studies]
    if len(set(names)) < len(names):
        raise UserError(f"two of the studies have the same name: {', '.join(names)}")
    pictures = Pictures()
    shown = [most_telling(found, MOST_SHOWN) for found in studies]
    pictures.note = left_out(list(zip(studies, shown, strict=True)))
    several = ", the mean over its splits where there are several" * any(map(part, studies))
    overview = pictures.add(
        "overview",
        plots.overview(shown),
        "Final values of the variants of every study.",
        f"Every dot is a seed{several}; marks with lines are means with 95% intervals.",
    )
    verdicts = [Section(found.plan.name, verdict_blocks(found)) for found in studies]
    blocks: list[Block] = [Section("Verdicts", verdicts), Section("Overview", [overview])]
    for found in studies:
        pictures.prefix = f"{file_stem(found.plan.name)}_"
        blocks.append(Section(f"Study {found.plan.name}", sections(found, pictures)))
    blocks.append(EXPLAINED)
    table = pd.concat([found.results.numbers for found in studies], ignore_index=True)
    _write(out, " and ".join(names), f"{len(names)} studies side by side", blocks, table, pictures)
    return studies


def write_comparison(results: StudyResults, out: Path, *, force: bool) -> Findings:
    """Write the report on results that were not made by a study into a folder of its own.

    Args:
        results: The results.
        out: The folder.
        force: Whether a report that is there may be replaced.

    Raises:
        UserError: If there is a report and it may not be replaced, or the folder is that of a study or of the results.
    """
    files = [out / name for name in ("report.html", "report.md", "results.csv")]
    if (out / PLAN_FILE).exists():
        raise UserError(f"out: {out} is the folder of a study; choose another")
    if Path(results.plan.source).resolve() in {file.resolve() for file in files}:
        raise UserError(f"out: {out} holds the results that are compared; choose another")
    for file in files:
        check_output(file, force=force)
    if not force and (out / "figures").exists():
        raise UserError(f"{out / 'figures'}: exists; choose another --out, or replace it with --force")
    # what was not known of the results is not there either
    unknown = [name for name in ("epoch", "split") if results.numbers[name].isin([0, ""]).all()]
    return _write_one(find(results), out, results.numbers.drop(columns=unknown))


def look_at(folder: Path) -> Findings:
    """Read what a study has found, and record the look: it counts once anyone can read the results.

    Raises:
        UserError: As `write_report`.
    """
    results = read_results(folder)
    if results.table.empty:
        raise UserError(f"{folder}: no run of this study is finished; fashionreg study {results.plan.source} runs it")
    found = find(results)
    plan, seeds = found.plan, found.looked.seeds
    if seeds and any(found.compared.values()):
        record_look(folder, Look(plan.digest, seeds[-1], plan.max_seeds))
    return found


def _write_one(found: Findings, folder: Path, table: pd.DataFrame) -> Findings:
    pictures = Pictures()
    blocks = [*sections(found, pictures), EXPLAINED]
    _write(folder, found.plan.name, found.plan.question, blocks, table, pictures)
    return found


def _write(
    folder: Path, title: str, lead: str, blocks: Sequence[Block], table: pd.DataFrame, pictures: Pictures
) -> None:
    pictures.close()
    for name, content in pictures.files.items():
        with whole_file(folder / name, within=folder) as file:
            file.write(content)
    for name, text in (
        ("results.csv", table.to_csv(index=False, na_rep="nan", float_format="%.15g", lineterminator="\n")),
        ("report.md", to_markdown(title, lead, blocks)),
        ("report.html", to_html(title, lead, blocks)),
    ):
        with whole_file(folder / name, within=folder) as file:
            file.write(text.encode())


def file_stem(name: str) -> str:
    """Return a name as a part of the name of a file or folder."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
