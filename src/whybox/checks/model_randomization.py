"""Does the map hang on what the network learned? Its parameters are drawn anew, and the map must change.

Source: Adebayo et al. 2018 (Sanity checks for saliency maps, arXiv:1810.03292), section 3. Maps that are products with the input are judged before that
product, for the input alone keeps them alike (integrated gradients of sparse pictures: 0.86 after all was drawn anew).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.checks.audit import CheckSubject, flat
from whybox.checks.faithfulness import games_of
from whybox.checks.result import Check
from whybox.checks.token_maps import Tokens
from whybox.checks.trivial_maps import edges, itself, picture
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.prepare_inputs import has_baseline
from whybox.models.differentiable import Differentiable
from whybox.numerics.rounding import floor, ratio, varies
from whybox.numerics.statistics import format_mean, mean_interval, spearman

__all__ = ["dependence"]

MODEL_DEPENDENCE: Final = "model dependence"
ALL_LAYERS: Final = "parameters drawn anew: all layers"
TOP_LAYER: Final = "parameters drawn anew: top layer"
# A map of nothing but the picture keeps all. The top layer leaves all that lies below as it was, so more is allowed there. Three digits networks: all layers,
# gradients, paths, DeepLIFT, occlusion, Grad-CAM and LayerCAM 0 to 0.18, guided backpropagation and VarGrad 0.29 to 0.42, Score-CAM and Grad-CAM++ 0.57 to 0.71;
# top layer 0.02 to 0.36 (LayerCAM once 0.46), 0.57 to 0.75, 0.70 to 0.99. The middle group falls on either side of the second threshold, from network to network.
MAX_KEPT_ALL_LAYERS: Final = 0.5
MAX_KEPT_TOP_LAYER: Final = 2 / 3
NETWORKS_DRAWN: Final = 4  # networks drawn; more where maps are so small that one of them says little
MAX_NETWORKS_DRAWN: Final = 8
MIN_NETWORKS_DRAWN: Final = 3
SMALL_MAP_SIZE: Final = 64
MIN_POSITIONS: Final = 4  # places that a rank correlation needs
MAX_SCORE_CORRELATION: Final = 0.5  # correlation of the scores of covered rows before and after the top was drawn anew, its sign dropped; 0.24 by chance
ROWS_EVALUATED: Final = 4  # rows of which that is asked
HALF_SPLITS: Final = 12  # how often each
NEAR_REFERENCE: Final = (
    1e-3  # of the range: places this close to the reference say nothing about what they are multiplied with
)


def dependence(case: CheckSubject) -> list[Check]:
    """Compare maps of the network with maps of networks that know nothing."""
    names = (ALL_LAYERS, TOP_LAYER)
    try:
        case.net.with_random_parameters(case.other_seed(0))
    except UnsupportedModelError as error:
        return [Check(MODEL_DEPENDENCE, name, "not applicable", None, str(error)) for name in names]
    judged = _Judged(case)
    if judged.places < MIN_POSITIONS:
        why = (
            f"a map of {judged.places} places has no order to speak of; {MIN_POSITIONS} are needed."
            if case.tokens is None
            else f"no text checked has {MIN_POSITIONS} tokens or words that can be ranked (special ones cannot, nor what stands for absent); the longest has {judged.places}."
        )
        return [Check(MODEL_DEPENDENCE, name, "not applicable", None, why) for name in names]
    if not judged.told.any():
        return [
            Check(MODEL_DEPENDENCE, name, "not applicable", None, "every map checked is constant.") for name in names
        ]
    out = [_one(judged, ALL_LAYERS, (), MAX_KEPT_ALL_LAYERS, "half")]
    top, why = _top(case)
    if not top:
        return [*out, Check(MODEL_DEPENDENCE, TOP_LAYER, "not applicable", None, why)]
    return [*out, _one(judged, TOP_LAYER, top, MAX_KEPT_TOP_LAYER, "two thirds")]


class _Judged:
    """The quantity that is compared: the map, or what it was before it was multiplied by the input."""

    def __init__(self, case: CheckSubject) -> None:
        self.case = case
        q = case.question()
        # an embedding is learned, and drawn anew with the rest: products with what it gives are no products with the input
        reference = case.cut(case.rows).reference(q) if case.tokens is None else None
        self.even = None if reference is not None else _even(case)
        self.how = (
            "judged before the product with the input"
            if reference is not None
            else "judged with every number as far from its stand-in as any other"
            if self.even is not None
            else ""
        )
        self._far: list[tuple[int, Floats]] = []
        if reference is not None:
            for which in case.of:
                x, start = q.inputs[which].x.astype(np.float64), reference[which]
                away = x - np.broadcast_to(np.asarray(start, dtype=np.float64), x.shape)
                span = np.ptp(x.reshape(len(x), -1), axis=1).reshape(-1, *(1,) * (x.ndim - 1))
                self._far.append(
                    (which, np.where(np.abs(away) > NEAR_REFERENCE * np.where(span > 0, span, 1.0), away, np.nan))
                )
        self.map = self.again() if self.how else flat(case.maps())
        self.used = np.isfinite(self.map)
        if case.tokens is not None:
            self.used &= self._told_of(case.tokens)
        enough = self.used.sum(axis=1) >= MIN_POSITIONS
        order = np.array([varies(m[u]) for m, u in zip(self.map, self.used, strict=True)])
        self.told = enough & order  # a constant map has no order to keep
        self.short = int((~enough).sum())
        self.places = (
            int(self.used.sum(axis=1).max()) if case.tokens is not None else int(np.median(self.used.sum(axis=1)))
        )
        self.floor = self._chance() if self.told.any() else 0.0

    def _told_of(self, tokens: Tokens) -> npt.NDArray[np.bool_]:
        """Places of texts that can tell something: no special tokens; nor, of methods that compare with an absent token, those that are that token."""
        free = tokens.free
        if tokens.absent is not None and has_baseline(self.case.method):
            free = free & (tokens.ids != tokens.absent[0])
        places = tokens.on_map(free, self.case.rows)
        return np.repeat(places, self.map.shape[1] // places.shape[1], axis=1)

    def again(self, net: Differentiable | None = None, seed: int | None = None) -> Floats:
        """The quantity of another network, or with another seed, (rows, places); NaN where it cannot be told."""
        if not self.how:
            return flat(self.case.repeated(seed) if net is None else self.case.again(net, seed=seed))
        if self.even is not None:
            return flat(self.case.again(net, method=self.even, seed=seed, background=None))
        maps = self.case.again(net, seed=seed, reduce=None)
        out = []
        for found, (which, away) in zip(maps, self._far, strict=True):
            channel = self.case.inputs[which].channel
            slopes = found / away
            if channel is not None:
                size = np.abs(slopes)
                largest = np.where(np.isfinite(size), size, -1.0).max(axis=channel)
                slopes = np.where(largest >= 0, largest, np.nan)
            out.append(slopes)
        return flat(out)

    def alike(self, other: Floats) -> Floats:
        """|Spearman| of each row with the map: of sizes, or of signed values where that is larger."""
        out = np.zeros(len(self.map))
        for k, (a, b, used) in enumerate(zip(self.map, other, self.used, strict=True)):
            if used.sum() >= MIN_POSITIONS:
                x, y = a[used], np.where(np.isfinite(b[used]), b[used], 0.0)
                out[k] = max(abs(spearman(np.abs(x), np.abs(y))), abs(spearman(x, y)))
        return np.asarray(out[self.told])

    def _chance(self) -> float:
        rng = np.random.default_rng([self.case.seed, 78])
        return float(np.mean([self.alike(rng.normal(size=self.map.shape)) for _ in range(20)]))

    @cached_property
    def same(self) -> Floats:
        """With a rerun on the same network with another seed."""
        return self.alike(self.again(seed=self.case.other_seed(1)))

    @cached_property
    def controls(self) -> dict[str, float]:
        """With maps that know nothing of the network, on average over the rows."""
        case, out = self.case, {}
        if case.tokens is not None:
            wide = self.map.shape[1] // case.tokens.places
            known = case.tokens.trivial(case.rows).items()
            return {name: float(self.alike(np.repeat(control, wide, axis=1)).mean()) for name, control in known}
        given = [(case.inputs[i], case.inputs[i].x[case.rows]) for i in case.of]
        sizes = [case.maps()[k].shape for k in range(len(case.of))]
        plain = not any(g.whole for g, _ in given)
        asked = {"the input itself": (itself, plain), "an edge detector": (edges, all(picture(g) for g, _ in given))}
        for name, (control, fits) in asked.items():
            if fits:
                maps = [control(g, x) for g, x in given]
                if flat(maps).shape == self.map.shape and (
                    self.how or all(m.shape == s for m, s in zip(maps, sizes, strict=True))
                ):
                    out[name] = float(self.alike(flat(maps)).mean())
        return out


def _even(case: CheckSubject) -> Method | None:
    """For methods that cover places: the same with stand-ins half the input's range away from every number, to the side where the range goes on.

    A place that is what stands for absent gets nothing whatever the network knows; on sparse pictures that alone keeps maps alike.
    """
    if (
        case.method.derivatives
        or case.tokens is not None
        or not has_baseline(case.method)
        or any(i.whole for i in case.inputs)
    ):
        return None
    out = []
    for given in case.inputs:
        x = given.x[case.rows].astype(np.float64)
        least, most = given.x.min(axis=0, keepdims=True), given.x.max(axis=0, keepdims=True)
        if given.x.ndim > 2:  # of all pictures, not place by place
            least, most = least.min(), most.max()
        half = (most - least) / 2.0 + 0.0
        out.append((x + np.where(x > least + half, -half, half)).astype(given.x.dtype))
    return replace(case.cut(case.rows), baseline=tuple(out) if case.several else out[0])  # type: ignore[call-arg]


def _one(judged: _Judged, name: str, layers: Sequence[str], most: float, words: str) -> Check:
    case = judged.case
    before, controls = judged.same, judged.controls
    draws = (
        MIN_NETWORKS_DRAWN
        if case.expensive
        else MAX_NETWORKS_DRAWN
        if judged.places <= SMALL_MAP_SIZE
        else NETWORKS_DRAWN
    )
    dead, table = 0, []
    for k in range(draws):
        other = judged.again(_drawn(case.net, case.other_seed(10 + k), layers))
        dead += sum(not varies(m[u]) for m, u in zip(other[judged.told], judged.used[judged.told], strict=True))
        table.append(judged.alike(other))
    mean, half = mean_interval(np.array(table))
    same, chance = float(before.mean()), judged.floor
    said = f"rank correlation with the map: {format_mean(mean, half)} after drawing ({draws} networks); {same:.2f} with another seed on the same network, {chance:.2f} by chance"
    said += "".join(f", {value:.2f} with {control}" for control, value in controls.items())
    if judged.how:
        said += f"; {judged.how}"
    if judged.short:
        said += f"; left out for fewer than {MIN_POSITIONS} places: {judged.short} of {case.count} rows"
    if constant := case.count - judged.short - int(judged.told.sum()):
        said += f"; left out for a constant map: {constant} of {case.count} rows"
    if layers:
        said += f"; drawn: layer {layers[0]!r}"
    if len(layers) > 1:
        said += f" and {len(layers) - 1} before it, down to {layers[-1]!r}: with fewer the score goes on answering to covered parts as it did"
    if dead:
        said += f"; {dead} of {draws * int(judged.told.sum())} maps came out constant and count as 0"
    details = {
        "after": np.array(table),
        "same network": before,
        "chance": chance,
        "controls": controls,
        "networks": draws,
    }
    if same - chance < 0.1:
        why = "; the map does not repeat on the same network, so there is nothing to lose"
        return Check(MODEL_DEPENDENCE, name, "fail", mean, said + why + ".", details)
    kept = (mean - chance) / (same - chance)
    below = mean + half < same
    verdict = "fail" if kept > most else "pass" if below else "not applicable"
    said += f"; kept {max(kept, 0.0):.0%} of the way from chance to the same network, and up to {words} passes"
    if verdict != "pass":
        said += (
            ": much of this map does not come from what the network learned"
            if kept > most
            else ": but these rows are too few, or too short, to tell it from the same network"
        )
    return Check(MODEL_DEPENDENCE, name, verdict, mean, said + ".", details)


def _drawn(net: Differentiable, seed: int, layers: Sequence[str]) -> Differentiable:
    """A network with all parameters drawn anew, or those of some layers."""
    if not layers:
        return net.with_random_parameters(seed)
    for name in layers:
        net = net.with_random_parameters(seed, name)
    return net


def _top(case: CheckSubject) -> tuple[tuple[str, ...], str]:
    """The last layer to answer that has parameters; and why there is none to draw.

    Where the score goes on answering to covered parts of a row as it did (scales of a LayerNorm, a layer beside a skip connection, features that all say one
    thing), a right map stays as well. So the last 2, 4, 8 ... layers are drawn until it does not.
    """
    q = case.question()
    try:
        names = [name for name, _ in q.net.layers(q.lift(np.arange(1)))]
    except UnsupportedModelError as error:
        return (), str(error)
    own, before, count = case.net.fingerprint, _answers(case, case.net), 1
    met: list[str] = []
    for name in dict.fromkeys(reversed(names)):
        if case.net.with_random_parameters(case.other_seed(0), name).fingerprint == own:
            continue
        met.append(name)
        if len(met) <= count:  # one more must be left as it is
            continue
        top = tuple(met[:count])
        nets = (_drawn(case.net, case.other_seed(10 + k), top) for k in range(MIN_NETWORKS_DRAWN))
        if np.mean([_kept(before, _answers(case, net)) for net in nets]) <= MAX_SCORE_CORRELATION:
            return top, ""
        count *= 2
    if len(met) < 2:
        return (), "the network has no layer with parameters below its top layer; see all layers."
    return (
        (),
        "the score answers to covered parts as before, however many of the last layers are drawn anew; see all layers.",
    )


def _answers(case: CheckSubject, net: Differentiable) -> Floats:
    """Scores of a few rows with random halves of their parts covered, (rows, halves); without parts, of the rows themselves, (1, rows)."""
    q = replace(case, net=net).question()
    games = games_of(case, q, None)[0]
    if not games:
        return np.asarray(q.scores.T)
    game = next(reversed(games.values()))  # not zeros, which change nothing in sparse pictures
    rows = np.repeat(np.flatnonzero(game.own >= MIN_POSITIONS)[:ROWS_EVALUATED], HALF_SPLITS)
    kept = np.random.default_rng([case.seed, 83]).random((len(rows), game.parts)) < 0.5
    return game.scores(rows, kept).reshape(-1, HALF_SPLITS)


def _kept(before: Floats, after: Floats) -> float:
    """Correlation within rows, its sign dropped."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (before, after))
    one, two = (np.sqrt((x * x).mean(axis=1)) for x in (a, b))
    told = (one > floor(before.T)) & (two > floor(after.T))  # else the score does not move
    found = ratio(np.abs((a * b).mean(axis=1)) * told, one * two, 0.0)
    return float(found.mean()) if len(found) else 0.0
