"""Studies and comparisons as a library: `fashionreg.study`, `fashionreg.compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionreg.errors import UserError, shortened

if TYPE_CHECKING:
    import pandas as pd

    from fashionreg.studies.evidence import Evidence
    from fashionreg.studies.findings import Findings
    from fashionreg.studies.images import OverImages
    from fashionreg.studies.results import StudyPlan
    from fashionreg.studies.statistics import Comparison

#: A study's results go to STUDIES/NAME unless another folder is given.
STUDIES = Path("logs", "studies")


@dataclass(frozen=True)
class Study:
    """A study whose variants were trained and compared.

    Attributes:
        folder: Its folder, with records, `report.html`, `report.md` and `results.csv`.
        findings: Estimates and comparisons.
        failures: For each variant that failed, what went wrong; the others were trained and are compared.
    """

    folder: Path
    findings: "Findings"
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> "pd.DataFrame":
        """Every number: study, variant, seed, epoch, split, metric, value."""
        return self.findings.results.table

    @property
    def comparisons(self) -> "pd.DataFrame":
        """Each other variant against the reference by the primary outcome; see `compare` for the columns."""
        found = self.findings
        return _as_table(found.comparisons, found.evidence if found.plan.relevant is not None else None)

    def verdict(self) -> str:
        """Return the answer in plain sentences, one a line."""
        from fashionreg.studies.verdict import verdict

        return "\n".join(verdict(self.findings))


def study(
    file: str | Path,
    seeds: int | Sequence[int] | str | None = None,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Study:
    """Train every variant of a study file with every seed, compare them, and write the report.

    What has been trained before is not trained again. A variant that fails does not end the study: see
    `Study.failures`.

    Args:
        file: The study file.
        seeds: A count, a list, or `auto`, in place of the file's.
        out: Folder for the results; `logs/studies/NAME` by default.
        overrides: Options by dotted names, `{"trainer.max_epochs": 20}`; they win over the file, for every variant.

    Raises:
        UserError: With everything that is wrong with the file; or if every variant failed.
    """
    from fashionreg.studies.plan import read_study

    if not isinstance(file, str | Path):
        raise UserError(f"file: must be the path of a study file, got {shortened(file)}")
    return carry_out(read_study(Path(file), seeds, overrides=overrides), out)


def results_folder(plan: "StudyPlan", out: str | Path | None) -> Path:
    """Return `out`, or where the results of a study go without it."""
    return Path(out) if out is not None else STUDIES / plan.name


def carry_out(plan: "StudyPlan", out: str | Path | None) -> Study:
    """Train what a plan still lacks, and write the report on everything that there is; again where the plan grows.

    Raises:
        UserError: If every variant failed: then there is nothing new to report.
    """
    from fashionreg.studies.growth import grown, progress
    from fashionreg.studies.report import write_report
    from fashionreg.studies.run import run_study
    from fashionreg.studies.tuning import UntunedPlan, tuned

    folder = results_folder(plan, out)
    if isinstance(plan, UntunedPlan):
        plan = tuned(plan, folder)
    while True:
        failures = run_study(plan, folder)
        if len(failures) == len(plan.variants):
            raise UserError(failed(failures, plan))
        found = write_report(folder)
        if plan.auto:
            print(progress(found), flush=True)
        more = None if failures else grown(plan, found)
        if more is None:
            return Study(folder, found, failures)
        plan = more


def failed(failures: Mapping[str, str], plan: "StudyPlan") -> str:
    """Say in one line which variants failed."""
    names = ", ".join(failures)
    return f"{len(failures)} of {len(plan.variants)} variants failed: {names}; the same command tries anew"


def compare(
    frame: "pd.DataFrame",
    reference: Any,
    *,
    higher_is_better: bool | None = None,
    split: str | None = None,
    metric: str | None = None,
    estimate: str = "tail",
    relevant: float | None = None,
) -> "pd.DataFrame":
    """Compare anybody's results: each variant against the reference, paired by seed.

    >>> import pandas as pd
    >>> rows = [(variant, seed, 0.8 + 0.01 * seed + 0.05 * (variant == "bn")) for variant in ("plain", "bn")
    ...         for seed in range(10)]
    >>> table = compare(pd.DataFrame(rows, columns=["variant", "seed", "value"]), reference="plain")
    >>> print(round(table.difference["bn"], 3), table.n["bn"])
    0.05 10

    Args:
        frame: Columns `variant`, `seed`, `value`: one row for each variant and seed; with a column `epoch`, for each of
            its epochs, and with a column `fold` (or `split` with whole numbers) for each fold of a cross-validation:
            then tests and intervals are those of the corrected resampled t test (Nadeau and Bengio 2003). With a
            column `split_number`, of a study that trains each seed on each of several splits, they are over splits and
            seeds, as its own. With a column `image` a row is the score of one image, 0 or 1 or any number, and every
            seed has the same images; a seed counts by its mean over them. Seeds that the reference does not have are
            left out. Columns `split` and `metric` are those of a study's `results.csv`. Others are not read.
        reference: The variant that the others are compared with, as the column has it: a text or a number.
        higher_is_better: True for an accuracy, False for a loss. None: False for the metrics `loss` and `ece`, True for
            others.
        split: The split that is compared, if there are several; `test`, if not given.
        metric: The metric that is compared, if there are several; `acc`, if not given.
        estimate: What counts for a seed where there are epochs: `tail`, the mean of the last tenth of 20 epochs or more
            (at least three), else the last epoch; or `last`.
        relevant: The smallest difference that matters, in percentage points where the metric is `acc` or `ece`, else in
            the unit of the values.

    Returns:
        One row for each other variant: number of pairs n, mean difference with low and high (95% interval), p of the
        paired t test and of Wilcoxon's signed-rank test, both with and without Holm's correction, the share of pairs in
        which the variant is better (ties count half), and the minimum detectable effect with 80% power. With `relevant`
        also the decision (better, worse, equivalent or undecided), the p value of the equivalence tests with Holm's
        correction, and the probability that the true difference is smaller than `relevant`. With a column `image` also
        the number of images, the ends of the 95% interval over seeds and images (crossed random effects, not adjusted
        for the number of comparisons), and what the difference holds for: `on new images too`, `on these images` or
        `not shown`. No rows if the reference is alone.

    Raises:
        UserError: If a column or a name is missing, a value is not a finite number, a row is there twice, there is no
            such reference, or a variant has no seed in common with it.
    """
    import pandas as pd

    from fashionreg.studies.elsewhere import by_variant, check_relevant, check_rows, chosen, part_of, rising
    from fashionreg.studies.estimand import Estimand
    from fashionreg.studies.evidence import gather
    from fashionreg.studies.findings import against_reference
    from fashionreg.studies.folds import FOLD, IMAGE, SPLIT_NUMBER, summary_of
    from fashionreg.studies.images import of_scores
    from fashionreg.text import unit_of_difference

    if estimate not in ("tail", "last"):
        raise UserError(f"estimate: must be tail or last, got {shortened(estimate)}")
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"frame: must be a DataFrame with the columns variant, seed and value, got {shortened(frame)}")
    for name in ("variant", "seed", "value"):
        if name not in frame.columns:
            raise UserError(f"{name}: there is no such column; there are {', '.join(map(str, frame.columns))}")
    for name in ("variant", "seed", IMAGE):
        if name in frame.columns and frame[name].isna().any():
            raise UserError(f"{name}: is missing in row {int(frame[name].isna().to_numpy().argmax())}")
    frame, _, metric = chosen(frame, split, metric)
    part = part_of(frame)
    numbers = pd.to_numeric(frame.value, errors="coerce")
    if len(wrong := frame[numbers.isna() & frame.value.notna()]):
        row = wrong.iloc[0]
        raise UserError(f"variant {row.variant}, seed {row.seed}: value must be a number, got {shortened(row.value)}")
    frame = frame.assign(value=numbers.astype(float))
    if "epoch" in frame.columns:
        epochs = pd.to_numeric(frame.epoch, errors="coerce")
        if len(wrong := frame[~((epochs >= 1) & (epochs % 1 == 0))]):
            row = wrong.iloc[0]
            what = f"epoch must be a whole number from 1, got {shortened(str(row.epoch))}"
            raise UserError(f"variant {row.variant}, seed {row.seed}: {what}")
        frame = frame.assign(epoch=epochs.astype(int))
    if part in (FOLD, SPLIT_NUMBER):
        folds = pd.to_numeric(frame[part], errors="coerce")
        if len(wrong := frame[~(folds % 1 == 0)]):
            row = wrong.iloc[0]
            what = f"{part} must be a whole number, got {shortened(str(row[part]))}"
            raise UserError(f"variant {row.variant}, seed {row.seed}: {what}")
        frame = frame.assign(**{part: folds.astype(int)})
    check_rows(frame, reference, lambda index: "")
    if len(wrong := frame[~frame.value.abs().lt(float("inf"))]):
        raise UserError(f"variant {wrong.iloc[0].variant}: has a value that is not finite")
    check_relevant(relevant, metric, frame)
    better = bool(rising(metric, higher_is_better))
    values = by_variant(frame, Estimand("last" if estimate == "last" else "tail"))
    summary, scores = None, {}
    if part == IMAGE:
        scores = {name: each.unstack(IMAGE) for name, each in values.items()}
        values = {name: each.mean(axis=1) for name, each in scores.items()}
    elif part is not None:
        summary = summary_of(int(frame[part].nunique()), crossed_with_seeds=part == SPLIT_NUMBER)
    compared = against_reference(values, reference, better, summary=summary)
    found = None
    if relevant is not None:
        margin = relevant / unit_of_difference(metric).factor
        found = gather(values, reference, compared, higher_is_better=better, relevant=margin)
    over = {name: of_scores(scores[name], scores[reference]) for name in compared} if scores else None
    return _as_table(compared, found, over)


def _as_table(
    comparisons: "dict[str, Comparison]",
    evidence: "Mapping[str, Evidence] | None" = None,
    over: "Mapping[str, OverImages] | None" = None,
) -> "pd.DataFrame":
    """Return comparisons as a table, a row for each variant; without any, its columns alone.

    Args:
        comparisons: The comparisons.
        evidence: What belongs beside each, where it is declared what matters.
        over: Over what each holds, where there are scores of single images.
    """
    import pandas as pd

    from fashionreg.studies.statistics import Comparison

    rows: list[dict[str, Any]] = []
    for name, found in comparisons.items():
        row = asdict(found)
        difference = row.pop("difference")
        interval = {key: difference[key] for key in ("low", "high")}
        rows.append({"variant": name, "n": row.pop("n"), "difference": difference["mean"], **interval, **row})
        if evidence is not None and (same := evidence[name].equivalence) is not None:
            rows[-1] |= {"decision": evidence[name].decision, "equivalence_p_holm": evidence[name].equivalence_p}
            rows[-1] |= {"probability_within": same.probability_within}
        if over is not None:
            one = over[name]
            rows[-1] |= {"images": one.images, "images_low": one.interval.low, "images_high": one.interval.high}
            rows[-1] |= {"holds": one.holds}
    tests = [field.name for field in fields(Comparison) if field.name not in ("n", "difference")]
    tests += [] if evidence is None else ["decision", "equivalence_p_holm", "probability_within"]
    tests += [] if over is None else ["images", "images_low", "images_high", "holds"]
    return pd.DataFrame(rows, columns=["variant", "n", "difference", "low", "high", *tests]).set_index("variant")
