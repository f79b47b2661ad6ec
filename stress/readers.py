"""The property tests of `tests/properties`, with many more cases."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from stress.promises import Case

TESTS = Path(__file__).parents[1] / "tests" / "properties"

#: Cases of one test are this share of all: most tests have one share, some a fifth or two.
SHARES = 25


def run(cases: int, seed: int, only: int | None, place: Path) -> Iterator[Case]:
    """Run every property test; each file of them is a promise, its first line."""
    report = place.absolute() / "readers.xml"
    examples = str(max(1, cases // SHARES))
    options = ["--hypothesis-profile", "stress", "--hypothesis-seed", str(seed)]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        f"--junitxml={report}",
        str(TESTS),
    ]
    environment = os.environ | {"STRESS_EXAMPLES": examples, "OMP_NUM_THREADS": "1"}
    with (place / "readers.txt").open("wb") as output:
        subprocess.run(command, cwd=TESTS.parents[1], env=environment, stdout=output, stderr=output, check=False)
    if not report.exists():
        raise RuntimeError(f"the property tests did not run: {(place / 'readers.txt').read_text()[-2000:]}")
    for test in ElementTree.parse(report).iter("testcase"):
        file = TESTS / f"{test.get('classname', '').rpartition('.')[2]}.py"
        promise = (ast.get_docstring(ast.parse(file.read_text())) or file.stem).splitlines()[0]
        numbers = [each.get("value", "1") for each in test.iter("property") if each.get("name") == "cases"]
        fault = test.find("failure") if test.find("failure") is not None else test.find("error")
        again = f"STRESS_EXAMPLES={examples} python -m pytest {' '.join(options)} {file.relative_to(TESTS.parents[1])}"
        yield Case(
            promise,
            None if fault is None else _reason(fault),
            f"{again}::{test.get('name')}",
            int(numbers[0]) if numbers else 1,
        )


def _reason(fault: ElementTree.Element) -> str:
    """The line that says what went wrong."""
    lines = [*(fault.get("message") or "").splitlines(), *(fault.text or "").splitlines()]
    errors = [line.strip(" |E") for line in lines if "Error" in line]
    return (errors or lines or ["no reason given"])[0][:500]
