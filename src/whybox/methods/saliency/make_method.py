"""A method of saliency by its id and options."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from whybox.errors import Argument, OptionError, did_you_mean
from whybox.methods.registry import find, load
from whybox.methods.saliency.base import Method

__all__ = ["make_method"]


def make_method(method: Any, options: dict[str, Any]) -> Method:
    """Return a method by its id and options, or as it is given.

    Raises:
        OptionError: no such method, or an option it does not have.
    """
    if isinstance(method, Method):
        if options:
            raise OptionError(
                f"{', '.join(options)}: options go into the method itself: ",
                Argument("method", example=f"{type(method).__name__}(...)"),
                ".",
            )
        return method
    cls: type[Method] = load(find("saliency", method).run)
    known = [f.name for f in fields(cls)]
    for name in options:
        if name not in known:
            raise OptionError(
                Argument(name, example=""),
                " is no option of ",
                Argument("method", method),
                f".{did_you_mean(name, known) if known else ' It has none.'}",
            )
    return cls(**options)
