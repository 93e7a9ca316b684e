"""``shap.DeepExplainer`` and ``shap.GradientExplainer``: networks, by :func:`whybox.saliency`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.list_form import shaped
from whybox.core.validation import check_positive, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.methods.saliency.expected_gradients import SAMPLE_GROUPS, whole_groups
from whybox.methods.saliency.inputs import resolve_inputs
from whybox.methods.saliency.saliency import saliency
from whybox.models.registry import as_network

__all__ = ["DeepExplainer", "GradientExplainer"]

RANK_ORDERS: Final[dict[str, Callable[[Any], Any]]] = {
    "max": np.negative,
    "min": np.positive,
    "max_abs": lambda a: -np.abs(a),
}
KERAS_BEFORE_3: Final = ("keras.engine", "keras.src.engine")
MIN_COPIES: Final = 4  # of a row, with noise: two pairs of both signs
_SMOOTHING: Final = 0x5300


@final
@dataclass(frozen=True, eq=False)
class _Maps:
    """What the classes here return something of: maps, and what goes with them.

    Attributes:
        values: (rows, ...), outputs last if `has_outputs`. base_values: (rows, ...) or (). explanation: that of our own which they are of.
    """

    values: Floats
    has_outputs: bool
    base_values: Floats
    explanation: OwnExplanation


class _OfNetworks:
    """What both share: a network of one input, rows that stand for absent values, all outputs.

    Args:
        model: a network that whybox differentiates. data: rows, (rows, ...). session: refused, unless it says nothing.

    Raises:
        OptionError: a layer, several inputs, a session, or a model of TensorFlow.
    """

    method: ClassVar[str]

    def __init__(self, model: Any, data: Any, session: Any = None) -> None:
        refuse_given("session", session, "pass a network of torch, Keras 3 or JAX.")
        _refuse_tensorflow(model)
        if isinstance(model, (tuple, list)):
            refuse(
                "(model, layer)",
                "GradientExplainer takes it, of a module of torch and one of its layers; "
                "wb.saliency(net, x, method='layer_integrated_gradients', layer=...) explains a layer of any network.",
            )
        self.model, self.data = model, _only_input(data)

    def _maps(self, X: Any, target: Any = "all", **options: Any) -> _Maps:
        e = self._explained(X, target, method=self.method, **options)
        return _Maps(np.array(e.values), "output" in e.dims, np.array(e.base_values), e)

    def _explained(self, X: Any, target: Any, *, method: str, **options: Any) -> OwnExplanation:
        e = saliency(
            self.model,
            _only_input(X),
            target,
            method,
            background=self.data,
            reduce=None,
            channel_axis=None,
            **options,
        )
        assert isinstance(e, OwnExplanation)  # noqa: S101  # of one input
        return e

    def _ranked(self, X: Any, count: Any, order: str, maps_of: Callable[..., _Maps]) -> tuple[Any, Any]:
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
        maps = [maps_of(X, target=ranks[:, k]).values for k in range(most)]
        return shaped(np.stack(maps, axis=-1), has_outputs=True), ranks

    def _values(self, maps: _Maps) -> Any:
        return shaped(maps.values, has_outputs=maps.has_outputs)

    def _of_table(self, maps: _Maps, X: Any) -> Explanation:
        """An Explanation of rows and features.

        Raises:
            OptionError: the rows are pictures, or have other axes.
        """
        e = maps.explanation
        if "feature" not in e.dims:
            refuse(
                f"a call of shap.{type(self).__name__} about pictures",
                "shap_values(X) returns the array; wb.saliency(net, x, method='expected_gradients', background=rows).plot.overlay() draws it.",
            )
        return Explanation(
            maps.values,
            base_values=maps.base_values,
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
        return np.atleast_1d(np.array(self._maps(self.data[:1]).explanation.base))

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

    def _checked(self, X: Any, *, check_additivity: bool, target: Any = "all") -> _Maps:
        maps = self._maps(X, target)
        e = maps.explanation
        if check_additivity and "converged" in e.extras and not np.asarray(e.extras["converged"][1]).all():
            raise UnsupportedModelError(
                "the values of a row do not add up to its output less that of the background: an operation of the network is not as DeepLIFT has it. "
                "check_additivity of False returns them; shap.GradientExplainer draws expected gradients."
            )
        return maps


class GradientExplainer(_OfNetworks):
    """Expected gradients of a network, with standard errors in ``wb.saliency``.

    Of ``(model, layer)`` those of the layer's input: gradients integrated from what the layer is given for each background row to what it is given for the row.
    They add up to the difference of the outputs where all of it passes through the layer. (shap multiplies gradients on the way by the layer's input there, not by
    the difference, so that its numbers add up to something else.)

    Args:
        model: a network of torch, Keras 3 or JAX; or a module of torch and one of its layers. data: rows, (rows, ...). local_smoothing: width of normal noise on the
            rows that are explained; the mean over noisy copies of each is taken. session, batch_size: refused, unless they say nothing.

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.saliency`.
    """

    method = "expected_gradients"

    def __init__(
        self, model: Any, data: Any, session: Any = None, batch_size: int = 50, local_smoothing: float = 0
    ) -> None:
        refuse_given("batch_size", batch_size, "wb.saliency(..., budget='1GB') bounds the memory.", default=50)
        self.layer: str | None = None
        if isinstance(model, (tuple, list)) and _is_layer_of(model):
            model, self.layer = model[0], _name_of_layer(*model)
        self.local_smoothing = check_positive("local_smoothing", local_smoothing) if local_smoothing else 0.0
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
        """Return values, (rows, ..., outputs); of a layer, in the shape of its input.

        Args:
            X: rows. nsamples: gradients a row, rounded up to a multiple of 32, with `local_smoothing` to one of 64, at least 128; of a layer the integral from every background
                row takes as many as it needs, so that more are never needed. rseed: seed of the draws. ranked_outputs, output_rank_order: as of DeepExplainer.
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
        maps_of = partial(self._drawn, nsamples=check_whole_number("nsamples", nsamples), seed=rseed or 0)
        if ranked_outputs is not None:
            return self._ranked(X, ranked_outputs, output_rank_order, maps_of)
        return self._values(maps_of(X))

    def __call__(self, X: Any, nsamples: int = 200) -> Explanation:
        """Return an Explanation of rows of a table.

        Raises:
            OptionError: pictures, or a layer.
        """
        if self.layer is not None:
            refuse("a call of shap.GradientExplainer about a layer", "shap_values(X) returns the array.")
        return self._of_table(self._drawn(X, nsamples=check_whole_number("nsamples", nsamples)), X)

    def _drawn(self, X: Any, target: Any = "all", *, nsamples: int, seed: int = 0) -> _Maps:
        if not self.local_smoothing:
            return self._of_rows(X, target, whole_groups(nsamples), seed)
        copies = max(MIN_COPIES, 2 * -(-nsamples // (2 * SAMPLE_GROUPS)))
        (input_,) = resolve_inputs(as_network(self.model), _only_input(X), None)
        if input_.x.dtype.kind != "f":
            refuse(f"local_smoothing={self.local_smoothing}", "noise is for numbers that are no whole numbers.")
        shape = (len(input_.x), copies // 2, *input_.x.shape[1:])
        noise = self.local_smoothing * np.random.default_rng([seed % 2**63, _SMOOTHING]).standard_normal(shape)
        rows = input_.x[:, None] + np.concatenate([noise, -noise], axis=1)
        noisy = rows.reshape(-1, *input_.x.shape[1:]).astype(input_.x.dtype)
        targets = np.repeat(target, copies) if isinstance(target, np.ndarray) else target
        maps = self._of_rows(noisy, targets, SAMPLE_GROUPS, seed)

        def mean(a: Floats) -> Floats:
            return np.asarray(a.reshape(len(input_.x), copies, *a.shape[1:]).mean(axis=1)) if a.ndim else a

        return replace(maps, values=mean(maps.values), base_values=mean(maps.base_values))

    def _of_rows(self, X: Any, target: Any, samples: int, seed: int) -> _Maps:
        if self.layer is None:
            return self._maps(X, target, samples=samples, seed=seed)
        e = self._explained(X, target, method="layer_integrated_gradients", layer=self.layer, side="input")
        return _Maps(np.array(e.values), "output" in e.dims, np.array(e.base_values), e)


def _is_layer_of(pair: Any) -> bool:
    """Whether these are a module of torch and one of its layers."""
    torch = sys.modules.get("torch")
    return torch is not None and len(pair) == 2 and all(isinstance(m, torch.nn.Module) for m in pair)


def _name_of_layer(model: Any, layer: Any) -> str:
    """Return the name of a layer.

    Raises:
        OptionError: the model has no such layer.
    """
    name = next((str(name) for name, each in model.named_modules() if each is layer), "")
    if not name:
        refuse("(model, layer)", "the layer must be one of model.modules(), and is not.")
    return name


def _refuse_tensorflow(model: Any) -> None:
    """Refuse what runs on TensorFlow, which whybox does not differentiate.

    Raises:
        OptionError: the model, or one of a tuple, is of TensorFlow or of the Keras before version 3.
    """
    for one in model if isinstance(model, (tuple, list)) else (model,):
        modules = [base.__module__ for base in type(one).__mro__]
        if any(m.split(".")[0] in {"tensorflow", "tf_keras"} or m.startswith(KERAS_BEFORE_3) for m in modules):
            refuse(
                "a model of TensorFlow",
                "load it with Keras 3 on torch or JAX, wb.networks.exported('net.keras'); docs/book.md lists what to do with each kind.",
            )


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
