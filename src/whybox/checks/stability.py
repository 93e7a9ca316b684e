"""Does the map stay the same if the input changes a little, or if the seed changes?

Source of max-sensitivity: Yeh et al. 2019 (On the (in)fidelity and sensitivity of explanations, arXiv:1901.09392), definition 3; here relative to the map's size.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.checks.check_subject import CheckSubject, InputArrays, InputMaps, flatten_maps
from whybox.checks.cost import CheckCost
from whybox.checks.group import CheckGroup
from whybox.checks.reproduction import relative_distance
from whybox.checks.result import Check
from whybox.data.table import Floats
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.numerics.rounding import relative_size, rounding_floor
from whybox.numerics.statistics import abs_rank_correlations, format_mean, mean_interval

__all__ = ["CHECK_GROUP", "stability_checks"]

STABILITY: Final = "stability"
SMALL_NOISE_LINE: Final = "stability: small noise"
OTHER_SEEDS_LINE: Final = "stability: other seeds"
NOISE_RADIUS: Final = 0.02  # of the input's range: invisible, but more than rounding
NOISE_TRIALS: Final = 6
MIN_TRIALS: Final = 2
MAX_DISTANCE_SHARE: Final = 0.5  # of the distance to the map with its positions shuffled
MIN_SEED_CORRELATION: Final = 0.8  # rank correlation with other seeds
SEEDS_TRIED: Final = 2
MAP_ROUNDING: Final = 1e-3
MIN_SHUFFLED_DISTANCE: Final = 0.05  # a shuffled map closer than this is not a different map
EMBEDDED_REASON: Final = (
    "4 % of the standard deviation of the embedding's output"  # about NOISE_RADIUS of the range of uniform numbers
)


def stability_checks(subject: CheckSubject) -> list[Check]:
    """Run the stability checks: small noise, other seeds."""
    return [_small_noise(subject), _other_seeds(subject)]


def _small_noise(subject: CheckSubject) -> Check:
    if subject.tokens is not None and subject.tokens.embedding is None:
        reason = "tokens are replaced without an embedding: there is no small change of a token."
        return Check(STABILITY, SMALL_NOISE_LINE, "not applicable", None, reason)
    if subject.tokens is None and all(i.without_gradient for i in subject.inputs):
        return Check(
            STABILITY,
            SMALL_NOISE_LINE,
            "not applicable",
            None,
            "the inputs are whole numbers (tokens, categories), which have no small changes.",
        )
    before = subject.rerun_maps()
    problem = subject.score_problem() if subject.tokens is None else subject.embedded_problem()
    scores = problem.scores[:, 0]
    distances, correlations = np.zeros(subject.n_rows), np.ones(subject.n_rows)
    score_changes = np.zeros(subject.n_rows)
    trials = MIN_TRIALS if subject.has_expensive_maps else NOISE_TRIALS
    for k in range(trials):
        noisy = _noisy_inputs(subject, k) if subject.tokens is None else _noisy_embedding(subject, problem, k)
        after = subject.recompute_maps(arrays=noisy)
        distances = np.maximum(distances, relative_distance(after, before))
        correlations = np.minimum(correlations, abs_rank_correlations(flatten_maps(after), flatten_maps(before)))
        on_device = tuple(problem.net.array(x) for x in noisy)
        rows = np.arange(subject.n_rows)
        for start in range(0, subject.n_rows, problem.batch_size):
            batch = slice(start, start + problem.batch_size)
            noisy_scores = problem.scores_at_points(tuple(a[batch] for a in on_device), rows[batch])[:, 0]
            score_changes[batch] = np.maximum(score_changes[batch], np.abs(noisy_scores - scores[batch]))
    mean, half = mean_interval(distances)
    shuffled_distance = _shuffled_distance(subject, before)
    score_change = float(relative_size(score_changes, scores, rounding_floor(scores)).mean())
    amount = f"{NOISE_RADIUS:.0%} of the input's range" if subject.tokens is None else EMBEDDED_REASON
    reason = (
        f"noise of {amount} changes the map, computed again, by {format_mean(mean, half)} of its size at worst ({trials} trials a row), rank correlation then "
        f"{float(correlations.mean()):.2f}; the score changes by {score_change:.1%}. A map with its positions shuffled is {shuffled_distance:.2f} away, "
        "and up to half of that passes"
    )
    details = {"rows": distances, "rank correlation": correlations, "score": score_changes}
    if shuffled_distance < MIN_SHUFFLED_DISTANCE and mean > MAP_ROUNDING:
        remark = ": these maps have too few positions, or too similar values, for a shuffled one to be different."
        return Check(STABILITY, SMALL_NOISE_LINE, "not applicable", mean, reason + remark, details)
    verdict = "pass" if mean <= max(MAX_DISTANCE_SHARE * shuffled_distance, MAP_ROUNDING) else "fail"
    return Check(STABILITY, SMALL_NOISE_LINE, verdict, mean, reason + ".", details)


def _shuffled_distance(subject: CheckSubject, maps: InputMaps) -> float:
    """Distance of the map to itself with its positions shuffled."""
    rng = np.random.default_rng([subject.seed, 82])
    table = flatten_maps(maps)
    if np.isfinite(table).all():
        return float(
            np.mean([relative_distance((rng.permuted(table, axis=1),), (table,)).mean() for _ in range(NOISE_TRIALS)])
        )
    distances = []
    for _ in range(NOISE_TRIALS):
        shuffled = table.copy()
        for row in shuffled:  # a view; shuffles only positions that the row has
            row[np.isfinite(row)] = rng.permutation(row[np.isfinite(row)])
        distances.append(relative_distance((shuffled,), (table,)).mean())
    return float(np.mean(distances))


def _noisy_inputs(subject: CheckSubject, trial: int) -> InputArrays:
    """Inputs with uniform noise, relative to a picture's own range, or to each feature's range over the rows."""
    noisy = []
    for number, given in enumerate(subject.inputs):
        x = given.x[subject.rows]
        if given.without_gradient:
            noisy.append(x)
            continue
        table = given.x.ndim == 2 and len(given.x) > 1
        span: Floats = (
            np.ptp(given.x, axis=0)[None]
            if table
            else np.ptp(x.reshape(len(x), -1), axis=1).reshape(-1, *(1,) * (x.ndim - 1))
        )
        rng = np.random.default_rng([subject.seed, 81, number, trial])
        noisy.append((x + rng.uniform(-NOISE_RADIUS, NOISE_RADIUS, size=x.shape) * span).astype(x.dtype))
    return tuple(noisy)


def _noisy_embedding(subject: CheckSubject, problem: SaliencyProblem, trial: int) -> InputArrays:
    """The embedding's output with noise, and the other inputs unchanged.

    It has outliers, so noise is relative to its standard deviation over the text and not to its range: the same as NOISE_RADIUS of the range of uniform
    numbers.
    """
    assert subject.tokens is not None  # noqa: S101  # checked by the caller
    x = problem.inputs[0].x
    present = subject.tokens.position_of[subject.rows] >= 0
    spread = np.array([float(a[t].std()) if t.any() else 0.0 for a, t in zip(x, present, strict=True)])
    rng = np.random.default_rng([subject.seed, 81, 0, trial])
    noise = rng.uniform(-NOISE_RADIUS, NOISE_RADIUS, size=x.shape) * (np.sqrt(12.0) * spread)[:, None, None]
    return ((x + noise * present[:, :, None]).astype(x.dtype), *(i.x for i in problem.inputs[1:]))


def _other_seeds(subject: CheckSubject) -> Check:
    own = flatten_maps(subject.explained_maps())
    others = [flatten_maps(subject.rerun_maps(subject.other_seed(1 + k))) for k in range(SEEDS_TRIED)]
    if subject.explanations[0].evidence.exact or np.array_equal(
        others[0], flatten_maps(subject.rerun_maps()), equal_nan=True
    ):
        return Check(
            STABILITY, OTHER_SEEDS_LINE, "not applicable", None, "nothing is sampled: another seed gives the same map."
        )
    correlations = np.array([abs_rank_correlations(own, other) for other in others])
    mean, half = mean_interval(correlations)
    reason = f"rank correlation of the given map with those of {SEEDS_TRIED} other seeds {format_mean(mean, half)}; from {MIN_SEED_CORRELATION:g} passes"
    verdict = "pass" if mean >= MIN_SEED_CORRELATION else "fail"
    return Check(
        STABILITY,
        OTHER_SEEDS_LINE,
        verdict,
        mean,
        reason + ("." if verdict == "pass" else ": take more samples before reading details."),
        {"rows": correlations},
    )


CHECK_GROUP: Final = CheckGroup(
    STABILITY,
    stability_checks,
    CheckCost(n_maps=NOISE_TRIALS + SEEDS_TRIED, n_maps_if_expensive=MIN_TRIALS + SEEDS_TRIED),
)
