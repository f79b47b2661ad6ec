"""The page `docs/statistics.md`: what each method does, and the simulated tables."""

import math
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"

#: What a row says, then its numbers.
Row = list[str | float]

INTRODUCTION = """# The statistics

What is computed from the results of seeds, in plain words, and how often it is right. The tables are simulated by `make
simulate`, which writes this page. "normal" draws the results of seeds from a normal distribution, the other rows from
the kept studies' own seeds (deviations of final test accuracies from their variant's mean).

- **Intervals of means and differences** are Student's t intervals at 95%. The seeds are the sample: an interval is
  about other seeds on the same images.
- **Shares** (accuracies) have intervals on the logit scale, which end within 0 to 100%; probabilities counted in n
  independent trials have Wilson's.
- **Simultaneous intervals** belong to several variants at once: Bonferroni's t intervals, cut at 0 where Holm's
  correction rejects and they do not. So an interval excludes 0 exactly where the corrected p value is below 5%. The
  exclusions of 0 are all right in at least 95% of studies, and so are the other ends; both at once in at least 90%, and
  in at least 95% if no variant differs, or only one is compared.
- **Equivalence** is tested by two one-sided t tests (TOST) against the smallest relevant difference. It is shown where
  the 90% interval lies within plus and minus that difference; this outweighs a difference that is shown but too small.
- **Interquartile mean and median** of the differences stand beside the mean: a collapsed seed moves the mean alone.
- **Several looks** at a growing study share one error of 5% (Lan and DeMets, O'Brien-Fleming type of spending, levels
  simulated for t tests). The maximum number of seeds must be stated before the first look.
- **Seeds and images**: where it is recorded which images each seed gets right, an interval over both says what to
  expect of other images too (crossed random effects).
- **Splits and seeds**, crossed: two-way analysis of variance with both as random effects. With 10 seeds and 3 splits or
  more it covers 94 to 97% where splits or seeds matter, and about 98% where neither does; with 3 seeds from 92% to 99%.
- **Overlapping training sets**: the corrected resampled t test of Nadeau and Bengio.

Where coverage differs from 95%, by construction: medians cover more, as their intervals end at one of the results, and
have none below six seeds; interquartile means cover about 94% of normal noise; all simultaneous intervals together may
cover 90% where some variants differ and others do not (see above); the mean of a variant of whose seeds a few
collapsed (batch_norm_tuned's) covers 81% with 5 seeds and 90% with 10. Differences of such variants are symmetric, and
cover at least 94%. An interval over seeds alone says nothing about new images.
"""


def table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return a Markdown table; numbers are shares as percentages, NaN a dash."""
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
