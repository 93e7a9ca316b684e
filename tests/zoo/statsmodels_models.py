"""Results of statsmodels: linear models behind a link, with and without a formula."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd  # noqa: TC002  # as elsewhere

from zoo.base import CASES, Case, X, binary, three, y


def rows() -> pd.DataFrame:
    """Columns of about the same size, which its optimisers need."""
    return X() / [100.0, 1.0, 10.0, 100.0, 5.0]


def register() -> None:
    if find_spec("statsmodels") is None:  # the table of the docs is then of another list, and a fence says so
        return
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    def add(name: str, build: Callable[[pd.DataFrame], Any]) -> None:
        def both() -> tuple[Any, Any]:
            table = rows()
            return build(table), table

        CASES.append(Case(name, "statsmodels", both, no_path=True))

    counts = (y() / 50).round()
    families = sm.families
    log = families.links.Log()
    add("OLS", lambda t: sm.OLS(y(), t).fit())
    add("GLM, Poisson", lambda t: sm.GLM(counts, t, family=families.Poisson()).fit())
    add("GLM, Gamma with a log link", lambda t: sm.GLM(y(), t, family=families.Gamma(log)).fit())
    add("GLM, binomial", lambda t: sm.GLM(binary(), t, family=families.Binomial()).fit())
    add("Logit", lambda t: sm.Logit(binary(), t).fit(disp=0))
    add("Probit", lambda t: sm.Probit(binary(), t).fit(disp=0))
    add("MNLogit, 3 classes", lambda t: sm.MNLogit(three(), t).fit(disp=0))
    add("QuantReg", lambda t: sm.QuantReg(y(), t).fit(q=0.8))
    add(
        "formula of plain columns, negative binomial",
        lambda t: smf.negativebinomial("counts ~ age + sex + bmi + bp + s5", t.assign(counts=counts)).fit(disp=0),
    )
    add(
        "formula of plain columns, MixedLM (fixed part)",
        lambda t: smf.mixedlm("y ~ age + sex + bmi + bp + s5", t.assign(y=y()), groups=np.arange(len(t)) % 7).fit(),
    )
