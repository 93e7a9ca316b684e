"""Saliency as an object: options once, then any number of rows and targets."""

from __future__ import annotations

from typing import Any, final

from whybox.explanation.explanation import Explanation
from whybox.methods.common.spot_checks import TimeShare
from whybox.methods.saliency.make_method import make_method
from whybox.methods.saliency.options import CALL_OPTIONS, SaliencyOptions
from whybox.methods.saliency.saliency import saliency

__all__ = ["Saliency"]


@final
class Saliency:
    """``Saliency(net, "integrated_gradients", tol=0.001)(pictures, 285)``.

    Its first answer checks itself, see ``spot_checks``; later ones as long as checks take 2 % of its time or less, and the evidence says which. With a number of
    your own, every answer does.

    Args:
        net, method, options: as for ``whybox.saliency``; options are checked here, before there are rows.

    Raises:
        OptionError: an option that neither ``whybox.saliency`` nor the method has.
    """

    def __init__(self, net: Any, method: Any = "gradient", **options: Any) -> None:
        self.net = net
        self.options = {name: value for name, value in options.items() if name in CALL_OPTIONS}
        SaliencyOptions(**self.options)
        self.method = make_method(method, {name: value for name, value in options.items() if name not in CALL_OPTIONS})
        self._share = TimeShare()

    def __call__(self, inputs: Any, target: Any = None) -> Explanation | tuple[Explanation, ...]:
        """Explain rows; see ``whybox.saliency`` for what is returned and raised."""
        options, began = self.options, self._share.clock_time()
        if options.get("spot_checks") is None and not self._share.is_check_due():
            options = {**options, "spot_checks": 0}
        found: Explanation | tuple[Explanation, ...] = saliency(self.net, inputs, target, self.method, **options)
        e = found[0] if isinstance(found, tuple) else found
        passes, checks = e.evidence.passes, e.evidence.spot_checks
        spot = 0 if checks is None else checks.predictions
        seconds = self._share.clock_time() - began
        part = seconds * spot / max(passes["forward"] + passes["backward"] + spot, 1)  # by rows through the network
        self._share.add_time(work=seconds - part, checks=part)
        return found

    def __repr__(self) -> str:
        return f"Saliency({type(self.net).__name__}, {self.method!r})"
