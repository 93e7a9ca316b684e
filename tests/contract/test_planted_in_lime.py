"""Faults planted in LIME of tables one by one: the spot checks find each of them in at least 99 of 100 runs, and nothing in sound ones."""

from __future__ import annotations

import pytest

from planted_lime import OF_LINEAR, OF_OWN_DRAWS, OF_SAMPLES, OF_TREES, RUNS, answer, found

PLANTS = {"trees": OF_TREES, "linear": OF_LINEAR, "sampled": OF_SAMPLES, "own draws": OF_OWN_DRAWS}
FAULTS = [(kind, fault) for kind, faults in PLANTS.items() for fault in faults]


@pytest.mark.parametrize("kind", PLANTS)
def test_a_sound_answer_is_checked(kind):
    assert answer(kind, 0).evidence.spot_checks.numbers > 100


@pytest.mark.parametrize(("kind", "fault"), FAULTS)
def test_faults_are_found(kind, fault):
    assert found(kind, PLANTS[kind][fault], RUNS) == RUNS


@pytest.mark.soak
@pytest.mark.parametrize("kind", PLANTS)
def test_a_hundred_sound_answers_raise_nothing(kind):
    for seed in range(100):
        answer(kind, seed)


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "fault"), FAULTS)
def test_faults_are_found_in_99_of_100_runs(kind, fault):
    assert found(kind, PLANTS[kind][fault], 100) >= 99
