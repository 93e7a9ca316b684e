"""What the classes of this layer share: the forward function, the last explanation, and what captum's own base classes have."""

from __future__ import annotations

from typing import Any

from whybox.compat.captum.attr.call import Call, make_call
from whybox.compat.refused import refuse, refuse_given

__all__ = ["METHODS_OF_PATHS", "Attribution", "LayerAttributionBase", "check_path"]

METHODS_OF_PATHS = ("gausslegendre",)


class Attribution:
    """A method of captum.

    Attributes:
        forward_func: as it was given.
        explanation: what whybox answered to the last call of ``attribute``, with evidence and standard errors; a tuple if inputs were one. None before.
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


class LayerAttributionBase(Attribution):
    """A method that explains a layer, or by a layer.

    Args:
        forward_func: module or function. layer: one of its modules. device_ids: refused.

    Attributes:
        layer: the module.

    Raises:
        OptionError: `device_ids` are given.
    """

    def __init__(self, forward_func: Any, layer: Any, device_ids: Any = None) -> None:
        super().__init__(forward_func)
        refuse_given("device_ids", device_ids, "a module runs on the device that its parameters are on.")
        self.layer = layer

    def _call(self, inputs: Any, target: Any, additional_forward_args: Any, **options: Any) -> Call:
        return make_call(
            self.forward_func, inputs, target, additional_forward_args, layer=self.layer, derivatives=False, **options
        )


def check_path(method: Any, multiply_by_inputs: Any = True) -> None:
    """Refuse other rules of integration than captum's default, and maps that are not multiplied.

    Raises:
        OptionError: another rule.
    """
    refuse_given(
        "method", method, "points are those of Gauss-Legendre, the default; they need the fewest steps. Leave it out.",
        default=METHODS_OF_PATHS[0],
    )  # fmt: skip
    if not multiply_by_inputs:
        refuse(
            "multiply_by_inputs=False", "maps add up to the change of the score; divide them by (inputs - baselines)."
        )
