"""`fashionreg study`, `fashionreg report`, `fashionreg atlas` and `fashionreg compare`.

Only a study that runs imports torch: `--help` and reports do not wait for it.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionreg.errors import UserError, printable
from fashionreg.studies.study import STUDIES, carry_out, failed, results_folder
from fashionreg.text import counted

if TYPE_CHECKING:
    from fashionreg.studies.findings import Findings

#: A comparison goes to COMPARISONS/NAME unless another folder is given.
COMPARISONS = Path("logs", "comparisons")

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

_ATLAS = """\
Writes an atlas of the techniques that studies have compared, one study for each task: atlas.md with a table a task,
images/atlas.svg and .png with all effects, and regularizers/NAME.md, a card for each regularizer.

examples:
  fashionreg atlas logs/studies/atlas_digits --out logs/atlas
"""

_COMPARE = """\
Compares results that were not made by a study, with the statistics and the report of one: report.html, report.md,
results.csv and figures. The results are a CSV file with the columns variant, seed and value (and epoch, split and
metric, if there are any; with fold the tests are those of a cross-validation, with split_number of a study on several
splits, and with image a row is the score of one image), or finished runs of `fashionreg fit`, each by its folder or
name (then its newest version), on the seeds that all of them have.

With --metric acc or ece values are shares from 0 to 1, with loss nats; any other metric is shown without a unit.

examples:
  fashionreg compare results.csv --reference plain --metric acc
  fashionreg compare errors.csv --metric rmse --higher_is_better false --out logs/rmse
  fashionreg compare baseline bn
"""


def add_parsers(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `study`, `report`, `atlas` and `compare`; the chosen one is `run`, from parsed arguments to the exit code."""
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
    atlas: argparse.ArgumentParser = subparsers.add_parser(
        "atlas", help="write a page, a figure and cards on all techniques of studies", description=_ATLAS, **layout
    )
    atlas.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a study")
    atlas.add_argument("--out", type=Path, required=True, help="folder for the atlas")
    atlas.add_argument("--force", action="store_true", help="replace an atlas that is there")
    atlas.set_defaults(run=run_atlas_command)
    compare: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help="compare results made elsewhere, or finished runs, and write a report",
        description=_COMPARE,
        **layout,
    )
    compare.add_argument("results", nargs="+", metavar="FILE.csv|RUN", help="a CSV file, or two or more runs")
    compare.add_argument("--reference", help="variant that the others are compared with (default: the first)")
    compare.add_argument("--metric", help="metric that is compared (default: the only one, or acc)")
    compare.add_argument("--split", help="split that is compared (default: the only one, or test)")
    compare.add_argument(
        "--higher_is_better", choices=["true", "false"], help="of a metric other than acc, loss and ece (default: true)"
    )
    compare.add_argument(
        "--estimate", choices=["tail", "last"], help="what counts where there are epochs (default: tail)"
    )
    compare.add_argument(
        "--relevant",
        type=float,
        help="smallest difference that matters, in points, for a loss in nats, else in the unit of the values",
    )
    compare.add_argument("--out", type=Path, help=f"folder for the report (default: {COMPARISONS}/NAME)")
    compare.add_argument("--force", action="store_true", help="replace a report that is there")
    compare.set_defaults(run=run_compare_command)


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
    splits = f" x {plan.splits} splits" * (plan.splits > 1)
    amount = f"{variants} x {counted(len(plan.seeds), 'seed')}{splits}{growing}"
    print(f"study   {plan.name}: {amount}, reference {plan.reference}")
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


def run_atlas_command(arguments: argparse.Namespace) -> int:
    """Run `fashionreg atlas`: write the page, the figure and the cards."""
    from fashionreg.studies.answer import answer
    from fashionreg.studies.atlas import PAGE, write_atlas

    for task, found in write_atlas(arguments.folders, arguments.out, force=arguments.force).items():
        print(f"{task}: {answer(found)}")
    print(f"atlas: {arguments.out / PAGE} (also images/ and regularizers/)")
    return 0


def run_compare_command(arguments: argparse.Namespace) -> int:
    """Run `fashionreg compare`: read a table or runs, and write the report."""
    from fashionreg.studies.elsewhere import results_of_table
    from fashionreg.studies.estimand import read_estimand
    from fashionreg.studies.fits import find_run, results_of_runs
    from fashionreg.studies.report import file_stem, write_comparison

    words: list[str] = arguments.results
    higher = {None: None, "true": True, "false": False}[arguments.higher_is_better]
    given = ("reference", "metric", "split", "higher_is_better", "estimate")
    shown = [word for name in given if (value := getattr(arguments, name)) for word in (f"--{name}", value)]
    shown += [] if arguments.relevant is None else ["--relevant", f"{arguments.relevant:g}"]
    chosen: dict[str, Any] = {"split": arguments.split, "metric": arguments.metric, "options": shown}
    chosen["relevant"] = arguments.relevant
    chosen |= {"estimand": read_estimand(arguments.estimate or "tail")}
    if len(words) == 1:
        path = Path(words[0])
        if not path.is_file() and path.suffix.lower() != ".csv":
            find_run(words[0])
            raise UserError(f"{words[0]}: is one run; name two or more, which are compared with one another")
        results = results_of_table(path, arguments.reference, higher_is_better=higher, **chosen)
    else:
        if files := [word for word in words if Path(word).is_file()]:
            raise UserError(f"{files[0]}: is a file; a file is compared alone, and runs with one another")
        if higher is not None:
            raise UserError("higher_is_better: is known of the metrics of runs")
        results = results_of_runs(words, arguments.reference, **chosen)
    plan, folder = results.plan, arguments.out or COMPARISONS / file_stem(results.plan.name)[:100]
    found = write_comparison(results, folder, force=arguments.force)
    variants = f"{counted(len(plan.variants), 'variant')} x {counted(len(plan.seeds), 'seed')}"
    better = f"{'higher' if plan.more_is_better(plan.primary) else 'lower'} {plan.label(plan.primary)} is better"
    print(f"compare {printable(plan.name)}: {variants}, reference {plan.reference}; {better}")
    _print_verdict(found)
    _print_place(folder)
    return 0


def _print_report(found: "Findings", folder: Path) -> None:
    _print_verdict(found)
    _print_place(folder)
    print(f"curves: tensorboard --logdir {folder}")


def _print_place(folder: Path) -> None:
    print(f"\nreport: {folder / 'report.html'} (also report.md, results.csv, figures/)")


def _print_verdict(found: "Findings") -> None:
    from fashionreg.studies.notes import notes
    from fashionreg.studies.verdict import verdict

    print()
    for sentence in [*verdict(found), *(note.text for note in notes(found))]:
        print(f"  {sentence}")
