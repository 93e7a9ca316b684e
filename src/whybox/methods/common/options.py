"""Options of a method: one frozen dataclass, in which each option is written once, with its default, its check and its help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Final, TypeVar, cast, get_overloads

from whybox.core.validation import check_whole_number
from whybox.core.workers import check_jobs
from whybox.errors import Argument, OptionError, Part, did_you_mean
from whybox.methods.common.spot_checks import check_spot_checks
from whybox.numerics.statistics import critical_value

__all__ = [
    "NO_OFFSETS",
    "OFFSETS_OF_LIBRARIES",
    "PredictionOptions",
    "check_max_evals",
    "make_options",
    "not_together",
    "option",
    "parameters_of",
    "refuses_unknown_options",
    "shows_first_overload",
]

OTHER_NAMES: Final = {"target": "y", "truth": "y", "labels": "y", "y_true": "y"}  # of options; ours
_OFFSET_INSTEAD: Final[tuple[Part, ...]] = (
    "a report takes no offsets of rows; wb.explain, wb.importance and the other functions do. Here write it into a function of rows, one of whose columns holds the offset: ",
    "lambda X: model.predict_proba(X.drop(columns='offset'), base_margin=X['offset'])[:, 1]. The offset is then a feature like others.",
)
OFFSETS_OF_LIBRARIES: Final[Mapping[str, tuple[Part, ...]]] = {
    **dict.fromkeys(("base_margin", "init_score", "baseline"), ("write ", Argument("offset", example="..."), ".")),
    "exposure": ("write its log: ", Argument("offset", example="numpy.log(exposure)"), "."),
}
NO_OFFSETS: Final[Mapping[str, tuple[Part, ...]]] = dict.fromkeys(("offset", *OFFSETS_OF_LIBRARIES), _OFFSET_INSTEAD)
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Options = TypeVar("_Options")


def option(default: Any, help: str, *, choices: tuple[Any, ...] = (), as_text: bool = True) -> Any:  # noqa: A002  # as argparse calls it
    """Declare an option of a dataclass.

    Args:
        default: what it is where it is not given. help: one line without a full stop, for the command line and the docs.
        choices: its values, if they are few. as_text: whether it can be written as text, and so be an option of the command line.
    """
    return field(default=default, metadata={"help": help, "choices": choices, "as_text": as_text})


def make_options(kind: type[_Options], options: _Options | None, given: Mapping[str, Any]) -> _Options:
    """Return the options object, or one made of what was given by name.

    A class may say in ``INSTEAD`` what stands for the options that users of another library look for.

    Raises:
        OptionError: both, or a name that is no option; a value that cannot be, by the dataclass itself.
    """
    if options is not None:
        if not isinstance(options, kind):
            raise OptionError(Argument("options", options), f" must be made by {kind.__name__}(...).")
        if given:
            raise OptionError(
                Argument(next(iter(given))), f": options go into the object itself: {kind.__name__}(...)."
            )
        return options
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    for name in given:
        if name not in known:
            raise _unknown_option(name, known, kind)
    return kind(**given)


def _unknown_option(name: str, known: Sequence[str], kind: type[Any] | None) -> OptionError:
    """The error for a name that is no option; of a class whose ``INSTEAD`` has the name, it says what stands for it."""
    instead = getattr(kind, "INSTEAD", {}).get(name)
    if instead is not None:
        return OptionError(Argument(name, example=""), " is no option here: ", *instead)
    return OptionError(Argument(name, example=""), f" is no option here.{did_you_mean(name, known, usual_first=True)}")


def not_together(option: Argument, other: str, *why: Part) -> OptionError:
    """Return the error for an option that does not go with another.

    Args:
        option: with its value. other: the name of the other one. why: the reason and what to do, behind the two.
    """
    return OptionError(option, " does not go with ", Argument(other, example="..."), *why)


def parameters_of(kind: type[Any], *without: str) -> list[Parameter]:
    """Return the options as keyword parameters, for the signature of a class that takes them all."""
    return [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in fields(kind)
        if f.name not in without
    ]


def shows_first_overload(function: _Function) -> _Function:
    """Give a verb the signature of its first overload, which names every option; at run time they all go into one options object."""
    function.__signature__ = signature(get_overloads(function)[0])  # type: ignore[attr-defined]  # read by inspect
    return function


def refuses_unknown_options(function: _Function, options_class: type[Any] | None = None) -> _Function:
    """Let a verb refuse options that it does not take as all verbs do, in place of Python's TypeError.

    Args:
        function: the verb. options_class: a class whose ``INSTEAD`` says what stands for options of another library.
    """
    parameters = signature(function).parameters
    known = [name for name, p in parameters.items() if p.default is not Parameter.empty]

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        for name in options:
            if name in parameters:
                continue
            if OTHER_NAMES.get(name) in parameters:
                ours = Argument(OTHER_NAMES[name], example="")
                raise OptionError(Argument(name, example=""), " is no option here; write ", ours, ".")
            raise _unknown_option(name, known, options_class)
        return function(*args, **options)

    return cast("_Function", checked)


def check_max_evals(max_evals: Any) -> int | None:
    """Return how many predictions are allowed.

    Raises:
        OptionError: not a positive whole number.
    """
    return None if max_evals is None else check_whole_number("max_evals", max_evals)


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """What everything that is computed from predictions takes: which output on which scale, how rows are weighed, what may be spent.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    output: Any = option(None, "name of a class or output, or all")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    sample_weight: Any = option(None, "one weight a row", as_text=False)
    response_method: str | None = option(None, "method of the estimator to evaluate instead of reading it")
    max_evals: int | None = option(None, "most predictions of single rows")
    n_jobs: int | None = option(None, "threads of tree ensembles")
    level: float = option(0.95, "confidence of the intervals around what is estimated from the rows")
    spot_checks: int | None = option(None, "predictions that recompute numbers of the answer; 0: none")

    def __post_init__(self) -> None:
        critical_value(self.level)
        object.__setattr__(self, "level", float(self.level))
        object.__setattr__(self, "max_evals", check_max_evals(self.max_evals))
        object.__setattr__(self, "n_jobs", check_jobs(self.n_jobs))
        object.__setattr__(self, "spot_checks", check_spot_checks(self.spot_checks))
