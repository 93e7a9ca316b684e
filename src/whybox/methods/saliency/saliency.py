"""The public face of saliency maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, overload

import numpy as np

from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.options import shows_first_overload
from whybox.methods.registry import methods
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.make_method import make_method
from whybox.methods.saliency.options import CALL_OPTIONS, SaliencyOptions
from whybox.methods.saliency.prepare_inputs import cut_to_rows, one_a_row, prepare_inputs
from whybox.methods.saliency.problem import DEFAULT_MEMORY, SaliencyProblem, resolve_problem, select_rows
from whybox.methods.saliency.recipe import make_recipe
from whybox.methods.saliency.result import run_method
from whybox.models.differentiable import Differentiable
from whybox.models.registry import as_network

__all__ = ["saliency"]

ROWS_COMPARED: Final = 4  # rows on which a shorter type is held against the network's own


@overload
def saliency(  # the promise of the public surface
    net: Any,
    inputs: Any,
    target: Any = None,
    method: str | Method = "gradient",
    *,
    background: Any = None,
    reduce: str | None = "auto",
    channel_axis: Any = "auto",
    output: Any = None,
    output_names: Any = None,
    embedding: str | None = None,
    tokenizer: Any = None,
    words: bool = False,
    baseline_token: Any = None,
    dtype: str | None = None,
    budget: Any = DEFAULT_MEMORY,
    seed: int = 0,
    spot_checks: int | None = None,
    **options: Any,
) -> Explanation | tuple[Explanation, ...]: ...


@overload
def saliency(
    net: Any, inputs: Any, target: Any = None, *, method: list[Any] | tuple[Any, ...], **options: Any
) -> dict[str, Any]: ...


@shows_first_overload
def saliency(net: Any, inputs: Any, target: Any = None, method: Any = "gradient", **options: Any) -> Any:
    """Show which parts of the input a network's output depends on.

    Args:
        net: a torch module in eval mode, a model of Keras 3, a module of equinox or flax.nnx; see whybox.networks for functions of JAX and for files. Any other
            function of arrays, (rows, ...) -> (rows,) or (rows, outputs), for methods that need no derivatives; it is called with NumPy arrays.
        inputs: (rows, ...): array, tensor or frame; a tuple of these for a network of several inputs, a dict of them by name; or a text, a list of texts, a list
            of pairs of texts (``[(question, context), ...]``).
        target: None: the only output, or the largest in each row. A name (see `output_names`), a number (the name of an output where one is called so,
            else a position; refused where it could be both), a tuple of numbers for a place in outputs of several
            axes, one number a row, a list of names or ``"all"`` (an axis of outputs from one shared forward), or a function of the outputs that
            answers one number a row; it is given all that the network returns, or the part that `output` names.
        method: an id of the family ``"saliency"`` in whybox.methods.registry, with options of its own, the method itself, or a list of these.
        background: rows that stand for "absent", for the methods that take them; texts where the rows are texts.
        reduce: how channels become one number: ``"max"`` (largest absolute value), ``"sum"`` (keeps the sign and completeness), None (kept;
            of class activation maps: the channels of the layer); ``"auto"``: ``"max"`` for gradients, ``"sum"`` for what adds up.
        channel_axis: ``"auto"``: inputs of four and five axes have channels, where the network's library has them (of a function: on the axis 1 or -1 that has at
            most four); of series class activation maps take the features.
            None: none. A number: that axis.
        output: which of several outputs of the network (a key, a position, an attribute); None: the only array that it returns.
        output_names: names of the outputs, of the classes.
        embedding: path of the layer that embeds tokens: derivatives are taken with respect to its output, and summed (or reduced) over its last axis. Called
            several times in one pass, it gives a tuple, one map for each call (``extras["embedding_of"]``).
        tokenizer: reads texts; see whybox.methods.common.words.tokenized.read_texts. The network is given input_ids, attention_mask and token_type_ids as far as it takes them.
        words: tokens are summed to words.
        baseline_token: id or name of the token that replaces absent ones, in methods that take a baseline; None: the mask or padding token
            of the tokenizer. Special tokens stay.
        dtype: ``"bfloat16"``: twice as fast and compared with float32 on a few rows; None: as the network is.
        budget: bytes that derivatives may keep at a time: ``"1GB"``.
        seed: of what is drawn.
        spot_checks: most rows through the network, forward and backward, that checks of this answer may take: some of its numbers are recomputed by a
            second way. None: about 6, or 0.1 % of what the map takes where that is more. 0: none; the evidence then says "not checked". At least one row is checked.

    Returns:
        Explanation of kind ``"saliency"``: ``values`` has the shape of the input less the channel axis that was reduced; several inputs give a
        tuple; a list of methods a dict, method -> either.
        Of texts (row, token) or (row, word), NaN where a text is shorter than the longest; tokens or words are in ``extras``.

    Raises:
        WhyboxError: see whybox.errors for the tree; each message says what to do.

    Examples:
        >>> import torch
        >>> from sklearn.datasets import load_digits
        >>> import whybox as wb
        >>> images = (load_digits().images[:3] / 16).astype("float32")
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
        >>> maps = wb.saliency(network, images, method="integrated_gradients")
        >>> maps.values.shape
        (3, 8, 8)
    """
    own = {name: value for name, value in options.items() if name not in CALL_OPTIONS}
    call = SaliencyOptions(**{name: value for name, value in options.items() if name in CALL_OPTIONS})
    if not isinstance(method, (list, tuple)):
        return _run_one_method(net, inputs, target, make_method(method, own), call)
    if not method:
        raise OptionError(Argument("method", example=""), " is empty: name at least one.")
    chosen = [make_method(each, {} if isinstance(each, Method) else own) for each in method]
    if len({each.name for each in chosen}) < len(chosen):
        raise OptionError(Argument("method", example=""), " names a method twice.")
    return {each.name: _run_one_method(net, inputs, target, each, call) for each in chosen}


def _run_one_method(
    net: Any, inputs: Any, target: Any, method: Method, call: SaliencyOptions
) -> Explanation | tuple[Explanation, ...]:
    if call.background is not None and not method.takes_background:
        raise OptionError(Argument("method", method.name), " takes no background.")
    method.check_reduce(call.reduce)
    network = as_network(net, call.output)
    if not network.has_derivatives:
        _refuse_derivatives(network, method)
    names = network.output_names if call.output_names is None else call.output_names
    network = replace(network.fresh_copy(), output_names=tuple(map(str, names)))
    with network.session():
        computing: Differentiable = network if call.dtype is None else network.with_dtype(call.dtype)
        prepared = prepare_inputs(computing, inputs, method, call, background=call.background)
        problem = resolve_problem(
            prepared.net,
            prepared.inputs,
            target,
            channel_axis=call.channel_axis,
            budget=call.budget,
            seed=call.seed,
            derivatives=method.needs_gradients,
            reduce=method.default_reduce if call.reduce == "auto" else call.reduce,
            background=prepared.background,
        )
        notes = [] if call.dtype is None else [_precision_note(problem, prepared.method)]
        kept = {name: getattr(call, name) for name in ("dtype", "output", "embedding", "baseline_token")}
        recipe = make_recipe(problem, prepared.method, target_is_function=callable(target), **kept)
        explanations = run_method(problem, prepared.method, [*prepared.notes, *notes], recipe, call.spot_checks)
    return prepared.label_results(explanations)


def _refuse_derivatives(network: Differentiable, method: Method) -> None:
    """Check that a method needs nothing but outputs.

    Raises:
        UnsupportedModelError: it needs derivatives or layers; the message names the methods that do not.
    """
    if not method.needs_gradients and not method.needs_channels:
        return
    others = ", ".join(repr(spec.id) for spec in methods("saliency") if "predict" in spec.needs)
    needed = "derivatives" if method.needs_gradients else "layers"
    raise UnsupportedModelError(
        Argument("method", method.name),
        f" needs {needed}, and {network.kind} has none. Use a method that needs outputs alone ({others}), or pass the network itself; a function of JAX: "
        "whybox.networks.jax(function, params).",
    )


def _precision_note(problem: SaliencyProblem, method: Method) -> str:
    """A note on how far maps in a shorter type are from those in the network's own, on a few rows."""
    rows = np.arange(min(ROWS_COMPARED, problem.n_rows))
    network = problem.net.with_dtype("float32")
    method = cut_to_rows(method, rows, one_a_row(*(i.x.shape for i in problem.inputs)))
    short, full = method(select_rows(problem, rows)), method(select_rows(problem, rows, network))
    distances = []
    for a, b in zip(short.maps, full.maps, strict=True):
        for x, y in zip(a, b, strict=True):
            if x is not None and y is not None:
                distances.append(float(np.linalg.norm(x - y)) / max(float(np.linalg.norm(y)), 1e-300))
    return f"{problem.net.arithmetic}: on {len(rows)} rows the maps differ from those in {network.arithmetic} by {max(distances):.2g} of their size (relative L2)"
