"""An explanation, the network and the inputs it belongs to, and the means to ask for its maps again under changed circumstances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.checks.token_maps import Tokens, is_token_map, resolve_tokens
from whybox.data.table import Floats
from whybox.errors import EmptyDataError, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.prepare_inputs import cut_to_rows
from whybox.methods.saliency.problem import Indices, SaliencyProblem, resolve_problem
from whybox.methods.saliency.recipe import check_same_network, input_digest, rebuild_method
from whybox.methods.saliency.result import run_method
from whybox.methods.saliency.saliency import saliency
from whybox.methods.saliency.text import nan_where_absent
from whybox.models.differentiable import Differentiable, PassCounter

__all__ = ["CheckSubject", "flatten_maps", "resolve_subject"]

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
    explanations: tuple[Explanation, ...]
    input_of: tuple[int, ...]
    rows: Indices
    explained_rows: Indices
    method: Method
    settings: Mapping[str, Any]
    background: Any
    target_positions: Indices | None
    output_of: Indices
    function: Any
    seed: int
    budget: Any
    tokens: Tokens | None = None
    passes: PassCounter = field(default_factory=PassCounter)
    cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rows are checked."""
        return len(self.rows)

    @property
    def expensive(self) -> bool:
        """True if one map needs more than EXPENSIVE_PASSES passes a row; fewer repetitions are run then."""
        return float(self.cache.get("passes", 0.0)) > EXPENSIVE_PASSES

    @property
    def sensitivity(self) -> bool:
        """Whether maps say how steep the score is (any sign alike), not what a place gives to it."""
        return self.method.reduces == "max"

    def maps(self, explained_rows: Indices | None = None) -> Maps:
        """The explanation's own maps of the rows checked, (rows, *places)."""
        where = self.explained_rows if explained_rows is None else explained_rows
        return tuple(self._values_of(e, where) for e in self.explanations)

    def std_errors(self) -> Maps | None:
        """Their standard errors, None where there are none."""
        if any(e.std_error is None for e in self.explanations):
            return None
        return tuple(self._values_of(replace(e, values=e.std_error), self.explained_rows) for e in self.explanations)  # type: ignore[arg-type]

    def _values_of(self, e: Explanation, explained_rows: Indices) -> Floats:
        values = e.values[explained_rows]
        if self.tokens is not None:  # what the mask hides is no place of the text
            values = nan_where_absent(
                values, self.tokens.positions_with(self.tokens.position_of >= 0, self.input_rows(explained_rows))
            )
        if "output" not in e.dims:
            return values
        return np.asarray(values[np.arange(len(explained_rows)), ..., self.output_of[explained_rows]])

    def arrays(self, rows: Indices | None = None) -> Arrays:
        """Inputs of the rows checked."""
        where = self.rows if rows is None else rows
        return tuple(i.x[where] for i in self.inputs)

    def target(self, explained_rows: Indices | None = None) -> Any:
        """What a rerun is asked to explain: the same outputs, whatever another network would predict."""
        if self.target_positions is None:
            return self.function
        shape = tuple(self.settings["target"]["shape"])
        if not shape:
            return None
        wanted = self.target_positions[self.explained_rows if explained_rows is None else explained_rows]
        return [int(p) for p in wanted] if len(shape) == 1 else tuple(map(int, np.unravel_index(int(wanted[0]), shape)))

    def recompute(  # what a rerun may change
        self,
        net: Differentiable | None = None,
        arrays: Arrays | None = None,
        *,
        method: Method | None = None,
        seed: int | None = None,
        reduce: Any = ORIGINAL,
        dtype: Any = ORIGINAL,
        explained_rows: Indices | None = None,
        background: Any = ORIGINAL,
    ) -> Maps:
        """Maps by the same method with the same options, but for what is given. Of tokens `arrays` is what the embedding gives.

        Raises:
            WhyboxError: as wb.saliency.
        """
        net = self.net if net is None else net
        rows = self.rows if explained_rows is None else self.input_rows(explained_rows)
        dtype = self.settings.get("dtype") if dtype == ORIGINAL else dtype
        seed = self.explanations[0].evidence.seed if seed is None else seed
        if self.tokens is not None:
            return self._recompute_tokens(net, rows, arrays, self.target(explained_rows), dtype, seed)
        xs = self.arrays(rows) if arrays is None else arrays
        result = saliency(
            net,
            xs if self.several else xs[0],
            self.target(explained_rows),
            self.cut_to_rows(rows) if method is None else method,
            background=self.background if background is ORIGINAL else background,
            reduce=self.settings["reduce"] if reduce == ORIGINAL else reduce,
            channel_axis=self.settings["channel_axis"],
            dtype=dtype,
            budget=self.budget,
            seed=seed,
        )
        listed = result if isinstance(result, tuple) else (result,)
        self._count_passes(listed[0], len(rows))
        return tuple(e.values for e in listed)

    def _count_passes(self, e: Explanation, rows: int) -> None:
        self.cache["passes"] = sum(e.evidence.passes[way] for way in ("forward", "backward")) / rows
        self.passes.forward += e.evidence.passes["forward"]
        self.passes.backward += e.evidence.passes["backward"]

    def _recompute_tokens(
        self, net: Differentiable, rows: Indices, arrays: Arrays | None, target: Any, dtype: Any, seed: int
    ) -> Maps:
        """Maps of tokens or words, fed as wb.saliency feeds them: a network drawn anew embeds them anew, and what stands for absent ones too."""
        assert self.tokens is not None  # noqa: S101  # asked by the caller
        wide = (net if dtype is None else net.with_dtype(dtype)).fresh()
        method_ = self.tokens.prepared(self.cut_to_rows(rows), wide, rows)
        inputs = method_.inputs if arrays is None else (replace(method_.inputs[0], x=arrays[0]), *method_.inputs[1:])
        problem = resolve_problem(
            method_.net,
            inputs,
            target,
            budget=self.budget,
            seed=seed,
            derivatives=method_.method.derivatives,
            reduce=self.settings["reduce"],
            background=method_.background,
        )
        result = run_method(problem, method_.method)[0]
        self._count_passes(result, len(rows))
        return (self.tokens.sum_over_positions(result.values, rows),)

    def embedded_problem(self) -> SaliencyProblem:
        """Of tokens: the rows checked as a question about scores from the embedding on, whose first input is what it gives."""
        assert self.tokens is not None  # noqa: S101  # asked by the caller
        net = replace(self.net, passes=self.passes)
        method_ = self.tokens.prepared(self.cut_to_rows(self.rows), net, self.rows)
        return resolve_problem(
            method_.net, method_.inputs, self.target(), budget=self.budget, seed=self.seed, derivatives=False
        )

    def input_rows(self, explained_rows: Indices) -> Indices:
        """Which rows of the inputs these rows of the explanation are."""
        e = self.explanations[0]
        return (
            explained_rows
            if len(e) == len(self.inputs[0].x)
            else np.array([int(r) for r in e.coords["row"][explained_rows]], dtype=np.intp)
        )

    def cut_to_rows(self, rows: Indices) -> Method:
        """The method, with those of its options that hold one array a row cut to these rows."""
        if len(rows) >= len(self.inputs[0].x):
            return self.method
        shapes = {i.x.shape for i in self.inputs}
        words = None if self.tokens is None else self.tokens.ids.shape  # one array a token, of what the embedding gives
        return cut_to_rows(self.method, rows, lambda shape: shape in shapes or (len(shape) == 3 and shape[:2] == words))

    def rerun(self, seed: int | None = None) -> Maps:
        """Maps of the rows checked on the same network, with the explanation's seed or another; asked once."""
        if seed not in self.cache:
            self.cache[seed] = self.recompute(seed=seed)
        result: Maps = self.cache[seed]
        return result

    def other_seed(self, k: int) -> int:
        """Seeds that are not the explanation's own."""
        return int(np.random.default_rng([self.seed, 77, k]).integers(1 << 30)) + (1 << 30)

    def score_problem(self) -> SaliencyProblem:
        """The rows checked as a question about scores alone."""
        xs = self.arrays()
        net = replace(self.net, passes=self.passes)
        if self.tokens is not None:
            whole = tuple(replace(i, x=x) for i, x in zip(self.inputs, xs, strict=True))
            return resolve_problem(net, whole, self.target(), budget=self.budget, seed=self.seed, derivatives=False)
        return resolve_problem(
            net,
            xs if self.several else xs[0],
            self.target(),
            channel_axis=self.settings["channel_axis"],
            budget=self.budget,
            seed=self.seed,
            derivatives=False,
            background=self.background,
        )


def flatten_maps(maps: Sequence[Floats]) -> Floats:
    """Maps of several inputs side by side, (rows, places)."""
    return np.concatenate([np.asarray(m, dtype=np.float64).reshape(len(m), -1) for m in maps], axis=1)


def resolve_subject(  # noqa: PLR0913  # what an auditor brings
    explanation: Any,
    net: Differentiable,
    inputs: Any,
    *,
    method: Any,
    options: Mapping[str, Any] | None,
    target: Any,
    background: Any,
    embedding: str | None,
    tokenizer: Any,
    baseline_token: Any,
    max_rows: int,
    seed: int,
    budget: Any,
) -> CheckSubject:
    """Hold an explanation against what it is said to belong to.

    Raises:
        InputError: it was made from another network, other inputs, another background, or is no map.
        OptionError: something that is not kept in an explanation is needed and was not given.
    """
    explanations = explanation if isinstance(explanation, tuple) else (explanation,)
    _check_explanations(explanations)
    settings = explanations[0].evidence.settings
    tokens: Tokens | None = None
    input_of: tuple[int, ...] = (0,)
    if is_token_map(explanations[0]):
        explained_rows, rows = _choose_rows(explanations[0], explanations[0].evidence.rows, max_rows)
        tokens, method_ = resolve_tokens(
            explanations[0],
            net,
            inputs,
            method=method,
            options=options,
            embedding=embedding,
            tokenizer=tokenizer,
            baseline_token=baseline_token,
            background=background,
            rows=rows,
        )
        net, settled, several = tokens.net, tokens.inputs, True
    else:
        _refuse_token_options(embedding, tokenizer, baseline_token)
        settled, several = resolve_inputs(net, inputs, settings["channel_axis"]), isinstance(inputs, tuple)
        input_of = _inputs_of_maps(explanations, settled, net)
        explained_rows, rows = _choose_rows(explanations[0], len(settled[0].x), max_rows)
        method_ = rebuild_method(settings, method, options)
        _check_background(settings, net, background)
    target_positions, output_of = _targets(explanations[0], settings, target)
    return CheckSubject(
        net,
        settled,
        several,
        explanations,
        input_of,
        rows,
        explained_rows,
        method_,
        settings,
        background,
        target_positions,
        output_of,
        target,
        seed,
        budget,
        tokens,
    )


def _check_background(settings: Mapping[str, Any], net: Differentiable, background: Any) -> None:
    if settings["background"] is not None:
        if background is None:
            raise OptionError(
                "the explanation was made with a background, which it does not keep; pass background=, the same rows."
            )
        if input_digest(resolve_inputs(net, background, settings["channel_axis"])) != settings["background"]:
            raise InputError("the background is not the one the explanation was made with (its SHA-256 differs).")
    elif background is not None:
        raise OptionError("the explanation was made without a background; leave background out.")


def _refuse_token_options(embedding: Any, tokenizer: Any, baseline_token: Any) -> None:
    for name, given in (("embedding", embedding), ("tokenizer", tokenizer), ("baseline_token", baseline_token)):
        if given is not None:
            raise OptionError(f"{name}= goes with maps of tokens and words; leave it out.")


def _check_explanations(explanations: tuple[Any, ...]) -> None:
    if not explanations or not all(isinstance(e, Explanation) for e in explanations):
        raise InputError(
            "check takes an explanation of wb.saliency, or the tuple of them for a network of several inputs."
        )
    if len(explanations) > 1 and any(is_token_map(e) for e in explanations):
        raise InputError("maps of tokens come one at a time: the network's other inputs are held.")
    for e in explanations:
        if e.kind != "saliency" or not e.evidence.settings:
            raise InputError(
                f"check is for the maps of wb.saliency; this is an explanation of kind {e.kind!r} without settings in its evidence."
            )
        if e.dims[0] != "row":
            raise InputError(
                "the explanation was cut to a single row and has no axis of rows any more; pass it whole, or cut it with e[0:1]."
            )
        if (
            e.evidence.settings != explanations[0].evidence.settings
            or e.evidence.fingerprints != explanations[0].evidence.fingerprints
        ):
            raise InputError("the explanations of the tuple were not made together.")


def _inputs_of_maps(
    explanations: tuple[Explanation, ...], inputs: tuple[Input, ...], net: Differentiable
) -> tuple[int, ...]:
    """Which input each explanation belongs to; network and inputs are those they were made from."""
    prints = explanations[0].evidence.fingerprints
    check_same_network(prints, net)
    if prints.get("rows") != input_digest(inputs):
        raise InputError(
            "the explanation was made from other inputs: their SHA-256 differs. Pass all rows that were explained, as they were, in the same type."
        )
    if len(explanations) == len(inputs):
        return tuple(range(len(inputs)))
    mapped = tuple(
        explanations[0].evidence.settings.get("inputs") or (i for i, given in enumerate(inputs) if not given.whole)
    )
    if len(explanations) != len(mapped):
        raise InputError(
            f"the network has {len(inputs)} inputs; pass the tuple of all explanations that wb.saliency gave, not {len(explanations)} of them."
        )
    return mapped


def _choose_rows(e: Explanation, rows: int, max_rows: int) -> tuple[Indices, Indices]:
    """Positions in the explanation and in the inputs, evenly spread."""
    if not len(e):
        raise EmptyDataError("the explanation has no rows.")
    explained_rows = np.unique(np.linspace(0, len(e) - 1, min(max_rows, len(e))).round().astype(np.intp))
    if len(e) == rows:
        return explained_rows, explained_rows
    own = e.coords["row"]
    if not all(isinstance(r, (int, np.integer)) and 0 <= r < rows for r in own):
        raise InputError(f"the explanation has {len(e)} rows and the inputs have {rows}; pass the explanation whole.")
    return explained_rows, np.array([int(r) for r in own[explained_rows]], dtype=np.intp)


def _targets(e: Explanation, settings: Mapping[str, Any], target: Any) -> tuple[Indices | None, Indices]:
    """Of each explained row the output to check, and which of several explained outputs that is."""
    output_of = np.zeros(len(e), dtype=np.intp)
    if settings["target"] is None:
        if not callable(target):
            raise OptionError(
                "the explanation's target was a function, which it does not keep; pass target=, the same function."
            )
        return None, output_of
    if target is not None:
        raise OptionError("the explanation knows its target; leave target out.")
    target_positions = settings["target"]["places"]
    if target_positions == "one a row":
        return np.asarray(e.extras["target"][1], dtype=np.intp), output_of
    if "output" in e.dims and e.prediction is not None:
        output_of = np.asarray(e.prediction.argmax(axis=1), dtype=np.intp)
        return np.asarray(target_positions, dtype=np.intp)[output_of], output_of
    return np.full(len(e), int(target_positions[0]), dtype=np.intp), output_of
