"""The public entry of saliency maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.make_method import make
from whybox.methods.saliency.prepare_inputs import cut_to_rows, prepare_inputs
from whybox.methods.saliency.problem import DEFAULT_MEMORY, SaliencyProblem, resolve_problem, select_rows
from whybox.methods.saliency.recipe import make_recipe
from whybox.methods.saliency.result import CHANNEL_REDUCTIONS, run_method
from whybox.methods.saliency.token_options import TokenOptions
from whybox.models.differentiable import Differentiable
from whybox.models.registry import as_network

__all__ = ["saliency"]

ROWS_COMPARED: Final = 4  # rows on which a shorter type is compared with the network's own


def saliency(  # noqa: PLR0913  # the promise of the public surface
    net: Any,
    inputs: Any,
    target: Any = None,
    method: Any = "gradient",
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
    **options: Any,
) -> Explanation | tuple[Explanation, ...]:
    """Show which parts of the input a network's output depends on.

    Args:
        net: a torch module in eval mode, a model of Keras 3, a module of equinox or flax.nnx; see whybox.networks for functions of JAX and for files.
        inputs: (rows, ...): array, tensor or frame; a tuple of these for a network of several inputs, a dict of them by name; or a text, a list of texts, a list
            of pairs of texts (``[(question, context), ...]``).
        target: None: the only output, or the largest in each row. A name (see `output_names`), a number (the name of an output if one has it as its name,
            else a position; refused if it could be both), a tuple of numbers for a position in outputs of several
            axes, one number a row, a list of names or ``"all"`` (an axis of outputs from one shared forward), or a function of the outputs that
            returns one number a row.
        method: an id of the family ``"saliency"`` in whybox.methods.registry, with options of its own, or the method itself.
        background: rows that mean "absent", for the methods that take them; texts if the rows are texts.
        reduce: how channels become one number: ``"max"`` (largest absolute value), ``"sum"`` (keeps the sign and completeness), None (kept);
            ``"auto"``: ``"max"`` for gradients, ``"sum"`` for what adds up.
        channel_axis: ``"auto"``: inputs with four and five axes have channels, where the network's library has them; of series, class activation maps take the features.
            None: none. A number: that axis.
        output: which of several outputs of the network (a key, a position, an attribute).
        output_names: names of the outputs, of the classes.
        embedding: path of the layer that embeds tokens: derivatives are taken by its output, and summed (or reduced) over its last axis.
        tokenizer: reads texts; see whybox.methods.saliency.text.read_texts. The network is given input_ids, attention_mask and token_type_ids as far as it takes them.
        words: tokens are summed to words.
        baseline_token: id or name of the token that replaces absent ones, in methods that take a baseline; None: the mask or padding token
            of the tokenizer. Special tokens stay.
        dtype: ``"bfloat16"``: twice as fast, compared with float32 on a few rows; None: as the network is.
        budget: bytes that derivatives may keep at a time: ``"1GB"``.
        seed: of all random numbers.

    Returns:
        Explanation of kind ``"saliency"``: ``values`` has the shape of the input without the reduced channel axis; several inputs give a tuple.
        Of texts (row, token) or (row, word), NaN where a text is shorter than the longest; tokens or words are in ``extras``.

    Raises:
        WhyboxError: see whybox.errors for the tree; each message says what to do.
    """
    resolved_method = make(method, options)
    if reduce not in CHANNEL_REDUCTIONS:
        raise OptionError(f"reduce={reduce!r} is not known: 'auto', 'max', 'sum' or None.")
    if background is not None and not resolved_method.background:
        raise OptionError(f"method={resolved_method.name!r} takes no background.")
    tokens = TokenOptions(embedding, tokenizer, words, baseline_token)
    network = as_network(net, output)
    network = replace(network.fresh(), output_names=tuple(map(str, output_names or ())))
    with network.session():
        computing: Differentiable = network if dtype is None else network.with_dtype(dtype)
        prepared = prepare_inputs(
            computing, inputs, resolved_method, tokens, background=background, channel_axis=channel_axis
        )
        problem = resolve_problem(
            prepared.net,
            prepared.inputs,
            target,
            channel_axis=channel_axis,
            budget=budget,
            seed=seed,
            derivatives=resolved_method.derivatives,
            reduce=resolved_method.reduces if reduce == "auto" else reduce,
            background=prepared.background,
        )
        notes = [] if dtype is None else [_precision_note(problem, prepared.method)]
        recipe = make_recipe(
            problem,
            prepared.method,
            target_is_function=callable(target),
            dtype=dtype,
            output=output,
            embedding=embedding,
            baseline_token=baseline_token,
        )
        explanations = run_method(problem, prepared.method, [*prepared.notes, *notes], recipe)
    return prepared.label_results(explanations)


def _precision_note(problem: SaliencyProblem, method: Method) -> str:
    """A note on how far maps in a shorter type are from those in the network's own, on a few rows."""
    rows = np.arange(min(ROWS_COMPARED, problem.rows))
    network = problem.net.with_dtype("float32")
    method = cut_to_rows(method, rows, {i.x.shape for i in problem.inputs}.__contains__)
    short, full = method(select_rows(problem, rows)), method(select_rows(problem, rows, network))
    distances = []
    for a, b in zip(short.maps, full.maps, strict=True):
        for x, y in zip(a, b, strict=True):
            if x is not None and y is not None:
                distances.append(float(np.linalg.norm(x - y)) / max(float(np.linalg.norm(y)), 1e-300))
    return f"{problem.net.arithmetic}: on {len(rows)} rows the maps differ from those in {network.arithmetic} by {max(distances):.2g} of their size (relative L2)"
