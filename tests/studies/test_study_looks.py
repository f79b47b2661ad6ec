"""Every look at a study is recorded, and counts."""

import json

import pytest

from fashionreg.errors import UserError
from fashionreg.studies.findings import find
from fashionreg.studies.looks import ONCE, Look, looked
from fashionreg.studies.notes import notes
from fashionreg.studies.report import write_report
from fashionreg.studies.results import read_results
from fashionreg.studies.statistics import looks_levels
from sample_studies import write_study
from samples import message

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.fixture
def look(tmp_path):
    """Report on a study with this many seeds, which all the earlier ones have been extended to."""

    def look(seeds, **more):
        folder = tmp_path / "study"
        if not folder.exists():
            write_study(folder, seeds=range(20), **more)
        plan = json.loads((folder / "study.json").read_text())
        (folder / "study.json").write_text(json.dumps(plan | {"seeds": list(range(seeds))} | more))
        return write_report(folder)

    return look


def recorded(tmp_path):
    return [each["seeds"] for each in json.loads((tmp_path / "study" / "looks.json").read_text())["looks"]]


def about_looks(found):
    return [note for note in notes(found) if note.kind in ("looks", "uncorrected_looks")]


def test_a_report_with_more_seeds_is_a_look_and_one_with_the_same_is_not(look, tmp_path):
    assert about_looks(look(5)) == []
    assert about_looks(look(5)) == []
    assert recorded(tmp_path) == [5]
    (note,) = about_looks(look(8))
    assert recorded(tmp_path) == [5, 8]
    assert note.warns
    assert note.text == (
        "Results were compared 2 times, with 5 and 8 seeds. The p values and intervals are not corrected for that, as "
        "no largest number of seeds (max_seeds) was declared before the first look and kept: adding seeds until a "
        "difference is shown shows one too often."
    )
    (note,) = about_looks(look(20))
    assert note.text.startswith("Results were compared 3 times, with 5, 8 and 20 seeds. The p values")
    # the first report, made again, is what it was
    assert about_looks(look(5)) == []
    assert recorded(tmp_path) == [5, 8, 20]


def test_a_report_with_fewer_seeds_than_an_earlier_one_had_says_so(look):
    def alarms(found):
        return [note.text for note in notes(found) if note.kind == "looks_at_more" and note.warns]

    assert [alarms(look(seeds)) for seeds in (5, 8, 20)] == [[], [], []]
    said = (
        "This is not the last look: results were compared with {} seeds before, and that counts. Whoever chooses the "
        "number of seeds after a look chooses the result."
    )
    assert alarms(look(8)) == [said.format("20")]
    # one with a number that nobody has looked at before, too
    assert alarms(look(6)) == [said.format("8 and 20")]
    assert alarms(look(20)) == []


def test_a_maximum_that_was_declared_corrects_every_look(look):
    for seeds, looks in ((5, [5]), (10, [5, 10]), (20, [5, 10, 20])):
        found = look(seeds, max_seeds=20)
        assert found.level == looks_levels(looks, 20, comparisons=2)[-1]
        for one in found.comparisons.values():
            assert one.simultaneous.excludes_zero == (one.t_p_holm < found.level)
        (note,) = about_looks(found)
        assert not note.warns
        assert f"an adjusted p value shows a difference below {found.level:.3g} at this one" in note.text
    assert looks_levels([5], 20, comparisons=2)[-1] < 0.001 < found.level < 0.05


def test_an_early_difference_below_5_percent_is_not_shown_where_the_level_is_lower(look, tmp_path):
    folder = write_study(tmp_path / "study", ["plain", "bn"], seeds=range(20), outcomes=["acc"])
    path = folder / "bn" / "version_0" / "record.csv"
    rows = (folder / "plain" / "version_0" / "record.csv").read_text().splitlines()
    changed = []
    for row in rows:
        seed, epoch, split, metric, value = row.split(",")
        if (epoch, split, metric) == ("12", "test", "acc"):
            value = str(float(value) + 0.002 + 0.001 * (-1) ** int(seed))
        changed.append(",".join((seed, epoch, split, metric, value)))
    path.write_text("\n".join(changed) + "\n")
    # differences of 3 and 1 thousandths by turns: with 5 seeds t is 4.5, p is 0.011
    once = look(5)
    assert once.comparisons["bn"].t_p == pytest.approx(0.0109, abs=1e-4)
    assert once.evidence["bn"].decision == "better"
    (tmp_path / "study" / "looks.json").unlink()
    first = look(5, max_seeds=20)
    assert first.comparisons["bn"].t_p == once.comparisons["bn"].t_p
    assert first.evidence["bn"].decision == "undecided"
    assert look(20, max_seeds=20).evidence["bn"].decision == "better"


@pytest.mark.parametrize(
    ("past", "maximum", "seeds", "kept"),
    [
        ([], None, [10], None),
        ([], 50, [10], 50),
        ([(5, 50)], 50, [5, 10], 50),
        ([(5, None)], 50, [5, 10], None),  # declared after a look
        ([(5, 20)], 50, [5, 10], None),  # raised after a look
        ([(10, None)], 50, [10], None),  # declared after this very look
        ([(20, 50)], 50, [10], 50),  # more seeds say nothing about fewer
    ],
)
def test_only_a_maximum_that_was_declared_before_all_looks_counts(past, maximum, seeds, kept):
    found = looked([Look("key", *each) for each in past], 10, maximum)
    assert (found.seeds, found.maximum) == (seeds, kept)
    assert found.level(3) == (0.05 if kept is None else looks_levels(seeds, kept, comparisons=3)[-1])


def test_where_nothing_is_tested_nobody_has_looked(look, tmp_path):
    found = look(2)
    assert found.looked == ONCE
    assert not (tmp_path / "study" / "looks.json").exists()


def test_looks_at_another_comparison_do_not_count(look, tmp_path):
    look(5)
    path = tmp_path / "study" / "study.json"
    plan = json.loads(path.read_text())
    plan["variants"] = plan["variants"][:2]
    path.write_text(json.dumps(plan))
    assert about_looks(look(8)) == []
    assert recorded(tmp_path) == [5, 8]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"looks": [{"compared": "a", "seeds": 0}]}', "looks[0].seeds: must be from 3 to 1000000, got 0"),
        ('{"looks": [{"compared": "a"}]}', "looks[0].seeds: is missing"),
        ('{"looks": 3}', "looks: must be a list, got 3"),
        ("[", "is not valid JSON"),
    ],
)
def test_a_damaged_record_of_looks_is_refused_by_name(tmp_path, content, said):
    folder = write_study(tmp_path / "study")
    (folder / "looks.json").write_text(content)
    with pytest.raises(UserError) as error:
        write_report(folder)
    assert "looks.json: " in message(error)
    assert said in message(error)


def test_findings_alone_record_nothing(tmp_path):
    folder = write_study(tmp_path / "study")
    find(read_results(folder))
    assert not (folder / "looks.json").exists()
