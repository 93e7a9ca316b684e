"""An explanation, the network and the inputs it belongs to, and the means to ask for its maps again under changed circumstances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.checks.token_maps import Tokens, made_tokens, of_tokens
from whybox.data.table import Floats
from whybox.errors import Argument, EmptyDataError, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.prepare_inputs import cut
from whybox.methods.saliency.problem import Indices, Question, settle
from whybox.methods.saliency.recipe import digest, rebuilt, same_network
from whybox.methods.saliency.result import explained
from whybox.methods.saliency.saliency import saliency
from whybox.methods.saliency.text import only
from whybox.models.differentiable import Differentiable, PassCounter

__all__ = ["CheckSubject", "flat", "made_case"]

Arrays = tuple[npt.NDArray[Any], ...]
Maps = tuple[Floats, ...]
ORIGINAL: Final = "as it was"
EXPENSIVE_PASSES: Final = 300  # passes a row


@final
@dataclass(frozen=True)
class CheckSubject:
    """What checks work on.

    Attributes:
        net: the network, in its own type. inputs: all rows that were explained. several: whether they came as a tuple.
        parts: explanations, one for each input that has a map. of: which input each belongs to.
        rows: those checked, positions in the inputs. at: where they stand in the explanations.
        method: with its options. settings: of the evidence. background: rows for "absent", as given.
        places: of each explained row, the position of the output it is checked for (of the outputs flattened); None where `function` is the target.
        chosen: of each explained row, which of several explained outputs that is.
        seed: of what checks draw. budget: bytes. tokens: of maps of tokens and words, how they are read; None for others.
        spent: passes of everything asked so far. kept: maps asked for before.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    several: bool
    parts: tuple[Explanation, ...]
    of: tuple[int, ...]
    rows: Indices
    at: Indices
    method: Method
    settings: Mapping[str, Any]
    background: Any
    places: Indices | None
    chosen: Indices
    function: Any
    seed: int
    budget: Any
    tokens: Tokens | None = None
    spent: PassCounter = field(default_factory=PassCounter)
    kept: dict[Any, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rows are checked."""
        return len(self.rows)

    @property
    def expensive(self) -> bool:
        """True if one map needs more than EXPENSIVE_PASSES passes a row; fewer repetitions are run then."""
        return float(self.kept.get("passes", 0.0)) > EXPENSIVE_PASSES

    @property
    def sensitivity(self) -> bool:
        """Whether maps say how steep the score is (any sign alike), not what a place gives to it."""
        return self.method.reduces == "max"

    def maps(self, at: Indices | None = None) -> Maps:
        """The explanation's own maps of the rows checked, (rows, *places)."""
        where = self.at if at is None else at
        return tuple(self._one(e, where) for e in self.parts)

    def errors(self) -> Maps | None:
        """Their standard errors, None where there are none."""
        if any(e.std_error is None for e in self.parts):
            return None
        return tuple(self._one(replace(e, values=e.std_error), self.at) for e in self.parts)  # type: ignore[arg-type]

    def _one(self, e: Explanation, at: Indices) -> Floats:
        values = e.values[at]
        if self.tokens is not None:  # what the mask hides is no place of the text
            values = only(values, self.tokens.on_map(self.tokens.which >= 0, self.standing(at)))
        if "output" not in e.dims:
            return values
        return np.asarray(values[np.arange(len(at)), ..., self.chosen[at]])

    def arrays(self, rows: Indices | None = None) -> Arrays:
        """Inputs of the rows checked."""
        where = self.rows if rows is None else rows
        return tuple(i.x[where] for i in self.inputs)

    def target(self, at: Indices | None = None) -> Any:
        """What a rerun is asked to explain: the same outputs, whatever another network would predict."""
        if self.places is None:
            return self.function
        shape = tuple(self.settings["target"]["shape"])
        if not shape:
            return None
        wanted = self.places[self.at if at is None else at]
        return [int(p) for p in wanted] if len(shape) == 1 else tuple(map(int, np.unravel_index(int(wanted[0]), shape)))

    def again(  # what a rerun may change
        self,
        net: Differentiable | None = None,
        arrays: Arrays | None = None,
        *,
        method: Method | None = None,
        seed: int | None = None,
        reduce: Any = ORIGINAL,
        dtype: Any = ORIGINAL,
        at: Indices | None = None,
        background: Any = ORIGINAL,
    ) -> Maps:
        """Maps by the same method with the same options, but for what is given. Of tokens `arrays` is what the embedding gives.

        Raises:
            WhyboxError: as wb.saliency.
        """
        net = self.net if net is None else net
        rows = self.rows if at is None else self.standing(at)
        dtype = self.settings.get("dtype") if dtype == ORIGINAL else dtype
        seed = self.parts[0].evidence.seed if seed is None else seed
        if self.tokens is not None:
            return self._read_again(net, rows, arrays, self.target(at), dtype, seed)
        xs = self.arrays(rows) if arrays is None else arrays
        found = saliency(
            net,
            xs if self.several else xs[0],
            self.target(at),
            self.cut(rows) if method is None else method,
            background=self.background if background is ORIGINAL else background,
            reduce=self.settings["reduce"] if reduce == ORIGINAL else reduce,
            channel_axis=self.settings["channel_axis"],
            dtype=dtype,
            budget=self.budget,
            seed=seed,
        )
        listed = found if isinstance(found, tuple) else (found,)
        self._paid(listed[0], len(rows))
        return tuple(e.values for e in listed)

    def _paid(self, e: Explanation, rows: int) -> None:
        self.kept["passes"] = sum(e.evidence.passes[way] for way in ("forward", "backward")) / rows
        self.spent.forward += e.evidence.passes["forward"]
        self.spent.backward += e.evidence.passes["backward"]

    def _read_again(
        self, net: Differentiable, rows: Indices, arrays: Arrays | None, target: Any, dtype: Any, seed: int
    ) -> Maps:
        """Maps of tokens or words, fed as wb.saliency feeds them: a network drawn anew embeds them anew, and what stands for absent ones too."""
        assert self.tokens is not None  # noqa: S101  # asked by the caller
        wide = (net if dtype is None else net.with_dtype(dtype)).fresh_copy()
        made = self.tokens.fed(self.cut(rows), wide, rows)
        inputs = made.inputs if arrays is None else (replace(made.inputs[0], x=arrays[0]), *made.inputs[1:])
        q = settle(
            made.net,
            inputs,
            target,
            budget=self.budget,
            seed=seed,
            derivatives=made.method.derivatives,
            reduce=self.settings["reduce"],
            background=made.background,
        )
        found = explained(q, made.method)[0]
        self._paid(found, len(rows))
        return (self.tokens.collected(found.values, rows),)

    def embedded(self) -> Question:
        """Of tokens: the rows checked as a question about scores from the embedding on, whose first input is what it gives."""
        assert self.tokens is not None  # noqa: S101  # asked by the caller
        net = replace(self.net, passes=self.spent)
        made = self.tokens.fed(self.cut(self.rows), net, self.rows)
        return settle(made.net, made.inputs, self.target(), budget=self.budget, seed=self.seed, derivatives=False)

    def standing(self, at: Indices) -> Indices:
        """Which rows of the inputs these rows of the explanation are."""
        e = self.parts[0]
        return at if len(e) == len(self.inputs[0].x) else np.array([int(r) for r in e.coords["row"][at]], dtype=np.intp)

    def cut(self, rows: Indices) -> Method:
        """The method, with those of its options that hold one array a row cut to these rows."""
        if len(rows) >= len(self.inputs[0].x):
            return self.method
        shapes = {i.x.shape for i in self.inputs}
        words = None if self.tokens is None else self.tokens.ids.shape  # one array a token, of what the embedding gives
        return cut(self.method, rows, lambda shape: shape in shapes or (len(shape) == 3 and shape[:2] == words))

    def repeated(self, seed: int | None = None) -> Maps:
        """Maps of the rows checked on the same network, with the explanation's seed or another; asked once."""
        if seed not in self.kept:
            self.kept[seed] = self.again(seed=seed)
        found: Maps = self.kept[seed]
        return found

    def other_seed(self, k: int) -> int:
        """Seeds that are not the explanation's own."""
        return int(np.random.default_rng([self.seed, 77, k]).integers(1 << 30)) + (1 << 30)

    def question(self) -> Question:
        """The rows checked as a question about scores alone."""
        xs = self.arrays()
        net = replace(self.net, passes=self.spent)
        if self.tokens is not None:
            whole = tuple(replace(i, x=x) for i, x in zip(self.inputs, xs, strict=True))
            return settle(net, whole, self.target(), budget=self.budget, seed=self.seed, derivatives=False)
        return settle(
            net,
            xs if self.several else xs[0],
            self.target(),
            channel_axis=self.settings["channel_axis"],
            budget=self.budget,
            seed=self.seed,
            derivatives=False,
            background=self.background,
        )


def flat(maps: Sequence[Floats]) -> Floats:
    """Maps of several inputs side by side, (rows, places)."""
    return np.concatenate([np.asarray(m, dtype=np.float64).reshape(len(m), -1) for m in maps], axis=1)


def made_case(  # noqa: PLR0913  # what an auditor brings
    explanation: Any,
    net: Differentiable,
    inputs: Any,
    *,
    method: Any,
    options: Mapping[str, Any] | None,
    target: Any,
    background: Any,
    reading: ReadingOptions,
    max_rows: int,
    seed: int,
    budget: Any,
) -> CheckSubject:
    """Hold an explanation against what it is said to belong to.

    Raises:
        InputError: it was made from another network, other inputs, another background, or is no map.
        OptionError: something that is not kept in an explanation is needed and was not given.
    """
    parts = explanation if isinstance(explanation, tuple) else (explanation,)
    _check_parts(parts)
    settings = parts[0].evidence.settings
    tokens: Tokens | None = None
    of: tuple[int, ...] = (0,)
    if of_tokens(parts[0]):
        at, rows = _chosen_rows(parts[0], parts[0].evidence.rows, max_rows)
        tokens, made = made_tokens(
            parts[0],
            net,
            inputs,
            method=method,
            options=options,
            reading=reading,
            background=background,
            rows=rows,
        )
        net, settled, several = tokens.net, tokens.inputs, True
    else:
        _no_text(reading)
        settled, several = resolve_inputs(net, inputs, settings["channel_axis"]), isinstance(inputs, tuple)
        of = _belonging(parts, settled, net)
        at, rows = _chosen_rows(parts[0], len(settled[0].x), max_rows)
        made = rebuilt(settings, method, options)
        _same_background(settings, net, background)
    places, chosen = _targets(parts[0], settings, target)
    return CheckSubject(
        net,
        settled,
        several,
        parts,
        of,
        rows,
        at,
        made,
        settings,
        background,
        places,
        chosen,
        target,
        seed,
        budget,
        tokens,
    )


def _same_background(settings: Mapping[str, Any], net: Differentiable, background: Any) -> None:
    if settings["background"] is not None:
        if background is None:
            raise OptionError(
                "the explanation was made with a background, which it does not keep; pass ",
                Argument("background", example=""),
                ", the same rows.",
            )
        if digest(resolve_inputs(net, background, settings["channel_axis"])) != settings["background"]:
            raise InputError("the background is not the one the explanation was made with (its SHA-256 differs).")
    elif background is not None:
        raise OptionError("the explanation was made without a background; leave ", Argument("background"), " out.")


def _no_text(reading: ReadingOptions) -> None:
    for name in reading.changed():
        raise OptionError(f"{name}= goes with maps of tokens and words; leave it out.")


def _check_parts(parts: tuple[Any, ...]) -> None:
    if not parts or not all(isinstance(e, Explanation) for e in parts):
        raise InputError(
            "check takes an explanation of wb.saliency, or the tuple of them for a network of several inputs."
        )
    if len(parts) > 1 and any(of_tokens(e) for e in parts):
        raise InputError("maps of tokens come one at a time: the network's other inputs are held.")
    for e in parts:
        if e.kind != "saliency" or not e.evidence.settings:
            raise InputError(
                f"check is for the maps of wb.saliency; this is an explanation of kind {e.kind!r} without settings in its evidence."
            )
        if e.dims[0] != "row":
            raise InputError(
                "the explanation was cut to a single row and has no axis of rows any more; pass it whole, or cut it with e[0:1]."
            )
        if (
            e.evidence.settings != parts[0].evidence.settings
            or e.evidence.fingerprints != parts[0].evidence.fingerprints
        ):
            raise InputError("the explanations of the tuple were not made together.")


def _belonging(parts: tuple[Explanation, ...], inputs: tuple[Input, ...], net: Differentiable) -> tuple[int, ...]:
    """Which input each explanation belongs to; network and inputs are those they were made from."""
    prints = parts[0].evidence.fingerprints
    same_network(prints, net)
    if prints.get("rows") != digest(inputs):
        raise InputError(
            "the explanation was made from other inputs: their SHA-256 differs. Pass all rows that were explained, as they were, in the same type."
        )
    if len(parts) == len(inputs):
        return tuple(range(len(inputs)))
    mapped = tuple(parts[0].evidence.settings.get("inputs") or (i for i, given in enumerate(inputs) if not given.whole))
    if len(parts) != len(mapped):
        raise InputError(
            f"the network has {len(inputs)} inputs; pass the tuple of all explanations that wb.saliency gave, not {len(parts)} of them."
        )
    return mapped


def _chosen_rows(e: Explanation, rows: int, most: int) -> tuple[Indices, Indices]:
    """Positions in the explanation and in the inputs, evenly spread."""
    if not len(e):
        raise EmptyDataError("the explanation has no rows.")
    at = np.unique(np.linspace(0, len(e) - 1, min(most, len(e))).round().astype(np.intp))
    if len(e) == rows:
        return at, at
    own = e.coords["row"]
    if not all(isinstance(r, (int, np.integer)) and 0 <= r < rows for r in own):
        raise InputError(f"the explanation has {len(e)} rows and the inputs have {rows}; pass the explanation whole.")
    return at, np.array([int(r) for r in own[at]], dtype=np.intp)


def _targets(e: Explanation, settings: Mapping[str, Any], target: Any) -> tuple[Indices | None, Indices]:
    """Of each explained row the output to check, and which of several explained outputs that is."""
    chosen = np.zeros(len(e), dtype=np.intp)
    if settings["target"] is None:
        if not callable(target):
            raise OptionError(
                "the explanation's target was a function, which it does not keep; pass ",
                Argument("target", example=""),
                ", the same function.",
            )
        return None, chosen
    if target is not None:
        raise OptionError("the explanation knows its target; leave ", Argument("target"), " out.")
    places = settings["target"]["places"]
    if places == "one a row":
        return np.asarray(e.extras["target"][1], dtype=np.intp), chosen
    if "output" in e.dims and e.prediction is not None:
        chosen = np.asarray(e.prediction.argmax(axis=1), dtype=np.intp)
        return np.asarray(places, dtype=np.intp)[chosen], chosen
    return np.full(len(e), int(places[0]), dtype=np.intp), chosen
