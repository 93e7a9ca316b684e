"""``shap.DeepExplainer`` and ``shap.GradientExplainer``: networks, by :func:`whybox.saliency`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np

from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.list_form import shaped
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.methods.saliency.expected_gradients import whole_groups
from whybox.methods.saliency.inputs import resolve_inputs
from whybox.methods.saliency.saliency import saliency
from whybox.models.registry import as_network

__all__ = ["DeepExplainer", "GradientExplainer"]

RANK_ORDERS: Final[dict[str, Callable[[Any], Any]]] = {
    "max": np.negative,
    "min": np.positive,
    "max_abs": lambda a: -np.abs(a),
}


class _OfNetworks:
    """What both share: a network of one input, rows that stand for absent values, all outputs.

    Args:
        model: a network that whybox differentiates. data: rows, (rows, ...). session: refused, unless it says nothing.

    Raises:
        OptionError: a layer, several inputs, or a session.
    """

    method: ClassVar[str]

    def __init__(self, model: Any, data: Any, session: Any = None) -> None:
        refuse_given("session", session, "pass a network of torch, Keras 3 or JAX.")
        if isinstance(model, (tuple, list)):
            refuse(
                "(model, layer)",
                "wb.saliency(net, x, method='layer_integrated_gradients', layer=...) explains a layer.",
            )
        self.model, self.data = model, _only_input(data)

    def _explained(self, X: Any, target: Any = "all", **options: Any) -> OwnExplanation:
        e = saliency(
            self.model,
            _only_input(X),
            target,
            self.method,
            background=self.data,
            reduce=None,
            channel_axis=None,
            **options,
        )
        assert isinstance(e, OwnExplanation)  # noqa: S101  # of one input
        return e

    def _ranked(self, X: Any, count: Any, order: str, explained: Callable[..., OwnExplanation]) -> tuple[Any, Any]:
        """Values of so many outputs of each row, (rows, ..., count), and which these are, (rows, count).

        Raises:
            OptionError: an unknown order, or a number of outputs that there is not.
        """
        if order not in RANK_ORDERS:
            raise OptionError(Argument("output_rank_order", order), " is not known.", known=tuple(RANK_ORDERS))
        most = check_whole_number("ranked_outputs", count)
        net = as_network(self.model)
        (input_,) = resolve_inputs(net, _only_input(X), None)
        with net.session():
            some = range(0, len(input_.x), net.max_batch_size)
            batches = [net.numpy(net.forward((net.array(input_.x[i : i + net.max_batch_size]),))) for i in some]
        outputs = np.concatenate(batches)
        if outputs.ndim != 2 or most > outputs.shape[1]:
            raise OptionError(Argument("ranked_outputs", count), f": outputs have the shape {outputs.shape}.")
        ranks = np.argsort(RANK_ORDERS[order](outputs), axis=1, kind="stable")[:, :most]
        maps = [np.array(explained(X, target=ranks[:, k]).values) for k in range(most)]
        return shaped(np.stack(maps, axis=-1), has_outputs=True), ranks

    def _values(self, e: OwnExplanation) -> Any:
        return shaped(np.array(e.values), has_outputs="output" in e.dims)

    def _of_table(self, e: OwnExplanation, X: Any) -> Explanation:
        """An Explanation of rows and features.

        Raises:
            OptionError: the rows are pictures, or have other axes.
        """
        if "feature" not in e.dims:
            refuse(
                f"a call of shap.{type(self).__name__} about pictures",
                "shap_values(X) returns the array; wb.saliency(net, x, method='expected_gradients', background=rows).plot.overlay() draws it.",
            )
        return Explanation(
            np.array(e.values),
            base_values=np.array(e.base_values),
            data=np.asarray(_only_input(X)),
            feature_names=list(e.feature_names),
            output_names=list(e.output_names) or None,
            compute_time=e.evidence.seconds,
        )


class DeepExplainer(_OfNetworks):
    """DeepLIFT of a network, in the mean over background rows.

    Args:
        model: a network of torch, Keras 3 or JAX. data: rows, (rows, ...), all of which count. session, learning_phase_flags: refused, unless they say nothing.

    Attributes:
        expected_value: mean outputs of the background, (outputs,).

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.saliency`.
    """

    method = "deeplift"

    def __init__(self, model: Any, data: Any, session: Any = None, learning_phase_flags: Any = None) -> None:
        refuse_given("learning_phase_flags", learning_phase_flags, "put the network in evaluation mode: net.eval().")
        super().__init__(model, data, session)

    @property
    def expected_value(self) -> Any:
        """The mean outputs of the background, (outputs,)."""
        return np.atleast_1d(np.array(self._explained(self.data[:1]).base))

    def shap_values(
        self, X: Any, ranked_outputs: Any = None, output_rank_order: str = "max", check_additivity: bool = True
    ) -> Any:
        """Return values, (rows, ..., outputs).

        Args:
            X: rows. ranked_outputs: how many outputs of each row are explained, the largest first; a pair is returned: the values, and which outputs these are,
                (rows, ranked_outputs). None: all. output_rank_order: ``"max"``, ``"min"`` or ``"max_abs"``. check_additivity: False returns rows that do not add up.

        Raises:
            UnsupportedModelError: a row does not add up, within 5 % of its difference from the background. OptionError: what is not honoured.
        """
        checked = partial(self._checked, check_additivity=check_additivity)
        if ranked_outputs is not None:
            return self._ranked(X, ranked_outputs, output_rank_order, checked)
        return self._values(checked(X))

    def __call__(self, X: Any) -> Explanation:
        """Return an Explanation of rows of a table.

        Raises:
            OptionError: pictures. Others as :meth:`shap_values`.
        """
        return self._of_table(self._checked(X, check_additivity=True), X)

    def _checked(self, X: Any, *, check_additivity: bool, target: Any = "all") -> OwnExplanation:
        e = self._explained(X, target)
        if check_additivity and "converged" in e.extras and not np.asarray(e.extras["converged"][1]).all():
            raise UnsupportedModelError(
                "the values of a row do not add up to its output less that of the background: an operation of the network is not as DeepLIFT has it. "
                "check_additivity of False returns them; shap.GradientExplainer draws expected gradients."
            )
        return e


class GradientExplainer(_OfNetworks):
    """Expected gradients of a network, with standard errors in ``wb.saliency``.

    Args:
        model: a network of torch, Keras 3 or JAX. data: rows, (rows, ...). session, batch_size, local_smoothing: refused, unless they say nothing.

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.saliency`.
    """

    method = "expected_gradients"

    def __init__(
        self, model: Any, data: Any, session: Any = None, batch_size: int = 50, local_smoothing: float = 0
    ) -> None:
        refuse_given("batch_size", batch_size, "wb.saliency(..., budget='1GB') bounds the memory.", default=50)
        refuse_given(
            "local_smoothing", local_smoothing, "wb.saliency(net, x, method='smoothgrad') adds noise.", default=0
        )
        super().__init__(model, data, session)

    def shap_values(
        self,
        X: Any,
        nsamples: int = 200,
        ranked_outputs: Any = None,
        output_rank_order: str = "max",
        rseed: int | None = None,
        return_variances: bool = False,
    ) -> Any:
        """Return values, (rows, ..., outputs).

        Args:
            X: rows. nsamples: gradients a row, rounded up to a multiple of 32. rseed: seed of the draws. ranked_outputs, output_rank_order: as of DeepExplainer.
                return_variances: refused.

        Raises:
            OptionError: what is not honoured. Others as :func:`whybox.saliency`.
        """
        refuse_given(
            "return_variances",
            return_variances,
            "wb.saliency(net, x, method='expected_gradients', background=rows).std_error has the standard error of each value.",
            default=False,
        )
        explained = partial(self._explained, samples=whole_groups(int(nsamples)), seed=rseed or 0)
        if ranked_outputs is not None:
            return self._ranked(X, ranked_outputs, output_rank_order, explained)
        return self._values(explained(X))

    def __call__(self, X: Any, nsamples: int = 200) -> Explanation:
        """Return an Explanation of rows of a table.

        Raises:
            OptionError: pictures.
        """
        return self._of_table(self._explained(X, samples=whole_groups(int(nsamples))), X)


def _only_input(data: Any) -> Any:
    """The rows of the only input, also out of a list.

    Raises:
        OptionError: there are several inputs.
    """
    if isinstance(data, (list, tuple)) and data and np.ndim(data[0]) > 1:
        if len(data) > 1:
            refuse("several inputs of a network", "wb.saliency(net, (x, y), background=(a, b), ...) takes them.")
        return data[0]
    return data
