"""`fashionreg study` and `fashionreg report`.

Only a study that runs imports torch: `--help` and reports do not wait for it.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionreg.errors import UserError
from fashionreg.studies.study import STUDIES, carry_out, failed, results_folder
from fashionreg.text import counted

if TYPE_CHECKING:
    from fashionreg.studies.findings import Findings

_STUDY = """\
Trains every variant that a study file names with every seed, side by side, compares them, and writes a report:
report.html, report.md, results.csv and figures. What has been trained before is not trained again: the same command
continues after an interruption, and with more --seeds it trains only the new ones.

Other options are those of `fashionreg fit` and hold for every variant, for example --trainer.accelerator gpu.

examples:
  fashionreg study configs/studies/batch_norm.yaml
  fashionreg study configs/studies/lecture7.yaml --seeds 20 --out logs/lecture7
  fashionreg study configs/studies/smoke.yaml --dry_run
"""

_REPORT = """\
Rebuilds the report of a study from its records, in its folder. With several folders it also writes one report that
shows them all, to --out.

examples:
  fashionreg report logs/studies/batch_norm
  fashionreg report logs/studies/dropout_rate logs/studies/weight_decay --out logs/both
"""


def add_parsers(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `study` and `report`; the chosen command is `run`, a function of the parsed arguments to the exit code."""
    layout: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    study: argparse.ArgumentParser = subparsers.add_parser(
        "study", help="train variants with many seeds, compare them, and write a report", description=_STUDY, **layout
    )
    study.add_argument("file", type=Path, help="study file (configs/studies/*.yaml)")
    study.add_argument("--seeds", help="a count (10 is 0 to 9), a list ([3, 7]) or auto; in place of the file's")
    study.add_argument("--out", type=Path, help=f"folder for the results (default: {STUDIES}/NAME)")
    study.add_argument("--dry_run", action="store_true", help="check the file and say what would be trained")
    study.set_defaults(run=run_study_command, takes_options=True)
    report: argparse.ArgumentParser = subparsers.add_parser(
        "report", help="rebuild the report of finished studies from their records", description=_REPORT, **layout
    )
    report.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a study")
    report.add_argument("--out", type=Path, help="folder for the report on several studies")
    report.set_defaults(run=run_report_command)


def run_study_command(arguments: argparse.Namespace) -> int:
    """Run `fashionreg study`: check the study file, train what is missing and write the report."""
    from fashionreg.randomness import whole_seeds
    from fashionreg.studies.plan import read_study
    from fashionreg.studies.tuning import UntunedPlan

    seeds = None
    if arguments.seeds is not None:
        try:
            seeds = json.loads(arguments.seeds)
        except (ValueError, RecursionError):
            seeds = arguments.seeds
        seeds = seeds if seeds == "auto" else whole_seeds(seeds)
    plan = read_study(arguments.file, seeds, arguments.options)
    folder = results_folder(plan, arguments.out)
    variants = counted(len(plan.variants), "variant")
    growing = f", at most {plan.max_seeds}, until decided" if plan.auto else ""
    print(f"study   {plan.name}: {variants} x {counted(len(plan.seeds), 'seed')}{growing}, reference {plan.reference}")
    print(f"results {folder}", flush=True)
    trials = plan.trials if isinstance(plan, UntunedPlan) else None
    if trials is not None:
        print(f"tuning  {counted(len(trials.variants), 'trial')} x {counted(len(trials.seeds), 'seed')} before that")
    if arguments.dry_run:
        for variant in plan.variants:
            print(f"  {variant.name}: {counted(variant.config['trainer']['max_epochs'], 'epoch')}")
        print("everything is in order; nothing was run")
        return 0
    try:
        study = carry_out(plan, folder)
    except KeyboardInterrupt:
        raise UserError(f"{plan.name}: interrupted; the same command goes on with what is missing") from None
    _print_report(study.findings, folder)
    if study.failures:
        raise UserError(failed(study.failures, plan))
    return 0


def run_report_command(arguments: argparse.Namespace) -> int:
    """Run `fashionreg report`: rebuild the reports."""
    from fashionreg.studies.report import write_combined_report, write_report

    if len(arguments.folders) == 1:
        if arguments.out is not None:
            raise UserError("out: the report of one study goes to its own folder; --out is for several")
        folder = arguments.folders[0]
        _print_report(write_report(folder), folder)
        return 0
    if arguments.out is None:
        raise UserError("out: several studies need a folder for the report that shows them all: --out DIR")
    for found in write_combined_report(arguments.folders, arguments.out):
        print(f"{found.plan.name}:")
        _print_verdict(found)
    print(f"\nreport: {arguments.out / 'report.html'}")
    return 0


def _print_report(found: "Findings", folder: Path) -> None:
    _print_verdict(found)
    print(f"\nreport: {folder / 'report.html'} (also report.md, results.csv, figures/)")
    print(f"curves: tensorboard --logdir {folder}")


def _print_verdict(found: "Findings") -> None:
    from fashionreg.studies.notes import notes
    from fashionreg.studies.verdict import verdict

    print()
    for sentence in [*verdict(found), *(note.text for note in notes(found))]:
        print(f"  {sentence}")
