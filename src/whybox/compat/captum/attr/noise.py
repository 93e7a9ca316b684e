"""Noise on the inputs of a method of captum: copies of rows in pairs of both signs, their mean, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

import torch

from whybox.compat.captum.attr.attribution import Attribution
from whybox.compat.captum.attr.call import draws_by
from whybox.compat.captum.attr.gradients import DeepLiftShap, GradientShap
from whybox.compat.captum.attr.noisy_rows import NoisyRows, repeat_for_copies
from whybox.compat.refused import refuse, refuse_given
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, InputError, OptionError

__all__ = ["NoiseTunnel"]

NOISE_KINDS: Final = ("smoothgrad", "smoothgrad_sq", "vargrad")
OF_ROWS: Final = (
    "target",
    "baselines",
    "additional_forward_args",
    "feature_mask",
)  # arguments that may have an entry for each row


@final
class NoiseTunnel(Attribution):
    """A method under noise: the mean, the mean square or the variance of its maps of noisy copies of the rows.

    Args:
        attribution_method: a method of this layer.

    Attributes:
        attribution_method: as given. std_errors: of the last answer, in its shape; None of a variance.
        explanation: of the noisy copies, row by row; a tuple of several where `nt_samples_batch_size` cuts the copies.

    Raises:
        OptionError: `attribution_method` is no method, or one that gives a number of its own to each sample.
    """

    def __init__(self, attribution_method: Any) -> None:
        if not isinstance(attribution_method, Attribution) or isinstance(attribution_method, NoiseTunnel):
            raise OptionError(
                Argument("attribution_method"),
                f" must be a method of whybox.compat.captum.attr and is a {type(attribution_method).__name__}.",
            )
        super().__init__(attribution_method.forward_func)
        self.attribution_method = attribution_method
        self.std_errors: Any = None

    def has_convergence_delta(self) -> bool:
        """Return whether the method has one."""
        return self.attribution_method.has_convergence_delta()

    def attribute(
        self,
        inputs: Any,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Any = 1.0,
        draw_baseline_from_distrib: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the maps, in the shape of the method's; with ``return_convergence_delta`` also the deltas of all copies, (rows * copies,).

        Args:
            nt_samples: copies of each row; the next even number is taken, at least 4. nt_samples_batch_size: copies in one call of the method. stdevs: of the noise,
            one for each input. kwargs: of the method. Others as of captum.

        Raises:
            OptionError: an unknown `nt_type`, or `draw_baseline_from_distrib`. InputError: inputs that noise cannot be added to. WhyboxError: as the method.
        """
        if nt_type not in NOISE_KINDS:
            raise OptionError(Argument("nt_type", nt_type), " is not known.", known=NOISE_KINDS)
        refuse_given(
            "draw_baseline_from_distrib", draw_baseline_from_distrib, "GradientShap draws baselines. Leave it out.", default=False,
        )  # fmt: skip
        noisy = NoisyRows.draw(inputs, stdevs, check_whole_number("nt_samples", nt_samples))
        some = noisy.copies
        if nt_samples_batch_size is not None:
            some = min(check_whole_number("nt_samples_batch_size", nt_samples_batch_size), some)
        answers, deltas, explained = [], [], []
        for start in range(0, noisy.copies, some):
            with draws_by(start):
                answer, delta, is_tuple = self._attribute(noisy, slice(start, min(start + some, noisy.copies)), kwargs)
            answers.append(answer)
            deltas.append(delta)
            explained.append(self.attribution_method.explanation)
        self.explanation = explained[0] if len(explained) == 1 else tuple(explained)
        maps = [torch.cat(each, dim=1) for each in zip(*answers, strict=True)]
        reduced = [_reduce(each, nt_type) for each in maps]
        shown = [[one[k] for one in reduced] for k in (0, 1)]
        values, errors = (tuple(each) if is_tuple else each[0] for each in shown)
        self.std_errors = None if nt_type == "vargrad" else errors
        return (values, torch.cat(deltas, dim=1).reshape(-1)) if kwargs.get("return_convergence_delta") else values

    def _attribute(self, noisy: NoisyRows, which: slice, kwargs: dict[str, Any]) -> tuple[list[Any], Any, bool]:
        """Maps of some copies, each (rows, copies, ...); and their deltas, (rows, copies), or None; and whether the maps were a tuple."""
        copies = which.stop - which.start
        of_rows = [
            n
            for n in OF_ROWS
            if n != "baselines" or not isinstance(self.attribution_method, DeepLiftShap | GradientShap)
        ]
        repeated = {n: repeat_for_copies(n, v, noisy.tensors, copies) if n in of_rows else v for n, v in kwargs.items()}
        attribute: Callable[..., Any] = self.attribution_method.attribute  # type: ignore[attr-defined]  # of each subclass
        found, delta = attribute(noisy.inputs(which), **repeated), None
        if kwargs.get("return_convergence_delta"):
            found, delta = found
            if len(delta) != noisy.rows * copies:
                refuse("return_convergence_delta=True", "this method has no number for each copy.")
            delta = delta.reshape(noisy.rows, copies)
        every = found if isinstance(found, tuple) else (found,)
        if any(len(t) != noisy.rows * copies for t in every):
            raise InputError("NoiseTunnel needs a method whose maps have an entry for each row.")
        return [t.reshape(noisy.rows, copies, *t.shape[1:]) for t in every], delta, isinstance(found, tuple)


def _reduce(maps: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean (mean square, variance) of maps (rows, copies, ...), and its standard error; of a variance that of the mean.

    Copies come in pairs, whose means are independent. The variance is corrected for what the mean itself varies.
    """
    each = maps.double()
    of = each**2 if kind == "smoothgrad_sq" else each
    pairs = of.reshape(of.shape[0], of.shape[1] // 2, 2, *of.shape[2:]).mean(dim=2)
    mean = pairs.mean(dim=1)
    error = (pairs.var(dim=1, unbiased=True) / pairs.shape[1]).sqrt()
    if kind == "vargrad":
        mean = ((each - mean[:, None]) ** 2).mean(dim=1) + error**2
    return mean.to(maps.dtype), error.to(maps.dtype)
