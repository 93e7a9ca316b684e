"""Options of a call of ``whybox.saliency`` that are not those of its method."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, final

from whybox.errors import Argument, OptionError
from whybox.methods.common.options import option
from whybox.methods.common.spot_checks import check_spot_checks
from whybox.methods.saliency.problem import DEFAULT_MEMORY

__all__ = ["CALL_OPTIONS", "CHANNEL_REDUCTIONS", "ReadingOptions", "SaliencyOptions"]

CHANNEL_REDUCTIONS: Final = ("auto", "max", "sum", None)


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How inputs are read; see ``whybox.saliency`` for each in full."""

    channel_axis: Any = option("auto", "axis of the channels, rows being axis 0, or none")
    embedding: str | None = option(None, "path of the layer that embeds tokens")
    tokenizer: Any = option(None, "reads texts", as_text=False)
    words: bool = option(False, "tokens are summed to words")
    baseline_token: Any = option(None, "id or name of the token that replaces absent ones")

    def changed_options(self, *names: str) -> dict[str, Any]:
        """Return those options that are not at their defaults, of these names (none: of all)."""
        every = {f.name: getattr(self, f.name) for f in fields(self) if not names or f.name in names}
        defaults = {f.name: f.default for f in fields(self)}
        return {name: value for name, value in every.items() if not _is_default(value, defaults[name])}


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str) and value == default)


@final
@dataclass(frozen=True, kw_only=True)
class SaliencyOptions(ReadingOptions):
    """What ``whybox.saliency`` takes beside network, inputs, target, method and the method's own options; see there for each in full.

    Raises:
        OptionError: a way to reduce channels that is not known.
    """

    background: Any = option(None, "rows that stand for absent", as_text=False)
    reduce: str | None = option("auto", "how channels become one number", choices=CHANNEL_REDUCTIONS)
    output: Any = option(None, "which of several outputs of the network")
    output_names: Any = option(None, "names of the outputs", as_text=False)
    dtype: str | None = option(None, "shorter type to compute in")
    budget: Any = option(DEFAULT_MEMORY, "bytes that derivatives may keep at a time")
    seed: int = option(0, "of what is drawn")
    spot_checks: int | None = option(None, "most rows through the network that checks of the answer take; 0: none")

    def __post_init__(self) -> None:
        if self.reduce not in CHANNEL_REDUCTIONS:
            raise OptionError(Argument("reduce", self.reduce), " is not known: 'auto', 'max', 'sum' or None.")
        check_spot_checks(self.spot_checks)


CALL_OPTIONS: Final = tuple(f.name for f in fields(SaliencyOptions))
