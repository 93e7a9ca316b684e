"""What the classes of this layer share: the forward function, the last explanation, and what captum's own base classes have."""

from __future__ import annotations

from typing import Any

from whybox.compat.captum.attr.call import Call
from whybox.compat.refused import refuse, refuse_given

__all__ = ["Attribution", "check_multiplied", "check_path"]


class Attribution:
    """A method of captum.

    Attributes:
        forward_func: as it was given.
        explanation: what whybox answered to the last call of ``attribute``, with evidence and standard errors; a tuple if the inputs were a tuple,
            but one for a layer. None before.
    """

    _has_delta = False

    def __init__(self, forward_func: Any) -> None:
        self.forward_func = forward_func
        self.explanation: Any = None

    def has_convergence_delta(self) -> bool:
        """Return whether ``return_convergence_delta`` is an argument of ``attribute``."""
        return self._has_delta

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: the delta comes with the answer.

        Raises:
            OptionError: in any case.
        """
        refuse(
            "compute_convergence_delta",
            "call attribute(..., return_convergence_delta=True), or read .explanation.extras['completeness_error'].",
        )

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: calls wait for their answer.

        Raises:
            OptionError: in any case.
        """
        refuse("attribute_future", "call attribute.")

    def _keep(self, call: Call, found: Any) -> None:
        self.explanation = found if call.is_tuple or len(found) != 1 else found[0]

    def _answer(self, call: Call, method: str, *, with_delta: bool = False, **options: Any) -> Any:
        """Ask, and return tensors of the inputs; with the delta if that is wanted."""
        found = call.ask(method, **options)
        self._keep(call, found)
        answer = call.to_tensors([e.values for e in found])
        return (answer, call.delta(found)) if with_delta else answer


def check_path(method: Any) -> None:
    """Refuse other rules of integration than captum's default.

    Raises:
        OptionError: another rule.
    """
    refuse_given(
        "method", method, "points are those of Gauss-Legendre, the default; they need the fewest steps. Leave it out.",
        default="gausslegendre",
    )  # fmt: skip


def check_multiplied(multiply_by_inputs: Any) -> None:
    """Refuse maps that are not multiplied by the difference from the baselines.

    Raises:
        OptionError: it is False.
    """
    if not multiply_by_inputs:
        refuse(
            "multiply_by_inputs=False", "maps add up to the change of the score; divide them by (inputs - baselines)."
        )
