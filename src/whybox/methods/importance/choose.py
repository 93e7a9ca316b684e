"""Which methods of importance were asked for, and which options each of them gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from whybox.errors import Argument, OptionError, quoted_list
from whybox.methods.common.options import make_options
from whybox.methods.importance.options import AUTO, ImportanceOptions
from whybox.methods.registry import find

_OTHER_NAMES: Final = {  # of scikit-learn's permutation_importance and of shap -> ours
    "random_state": "seed",
    "n_repeats": "max_evals",
    "scorer": "scoring",
    "metric": "scoring",
    "data": "background",
    "weights": "sample_weight",
    "groups": "players",
}

__all__ = ["options_of_methods", "single_options", "uses_y"]


def uses_y(method: str) -> bool:
    """Whether a method uses the truth."""
    spec = find("importance", method)
    return "y" in (*spec.needs, *spec.takes)


def single_options(y: Any, method: Any, given: Mapping[str, Any]) -> ImportanceOptions:
    """Return the options of one method, with the method that "auto" means: permutation where there is a truth, else shap.

    Raises:
        OptionError: as the dataclass itself, or options both by name and in an object.
    """
    _check_names(given)
    if isinstance(method, ImportanceOptions):
        options = make_options(ImportanceOptions, method, given)
    else:
        options = make_options(ImportanceOptions, None, {"method": method, **given})
    return options if options.method != AUTO else replace(options, method="shap" if y is None else "permutation")


def options_of_methods(y: Any, methods: Sequence[Any], given: Mapping[str, Any]) -> dict[str, ImportanceOptions]:
    """Return the options of each of several methods, by its id: those given by name go to the methods that take them.

    Args:
        y: the truth, or None. methods: ids and options objects, which have their options already. given: options by name, for the ids.

    Raises:
        OptionError: an empty list, a method twice, an option that none of them takes; others as the dataclass itself.
    """
    if not methods:
        raise OptionError(Argument("method", example=""), " is empty: name at least one.")
    _check_names(given)
    make_options(ImportanceOptions, None, given)  # a name that is no option, or a value that cannot be
    out: dict[str, ImportanceOptions] = {}
    taken: set[str] = set()
    for each in methods:
        if isinstance(each, ImportanceOptions):
            options = single_options(y, each, {})
        else:
            name = single_options(y, each, {}).method
            if given.get("players") is not None and "players" not in _option_names(name):
                raise OptionError(
                    Argument("method", name), " knows no players, so its features would not be those of the others. Leave it or ", Argument("players", example=""), " out.",
                )  # fmt: skip
            own = {key: value for key, value in given.items() if key in _option_names(name)}
            taken |= set(own)
            options = single_options(y, name, own)
        if options.method in out:
            raise OptionError(Argument("method", example=""), f" names {options.method!r} twice.")
        out[options.method] = options
    lost = [name for name in given if name not in taken]
    if lost:
        raise OptionError(
            Argument(lost[0], example=""),
            f": none of the methods {quoted_list(list(out))} that are named by their id takes it.",
        )
    return out


def _check_names(given: Mapping[str, Any]) -> None:
    """Refuse the names that other libraries have for options, and say ours.

    Raises:
        OptionError: there is one.
    """
    for name in given:
        if name in _OTHER_NAMES:
            raise OptionError(Argument(name, example=""), " is no option here; write ", Argument(_OTHER_NAMES[name], example=""), ".")  # fmt: skip


def _option_names(method: str) -> tuple[str, ...]:
    """The options that a method takes."""
    return find("importance", method).option_names or tuple(f.name for f in fields(ImportanceOptions))
