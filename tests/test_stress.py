"""The harness of `make stress` finds what is broken, and its page says so."""

import importlib.util

import pytest
from stress import disk, process, reliability, soak
from stress.__main__ import parse
from stress.promises import BrokenPromiseError, Case, must_be_whole, must_hold_nothing_else

WHOLE = {
    "table.csv": "seed,value\n0,1.5\n",
    "facts.json": '{"name": "x"}',
    "config.yaml": "name: x\n",
    "report.html": "<html></html>\n",
    "figure.svg": "<svg></svg>\n",
}


@pytest.mark.parametrize("name", [None, *WHOLE, "last.ckpt"])
def test_a_truncated_file_of_each_kind_is_found(name, tmp_path):
    for each, text in WHOLE.items():
        (tmp_path / each).write_text(text)
    must_be_whole(tmp_path)
    if name:
        (tmp_path / name).write_text(WHOLE.get(name, "PK")[:3])
        with pytest.raises(BrokenPromiseError, match=f"{name}"):
            must_be_whole(tmp_path)


def test_a_file_that_undisturbed_work_does_not_leave_is_found(tmp_path):
    for folder in ("undisturbed/version_0", "disturbed/version_3"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "record.csv").touch()
    must_hold_nothing_else(tmp_path / "disturbed", tmp_path / "undisturbed")
    (tmp_path / "disturbed/version_3/.record.csv.17.tmp").touch()
    with pytest.raises(BrokenPromiseError, match=r"left over: version_N/.record.csv.17.tmp"):
        must_hold_nothing_else(tmp_path / "disturbed", tmp_path / "undisturbed")


WARNING = "fashionreg: warning: events: cannot be written: No space left on device; no more curves in TensorBoard\n"
ERROR = "fashionreg: error: last.ckpt: cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("code", "err", "kept"),
    [
        (0, "", True),
        (0, WARNING, True),
        (1, ERROR, True),
        (1, WARNING + ERROR, True),
        (0, ERROR, False),
        (1, "", False),
        (1, WARNING, False),
        (1, "Traceback (most recent call last):\n" + ERROR, False),
        (-9, ERROR, False),
    ],
)
def test_a_full_disk_is_one_error_line_and_may_be_a_warning_about_curves(code, err, kept):
    ended = process.Ended(code, "", err, 1.0)
    if kept:
        disk.must_say_so(ended)
    else:
        with pytest.raises(BrokenPromiseError):
            disk.must_say_so(ended)


def test_the_page_counts_cases_and_broken_ones_of_each_promise(tmp_path):
    cases = [Case("first", cases=3), Case("second", broken="no"), Case("first")]
    facts = {"what": "a part", "seconds": 1.0, "date": "2026-01-01", "machine": "x", "commit": "y"}
    reliability.write({"part": facts | {"promises": reliability.count(cases)}}, tmp_path)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (tmp_path / "reliability.md").read_text().splitlines()
        if line.startswith("|")
    ]
    assert ["first", "4", "0"] in rows
    assert ["second", "1", "**1**"] in rows
    assert reliability.read(tmp_path)["part"]["promises"][0]["cases"] == 4


def test_a_trial_does_not_write_the_page():
    assert parse(["--size", "0.1"]).out is None
    assert parse(["--case", "3", "disk"]).out is None
    assert parse([]).out == reliability.DOCS


@pytest.mark.parametrize("options", [["nothing"], ["--size", "0"]])
def test_a_wrong_option_is_refused(options, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(options)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_what_the_server_preloads_exists():
    """`multiprocessing` passes silently over modules that do not."""
    assert all(importlib.util.find_spec(name) for name in process.PRELOADED)


def measurements(memory):
    """What a process holds after every fifth of 1,000 fits; its memory is a function of the number of fits."""
    return [{"fits": n, "memory": memory(n), "descriptors": 10, "threads": 1} for n in range(5, 1001, 5)]


def test_the_soak_finds_growth_but_not_the_noise_and_the_warm_up(tmp_path):
    soak.must_not_grow(measurements(lambda n: 569_000 + 100 * (n % 3) - 2000 * (n < 20)))
    with pytest.raises(BrokenPromiseError, match="memory: 5 KiB more with each fit"):
        soak.must_not_grow(measurements(lambda n: 569_000 + 5 * n))
    leaking = measurements(lambda n: 569_000)
    leaking[-1]["descriptors"] += 1
    with pytest.raises(BrokenPromiseError, match="descriptors: 10 after 200 fits, 11 in the end"):
        soak.must_not_grow(leaking)
