"""An explanation, the network and inputs that it belongs to, and how its maps are computed again with changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.checks.cost import is_expensive, map_passes
from whybox.checks.supplied import SuppliedParts
from whybox.checks.token_maps import TokenInputs, is_token_map, resolve_tokens
from whybox.data.table import Floats
from whybox.errors import Argument, EmptyDataError, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.registry import of_id
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.inputs import Input, pass_one_numbers, resolve_inputs
from whybox.methods.saliency.prepare_inputs import cut_to_rows, one_a_row
from whybox.methods.saliency.problem import Indices, SaliencyProblem, resolve_background, resolve_problem
from whybox.methods.saliency.recipe import Recipe, check_same_network, input_digest, read_recipe, rebuild_method
from whybox.methods.saliency.result import run_method
from whybox.methods.saliency.saliency import saliency
from whybox.methods.saliency.segments import PATCHES_PER_SIDE
from whybox.methods.saliency.text import nan_where_absent
from whybox.models.differentiable import Differentiable, PassCounter

__all__ = ["CheckSubject", "check_explanations", "flatten_maps", "resolve_subject"]

InputArrays = tuple[npt.NDArray[Any], ...]
InputMaps = tuple[Floats, ...]
AS_EXPLAINED: Final = "as it was"


@final
@dataclass(frozen=True)
class CheckSubject:
    """What checks work on.

    Attributes:
        net: the network, in its own type. inputs: all rows that were explained. inputs_are_tuple: True if they were given as a tuple.
        explanations: one for each input that has a map. input_of: index of the input that each belongs to.
        rows: rows to be checked, positions in the inputs. explained_rows: their positions in the explanations.
        method: with its options. recipe: of the explanation. background: background rows, as given.
        target_positions: of each explained row, the position of the output to be checked (in the flattened outputs); None: `target_function` is the target.
        output_of: of each explained row, which of several explained outputs that is.
        seed: of the checks' random numbers. budget: bytes. tokens: how maps of tokens and words are read; None for others.
        replacements: names of what replaces removed parts, as the user gave them. pass_counter: of all evaluations so far. rerun_cache: maps that were computed before.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    inputs_are_tuple: bool
    explanations: tuple[Explanation, ...]
    input_of: tuple[int, ...]
    rows: Indices
    explained_rows: Indices
    method: Method
    recipe: Recipe
    background: Any
    target_positions: Indices | None
    output_of: Indices
    target_function: Any
    seed: int
    budget: Any
    tokens: TokenInputs | None = None
    replacements: Sequence[str] | None = None
    pass_counter: PassCounter = field(default_factory=PassCounter)
    rerun_cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows that are checked."""
        return len(self.rows)

    @property
    def has_expensive_maps(self) -> bool:
        """True if the explanation needed many passes a row (see whybox.checks.cost); fewer repetitions are run then."""
        return is_expensive(map_passes(self.explanations[0]))

    @property
    def is_unsigned(self) -> bool:
        """True if maps show how steep the score is, without a sign, and not what a position contributes to it."""
        return self.method.default_reduce == "max"

    def explained_maps(self, explained_rows: Indices | None = None) -> InputMaps:
        """The explanation's own maps of the rows that are checked, (rows, *positions)."""
        at = self.explained_rows if explained_rows is None else explained_rows
        return tuple(self._values_of(e, at) for e in self.explanations)

    def std_errors(self) -> InputMaps | None:
        """Standard errors of these maps; None if there are none."""
        if any(e.std_error is None for e in self.explanations):
            return None
        return tuple(self._values_of(replace(e, values=e.std_error), self.explained_rows) for e in self.explanations)  # type: ignore[arg-type]

    def _values_of(self, e: Explanation, explained_rows: Indices) -> Floats:
        values = e.values[explained_rows]
        if self.tokens is not None:  # masked tokens are not part of the text
            values = nan_where_absent(
                values, self.tokens.positions_with(self.tokens.position_of >= 0, self.input_rows(explained_rows))
            )
        if "output" not in e.dims:
            return values
        return np.asarray(values[np.arange(len(explained_rows)), ..., self.output_of[explained_rows]])

    def input_arrays(self, rows: Indices | None = None) -> InputArrays:
        """Inputs of the rows that are checked."""
        at = self.rows if rows is None else rows
        return tuple(i.x[at] for i in self.inputs)

    def rerun_target(self, explained_rows: Indices | None = None) -> Any:
        """The target of a rerun: the same outputs, whatever another network predicts."""
        if self.target_positions is None:
            return self.target_function
        shape = () if self.recipe.target is None else self.recipe.target.shape
        if not shape:
            return None
        at = self.explained_rows if explained_rows is None else explained_rows
        positions = self.target_positions[at]
        if len(shape) == 1:
            return [int(p) for p in positions]
        return tuple(map(int, np.unravel_index(int(positions[0]), shape)))

    def recompute_maps(
        self,
        net: Differentiable | None = None,
        arrays: InputArrays | None = None,
        *,
        method: Method | None = None,
        seed: int | None = None,
        reduce: Any = AS_EXPLAINED,
        dtype: Any = AS_EXPLAINED,
        explained_rows: Indices | None = None,
        background: Any = AS_EXPLAINED,
    ) -> InputMaps:
        """Maps by the same recipe, with the changes that are given. Of tokens `arrays` holds the embedding's output.

        Raises:
            WhyboxError: as wb.saliency.
        """
        net = self.net if net is None else net
        rows = self.rows if explained_rows is None else self.input_rows(explained_rows)
        dtype = self.recipe.dtype if dtype == AS_EXPLAINED else dtype
        seed = self.explanations[0].evidence.seed if seed is None else seed
        if self.tokens is not None:
            return self._recompute_tokens(net, rows, arrays, self.rerun_target(explained_rows), dtype, seed)
        xs = self.input_arrays(rows) if arrays is None else arrays
        own = self.recipe.reduce if self.method.needs_gradients else "auto"  # parts of inputs leave no choice
        result = saliency(
            net,
            xs if self.inputs_are_tuple else xs[0],
            self.rerun_target(explained_rows),
            self.cut_to_rows(rows) if method is None else method,
            background=self.background if background is AS_EXPLAINED else background,
            reduce=own if reduce == AS_EXPLAINED else reduce,
            channel_axis=self.recipe.channel_axis,
            dtype=dtype,
            budget=self.budget,
            seed=seed,
            spot_checks=0,
        )
        listed = result if isinstance(result, tuple) else (result,)
        self._count_passes(listed[0])
        return tuple(e.values for e in listed)

    def _count_passes(self, e: Explanation) -> None:
        self.pass_counter.forward += e.evidence.passes["forward"]
        self.pass_counter.backward += e.evidence.passes["backward"]

    def _recompute_tokens(
        self, net: Differentiable, rows: Indices, arrays: InputArrays | None, target: Any, dtype: Any, seed: int
    ) -> InputMaps:
        """Maps of tokens or words, prepared as in wb.saliency: a randomised network has its own embedding, of baselines too."""
        assert self.tokens is not None  # noqa: S101  # asked by the caller
        net = (net if dtype is None else net.with_dtype(dtype)).fresh_copy()
        prepared = self.tokens.prepare_for(self.cut_to_rows(rows), net, rows)
        inputs = prepared.inputs if arrays is None else (replace(prepared.inputs[0], x=arrays[0]), *prepared.inputs[1:])
        problem = resolve_problem(
            prepared.net,
            inputs,
            target,
            budget=self.budget,
            seed=seed,
            derivatives=prepared.method.needs_gradients,
            reduce=self.recipe.reduce,
            background=prepared.background,
        )
        result = run_method(problem, prepared.method)[0]
        self._count_passes(result)
        return (self.tokens.sum_over_positions(result.values, rows),)

    def embedded_problem(self) -> SaliencyProblem:
        """Of tokens: a problem of scores from the embedding on, for the rows that are checked; its first input is the embedding's output."""
        assert self.tokens is not None  # noqa: S101  # asked by the caller
        net = replace(self.net, passes=self.pass_counter)
        prepared = self.tokens.prepare_for(self.cut_to_rows(self.rows), net, self.rows)
        return resolve_problem(
            prepared.net, prepared.inputs, self.rerun_target(), budget=self.budget, seed=self.seed, derivatives=False
        )

    def input_rows(self, explained_rows: Indices) -> Indices:
        """Positions in the inputs of these rows of the explanation."""
        e = self.explanations[0]
        return (
            explained_rows
            if len(e) == len(self.inputs[0].x)
            else np.array([int(r) for r in e.coords["row"][explained_rows]], dtype=np.intp)
        )

    def cut_to_rows(self, rows: Indices) -> Method:
        """The method for some of the rows: options that hold one array a row are cut to these rows."""
        if len(rows) >= len(self.inputs[0].x):
            return self.method
        each = one_a_row(*(i.x.shape for i in self.inputs))
        words = (
            None if self.tokens is None else self.tokens.token_ids.shape
        )  # one vector a token, as the embedding outputs
        return cut_to_rows(self.method, rows, lambda shape: each(shape) or (len(shape) == 3 and shape[:2] == words))

    def rerun_maps(self, seed: int | None = None) -> InputMaps:
        """Maps of the rows that are checked on the same network, with the explanation's seed or another one; computed once."""
        if seed not in self.rerun_cache:
            self.rerun_cache[seed] = self.recompute_maps(seed=seed)
        result: InputMaps = self.rerun_cache[seed]
        return result

    def other_seed(self, k: int) -> int:
        """A seed that is not the explanation's own."""
        return int(np.random.default_rng([self.seed, 77, k]).integers(1 << 30)) + (1 << 30)

    def score_problem(self) -> SaliencyProblem:
        """A problem of scores, without derivatives, for the rows that are checked."""
        xs = self.input_arrays()
        net = replace(self.net, passes=self.pass_counter)
        if self.tokens is not None:
            whole = tuple(replace(i, x=x) for i, x in zip(self.inputs, xs, strict=True))
            return resolve_problem(
                net, whole, self.rerun_target(), budget=self.budget, seed=self.seed, derivatives=False
            )
        return resolve_problem(
            net,
            xs if self.inputs_are_tuple else xs[0],
            self.rerun_target(),
            channel_axis=self.recipe.channel_axis,
            budget=self.budget,
            seed=self.seed,
            derivatives=False,
            background=self.background,
        )


def flatten_maps(maps: Sequence[Floats]) -> Floats:
    """Maps of several inputs side by side, (rows, positions)."""
    return np.concatenate([np.asarray(m, dtype=np.float64).reshape(len(m), -1) for m in maps], axis=1)


def resolve_subject(  # noqa: PLR0913  # all that wb.check was given
    explanations: tuple[Explanation, ...],
    recipe: Recipe,
    net: Differentiable,
    inputs: Any,
    supplied: SuppliedParts,
    *,
    max_rows: int,
    seed: int,
    budget: Any,
    replacements: Sequence[str] | None = None,
) -> CheckSubject:
    """Compare explanations with the network and the inputs that they are said to belong to.

    Args:
        explanations, recipe: of :func:`check_explanations`. net, inputs: what they are said to be made from. supplied: what they do not keep.
        max_rows, seed, budget, replacements: of the checks, see :func:`whybox.check`.

    Raises:
        InputError: they were made from another network, other inputs or another background.
        OptionError: something that is not kept in an explanation is needed and was not given.
    """
    tokens: TokenInputs | None = None
    input_of: tuple[int, ...] = (0,)
    if is_token_map(explanations[0]):
        explained_rows, rows = _choose_rows(explanations[0], explanations[0].evidence.rows, max_rows)
        background = supplied.background
        tokens, method = resolve_tokens(explanations[0], recipe, net, inputs, supplied, rows)
        net, resolved, several = tokens.net, tokens.inputs, True
    else:
        if given := list(supplied.reading_options.changed_options()):
            raise OptionError(f"{given[0]}= is for maps of tokens and words; leave it out.")
        resolved, several = resolve_inputs(net, inputs, recipe.channel_axis), isinstance(inputs, tuple)
        net = pass_one_numbers(net, resolved)
        input_of = _inputs_of_maps(explanations, recipe, resolved, net)
        explained_rows, rows = _choose_rows(explanations[0], len(resolved[0].x), max_rows)
        method = rebuild_method(recipe, supplied.method, supplied.options)
        background = _background_as_explained(recipe, net, supplied.background, resolved)
        background = background if several or background is None else background[0]
    target_positions, output_of = _target_positions(explanations[0], recipe, supplied.target)
    return CheckSubject(
        net=net,
        inputs=resolved,
        inputs_are_tuple=several,
        explanations=explanations,
        input_of=input_of,
        rows=rows,
        explained_rows=explained_rows,
        method=method,
        recipe=recipe,
        background=background,
        target_positions=target_positions,
        output_of=output_of,
        target_function=supplied.target,
        seed=seed,
        budget=budget,
        tokens=tokens,
        replacements=replacements,
    )


def _background_as_explained(
    recipe: Recipe, net: Differentiable, background: Any, inputs: tuple[Input, ...]
) -> tuple[Any, ...] | None:
    """The background rows as the network takes them, an array an input: maps are computed again from arrays, which have no names.

    Raises:
        OptionError: there is a background and none was used, or the reverse. InputError: it is another one.
    """
    if recipe.background is None:
        if background is not None:
            raise OptionError("the explanation was made without a background; leave ", Argument("background"), " out.")
        return None
    if background is None:
        raise OptionError(
            "the explanation was made with a background, which it does not keep; pass ",
            Argument("background", example=""),
            ", the same rows.",
        )
    in_order = resolve_background(net, background, inputs, recipe.channel_axis)
    if input_digest(in_order) != recipe.background:
        raise InputError("the background is not the one the explanation was made with (its SHA-256 differs).")
    return tuple(i.x for i in in_order)


def check_explanations(explanation: Any) -> tuple[tuple[Explanation, ...], Recipe]:
    """Return what is to be checked as a tuple of explanations, and the recipe that they share.

    Raises:
        InputError: these are not maps of wb.saliency, or they were not made together.
    """
    explanations = explanation if isinstance(explanation, tuple) else (explanation,)
    if not explanations or not all(isinstance(e, Explanation) for e in explanations):
        raise InputError(
            "check takes an explanation of wb.saliency, or the tuple of them for a network of several inputs."
        )
    recipes = [read_recipe(e) for e in explanations]
    if any(map(is_token_map, explanations)) and max(len(explanations), *(len(r.inputs) for r in recipes)) > 1:
        raise InputError(
            "the checks of tokens are for one map at a time, and these maps belong together: those of an embedding that is called several times. Their sums and recomputed "
            "numbers are in the evidence."
        )
    spec = of_id(f"saliency.{recipes[0].method}")
    if spec is not None and spec.explains_layer:
        raise InputError(
            f"the checks are for maps of the inputs, and {recipes[0].method!r} explains a layer; its own sums and recomputed numbers are in the evidence."
        )
    for e in explanations:
        if e.dims[0] != "row":
            raise InputError(
                "the explanation was cut to a single row and has no row axis any more; pass it whole, or cut it with e[0:1]."
            )
        if (
            e.evidence.settings != explanations[0].evidence.settings
            or e.evidence.fingerprints != explanations[0].evidence.fingerprints
        ):
            raise InputError("the explanations of the tuple were not made together.")
    return explanations, _patches_as_made(explanations, recipes[0])


def _patches_as_made(explanations: tuple[Explanation, ...], recipe: Recipe) -> Recipe:
    """The recipe with ``patches=None`` where an older version wrote a number that it did not use.

    It cut only pictures and volumes into so many parts along each axis (4 by default); each feature, token or time step was a part of its own. So there are
    more parts than this number makes now.
    """
    patches, values = recipe.options.get("patches"), explanations[0].extras.get("part")
    if type(patches) is not int or values is None or recipe.options.get("parts") is not None:
        return recipe
    sizes = [
        tuple(n for dim, n in zip(e.dims, e.shape, strict=True) if dim not in ("row", "output")) for e in explanations
    ]
    not_cut = values[1].shape[1] > sum(math.prod(min(patches, n) for n in of) for of in sizes)
    same_as_none = patches == PATCHES_PER_SIDE or all(len(of) == 1 for of in sizes)
    return replace(recipe, options={**recipe.options, "patches": None}) if not_cut and same_as_none else recipe


def _inputs_of_maps(
    explanations: tuple[Explanation, ...], recipe: Recipe, inputs: tuple[Input, ...], net: Differentiable
) -> tuple[int, ...]:
    """Index of the input that each explanation belongs to, after a check that network and inputs are the right ones."""
    fingerprints = explanations[0].evidence.fingerprints
    check_same_network(fingerprints, net)
    if fingerprints.get("rows") != input_digest(inputs):
        raise InputError(
            "the explanation was made from other inputs: their SHA-256 differs. Pass all rows that were explained, as they were, in the same type."
        )
    if len(explanations) == len(inputs):
        return tuple(range(len(inputs)))
    mapped = recipe.inputs or tuple(i for i, given in enumerate(inputs) if not given.without_gradient)
    if len(explanations) != len(mapped):
        raise InputError(
            f"the network has {len(inputs)} inputs; pass the tuple of all explanations that wb.saliency gave, not {len(explanations)} of them."
        )
    return mapped


def _choose_rows(e: Explanation, rows: int, max_rows: int) -> tuple[Indices, Indices]:
    """Rows to be checked, evenly spread: their positions in the explanation and in the inputs."""
    if not len(e):
        raise EmptyDataError("the explanation has no rows.")
    explained_rows = np.unique(np.linspace(0, len(e) - 1, min(max_rows, len(e))).round().astype(np.intp))
    if len(e) == rows:
        return explained_rows, explained_rows
    own = e.coords["row"]
    if not all(isinstance(r, (int, np.integer)) and 0 <= r < rows for r in own):
        raise InputError(f"the explanation has {len(e)} rows and the inputs have {rows}; pass the explanation whole.")
    return explained_rows, np.array([int(r) for r in own[explained_rows]], dtype=np.intp)


def _target_positions(e: Explanation, recipe: Recipe, target: Any) -> tuple[Indices | None, Indices]:
    """The output of each explained row that is checked, and which of several explained outputs that is."""
    output_of = np.zeros(len(e), dtype=np.intp)
    if recipe.target is None:
        if not callable(target):
            raise OptionError(
                "the explanation's target was a function, which it does not keep; pass ",
                Argument("target", example=""),
                ", the same function.",
            )
        return None, output_of
    if target is not None:
        raise OptionError("the explanation knows its target; leave ", Argument("target"), " out.")
    positions = recipe.target.positions
    if positions is None:
        return np.asarray(e.extras["target"][1], dtype=np.intp), output_of
    if "output" in e.dims and e.prediction is not None:
        output_of = np.asarray(e.prediction.argmax(axis=1), dtype=np.intp)
        return np.asarray(positions, dtype=np.intp)[output_of], output_of
    return np.full(len(e), int(positions[0]), dtype=np.intp), output_of
