"""The public face of checks: does a map hold?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from whybox.checks.audit import CheckSubject, made_case
from whybox.checks.faithfulness import faithfulness
from whybox.checks.model_randomization import dependence
from whybox.checks.reproduction import numerical
from whybox.checks.result import Check, Checks
from whybox.checks.stability import stability
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.effects import Effects
from whybox.explanation.load import load
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.prepare_inputs import by_name
from whybox.methods.saliency.problem import DEFAULT_MEMORY
from whybox.models.registry import as_network

__all__ = ["GROUPS", "check", "check_saved", "requested_groups"]

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

    Examples:
        >>> import torch
        >>> from sklearn.datasets import load_digits
        >>> import whybox as wb
        >>> images = (load_digits().images[:3] / 16).astype("float32")
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
        >>> maps = wb.saliency(network, images, target=0)
        >>> checks = wb.check(maps, network, images, checks="numerical")
        >>> checks.passed
        True
    """
    began = time.perf_counter()
    wanted = requested_groups(checks)
    max_rows, seed = check_whole_number("max_rows", max_rows), check_whole_number("seed", seed, 0)
    first = explanation[0] if isinstance(explanation, tuple) and explanation else explanation
    output = getattr(getattr(first, "evidence", None), "settings", {}).get("output")
    network = as_network(net, output).fresh_copy()
    if isinstance(inputs, Mapping):
        names = tuple(map(str, inputs))
        network = network.named(names)
        background = _alone(by_name(background, names, unnamed=True))  # its SHA-256 tells whether it is the one
        inputs = _alone(tuple(inputs.values()))
    with network.session():
        case = made_case(
            explanation,
            network,
            inputs,
            method=method,
            options=options,
            target=target,
            background=background,
            reading=ReadingOptions(embedding=embedding, tokenizer=tokenizer, baseline_token=baseline_token),
            max_rows=max_rows,
            seed=seed,
            budget=budget,
        )
        rows = _run(case, wanted, absent)
    about = {
        "method": case.parts[0].evidence.method,
        "rows": case.count,
        "rows explained": len(case.parts[0]),
        "which rows": case.rows,
        "seed": case.seed,
        "forward": case.spent.forward,
        "backward": case.spent.backward,
        "seconds": time.perf_counter() - began,
        "fingerprints": dict(case.parts[0].evidence.fingerprints),
        "settings": dict(case.settings),
    }
    return Checks(tuple(rows), about)


def _alone(given: Any) -> Any:
    """A single array given by name is no tuple, as wb.saliency takes it."""
    return given[0] if isinstance(given, tuple) and len(given) == 1 else given


def requested_groups(checks: Any) -> tuple[str, ...]:
    """Return the groups of checks that were asked for, in their order.

    Raises:
        OptionError: a group that is not known, or none.
    """
    if checks == "all":
        return GROUPS
    asked = (checks,) if isinstance(checks, str) else tuple(checks)
    for name in asked:
        if name not in GROUPS:
            raise OptionError(Argument("checks", name), " is not known.", known=GROUPS)
    if not asked:
        raise OptionError(Argument("checks"), f" is empty: 'all', or some of {', '.join(map(repr, GROUPS))}.")
    return tuple(g for g in GROUPS if g in asked)


def _run(case: CheckSubject, wanted: Sequence[str], absent: Sequence[str] | None) -> list[Check]:
    each: dict[str, Callable[[], list[Check]]] = {
        "numerical": lambda: numerical(case),
        "model dependence": lambda: dependence(case),
        "faithfulness": lambda: faithfulness(case, absent),
        "stability": lambda: stability(case),
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
