"""The public face of checks: does a map hold?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from whybox.checks.audit import CheckSubject, resolve_subject
from whybox.checks.faithfulness import faithfulness
from whybox.checks.model_randomization import model_dependence
from whybox.checks.reproduction import numerical_checks
from whybox.checks.result import Check, Checks
from whybox.checks.stability import stability
from whybox.core.validation import check_whole_number
from whybox.errors import InputError, OptionError, did_you_mean
from whybox.explanation.effects import Effects
from whybox.explanation.load import load
from whybox.methods.saliency.prepare_inputs import match_names
from whybox.methods.saliency.problem import DEFAULT_MEMORY
from whybox.models.registry import as_network

__all__ = ["GROUPS", "check", "check_saved"]

GROUPS: Final = ("numerical", "model dependence", "faithfulness", "stability")


def check(  # noqa: PLR0913  # the promise of the public surface
    explanation: Any,
    net: Any,
    inputs: Any,
    *,
    checks: Sequence[str] | str = "all",
    max_rows: int = 16,
    absent: Sequence[str] | None = None,
    method: Any = None,
    options: Mapping[str, Any] | None = None,
    target: Any = None,
    background: Any = None,
    embedding: str | None = None,
    tokenizer: Any = None,
    baseline_token: Any = None,
    seed: int = 0,
    budget: Any = DEFAULT_MEMORY,
) -> Checks:
    """Ask of a saliency map what can be asked: is it computed right, does it hang on the model, does it name what matters, does it stay.

    Args:
        explanation: of :func:`whybox.saliency`; the tuple of them for a network of several inputs.
        net: the network it was made from. inputs: all the rows it was made from, as they were.
        checks: ``"all"``, or some of ``"numerical"``, ``"model dependence"``, ``"faithfulness"``, ``"stability"``.
        max_rows: how many rows to check, spread evenly over those explained.
        absent: what stands for a part that is gone, at least two of ``"zero"``, ``"mean"``, ``"blur"``, ``"other row"``. None: zero and blur for pictures,
            series and volumes; mean and another row for tables. Of tokens two or more of ``"absent token"``, ``"hidden"``, ``"neutral token"``, ``"other tokens"``;
            None: the first two of them that there are.
        method: the method itself, where it is of a class of your own. options, target, background: those of the explanation that it does not keep: arrays and
            functions among the options, a target that was a function, the background.
        embedding, tokenizer, baseline_token: of maps of tokens and words. An explanation of texts does not keep the tokenizer, so it must be given again; the
            other two it keeps, and what is given must be what it says.
        seed: of everything that is drawn here. budget: bytes that derivatives may keep at a time.

    Returns:
        Checks: print it for the table. ``.passed`` is whether nothing says "fail" or "disagree". Passing is no proof: see docs/checks.md for what each check cannot show.

    Raises:
        InputError: the explanation was made from another network, other inputs, with another background or other options.
        OptionError: unknown checks or stand-ins, or something the explanation does not keep was not given.
        UnsupportedModelError: the network is in train mode.
    """
    began = time.perf_counter()
    wanted = _wanted(checks)
    max_rows, seed = check_whole_number("max_rows", max_rows), check_whole_number("seed", seed, 0)
    first = explanation[0] if isinstance(explanation, tuple) and explanation else explanation
    output = getattr(getattr(first, "evidence", None), "settings", {}).get("output")
    network = as_network(net, output).fresh()
    if isinstance(inputs, Mapping):
        names = tuple(map(str, inputs))
        network = network.with_input_names(names)
        background = _alone(match_names(background, names, unnamed=True))  # its SHA-256 tells whether it is the one
        inputs = _alone(tuple(inputs.values()))
    with network.session():
        subject = resolve_subject(
            explanation,
            network,
            inputs,
            method=method,
            options=options,
            target=target,
            background=background,
            embedding=embedding,
            tokenizer=tokenizer,
            baseline_token=baseline_token,
            max_rows=max_rows,
            seed=seed,
            budget=budget,
        )
        rows = _run(subject, wanted, absent)
    format_mean = {
        "method": subject.explanations[0].evidence.method,
        "rows": subject.count,
        "rows explained": len(subject.explanations[0]),
        "which rows": subject.rows,
        "seed": subject.seed,
        "forward": subject.passes.forward,
        "backward": subject.passes.backward,
        "seconds": time.perf_counter() - began,
        "fingerprints": dict(subject.explanations[0].evidence.fingerprints),
        "settings": dict(subject.settings),
    }
    return Checks(tuple(rows), format_mean)


def _alone(given: Any) -> Any:
    """A single array given by name is no tuple, as wb.saliency takes it."""
    return given[0] if isinstance(given, tuple) and len(given) == 1 else given


def _wanted(checks: Any) -> tuple[str, ...]:
    if checks == "all":
        return GROUPS
    asked = (checks,) if isinstance(checks, str) else tuple(checks)
    for name in asked:
        if name not in GROUPS:
            raise OptionError(f"checks={name!r} is not known.{did_you_mean(name, GROUPS)}")
    if not asked:
        raise OptionError(f"checks is empty: 'all', or some of {', '.join(map(repr, GROUPS))}.")
    return tuple(g for g in GROUPS if g in asked)


def _run(subject: CheckSubject, wanted: Sequence[str], absent: Sequence[str] | None) -> list[Check]:
    each: dict[str, Callable[[], list[Check]]] = {
        "numerical": lambda: numerical_checks(subject),
        "model dependence": lambda: model_dependence(subject),
        "faithfulness": lambda: faithfulness(subject, absent),
        "stability": lambda: stability(subject),
    }
    return [line for name in wanted for line in each[name]()]


def check_saved(path: str | Path, net: Any, inputs: Any, **options: Any) -> Checks:
    """Check a saved explanation: what a command line calls. `options` as of :func:`check`.

    Raises:
        ExplanationFileError: no such file, or it is damaged. Others as :func:`check`.
    """
    found = load(path)
    if isinstance(found, Effects):
        raise InputError(f"{path} holds effects, not a saliency map.")
    return check(found, net, inputs, **options)
