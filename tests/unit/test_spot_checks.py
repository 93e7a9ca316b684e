"""What every family of methods needs to recompute numbers of an answer: the comparison, the record, the time it may take."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from whybox.errors import ModelMismatchError, OptionError, SpotCheckError
from whybox.explanation.evidence import Evidence, merge_evidence
from whybox.explanation.spot_checks import SpotChecks, merge_spot_checks
from whybox.methods.common.spot_checks import (
    NOT_CHECKED,
    SpotChecker,
    TimeShare,
    check_spot_checks,
    spot_predictions,
    spot_rng,
)


def where(position: tuple[int, ...]) -> list[tuple[str, object]]:
    return [("row", position[0]), ("feature", "ab"[position[1]])]


def evidence(spot_checks: SpotChecks | None) -> Evidence:
    return Evidence(
        "m", "k", True, "e", "none", False, 0.0, "prediction", "nothing", 0.0, 0.0, "model", spot_checks=spot_checks
    )


def test_numbers_are_counted_and_the_largest_difference_is_kept() -> None:
    checker = SpotChecker()
    checker.compare(np.ones((2, 2)), np.ones((2, 2)) + 1e-13, 1e-12, way="by hand", where=where)
    checker.compare(np.array([[np.nan, np.inf]]), np.array([[np.nan, np.inf]]), 0.0, way="by asking", where=where)
    checker.compare(np.zeros((0, 2)), np.zeros((0, 2)), 0.0, way="of nothing", where=where)
    checker.predictions += 7
    assert checker.result == SpotChecks(6, 7, pytest.approx(1e-13, rel=0.01), ("by hand", "by asking"))
    assert (
        str(checker.result) == "6 numbers of this answer were recomputed by hand; by asking; largest difference 1e-13"
    )


@pytest.mark.parametrize("wrong", [1.0, np.nan, np.inf])
def test_a_number_that_differs_is_named_with_both_numbers(wrong: float) -> None:
    answer, recomputed = np.zeros((3, 2)), np.zeros((3, 2))
    answer[0, 0], answer[2, 1] = 1e-3, wrong
    with pytest.raises(SpotCheckError, match=r"row 2, feature 'b'") as raised:
        SpotChecker().compare(answer, recomputed, 1e-9, way="by asking predict", where=where)
    error = raised.value
    assert isinstance(error, ModelMismatchError)
    assert error.where == (("row", 2), ("feature", "b"))
    assert error.recomputed == 0.0
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.where) == (str(error), error.where)


def test_what_may_be_spent() -> None:
    assert spot_predictions(None) == spot_predictions(None, 10_000) == 200
    assert spot_predictions(None, 1e6) == 20_000
    assert (spot_predictions(0, 1e6), spot_predictions(50)) == (0, 50)
    for wrong in (-1, 1.5, "all", True):
        with pytest.raises(OptionError, match="spot_checks"):
            check_spot_checks(wrong)


def test_what_is_drawn_depends_on_seed_and_part_alone() -> None:
    draws = {key: spot_rng(*key).integers(2**62) for key in ((0, 0), (0, 1), (1, 0), (-1, 0))}
    assert len(set(draws.values())) == 4
    assert spot_rng(0, 1).integers(2**62) == draws[0, 1]


def test_checks_keep_below_their_share_of_the_time() -> None:
    share = TimeShare(clock=lambda: 0.0)
    checked = []
    for _ in range(1000):
        due = share.is_check_due()
        checked.append(due)
        share.add_time(work=1.0, checks=0.5 if due else 0.0)
    assert checked[0]  # the first call always
    assert 0.015 * 1000 <= 0.5 * sum(checked) <= 0.02 * 1000 + 0.5
    assert pickle.loads(pickle.dumps(share)).is_check_due()


def test_evidence_says_what_was_recomputed_and_keeps_it() -> None:
    some = SpotChecks(240, 200, 3e-15, ("by asking your model",))
    e = evidence(some)
    assert (
        "Spot checks",
        "240 numbers of this answer were recomputed by asking your model; largest difference 3e-15",
    ) in e.lines()
    assert Evidence.from_dict(e.to_dict()) == e
    assert e.lines("spot_checks") == [("Spot checks", str(some))]
    assert evidence(NOT_CHECKED).lines("spot_checks") == [("Spot checks", "not checked")]
    assert not evidence(None).lines("spot_checks")  # a file from before
    both = merge_evidence([e, evidence(SpotChecks(10, 5, 1e-14, ("by hand",)))]).spot_checks
    assert both == SpotChecks(250, 205, 1e-14, ("by asking your model", "by hand"))
    assert merge_spot_checks([None, None]) is None
