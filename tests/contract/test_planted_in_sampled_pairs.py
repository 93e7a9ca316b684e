"""Faults planted in sampled interactions one by one: the spot checks find each of them, and nothing in sound answers."""

from __future__ import annotations

import pytest

from planted_pairs import FAULTS, SETTINGS, answer, found

# what so few outputs cannot tell, whose errors are as large as interactions
TOO_SMALL = {("blocks", f) for f in ("interactions not halved", "partners of two features swapped", "no interactions")}
TOO_SMALL |= {
    ("few features", f) for f in ("interactions not halved", "no interactions", "partners of two features swapped")
}
PLANTED = [(s, f) for s in SETTINGS for f in FAULTS if (s, f) not in TOO_SMALL]
RUNS = 1  # of each fault, in every run of the tests; fifty under -m soak


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_sound_answer_is_checked(setting):
    checks = answer(setting, 0).evidence.spot_checks
    assert checks.numbers > 40
    ways = [way for way in checks.ways if "from the same outputs" in way]
    assert len(ways) == 2 or "sum over all coalitions" in ways[0]


@pytest.mark.parametrize(("setting", "fault"), PLANTED)
def test_faults_are_found(setting, fault):
    assert found(setting, FAULTS[fault], RUNS) == RUNS


@pytest.mark.soak
@pytest.mark.parametrize("setting", SETTINGS)
def test_sound_answers_raise_nothing(setting):
    for seed in range(50):
        answer(setting, seed)


@pytest.mark.soak
@pytest.mark.parametrize(("setting", "fault"), PLANTED)
def test_faults_are_found_in_49_of_50_runs(setting, fault):
    assert found(setting, FAULTS[fault], 50) >= 49
