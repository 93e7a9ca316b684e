"""The public entry of checks: is a saliency map right?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from whybox.checks import faithfulness, model_randomization, reproduction, stability
from whybox.checks.check_subject import check_explanations, resolve_subject
from whybox.checks.group import CheckGroup
from whybox.checks.result import Checks
from whybox.checks.supplied import SuppliedParts
from whybox.core.progress import progress_of_parts
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.prepare_inputs import match_names
from whybox.methods.saliency.problem import DEFAULT_MEMORY
from whybox.models.registry import as_network

__all__ = ["CHECK_GROUPS", "GROUP_NAMES", "check", "requested_groups"]

CHECK_GROUPS: Final = (
    reproduction.CHECK_GROUP,
    model_randomization.CHECK_GROUP,
    faithfulness.CHECK_GROUP,
    stability.CHECK_GROUP,
)
GROUP_NAMES: Final = tuple(group.name for group in CHECK_GROUPS)


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
    """Run sanity checks on a saliency map: accuracy, parameter dependence, faithfulness, stability.

    Args:
        explanation: of :func:`whybox.saliency`; the tuple of them for a network of several inputs.
        net: the network it was made from. inputs: all the rows it was made from, as they were.
        checks: ``"all"``, or some of ``"numerical"``, ``"model dependence"``, ``"faithfulness"``, ``"stability"``.
        max_rows: how many rows to check, spread evenly over those explained.
        absent: what replaces removed parts, at least two of ``"zero"``, ``"mean"``, ``"blur"``, ``"other row"``. None: zero and blur for pictures,
            series and volumes; mean and another row for tables (below 8 rows zero and another row, of a single row zero and one).
            Of tokens two or more of ``"absent token"``, ``"hidden"``, ``"neutral token"``, ``"other tokens"``;
            None: the first two of them that are possible.
        method: the method object, if it is of a class of your own. options, target, background: parts of the recipe that an explanation does not keep: arrays and
            functions among the options, a target that was a function, the background.
        embedding, tokenizer, baseline_token: of maps of tokens and words. An explanation of texts does not keep the tokenizer, so pass it again; it keeps the
            other two, and what is passed must be the same.
        seed: of all random numbers of the checks. budget: bytes that derivatives may keep at a time.

    Returns:
        Checks: print it for the table. Its first line says whether the values are those that the method computes, whichever checks are asked for, because the
            other lines may compute maps again. ``.verdict`` is "fail" if a line says "fail" or "disagree", else "cannot tell" if a line does (too few rows, and the line
            says how many could), else "pass"; ``.passed`` is whether it is "pass". Passing is no proof; docs/checks.md says what each check cannot show.

    Raises:
        InputError: the explanation was made from another network, other inputs, with another background or other options.
        OptionError: unknown checks or replacements, or something the explanation does not keep was not given.
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
    groups = requested_groups(checks)
    max_rows, seed = check_whole_number("max_rows", max_rows), check_whole_number("seed", seed, 0)
    explanations, recipe = check_explanations(explanation)
    network = as_network(net, recipe.output).fresh_copy()
    if isinstance(inputs, Mapping):
        names = tuple(map(str, inputs))
        network = network.with_input_names(names)
        background = _unwrap_single(
            match_names(background, names, unnamed=True)
        )  # its SHA-256 tells whether it is the one
        inputs = _unwrap_single(tuple(inputs.values()))
    with network.session():
        reading = ReadingOptions(embedding=embedding, tokenizer=tokenizer, baseline_token=baseline_token)
        subject = resolve_subject(
            explanations,
            recipe,
            network,
            inputs,
            SuppliedParts(method, options, target, background, reading),
            max_rows=max_rows,
            seed=seed,
            budget=budget,
            replacements=absent,
        )
        rows = [] if reproduction.CHECK_GROUP in groups else [reproduction.check_reproduced(subject)]
        with progress_of_parts(len(groups), description="Checks", unit="groups") as done:
            for group in groups:
                rows += group.run(subject)
                done(1)
    about = {
        "method": subject.explanations[0].evidence.method,
        "rows": subject.n_rows,
        "rows explained": len(subject.explanations[0]),
        "which rows": subject.rows,
        "seed": subject.seed,
        "forward": subject.pass_counter.forward,
        "backward": subject.pass_counter.backward,
        "seconds": time.perf_counter() - began,
        "fingerprints": dict(subject.explanations[0].evidence.fingerprints),
        "settings": recipe.to_settings(),
    }
    return Checks(tuple(rows), about)


def _unwrap_single(given: Any) -> Any:
    """A single array that was given by name, without its tuple."""
    return given[0] if isinstance(given, tuple) and len(given) == 1 else given


def requested_groups(checks: Any) -> tuple[CheckGroup, ...]:
    """The groups of checks to run, in the order of CHECK_GROUPS.

    Raises:
        OptionError: there is no such group, or none is named.
    """
    if checks == "all":
        return CHECK_GROUPS
    known = [group.name for group in CHECK_GROUPS]
    requested = (checks,) if isinstance(checks, str) else tuple(checks)
    for name in requested:
        if name not in known:
            raise OptionError(Argument("checks", name), " is not known.", known=known)
    if not requested:
        raise OptionError(f"checks is empty: 'all', or some of {', '.join(map(repr, known))}.")
    return tuple(group for group in CHECK_GROUPS if group.name in requested)
