"""Does the map depend on what the network learned? Its parameters are randomised, and the map must change.

Source: Adebayo et al. 2018 (Sanity checks for saliency maps, arXiv:1810.03292), section 3. Maps that are products with the input are compared before that
product, for the input alone keeps them similar (integrated gradients of sparse pictures: 0.86 after all parameters were randomised).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.checks.check_subject import CheckSubject, flatten_maps
from whybox.checks.cost import CheckCost
from whybox.checks.faithfulness import removal_games
from whybox.checks.group import CheckGroup
from whybox.checks.result import Check
from whybox.checks.token_maps import TokenInputs
from whybox.checks.trivial_maps import edge_map, input_size, is_picture
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.prepare_inputs import has_baseline
from whybox.methods.saliency.problem import Indices
from whybox.models.differentiable import Differentiable
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor, varies
from whybox.numerics.statistics import format_mean, mean_interval, spearman_of_rows

__all__ = ["CHECK_GROUP", "model_dependence"]

MODEL_DEPENDENCE: Final = "model dependence"
ALL_LAYERS: Final = "randomised parameters: all layers"
TOP_LAYER: Final = "randomised parameters: top layer"
# A map that ignores the network keeps everything (1.00). Randomising the top layer leaves all layers below as they were, so more is allowed there. The shares that
# right maps keep are measured by benchmarks/check_rates.py on networks of six kinds of data; docs/checks.md has them.
MAX_KEPT_ALL_LAYERS: Final = 0.5
MAX_KEPT_TOP_LAYER: Final = 0.75
NETWORKS_DRAWN: Final = 4  # randomised networks; more if maps are so small that one says little
MAX_NETWORKS_DRAWN: Final = 8
MIN_NETWORKS_DRAWN: Final = 3
SMALL_MAP_SIZE: Final = 64
PART_OPTIONS: Final = frozenset({"parts", "patches", "window"})  # of methods that mask several positions as one
MAX_ROWS_NAMED: Final = 100_000
MAX_SINGLE_LAYERS: Final = 8  # below the top, each randomised alone
MIN_POSITIONS: Final = 4  # that a rank correlation needs
MAX_SCORE_CORRELATION: Final = 0.5  # absolute correlation of the scores of masked rows before and after the top layers were randomised; 0.24 by chance
ROWS_EVALUATED: Final = 4  # for that correlation
HALF_SPLITS: Final = 12  # of each row
NEAR_REFERENCE: Final = 1e-3  # of the range: positions this close to the reference do not show the factor beside it


def model_dependence(subject: CheckSubject) -> list[Check]:
    """Compare maps of the network with maps of randomised networks."""
    names = (ALL_LAYERS, TOP_LAYER)
    try:
        subject.net.with_random_parameters(subject.other_seed(0))
    except UnsupportedModelError as error:
        return [Check(MODEL_DEPENDENCE, name, "not applicable", None, str(error)) for name in names]
    compared = _ComparedMap(subject)
    if compared.positions < MIN_POSITIONS:
        reason = (
            f"a map of {compared.positions} {compared.unit} has too few ranks; {MIN_POSITIONS} are needed."
            if subject.tokens is None
            else f"no text checked has {MIN_POSITIONS} tokens or words that can be ranked (special tokens and the baseline token cannot); the longest has {compared.positions}."
        )
        return [Check(MODEL_DEPENDENCE, name, "not applicable", None, reason) for name in names]
    if not compared.usable.any():
        return [
            Check(MODEL_DEPENDENCE, name, "not applicable", None, "every map checked is constant.") for name in names
        ]
    out = [_layer_check(compared, ALL_LAYERS, _RandomizedLayers(), MAX_KEPT_ALL_LAYERS, "half")]
    top = _top_layers(subject)
    if not top.layer_names:
        return [*out, Check(MODEL_DEPENDENCE, TOP_LAYER, "not applicable", None, top.reason)]
    return [*out, _layer_check(compared, TOP_LAYER, top, MAX_KEPT_TOP_LAYER, "three quarters")]


class _ComparedMap:
    """The quantity that is compared: the map, or the map before its product with the input."""

    def __init__(self, subject: CheckSubject) -> None:
        self.subject = subject
        problem = subject.score_problem()
        # an embedding is randomised with the rest: a product with its output is not a product with the input
        reference = subject.cut_to_rows(subject.rows).reference_inputs(problem) if subject.tokens is None else None
        self.equidistant = None if reference is not None else _equidistant_method(subject)
        self.adjustment = (
            "compared before the product with the input"
            if reference is not None
            else "compared with replacements at the same distance from every number"
            if self.equidistant is not None
            else ""
        )
        self.description = f"the map computed again, {self.adjustment}" if self.adjustment else "the given map"
        self._displacements: list[tuple[int, Floats]] = []
        if reference is not None:
            for input_index in subject.input_of:
                x, reference_value = problem.inputs[input_index].x.astype(np.float64), reference[input_index]
                displacement = x - np.broadcast_to(np.asarray(reference_value, dtype=np.float64), x.shape)
                span = np.ptp(x.reshape(len(x), -1), axis=1).reshape(-1, *(1,) * (x.ndim - 1))
                self._displacements.append(
                    (
                        input_index,
                        np.where(
                            np.abs(displacement) > NEAR_REFERENCE * np.where(span > 0, span, 1.0), displacement, np.nan
                        ),
                    )
                )
        self.map = self.recompute_map() if self.adjustment else flatten_maps(subject.explained_maps())
        self.finite = np.isfinite(self.map)
        if subject.tokens is not None:
            self.finite &= self._informative_positions(subject.tokens)
        self.unit = "parts" if PART_OPTIONS & {f.name for f in fields(subject.method)} else "positions"
        self.part_of = self._parts_of_positions()
        counts = np.array([len(np.unique(p[u])) for p, u in zip(self.part_of, self.finite, strict=True)])
        enough = counts >= MIN_POSITIONS
        has_ranks = np.array([varies(m[u]) for m, u in zip(self.map, self.finite, strict=True)])
        self.usable = enough & has_ranks  # a constant map has no ranks
        self.too_few_positions = int((~enough).sum())
        self.positions = int(counts.max()) if subject.tokens is not None else int(np.median(counts))
        self.floor = self._chance_similarity() if self.usable.any() else 0.0

    def _parts_of_positions(self) -> Indices:
        """The part of each position, (rows, positions): of methods that mask parts, positions with the same value; else each position is one.

        All positions of a part have one value, so only the order of the parts says anything, and of few parts another network's is similar by chance.
        """
        if self.unit == "positions":
            return np.broadcast_to(np.arange(self.map.shape[1]), self.map.shape)
        return np.stack([np.unique(m, return_inverse=True)[1].reshape(-1) for m in self.map]).astype(np.intp)

    def _informative_positions(self, tokens: TokenInputs) -> npt.NDArray[np.bool_]:
        """Map positions that are informative: no special tokens; and for methods with a baseline token, not that token."""
        informative = tokens.is_removable
        if tokens.absent_token is not None and has_baseline(self.subject.method):
            informative = informative & (tokens.token_ids != tokens.absent_token[0])
        positions = tokens.positions_with(informative, self.subject.rows)
        return np.repeat(positions, self.map.shape[1] // positions.shape[1], axis=1)

    def left_out(self) -> str:
        """Which rows are left out, in words."""
        text, rows = "", self.subject.n_rows
        if self.too_few_positions:
            text += f"; left out for fewer than {MIN_POSITIONS} {self.unit}: {self.too_few_positions} of {rows} rows"
        if constant := rows - self.too_few_positions - int(self.usable.sum()):
            text += f"; left out for a constant map: {constant} of {rows} rows"
        return text

    def recompute_map(self, net: Differentiable | None = None, seed: int | None = None) -> Floats:
        """The quantity for another network, or with another seed, (rows, positions); NaN where it is not defined."""
        if not self.adjustment:
            return flatten_maps(
                self.subject.rerun_maps(seed) if net is None else self.subject.recompute_maps(net, seed=seed)
            )
        if self.equidistant is not None:
            return flatten_maps(self.subject.recompute_maps(net, method=self.equidistant, seed=seed, background=None))
        maps = self.subject.recompute_maps(net, seed=seed, reduce=None)
        out = []
        for map_of_input, (input_index, displacement) in zip(maps, self._displacements, strict=True):
            channel = self.subject.inputs[input_index].channel_axis
            slopes = map_of_input / displacement
            if channel is not None:
                magnitudes = np.abs(slopes)
                largest = np.where(np.isfinite(magnitudes), magnitudes, -1.0).max(axis=channel)
                slopes = np.where(largest >= 0, largest, np.nan)
            out.append(slopes)
        return flatten_maps(out)

    def row_similarities(self, other: Floats) -> Floats:
        """|Spearman correlation| of each row with the map: of absolute values, or of signed values if that is larger."""
        out = np.zeros(len(self.map))
        for finite in np.unique(self.finite, axis=0):  # most often one pattern: all rows are ranked together
            if finite.sum() >= MIN_POSITIONS:
                rows = (self.finite == finite).all(axis=1)
                x, y = self.map[np.ix_(rows, finite)], other[np.ix_(rows, finite)]
                y = np.where(np.isfinite(y), y, 0.0)
                out[rows] = np.maximum(np.abs(spearman_of_rows(np.abs(x), np.abs(y))), np.abs(spearman_of_rows(x, y)))
        return np.asarray(out[self.usable])

    def _chance_similarity(self) -> float:
        rng = np.random.default_rng([self.subject.seed, 78])
        draws = (np.take_along_axis(rng.normal(size=self.map.shape), self.part_of, axis=1) for _ in range(20))
        return float(np.mean([self.row_similarities(drawn) for drawn in draws]))

    @cached_property
    def rerun_similarity(self) -> Floats:
        """Similarity to a rerun on the same network with another seed."""
        return self.row_similarities(self.recompute_map(seed=self.subject.other_seed(1)))

    @cached_property
    def trivial_similarities(self) -> dict[str, float]:
        """Similarity to trivial maps, mean over the rows."""
        subject, out = self.subject, {}
        if subject.tokens is not None:
            values_per_position = self.map.shape[1] // subject.tokens.n_positions
            trivial = subject.tokens.trivial_maps(subject.rows).items()
            return {
                name: float(self.row_similarities(np.repeat(control, values_per_position, axis=1)).mean())
                for name, control in trivial
            }
        explained_inputs = [(subject.inputs[i], subject.inputs[i].x[subject.rows]) for i in subject.input_of]
        sizes = [subject.explained_maps()[k].shape for k in range(len(subject.input_of))]
        all_numeric = not any(one_input.without_gradient for one_input, _ in explained_inputs)
        candidates = {
            "the input itself": (input_size, all_numeric),
            "an edge detector": (edge_map, all(is_picture(one_input) for one_input, _ in explained_inputs)),
        }
        for name, (control, applies) in candidates.items():
            if applies:
                maps = [control(one_input, x) for one_input, x in explained_inputs]
                if flatten_maps(maps).shape == self.map.shape and (
                    self.adjustment or all(m.shape == size for m, size in zip(maps, sizes, strict=True))
                ):
                    out[name] = float(self.row_similarities(flatten_maps(maps)).mean())
        return out


def _equidistant_method(subject: CheckSubject) -> Method | None:
    """For masking methods: the same method with replacements half the input's range away from every number, on the side with more room.

    A position that equals its replacement gets 0 whatever the network does; on sparse pictures that alone keeps maps similar.
    """
    if (
        subject.method.needs_gradients
        or subject.tokens is not None
        or not has_baseline(subject.method)
        or any(i.without_gradient for i in subject.inputs)
    ):
        return None
    baselines = []
    for one_input in subject.inputs:
        x = one_input.x[subject.rows].astype(np.float64)
        low, high = one_input.x.min(axis=0, keepdims=True), one_input.x.max(axis=0, keepdims=True)
        if one_input.x.ndim > 2:  # of all pictures, not of each position
            low, high = low.min(), high.max()
        half_range = (high - low) / 2.0 + 0.0
        baselines.append((x + np.where(x > low + half_range, -half_range, half_range)).astype(one_input.x.dtype))
    return replace(
        subject.cut_to_rows(subject.rows), baseline=tuple(baselines) if subject.inputs_are_tuple else baselines[0]
    )  # type: ignore[call-arg]


def _layer_check(
    compared: _ComparedMap, name: str, randomised: _RandomizedLayers, max_kept: float, max_kept_in_words: str
) -> Check:
    subject = compared.subject
    before = compared.rerun_similarity
    draws = (
        MIN_NETWORKS_DRAWN
        if subject.has_expensive_maps
        else MAX_NETWORKS_DRAWN
        if compared.positions <= SMALL_MAP_SIZE
        else NETWORKS_DRAWN
    )
    n_constant, similarities = 0, []
    for k in range(draws):
        map_of_network = compared.recompute_map(
            _randomize_layers(subject.net, subject.other_seed(10 + k), randomised.layer_names)
        )
        n_constant += sum(
            not varies(m[u])
            for m, u in zip(map_of_network[compared.usable], compared.finite[compared.usable], strict=True)
        )
        similarities.append(compared.row_similarities(map_of_network))
    mean, half_width = mean_interval(np.array(similarities))
    rerun_similarity, chance = float(before.mean()), compared.floor
    text = (
        f"rank correlation of {compared.description}: {format_mean(mean, half_width)} with maps after randomisation ({draws} networks); {rerun_similarity:.2f} "
        f"with another seed on the same network, {chance:.2f} by chance"
    )
    text += "".join(f", {value:.2f} with {control}" for control, value in compared.trivial_similarities.items())
    text += compared.left_out() + randomised.describe_layers()
    if n_constant:
        text += f"; {n_constant} of {draws * int(compared.usable.sum())} maps are constant and count as 0"
    details = {
        "after": np.array(similarities),
        "same network": before,
        "chance": chance,
        "controls": compared.trivial_similarities,
        "networks": draws,
    }
    if rerun_similarity - chance < 0.1:
        reason = "; the map is not reproduced on the same network, so nothing can be compared"
        return Check(MODEL_DEPENDENCE, name, "fail", mean, text + reason + ".", details)
    room = rerun_similarity - chance
    kept_share, error = (mean - chance) / room, half_width / room
    text += f"; that is {max(kept_share, 0.0):.0%} of the distance from chance to the same network, and up to {max_kept_in_words} passes"
    if kept_share - error > max_kept or (kept_share > max_kept and not np.isfinite(error)):
        reason = ": much of this map does not come from what the network learned"
        return Check(MODEL_DEPENDENCE, name, "fail", mean, text + reason + ".", details)
    if kept_share <= max_kept and mean + half_width < rerun_similarity:
        return Check(MODEL_DEPENDENCE, name, "pass", mean, text + ".", details)
    distance = rerun_similarity - mean if kept_share <= max_kept else (kept_share - max_kept) * room
    needed = (
        math.ceil(subject.n_rows * (half_width / distance) ** 2)
        if np.isfinite(half_width) and distance > 0
        else math.inf
    )
    could = f"about {max(needed, subject.n_rows + 1):,}" if needed <= MAX_ROWS_NAMED else "more, or longer, ones"
    other = "the same network" if kept_share <= max_kept else f"one that keeps {max_kept_in_words}"
    text += f": but these {subject.n_rows} rows cannot distinguish it from {other}; {could} could"
    return Check(MODEL_DEPENDENCE, name, "cannot tell", mean, text + ".", details)


def _randomize_layers(net: Differentiable, seed: int, layers: Sequence[str]) -> Differentiable:
    """A network with randomised parameters, of all layers or of some."""
    if not layers:
        return net.with_random_parameters(seed)
    for name in layers:
        net = net.with_random_parameters(seed, name)
    return net


@final
@dataclass(frozen=True)
class _RandomizedLayers:
    """Layers to randomise.

    Attributes:
        layer_names: from the top down; (): all of the network. is_single: True if it is one layer below the top, whose successors stay.
        reason: why there are none, if there are none.
    """

    layer_names: tuple[str, ...] = ()
    is_single: bool = False
    reason: str = ""

    def describe_layers(self) -> str:
        """What is randomised, in words."""
        if not self.layer_names:
            return ""
        if self.is_single:
            return f"; randomised: layer {self.layer_names[0]!r} alone: however many of the last layers are randomised, the score still reacts to masked parts as before"
        text = f"; randomised: layer {self.layer_names[0]!r}"
        if len(self.layer_names) > 1:
            text += f" and {len(self.layer_names) - 1} before it, down to {self.layer_names[-1]!r}: with fewer, the score still reacts to masked parts as before"
        return text


def _top_layers(subject: CheckSubject) -> _RandomizedLayers:
    """The last layer with parameters; or the reason why there is none to randomise.

    If the score still reacts to masked parts of a row as before (scales of a LayerNorm, a layer beside a skip connection, redundant features), a correct map
    stays the same too. So the last 2, 4, 8 ... layers are randomised until it does not; if it always does, single layers, from the top down.
    """
    problem = subject.score_problem()
    try:
        names = problem.net.parameter_layers(problem.to_device(np.arange(1)))
    except UnsupportedModelError as error:
        return _RandomizedLayers(reason=str(error))
    before = _masked_scores(subject, subject.net)
    seeds = [subject.other_seed(10 + k) for k in range(MIN_NETWORKS_DRAWN)]

    def changes_the_score(layers: Sequence[str]) -> bool:
        after = [_masked_scores(subject, _randomize_layers(subject.net, seed, layers)) for seed in seeds]
        return bool(np.mean([_score_correlation(before, scores) for scores in after]) <= MAX_SCORE_CORRELATION)

    waiting, layers, count = _changeable_layers(subject, names), list[str](), 1
    while True:
        layers += itertools.islice(waiting, count + 1 - len(layers))
        if len(layers) <= count:  # at least one layer must be left as it is
            break
        if changes_the_score(layers[:count]):
            return _RandomizedLayers(tuple(layers[:count]))
        count *= 2
    if len(layers) < 2:
        return _RandomizedLayers(reason="the network has no layer with parameters below its top layer; see all layers.")
    for name in layers[1 : 1 + MAX_SINGLE_LAYERS]:
        if changes_the_score([name]):
            return _RandomizedLayers((name,), is_single=True)
    listed = ", ".join(map(repr, layers[: 1 + MAX_SINGLE_LAYERS]))
    reason = f"the score reacts to masked parts as before, however many of the last layers are randomised, and if one is alone ({listed}); see all layers."
    return _RandomizedLayers(reason=reason)


def _changeable_layers(subject: CheckSubject, names: Sequence[str]) -> Iterator[str]:
    """Layers that randomising changes, from the top down; each is tried when it is asked for, since it takes a copy of the network."""
    for name in dict.fromkeys(reversed(names)):
        if subject.net.with_random_parameters(subject.other_seed(0), name).fingerprint != subject.net.fingerprint:
            yield name


def _masked_scores(subject: CheckSubject, net: Differentiable) -> Floats:
    """Scores of a few rows with random halves of their parts masked, (rows, halves); without parts, of the rows themselves, (1, rows)."""
    problem = replace(subject, net=net).score_problem()
    games = removal_games(subject, problem, None)[0]
    if not games:
        return np.asarray(problem.scores.T)
    game = replace(
        next(reversed(games.values())), by_distance=False
    )  # not zeros, which change nothing in sparse pictures
    rows = np.repeat(np.flatnonzero(game.segment_counts >= MIN_POSITIONS)[:ROWS_EVALUATED], HALF_SPLITS)
    is_kept = np.random.default_rng([subject.seed, 83]).random((len(rows), game.n_segments)) < 0.5
    return game.subset_scores(rows, is_kept).reshape(-1, HALF_SPLITS)


def _score_correlation(before: Floats, after: Floats) -> float:
    """Absolute correlation within rows, mean over rows."""
    before_centered, after_centered = (x - x.mean(axis=1, keepdims=True) for x in (before, after))
    spread_before, spread_after = (np.sqrt((x * x).mean(axis=1)) for x in (before_centered, after_centered))
    # without spread the score does not change
    usable = (spread_before > rounding_floor(before.T)) & (spread_after > rounding_floor(after.T))
    correlations = ratio_above_rounding(
        np.abs((before_centered * after_centered).mean(axis=1)) * usable, spread_before * spread_after, 0.0
    )
    return float(correlations.mean()) if len(correlations) else 0.0


CHECK_GROUP: Final = CheckGroup(
    MODEL_DEPENDENCE,
    model_dependence,
    CheckCost(n_maps=2 * MAX_NETWORKS_DRAWN + 2, n_maps_if_expensive=2 * MIN_NETWORKS_DRAWN + 2, needs_rows=True),
)
