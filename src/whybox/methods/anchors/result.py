"""The answer of anchors as an explanation: which features are in each row's rule, the rule in words, its precision and its coverage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation, as_labels
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.anchors.problem import AnchorsProblem
from whybox.methods.anchors.search import FoundRule
from whybox.methods.common.evidence import make_evidence
from whybox.methods.common.rows import weighted_rows
from whybox.methods.common.shifted_outputs import offset_fingerprints, offset_settings
from whybox.methods.registry import find

__all__ = ["LAW", "rule_explanation"]

LAW: Final = (
    "background rows, in which each cell that breaks a condition is replaced by one of a background row that meets it"
)
OFFSET_NOTE: Final = "Every row that is drawn under the rule of a row has the offset of that row."
UNITS: Final = "1 where the feature is in the rule"


def rule_explanation(
    problem: AnchorsProblem,
    found: list[FoundRule],
    outputs: Floats,
    answers: Floats,
    *,
    spot_checks: SpotChecks,
    calls: int,
    seconds: float,
) -> Explanation:
    """Return the explanation.

    Args:
        problem: with its rows. found: the rule of each. outputs, answers: of the rows. calls: predictions beside those that checked. seconds: wall time.
    """
    setting, options = problem.setting, problem.options
    rows, names = problem.rows, setting.players.names
    values = np.zeros((len(found), len(names)))
    step = np.zeros(values.shape, dtype=np.int64)
    for i, each in enumerate(found):
        players = [c.player for c in each.conditions]
        values[i, players] = 1.0
        step[i, players] = np.arange(1, len(players) + 1)
    conditions = _conditions(problem, found)
    labels = setting.reader.labels(answers)
    extras: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
        "condition": (("row", "feature"), _texts(conditions)),
        "step": (("row", "feature"), step),
        "rule": (("row",), _texts([_sentence(c, f) for c, f in zip(conditions, found, strict=True)])),
        "label": (("row",), _texts(labels)),
        "precision": (("row",), np.array([f.precision for f in found], dtype=np.float64)),
        "precision_interval": (("row", "bound"), np.array([f.bounds for f in found], dtype=np.float64).reshape(-1, 2)),
        "coverage": (("row",), np.array([f.coverage for f in found], dtype=np.float64)),
        "certified": (("row",), np.array([f.certified for f in found], dtype=bool)),
        "draws": (("row",), np.array([len(f.draws.agrees) for f in found], dtype=np.int64)),
        **({} if problem.shifted is None else problem.shifted.extras),
    }
    evidence = make_evidence(
        problem,
        weighted_rows(rows, None),
        spec=find("anchors", "anchors"),
        kernel="rows drawn under each rule",
        exact=False,
        calls=calls,
        notes=_notes(problem, found),
        seed=options.seed,
        seconds=seconds,
        spot_checks=spot_checks,
        settings=_settings(problem, calls),
        fingerprints=offset_fingerprints(problem.shifted),
        units=UNITS,
    )
    background = setting.background
    evidence = replace(
        evidence,
        background_rows=len(background),
        fingerprints={**evidence.fingerprints, "background": background.fingerprint},
    )
    return Explanation(
        kind="rule",
        values=values,
        dims=("row", "feature"),
        coords={"row": rows.row_labels, "feature": as_labels(names)},
        base=np.array(np.nan),
        prediction=np.ascontiguousarray(setting.reader.predictions(outputs)),
        units=UNITS,
        evidence=evidence,
        data=rows,
        players=setting.players.columns_of(rows.names),
        extras=extras,
    )


def _texts(words: Any) -> npt.NDArray[Any]:
    """Words as an array of text, which files hold."""
    return np.asarray(words, dtype=np.str_)


def _conditions(problem: AnchorsProblem, found: list[FoundRule]) -> npt.NDArray[Any]:
    """The conditions in words, (rows, players); "" outside the rules."""
    setting = problem.setting
    words = np.full((len(found), setting.players.count), "", dtype=object)
    for i, each in enumerate(found):
        for c in each.conditions:
            bins = setting.ordered_pieces[c.player]
            is_range = c.last <= bins and bins > 1
            words[i, c.player] = (
                setting.columns[c.player][0].range_words(c.first, c.last)
                if is_range
                else problem.regions[c.player].conditions[i]
            )
    return words


def _sentence(conditions: npt.NDArray[Any], found: FoundRule) -> str:
    return "IF " + " AND ".join(conditions[c.player] for c in found.conditions) if found.conditions else "always"


def _settings(problem: AnchorsProblem, calls: int) -> dict[str, Any]:
    options = problem.options
    given = options.discretizer
    return {
        "law": LAW,
        "precision": options.precision,
        "level": options.level,
        "discretizer": given
        if isinstance(given, str)
        else {str(name): np.asarray(edges).tolist() for name, edges in given.items()},
        "predictions": calls,
        **offset_settings(problem.shifted),
    }


def _notes(problem: AnchorsProblem, found: list[FoundRule]) -> tuple[str, ...]:
    setting = problem.setting
    notes = [*problem.prepared_rows.remarks(), *problem.model.notes]
    if not setting.reader.names:
        notes.append("The outputs are taken as labels: a row keeps its class where the output is the same number.")
    short = sum(f.out_of_budget and not f.certified for f in found)
    failed = sum(not f.certified for f in found) - short
    if short:
        notes.append(
            f"The search of {short:,} row{'s' * (short != 1)} ended for want of predictions before a rule was confirmed; raise max_evals."
        )
    if failed:
        notes.append(
            f"No rule of {failed:,} row{'s' * (failed != 1)} reaches the precision: see extras['certified']. Finer bins (discretizer='decile'), more conditions "
            "(max_size) or a lower precision may help."
        )
    empty = sum(f.certified and f.coverage == 0.0 for f in found)
    if empty:
        notes.append(f"The rules of {empty:,} row{'s' * (empty != 1)} are met by no background row: they hold for mixed rows alone.")  # fmt: skip
    beyond = problem.n_beyond
    if beyond:
        notes.append(
            f"{beyond:,} number{'s lie' if beyond > 1 else ' lies'} beyond those of the background: a condition that is open to that side may hold there, but "
            "no such number was tried."
        )
    unseen = int((problem.own < 0).sum())
    if unseen:
        notes.append(f"{unseen:,} cells are like none of the background: no rule has a condition on them.")
    if problem.shifted is not None:
        notes += [problem.shifted.offsets.note, OFFSET_NOTE]
    return tuple(dict.fromkeys(notes))
