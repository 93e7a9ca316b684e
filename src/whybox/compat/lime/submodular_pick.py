"""``lime.submodular_pick``: few rows whose explanations together show the features that matter, picked by :func:`whybox.submodular_pick`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import numpy as np

from whybox.compat.columns import rows_at
from whybox.compat.lime.lime_tabular import LimeTabularExplainer
from whybox.compat.lime.lime_text import LimeTextExplainer
from whybox.compat.lime.local_explainer import LocalQuestion
from whybox.compat.refused import refuse
from whybox.errors import Argument, OptionError
from whybox.explanation.explanation import Explanation, as_labels
from whybox.explanation.submodular_pick import submodular_pick

__all__ = ["SubmodularPick"]


@final
class SubmodularPick:
    """Explains rows or texts, and picks few of them; arguments are those of lime.

    Args:
        explainer: a LimeTabularExplainer or LimeTextExplainer. data: rows, or a list of texts. predict_fn: as of the explainer.
        method: ``"sample"``: of at most `sample_size` rows, drawn by the explainer's seed; ``"full"``: of all. num_exps_desired: how many are picked.
        num_features: that an explanation shows. kwargs: of ``explain_instance``, such as `num_samples`.

    Attributes:
        explanations: of all rows that were explained. sp_explanations: those that were picked, in their order. V: their positions in `explanations`.

    Raises:
        OptionError: an argument that is not honoured or not known; others as of the explainer.
    """

    def __init__(
        self,
        explainer: Any,
        data: Any,
        predict_fn: Any,
        method: str = "sample",
        sample_size: int = 1000,
        num_exps_desired: int = 5,
        num_features: int = 10,
        **kwargs: Any,
    ) -> None:
        if not isinstance(explainer, (LimeTabularExplainer, LimeTextExplainer)):
            refuse(
                f"SubmodularPick of a {type(explainer).__name__}",
                "give a LimeTabularExplainer or a LimeTextExplainer; segments of different pictures are not comparable.",
            )
        if method not in ("sample", "full"):
            raise OptionError(Argument("method", method), " is not known.", known=("sample", "full"))
        if "labels" in kwargs or kwargs.get("top_labels", 1) != 1:
            refuse(
                "SubmodularPick of several labels",
                "it is about the class that is predicted for each row. Call wb.submodular_pick(e[..., 'name']) for another one.",
            )
        rows = np.arange(len(data))
        if method == "sample" and sample_size < len(rows):
            rows = np.sort(np.random.default_rng(explainer.random_state).choice(len(rows), sample_size, replace=False))
        options = {**kwargs, "num_features": num_features}
        if explainer.mode == "classification":
            options["top_labels"] = 1
        answer, self.explanations = explainer.explain_table(rows_at(data, rows), predict_fn, LocalQuestion(**options))
        labels = [e.top_labels[0] if e.top_labels else 0 for e in self.explanations]
        picked = submodular_pick(_of_labels(answer, labels), num_exps_desired, top=num_features)
        self.V = [int(i) for i in picked.coords["row"]]
        self.sp_explanations = [self.explanations[i] for i in self.V]


def _of_labels(answer: Explanation, labels: list[int]) -> Explanation:
    """Return the answer with one output for each row, rows named by their positions, and a feature for each condition: a bin counts for itself, as in lime."""
    rows = np.arange(len(labels))
    values = answer.values if "output" not in answer.dims else answer.values[rows, :, labels]
    one: dict[str, Any] = {
        "std_error": None,
        "prediction": None,
        "base": np.asarray(np.nan),
        "dims": answer.dims[:2],
        "coords": {**answer.coords, "row": rows, "output": as_labels(["the class of each row"])},
        "extras": {name: each for name, each in answer.extras.items() if "output" not in each[0]},
    }
    if "feature" in answer.dims:
        conditions = answer.extras["condition"][1].astype(str)
        names, at = np.unique(conditions.reshape(-1), return_inverse=True)
        wide = np.zeros((len(rows), len(names)))
        np.add.at(wide, (np.repeat(rows, conditions.shape[1]), at.reshape(-1)), values.reshape(-1))
        one |= {"extras": {}, "players": {str(name): () for name in names}}
        one["coords"] |= {"feature": as_labels(names.tolist())}
        values = wide
    return replace(answer, values=np.ascontiguousarray(values), **one)
