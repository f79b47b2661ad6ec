"""`seeds: auto`: seeds are added until every variant is decided, or the maximum is reached."""

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
from scipy import stats

from fashionreg.studies.results import read_plan
from fashionreg.studies.statistics import decide, equivalence, holm, looks_levels
from fashionreg.studies.study import carry_out
from sample_studies import write_study

#: Each number of seeds is half as many again as the one before.
LOOKS = [10, 15, 23, 35, 50]


@pytest.fixture
def grow(tmp_path, monkeypatch, drawn):
    """Carries out a growing study whose networks are trained already; returns it and the looks that were recorded."""

    def run_study(plan, folder):
        (folder / "study.json").write_text(json.dumps(asdict(plan)))
        return {}

    monkeypatch.setattr("fashionreg.studies.run.run_study", run_study)

    def grow(variants=("plain", "bn"), **changes):
        folder = tmp_path / "study"
        if not folder.exists():
            write_study(folder, variants, seeds=range(50), epochs=3, outcomes=["acc"])
        if "close" in variants:
            # what plain reached with other seeds: over all 50 there is no difference
            table = pd.read_csv(folder / "plain/version_0/record.csv")
            table["seed"] = 49 - table.seed
            table.to_csv(folder / "close/version_0/record.csv", index=False)
        plan = replace(read_plan(folder), seeds=list(range(10)), auto=True, **{"max_seeds": 50} | changes)
        study = carry_out(plan, folder)
        return study.findings, [each["seeds"] for each in json.loads((folder / "looks.json").read_text())["looks"]]

    return grow


def test_a_clear_difference_is_decided_early(grow, capsys):
    found, looks = grow()
    assert looks == LOOKS[: len(looks)]
    assert len(looks) <= 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("look with")]
    assert lines[-1] == f"look with {looks[-1]} seeds: bn better"
    assert len(lines) == len(looks)
    assert len(found.plan.seeds) == looks[-1]


def test_without_a_difference_it_ends_at_the_maximum_or_where_that_is_equivalent(grow, tmp_path):
    names = ["plain", "b", "c", "close"]
    found, looks = grow(names, max_seeds=23)
    assert found.evidence["close"].decision == "undecided"
    assert looks == [10, 15, 23]
    (tmp_path / "study" / "looks.json").unlink()
    found, looks = grow(names, relevant=1)
    assert found.evidence["close"].decision == "equivalent"
    assert looks[-1] < 50
    assert "undecided" not in {one.decision for one in found.evidence.values()}


def test_the_same_command_ends_where_it_ended(grow):
    first, looks = grow(relevant=1)
    again, same = grow(relevant=1)
    assert same == looks
    assert again.comparisons == first.comparisons


def test_decisions_are_those_of_the_rule_whose_errors_are_simulated(grow):
    found, looks = grow(["plain", "b", "c", "close"], relevant=1)
    values = {variant.name: variant.values["acc"].to_numpy() for variant in found.variants}
    differences = [values[name] - values["plain"] for name in found.comparisons]
    level = looks_levels(looks, 50, comparisons=3)[-1]
    tests = holm([stats.ttest_1samp(each, 0).pvalue for each in differences])
    same = holm([equivalence(each, 0.01).p for each in differences])
    expected = [
        decide(each.mean(), p, small, alpha=level) for each, p, small in zip(differences, tests, same, strict=True)
    ]
    assert [one.decision for one in found.evidence.values()] == expected
