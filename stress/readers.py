"""The property tests of `tests/properties`, with many more cases."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from stress.promises import Case

TESTS = Path(__file__).parents[1] / "tests" / "properties"

#: The family of reports that has a place for the number of cases.
FAMILY = "junit_family=xunit1"

#: Cases of one test are this share of all: most tests have one share, some a fifth or two.
SHARES = 25


def run(cases: int, seed: int, only: int | None, place: Path) -> Iterator[Case]:
    """Run every property test in two processes; each file of them is a promise, its first line."""
    report = place.absolute() / "readers.xml"
    examples = str(max(1, cases // SHARES))
    options = ["--hypothesis-profile", "stress", "--hypothesis-seed", str(seed)]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        *options,
        f"--junitxml={report}",
        "-o",
        FAMILY,
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
        if (error := test.find("error")) is not None:
            # not the reader's fault, but the test's own
            raise RuntimeError(f"{test.get('name')} did not run: {error.get('message')}")
        fault = test.find("failure")
        again = f"STRESS_EXAMPLES={examples} python -m pytest {' '.join(options)} {file.relative_to(TESTS.parents[1])}"
        yield Case(
            promise,
            None if fault is None else _reason(fault),
            f"{again}::{test.get('name')}",
            int(numbers[0]) if numbers else 1,
        )


def _reason(fault: ElementTree.Element) -> str:
    """The line that says what went wrong."""
    lines = [line.strip(" |") for line in (fault.text or "").splitlines()]
    errors = [line for line in lines if re.match(r"(E +)?[\w.]*(Error|Failed|Flaky\w*)\b.*: ", line)]
    # the last one is what the test made of it
    return (errors or [fault.get("message") or "no reason given"])[-1].removeprefix("E ").strip()[:500]
