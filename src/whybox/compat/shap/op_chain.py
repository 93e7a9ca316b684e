"""``shap.Explanation.abs.mean(0)``: operations that are applied to an explanation later."""

from __future__ import annotations

from typing import Any, Final, final

__all__ = ["OPERATIONS", "OpChain"]

OPERATIONS: Final = ("abs", "argsort", "flip", "hclust", "identity", "max", "mean", "min", "sample", "sum")


@final
class OpChain:
    """Operations in their order."""

    def __init__(self, steps: tuple[tuple[str, Any], ...] = ()) -> None:
        self._steps = steps

    def __getattr__(self, name: str) -> OpChain:
        if name.startswith("_"):
            raise AttributeError(name)
        return OpChain((*self._steps, ("attribute", name)))

    def __call__(self, *args: Any, **kwargs: Any) -> OpChain:
        """Add the arguments of the last operation."""
        return OpChain((*self._steps, ("call", (args, kwargs))))

    def __getitem__(self, key: Any) -> OpChain:
        return OpChain((*self._steps, ("item", key)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpChain) and self._steps == other._steps

    def __hash__(self) -> int:
        return hash(repr(self._steps))

    def __repr__(self) -> str:
        words = ""
        for kind, what in self._steps:
            words += f".{what}" if kind == "attribute" else f"[{what!r}]" if kind == "item" else _call_text(*what)
        return f"Explanation{words}"

    def apply(self, explanation: Any) -> Any:
        """Apply the operations to an explanation; what they return."""
        value = explanation
        for kind, what in self._steps:
            if kind == "attribute":
                value = getattr(value, what)
            elif kind == "item":
                value = value[what]
            else:
                value = value(*what[0], **what[1])
        return value


def _call_text(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"
