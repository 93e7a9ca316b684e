"""A function that answers over a network: batches, retries, and what is not retried."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import whybox as wb
from whybox.errors import InputError, ModelError, OptionError

X = np.random.default_rng(0).integers(0, 6, (200, 3)).astype(float)


class Flaky:
    """A service that takes ten rows a call and fails every third time."""

    def __init__(self, error=ConnectionError):
        self.calls, self.answered, self.error = 0, 0, error

    def __call__(self, rows):
        assert len(rows) <= 10
        self.calls += 1
        if self.calls % 3 == 0:
            raise self.error("try again")
        self.answered += len(rows)
        return (np.asarray(rows) ** 2).sum(axis=1)


@pytest.mark.parametrize("kind", ["pdp", "ale", "c-ice"])
def test_a_flaky_service_gives_the_numbers_of_the_function(kind):
    service = Flaky()
    found = wb.effects(wb.RemoteModel(service, batch_size=10, retries=2, wait=0.0), X, kind=kind)
    sure = wb.effects(lambda rows: (rows**2).sum(axis=1), X, kind=kind)
    for key in sure:
        assert np.array_equal(found[key].values, sure[key].values)
        assert found[key].evidence.model_calls == sure[key].evidence.model_calls == service.answered
    assert service.calls > service.answered / 10
    assert "Flaky" in found[0].evidence.kernel


def test_interactions_regions_and_plans_take_it_too():
    service = Flaky()
    model = wb.RemoteModel(service, batch_size=10, retries=1, wait=0.0)
    assert wb.interactions(model, X[:20]).values.shape == (3, 3)
    assert len(wb.regions(model, X, 0)) == 1
    plan = wb.plan(wb.effects, model, X, 0)
    assert plan.batches >= plan.predictions / 10


def test_it_waits_twice_as_long_before_each_retry_and_then_says_what_failed(monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)

    def service(rows):
        raise TimeoutError("no answer")

    with pytest.raises(ModelError, match="service failed 4 times on a batch of 2 rows.*TimeoutError: no answer"):
        wb.effects(wb.RemoteModel(service, retries=3, wait=0.5), X)
    assert waits == [0.5, 1.0, 2.0]


def test_other_errors_are_raised_at_once():
    calls = []

    def service(rows):
        calls.append(len(rows))
        raise ValueError("wrong column")

    with pytest.raises(InputError, match="wrong column"):
        wb.effects(wb.RemoteModel(service, retries=3), X)
    assert len(calls) == 1


def test_the_caller_says_what_is_retried():
    class BusyError(Exception):
        pass

    service = Flaky(BusyError)
    assert wb.effects(wb.RemoteModel(service, batch_size=10, retries=1, retry_on=BusyError, wait=0.0), X, 0)[
        0
    ].shape == (6,)
    with pytest.raises(InputError, match="BusyError"):
        wb.effects(wb.RemoteModel(Flaky(BusyError), batch_size=10, retries=1, wait=0.0), X, 0)


def test_it_is_a_function_of_rows_itself():
    model = wb.RemoteModel(lambda rows: rows.sum(axis=1), batch_size=7)
    assert np.array_equal(model(X), X.sum(axis=1)[:, None])
    frame = pd.DataFrame(X, columns=list("abc"))
    assert np.array_equal(wb.RemoteModel(lambda d: d["a"] + d["b"], batch_size=7)(frame)[:, 0], X[:, 0] + X[:, 1])
    with pytest.raises(InputError, match=r"shape \(6,\) for 7 rows"):
        wb.RemoteModel(lambda rows: rows.sum(axis=1)[1:], batch_size=7)(X)


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"retries": -1}, {"retries": True}, {"wait": -1.0}, {"wait": np.nan}, {"retry_on": ()},
     {"retry_on": KeyboardInterrupt}, {"retry_on": "OSError"}],
)  # fmt: skip
def test_what_cannot_be_is_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        wb.RemoteModel(lambda rows: rows.sum(axis=1), **options)
    with pytest.raises(OptionError, match="function must be a function"):
        wb.RemoteModel(None)
