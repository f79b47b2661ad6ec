"""What the property tests share: how many cases, and what every reader promises.

Each test draws its cases from what a good file can suffer. The profile says how many: `tests` a few, the same ones
every time; `stress` (`--hypothesis-profile stress`) as many as STRESS_EXAMPLES says, which `--hypothesis-seed` repeats.
"""

import os
import signal
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, settings

from fashionreg.errors import UserError
from samples import check_line, files

COMMON = settings(
    deadline=None,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    # the fixtures' folder is used again by every case, which writes all of it that it reads
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("tests", COMMON, max_examples=20, derandomize=True, phases=[Phase.generate, Phase.shrink])
# the search for a smaller case takes minutes where the one that was found is slow
settings.register_profile(
    "stress", COMMON, phases=[Phase.generate], max_examples=int(os.environ.get("STRESS_EXAMPLES", "400"))
)
settings.load_profile("tests")

#: Seconds after which a reader counts as hanging.
PATIENCE = 30


@pytest.fixture
def case(record_property):
    """Within `with case():` a case runs; it is counted, and fails if it hangs."""
    cases = 0

    def give_up(*_):
        pytest.fail(f"took longer than {PATIENCE} s")

    @contextmanager
    def case():
        nonlocal cases
        cases += 1
        before = signal.signal(signal.SIGALRM, give_up)
        signal.alarm(PATIENCE)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    yield case
    record_property("cases", cases)


@pytest.fixture
def reading(case, tmp_path):
    """Calls a reader; returns its value, or None where it refused.

    A refusal is a `UserError` of one line (with `lines`, of several) that has one of `names` in it. Whatever comes
    out, no file in `tmp_path` has changed.
    """

    def reading(read, *names, lines=False):
        before = files(tmp_path)
        try:
            with case():
                value = read()
        except UserError as error:
            for line in str(error).split("\n") if lines else [str(error)]:
                check_line(line)
            if not any(str(name) in str(error) for name in names):
                pytest.fail(f"{error} names none of {names}")
            value = None
        assert files(tmp_path) == before
        return value

    return reading
