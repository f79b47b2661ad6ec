"""Ten fits of one name, two studies, and twice the same study, at once."""

from collections.abc import Iterator
from pathlib import Path

from stress.process import Command, Ended
from stress.promises import BrokenPromiseError, Case, must, must_be_one_line, must_be_whole, newest_record
from stress.work import FIT, STUDY_FOLDER, study_numbers, succeed, write_configs

FITS = "Ten fits of one name at once make ten versions, each with the record of a fit alone."
STUDIES = "Two studies at once, in two folders, have the numbers of a study alone."
TWICE = "Of two processes that run the same study in one folder, one does it and the other is refused in one line."
STUDY = ["study", "study.yaml"]


def run(cases: int, seed: int, only: int | None, place: Path) -> Iterator[Case]:
    """Rounds of three trials; `cases` counts rounds."""
    alone = place / "alone"
    write_configs(alone)
    succeed(FIT, alone)
    succeed(STUDY, alone)
    trials = {FITS: _fits, STUDIES: _studies, TWICE: _twice}
    for number in range(cases) if only is None else [only]:
        for promise, trial in trials.items():
            folder = place / str(number) / trial.__name__
            write_configs(folder)
            case = Case(promise, again=f"--case {number}")
            try:
                yield case._replace(cases=trial(folder, alone))
            except (BrokenPromiseError, OSError) as error:
                yield case._replace(broken=str(error))


def _at_once(commands: list[list[str]], folder: Path) -> list[Ended]:
    started = [Command(arguments, folder) for arguments in commands]
    return [command.wait() for command in started]


def _must_succeed(ended: list[Ended]) -> None:
    for each in ended:
        must(each.code == 0, f"exit code {each.code}: {each.err[-1500:]}")


def _fits(folder: Path, alone: Path) -> int:
    _must_succeed(_at_once([FIT] * 10, folder))
    must_be_whole(folder)
    versions = {path.name: path / "record.csv" for path in (folder / "logs/small").iterdir()}
    must(set(versions) == {f"version_{number}" for number in range(10)}, f"versions: {sorted(versions)}")
    expected = newest_record(alone / "logs/small")
    for name, record in versions.items():
        must(record.read_bytes() == expected, f"{name}: its record is not that of a fit alone")
    return 10


def _studies(folder: Path, alone: Path) -> int:
    places = [folder / "one", folder / "two"]
    for place in places:
        write_configs(place)
    started = [Command(STUDY, place) for place in places]
    _must_succeed([command.wait() for command in started])
    for place in places:
        must_be_whole(place)
        must(study_numbers(place) == study_numbers(alone), f"{place.name}: not the numbers of a study alone")
    return 2


def _twice(folder: Path, alone: Path) -> int:
    ended = _at_once([STUDY] * 2, folder)
    refused = [each for each in ended if each.code]
    must(len(refused) == 1, f"exit codes {[each.code for each in ended]}: {' '.join(each.err for each in ended)}")
    must(refused[0].code == 1, f"exit code {refused[0].code}")
    must_be_one_line(refused[0].err)
    must(str(STUDY_FOLDER) in refused[0].err, refused[0].err)
    must(study_numbers(folder) == study_numbers(alone), "not the numbers of a study alone")
    return 2
