"""Which columns depend on each other: copies and classes are found, and chance is not taken for dependence."""

import numpy as np
import pandas as pd
import pytest

from whybox.data.table import as_table
from whybox.methods.common.rows import weighted_rows
from whybox.methods.importance.dependence_groups import dependence_groups


def groups(rows, tied=()):
    return dependence_groups(weighted_rows(as_table(rows), None), tied)[0]


@pytest.mark.parametrize("rows", [8, 12, 20, 30, 200])
def test_independent_columns_are_no_group_however_few_the_rows(rows):
    draw = np.random.default_rng(rows)
    assert sum(bool(groups(draw.normal(size=(rows, 6)))) for _ in range(20)) <= 3


@pytest.mark.parametrize("rows", [12, 30, 200])
def test_a_copy_is_found(rows):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(rows, 4)), columns=list("abcd"))
    X["copy"] = np.exp(X.c)
    assert groups(X) == {"c + copy": ["c", "copy"]}


def test_names_of_many_classes_explain_nothing_by_chance():
    """Eighty names of 150 rows hold half the variance of any column between them."""
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"name": draw.integers(0, 80, 150).astype(str), "a": draw.normal(size=150)})
    assert groups(X) == {}
    assert groups(X.assign(code=X.name.astype(int))) == {"name + code": ["name", "code"]}


def test_columns_that_a_model_mixes_stay_together():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 5)), columns=list("abcde"))
    X["d"] = X.a**3
    assert groups(X, [(1,), (2, 3)]) == {"a + c + d": ["a", "c", "d"]}
