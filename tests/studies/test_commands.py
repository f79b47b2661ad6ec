"""What `fashionreg study` and `fashionreg report` refuse before they do anything."""

import pytest


@pytest.mark.parametrize("seeds", ["[" * 100_000, "many", "true", "[1.5]", "[true]", "{}", "1.5", "9" * 5000])
def test_seeds_that_are_neither_a_count_nor_a_list_are_refused_in_a_short_line(refusal, seeds):
    code, line = refusal("study", "study.yaml", "--seeds", seeds)
    assert code == 1
    assert "seeds: must be a count (10) or a list ([3, 7]) of whole numbers, got " in line
    assert len(line) < 200
