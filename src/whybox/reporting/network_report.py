"""The report about a network: saliency maps by several methods, and the checks of these maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from whybox.checks.check import check
from whybox.checks.result import Checks
from whybox.core.atomic_write import atomic_write
from whybox.core.progress import progress_counter
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.methods.registry import of_id
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.plan import first_rows, first_targets
from whybox.methods.saliency.saliency import saliency
from whybox.reporting.check_budget import CheckChoice, bytes_per_row, choose_checks, requested_checks
from whybox.reporting.cover import network_cover_html
from whybox.reporting.page import html_page, html_table
from whybox.reporting.sections.evidence import LINES_SHOWN
from whybox.reporting.sections.saliency_maps import ROWWISE, MethodMaps, saliency_maps_section

__all__ = ["network_report"]

DEFAULT_METHODS: Final = (
    "gradient",
    "integrated_gradients",
    "gradcam",
)  # the last if the network has a layer with positions
ROWS_DRAWN: Final = 6  # with a figure each


def network_report(  # noqa: PLR0913  # all options of a report
    net: Any,
    inputs: Any,
    path: str | Path,
    *,
    output: Any = None,
    output_names: Any = None,
    background: Any = None,
    methods: Sequence[str] | None = None,
    checks: Sequence[str] | str | None = None,
    reading: ReadingOptions | None = None,
    seed: int = 0,
    title: str | None = None,
    source: str = "",
) -> Explanation | tuple[Explanation, ...]:
    """Write one offline page: the network and its outputs, maps by several methods side by side, the results of the checks, the evidence.

    The same call writes the same page, equal to the byte if the network's outputs are.

    Args:
        net, inputs, output_names, background: as for ``whybox.saliency``, several inputs as a tuple or a dict; output: its target.
        methods: names; None: gradient, integrated gradients, and Grad-CAM if the network has a layer for it.
        checks: as for ``whybox.check``; None: those that need few passes, see whybox.reporting.check_budget.
        reading: how inputs are read, as by ``whybox.saliency``. seed: of random numbers in methods and checks.

    Returns:
        The explanation by the first method; of several inputs the tuple of them.

    Raises:
        OptionError: several outputs at once. Others as ``whybox.saliency``.
    """
    if output == "all" or (isinstance(output, list) and all(isinstance(o, str) for o in output)):
        raise OptionError(
            "a report of a network shows one output a row; name one, or leave ",
            Argument("output"),
            " out for the largest of each row.",
        )
    reading = reading or ReadingOptions()
    options = {"output_names": output_names, "seed": seed, **reading.changed_options()}
    method_maps = _maps_of_methods(net, inputs, output, background, methods, options)
    first = method_maps[0].e
    about = [
        ("asked", "What was explained", _explained(method_maps[0])),
        ("maps", "Where it looks", saliency_maps_section(method_maps, ROWS_DRAWN)),
        (
            "checks",
            "Do the maps hold?",
            _checks_of_methods(method_maps, net, checks, output if callable(output) else None, reading, seed),
        ),
        ("evidence", "Evidence", "".join(_evidence_block(s.e) for s in method_maps)),
    ]
    html = html_page(
        title or f"Where {first.evidence.model.split(' (')[0]} looks",
        about,
        cover=network_cover_html(first, source),
    )
    with atomic_write(path) as part:
        part.write_text(html, encoding="utf-8")
    return method_maps[0].answer


def _maps_of_methods(
    net: Any, inputs: Any, output: Any, background: Any, methods: Sequence[str] | None, options: Mapping[str, Any]
) -> list[MethodMaps]:
    """The maps of each method; a default method that the network does not support is left out."""
    computed: list[MethodMaps] = []
    for method in DEFAULT_METHODS if methods is None else methods:
        _refuse_layer_method(method)
        method_background = background if _takes_background(method) else None
        explained, target = inputs, output
        if computed and len(computed[0].e) > ROWS_DRAWN and any(e.dims[1:] in ROWWISE for e in computed[0].parts):
            explained, target = first_rows(inputs, ROWS_DRAWN), first_targets(output, len(computed[0].e), ROWS_DRAWN)
        try:
            result = saliency(net, explained, target, method, background=method_background, **options)
        except UnsupportedModelError:
            if methods is not None or method == "gradient":
                raise
            continue
        parts = result if isinstance(result, tuple) else (result,)
        computed.append(
            MethodMaps(parts, isinstance(result, tuple), _input_names(inputs), explained, method_background)
        )
    if not computed:
        raise OptionError(Argument("methods", example=""), " is empty: name at least one.")
    return computed


def _refuse_layer_method(method: Any) -> None:
    """Check that a method's maps are of the inputs.

    Raises:
        OptionError: they are of a layer.
    """
    spec = of_id(f"saliency.{method if isinstance(method, str) else method.name}")
    if spec is not None and spec.explains_layer:
        raise OptionError(
            Argument("methods", example=""),
            f": {spec.id!r} explains a layer, and a report shows maps of the inputs; call whybox.saliency for it.",
        )


def _takes_background(method: Any) -> bool:
    """Whether a method, given by its id or as options, takes background rows."""
    if not isinstance(method, str):
        return bool(method.takes_background)
    spec = of_id(f"saliency.{method}")
    return spec is not None and "background" in (*spec.needs, *spec.takes)


def _input_names(inputs: Any) -> tuple[str, ...]:
    if isinstance(inputs, Mapping):
        return tuple(map(str, inputs))
    return tuple(f"input {k}" for k in range(len(inputs))) if isinstance(inputs, tuple) else ("input",)


def _explained(maps_of_method: MethodMaps) -> str:
    e = maps_of_method.e
    names = [str(n) for n in e.coords.get("output", ())]
    about = (
        f"output {names[0]}"
        if names
        else "the largest output of each row"
        if "target" in e.extras
        else "its only output"
    )
    maps = (
        "; ".join(f"a map of {name} has {_map_size(part)}" for name, part in maps_of_method.by_input.items())
        if maps_of_method.several
        else f"a map has {_map_size(e)}"
    )
    return (
        f"<p>{escape(e.evidence.model)}. Explained: {escape(about)}, for {len(e):,} row{'s' if len(e) != 1 else ''}; {escape(maps)}.</p>"
        "<p>A map shows on which parts of the input the output depends, by the method's own definition of “depends”. Methods answer "
        "different questions, so their maps can differ although each is right; the checks below say how far each can be trusted.</p>"
    )


def _map_size(e: Explanation) -> str:
    axes = list(zip(e.dims[1:], e.shape[1:], strict=True))
    if len(axes) > 1 or axes[0][0] == "time":
        return " x ".join(f"{n:,}" for _, n in axes) + " positions (" + ", ".join(d for d, _ in axes) + ")"
    return f"{axes[0][1]:,} {axes[0][0]}{'s' if axes[0][1] != 1 else ''}"


def _checks_of_methods(
    method_maps: Sequence[MethodMaps],
    net: Any,
    requested: Sequence[str] | str | None,
    function: Any,
    reading: ReadingOptions,
    seed: int,
) -> str:
    """The checks of each method, all its inputs together, and which checks were left out."""
    parts, row_bytes = [], 0
    with progress_counter(len(method_maps), description="checks", unit="methods") as done:
        for s in method_maps:
            if requested is None:
                row_bytes = row_bytes or bytes_per_row(net, s.inputs, reading, function)
            plan = requested_checks(requested) if requested is not None else choose_checks(s.e, row_bytes)
            results = check(
                s.answer, net, s.inputs, checks=plan.groups, background=s.background, max_rows=plan.rows, target=function, seed=seed,
                **reading.changed_options("tokenizer"),
            )  # fmt: skip
            parts.append(_check_table(s, results, plan))
            done(1)
    return "".join(parts)


def _check_table(s: MethodMaps, results: Checks, plan: CheckChoice) -> str:
    colour = {"pass": "good", "fail": "bad", "disagree": "bad"}
    verdict = {
        "pass": f"holds in every check {'that applies' if plan.complete else 'made'}",
        "cannot tell": "fails no check, but some cannot tell",
        "fail": "does not hold in every check",
    }[results.verdict]
    lines = "".join(
        f"<tr><td>{escape(c.name)}</td><td class='word {colour.get(c.verdict, 'faint')}'>{escape(c.verdict)}</td>"
        f"<td class=whole>{'' if c.number is None else escape(number_text(c.number, 3))}</td><td class=text>{escape(c.reason)}</td></tr>"
        for c in results.rows
    )
    head = "<tr><th>Check</th><th class=word>Verdict</th><th>Number</th><th class=text>Why</th></tr>"
    together = f" The maps of {' and '.join(s.by_input)} are checked as one." if len(s.parts) > 1 else ""
    rows = f"{results.about['rows']} of {results.about['rows explained']:,} rows checked, seed {results.about['seed']}.{together}"
    return (
        f"<h3>{escape(s.e.evidence.method)}: {verdict}</h3><p class=faint>{escape(rows)}</p><p class=faint>{escape(plan.reason)}</p>"
        f"<div class=scroll><table class=checks><thead>{head}</thead><tbody>{lines}</tbody></table></div>"
    )


def _evidence_block(e: Explanation) -> str:
    lines = e.evidence.lines(*LINES_SHOWN)
    return f"<h3>{escape(e.evidence.method)}</h3>" + html_table(("What", "Is"), lines, text=(1,))
