"""Saliency as an object: options once, then any number of rows and targets."""

from __future__ import annotations

from typing import Any, final

from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.make_method import make
from whybox.methods.saliency.options import CALL_OPTIONS, SaliencyOptions
from whybox.methods.saliency.saliency import saliency

__all__ = ["Saliency"]


@final
class Saliency:
    """``Saliency(net, "integrated_gradients", tol=0.001)(pictures, 285)``.

    Args:
        net, method, options: as for ``whybox.saliency``; options are checked here, before there are rows.

    Raises:
        OptionError: an option that neither ``whybox.saliency`` nor the method has.
    """

    def __init__(self, net: Any, method: Any = "gradient", **options: Any) -> None:
        self.net = net
        self.options = {name: value for name, value in options.items() if name in CALL_OPTIONS}
        SaliencyOptions(**self.options)
        self.method = make(method, {name: value for name, value in options.items() if name not in CALL_OPTIONS})

    def __call__(self, inputs: Any, target: Any = None) -> Explanation | tuple[Explanation, ...]:
        """Explain rows; see ``whybox.saliency`` for what is returned and raised."""
        return saliency(self.net, inputs, target, self.method, **self.options)

    def __repr__(self) -> str:
        return f"Saliency({type(self.net).__name__}, {self.method!r})"
