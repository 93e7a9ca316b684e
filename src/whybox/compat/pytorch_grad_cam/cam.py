"""Class activation maps with the names, arguments and shapes of pytorch_grad_cam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt
import torch

from whybox.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from whybox.compat.refused import refuse, refuse_given
from whybox.core.progress import no_progress_bars
from whybox.errors import Argument, InputError
from whybox.methods.saliency.saliency import saliency
from whybox.numerics.interpolation import upsample

__all__ = ["BaseCAM", "GradCAM", "GradCAMPlusPlus", "GuidedBackpropReLUModel", "LayerCAM", "ScoreCAM"]

AXES: Final = {4: ("channel", "y", "x"), 5: ("channel", "z", "y", "x")}
LIGHTS: Final = (0.9, 1, 1.1)  # factors of the inputs with aug_smooth
Floats32 = npt.NDArray[np.float32]


class BaseCAM:
    """A class activation map of a torch network; see its subclasses.

    Args:
        model: the network; it is set to eval mode, as in pytorch_grad_cam. target_layers: a list of its modules; their maps are averaged.
        reshape_transform: a function that makes (rows, channels, y, x) of a layer's output. use_cuda: refused.

    Attributes:
        outputs: of the network, of the last call. explanation: what whybox answered to it, one for each layer and set of rows with one target.

    Raises:
        InputError: no layers, or one that is no part of the network. OptionError: `use_cuda`.
    """

    method: ClassVar[str] = ""
    options: ClassVar[dict[str, Any]] = {}

    def __init__(
        self, model: Any, target_layers: Sequence[Any], reshape_transform: Any = None, *, use_cuda: Any = False
    ) -> None:
        refuse_given("use_cuda", use_cuda, "the network runs where its parameters are. Leave it out.", default=False)
        if not isinstance(model, torch.nn.Module) or not isinstance(target_layers, (list, tuple)) or not target_layers:
            raise InputError("a class activation map needs a torch module and ", Argument("target_layers"), ", a list of its layers.")  # fmt: skip
        self._layers = [next((n for n, m in model.named_modules() if m is layer), None) for layer in target_layers]
        if None in self._layers:
            raise InputError(Argument("target_layers"), " holds a layer that is no part of the model.")
        self.model, self.target_layers, self.reshape_transform = model.eval(), target_layers, reshape_transform
        self.outputs: Any = None
        self.explanation: tuple[Any, ...] = ()

    def __call__(
        self, input_tensor: Any, targets: Any = None, aug_smooth: bool = False, eigen_smooth: bool = False
    ) -> Floats32:
        """Return the maps at the positions of the inputs, (rows, y, x), 0 ... 1 in each.

        Args:
            input_tensor: (rows, channels, y, x), or with a depth before y.
            targets: for each row a function of its output, as in utils.model_targets. Where they are left out, each row's highest output is explained.
            aug_smooth: the mean over six maps: of the inputs and their mirror images, times 0.9, 1 and 1.1.
            eigen_smooth: refused.

        Raises:
            InputError: inputs of other axes, or another number of targets. OptionError: `eigen_smooth`. WhyboxError: as :func:`whybox.saliency`.
        """
        if eigen_smooth:
            refuse("eigen_smooth=True", "a principal component has no sign of its own. Leave it out.")
        if not isinstance(input_tensor, torch.Tensor) or input_tensor.ndim not in AXES:
            raise InputError(Argument("input_tensor"), " must be a tensor (rows, channels, y, x).")
        if targets is not None and len(targets) != len(input_tensor):
            raise InputError(Argument("targets"), f" has {len(targets)} entries, and there are {len(input_tensor)} rows.")  # fmt: skip
        x = input_tensor.detach()
        with torch.no_grad():
            self.outputs = self.model(x)
        self.explanation = ()
        if not aug_smooth:
            return self._maps(x, targets)
        maps = [self._maps(x * light, targets) for light in LIGHTS]
        maps += [self._maps(x.flip(-1) * light, targets)[..., ::-1] for light in LIGHTS]
        return np.asarray(np.mean(maps, axis=0), dtype=np.float32)

    def __enter__(self) -> BaseCAM:
        """Return itself: there is nothing to be released, as no hooks stay."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def _maps(self, x: Any, targets: Any) -> Floats32:
        """The mean over layers of maps that are scaled to 0 ... 1, scaled again."""
        places = tuple(x.shape[2:])
        layers = [np.maximum(upsample(_scaled(self._of_layer(x, targets, layer)), places), 0) for layer in self._layers]
        return _scaled(np.mean(layers, axis=0)).astype(np.float32)

    def _of_layer(self, x: Any, targets: Any, layer: Any) -> npt.NDArray[np.float64]:
        """The map on a layer's grid; rows with the same target together."""
        found: list[Any] = [None] * len(x)
        for target, rows in _rows_by_target(targets, len(x)):
            with no_progress_bars(hidden=True):
                e: Any = saliency(
                    self.model, x[torch.as_tensor(rows, dtype=torch.long, device=x.device)], target, self.method, layer=layer, upsample=False,
                    channel_axis=1, layer_axes=AXES[x.ndim], reshape=self.reshape_transform, **self.options,
                )  # fmt: skip
            self.explanation += (e,)
            for row, one in zip(rows, e.values, strict=True):
                found[row] = one
        return np.stack(found)


def _scaled(maps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each map less its least number, and divided by its largest."""
    span = tuple(range(1, maps.ndim))
    above = maps - maps.min(axis=span, keepdims=True)
    return np.asarray(above / (1e-7 + above.max(axis=span, keepdims=True)))


def _rows_by_target(targets: Any, rows: int) -> list[tuple[Any, list[int]]]:
    """Targets as whybox takes them, each with its rows."""
    if targets is None:
        return [(None, list(range(rows)))]
    if all(type(t) is ClassifierOutputTarget and isinstance(t.category, int | np.integer) for t in targets):
        return [(np.array([int(t.category) for t in targets]), list(range(rows)))]
    together: dict[int, tuple[Any, list[int]]] = {}
    for row, target in enumerate(targets):
        together.setdefault(id(target), (_of_rows(target), []))[1].append(row)
    return list(together.values())


def _of_rows(target: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of one row's output as one of the outputs of all rows."""
    return lambda outputs: torch.stack([target(one).reshape(()) for one in outputs])


@final
class GradCAM(BaseCAM):
    """Grad-CAM. See BaseCAM."""

    method = "gradcam"


@final
class GradCAMPlusPlus(BaseCAM):
    """Grad-CAM++. See BaseCAM."""

    method = "gradcam++"


@final
class LayerCAM(BaseCAM):
    """LayerCAM. See BaseCAM."""

    method = "layercam"


@final
class ScoreCAM(BaseCAM):
    """Score-CAM. See BaseCAM."""

    method = "scorecam"
    options: ClassVar[dict[str, Any]] = {"baseline": 0}


@final
class GuidedBackpropReLUModel:
    """Guided backpropagation of one picture.

    Args:
        model: the network, in eval mode. device, use_cuda: refused unless left out or the device of the network.
    """

    def __init__(self, model: Any, device: Any = None, *, use_cuda: Any = False) -> None:
        refuse_given("use_cuda", use_cuda, "the network runs where its parameters are. Leave it out.", default=False)
        at = next((p.device.type for p in model.parameters()), "cpu")
        if device is not None and torch.device(device).type != at:
            refuse(f"device={device!r}", f"the network is on {at!r}; move it there.")
        self.model = model
        self.explanation: Any = None

    def __call__(self, input_img: Any, target_category: int | None = None) -> Floats32:
        """Return the guided gradient of the first row, (y, x, channels).

        Raises:
            WhyboxError: as :func:`whybox.saliency`.
        """
        with no_progress_bars(hidden=True):
            e: Any = saliency(self.model, input_img.detach()[:1], target_category, "guided_backprop", reduce=None, channel_axis=1)  # fmt: skip
        self.explanation = e
        return np.asarray(np.moveaxis(e.values[0], 0, -1), dtype=np.float32)
