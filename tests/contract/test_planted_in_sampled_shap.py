"""Faults planted in sampled Shapley values one by one: the spot checks find each of them in at least 99 of 100 runs, and nothing in sound ones."""

from __future__ import annotations

import pytest

from planted_sampled import FAULTS, OF_SURROGATES, RUNS, SETTINGS, answer, found

# what a regression of so few outputs cannot tell, or not always: of blocks two features that are swapped are found in 23 of 25 runs
TOO_SMALL = {(s, "half of a value moved") for s in ("few features", "blocks", "chains")}
TOO_SMALL |= {("blocks", "values of two features swapped"), ("blocks", "values all alike")}
PLANTED = [(s, f) for s in SETTINGS if s != "surrogate" for f in FAULTS if (s, f) not in TOO_SMALL]


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s != "surrogate"])
def test_a_sound_answer_is_checked(setting):
    checks = answer(setting, 0).evidence.spot_checks
    assert checks.numbers > 40
    assert any("from the same outputs" in way for way in checks.ways)


@pytest.mark.parametrize(("setting", "fault"), PLANTED)
def test_faults_are_found(setting, fault):
    assert found(setting, FAULTS[fault], RUNS) == RUNS


@pytest.mark.soak
@pytest.mark.parametrize("setting", SETTINGS)
def test_sound_answers_raise_nothing(setting):
    for seed in range(100 if setting != "surrogate" else 20):
        answer(setting, seed)


@pytest.mark.soak
@pytest.mark.parametrize(("setting", "fault"), PLANTED)
def test_faults_are_found_in_99_of_100_runs(setting, fault):
    assert found(setting, FAULTS[fault], 100) >= 99


@pytest.mark.soak
@pytest.mark.parametrize("fault", OF_SURROGATES)
def test_faults_of_surrogates_are_found_in_19_of_20_runs(fault):
    assert found("surrogate", OF_SURROGATES[fault], 20) >= 19
