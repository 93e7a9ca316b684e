"""``lime.lime_image``: segments of a picture, answered by :func:`whybox.saliency`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.compat.lime.arguments import penalty_of, refuse_distance
from whybox.compat.lime.explanation import DomainMapper, Explanation, LocalNumbers, checked_labels
from whybox.compat.lime.local_explainer import LocalExplainer
from whybox.compat.lime.wrappers.scikit_image import SegmentationAlgorithm
from whybox.compat.refused import refuse
from whybox.compat.seeds import as_seed
from whybox.core.progress import no_progress_bars
from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation as Answer
from whybox.methods.saliency.saliency import saliency
from whybox.models.remote import RemoteModel

__all__ = ["ImageExplanation", "LimeImageExplainer"]

Picture = npt.NDArray[Any]
MASK_CHANNEL: Final = {True: 1, False: 0}  # of the colour that marks a segment: green is for, red is against


@final
class ImageExplanation(Explanation):
    """lime's explanation of a picture.

    Attributes:
        image: (y, x, channels). segments: (y, x), the number of the segment of each position. Others as of Explanation, with segments for features.
    """

    def __init__(self, image: Picture, segments: npt.NDArray[Any]) -> None:
        super().__init__(DomainMapper(), "classification")
        self.image, self.segments = image, segments

    def get_image_and_mask(
        self,
        label: int,
        positive_only: bool = True,
        negative_only: bool = False,
        hide_rest: bool = False,
        num_features: int = 5,
        min_weight: float = 0.0,
    ) -> tuple[Picture, npt.NDArray[np.int64]]:
        """Return the picture with its largest segments, and a mask of them.

        Args:
            label: position of the class. positive_only, negative_only: which segments are taken. hide_rest: whether all else is black. num_features: how many
                segments are taken at most. min_weight: of a segment that is taken.

        Returns:
            The picture, (y, x, channels), and a mask, (y, x): 1 in segments that are for the class, -1 in those against it (where both are taken), else 0.

        Raises:
            InputError: this label is not explained. OptionError: both signs alone.
        """
        if positive_only and negative_only:
            raise OptionError(
                Argument("positive_only", True),
                " and ",
                Argument("negative_only", True),
                " leave no segment; give one of them.",
            )
        weights = self._weights(label)
        shown = np.zeros_like(self.image) if hide_rest else self.image.copy()
        mask = np.zeros(self.segments.shape, dtype=np.int64)
        if positive_only or negative_only:
            chosen = [s for s, w in weights if (w > 0 if positive_only else w < 0) and abs(w) > min_weight][
                :num_features
            ]
            for segment in chosen:
                shown[self.segments == segment] = self.image[self.segments == segment]
                mask[self.segments == segment] = 1
            return shown, mask
        if self.image.shape[2] == 1:
            refuse(
                "both signs of a picture of one channel",
                "repeat the channel three times before it is explained, or ask for one sign.",
            )
        for segment, weight in weights[:num_features]:
            if abs(weight) < min_weight:
                continue
            inside = self.segments == segment
            mask[inside] = -1 if weight < 0 else 1
            shown[inside] = self.image[inside]
            shown[inside, MASK_CHANNEL[weight >= 0]] = np.max(self.image)
        return shown, mask

    def draw(self, label: int, **kwargs: Any) -> Any:
        """Draw the map of one label over the picture; arguments are those of ``plot.overlay``."""
        return self.of_label(label).plot.overlay(**{"title": f"Class {self.label_name(label)}", **kwargs})

    def of_label(self, label: int) -> Answer:
        """Return the map of whybox for one label."""
        used = self._label(label)
        e: Answer = self.explanation
        return e[..., str(used)] if "output" in e.dims else e


@final
class LimeImageExplainer(LocalExplainer):
    """Explains pictures; arguments are those of lime.

    Args:
        random_state: a whole number, or a RandomState that one is drawn from. None: 0. Others as in lime.

    Raises:
        OptionError: an argument that is not honoured or not known.
    """

    def __init__(
        self,
        kernel_width: float = 0.25,
        kernel: Any = None,
        verbose: bool = False,
        feature_selection: str = "auto",
        random_state: Any = None,
    ) -> None:
        super().__init__(
            kernel=kernel,
            kernel_width=kernel_width,
            verbose=verbose,
            feature_selection=feature_selection,
            random_state=random_state,
        )

    def explain_instance(
        self,
        image: Any,
        classifier_fn: Any,
        labels: Iterable[int] = (1,),
        hide_color: Any = None,
        top_labels: int | None = 5,
        num_features: int = 100000,
        num_samples: int = 1000,
        batch_size: int = 10,
        segmentation_fn: Any = None,
        distance_metric: str = "cosine",
        model_regressor: Any = None,
        random_seed: int | None = None,
        progress_bar: bool = True,
    ) -> ImageExplanation:
        """Explain one picture.

        Args:
            image: (y, x, channels), or grey, (y, x), which becomes three equal channels. classifier_fn: pictures (n, y, x, channels) -> (n, classes).
            hide_color: what absent segments hold; None: their mean colour. batch_size: most pictures of one call. segmentation_fn: picture -> (y, x) of segment numbers;
            None: quickshift as in lime. random_seed: as `random_state`, for this picture. progress_bar: False shows none. Others as of lime.

        Raises:
            OptionError: an argument that is not honoured. LimitError: `num_samples` are too few. MissingDependencyError: there is no scikit-image, and no `segmentation_fn`.
            Others as :func:`whybox.saliency`.
        """
        refuse_distance(distance_metric, "cosine")
        picture = _picture(image)
        seed = self.random_state if random_seed is None else as_seed(random_seed)
        if segmentation_fn is None:
            segmentation_fn = SegmentationAlgorithm(
                "quickshift", kernel_size=4, max_dist=200, ratio=0.2, random_seed=seed
            )
        segments = np.asarray(segmentation_fn(picture))
        if segments.shape != picture.shape[:2]:
            raise InputError(
                f"segmentation_fn returned segments of the shape {segments.shape} for a picture of {picture.shape[:2]}."
            )
        model = RemoteModel(classifier_fn, batch_size=batch_size)
        prediction = model(picture[None])[0]
        chosen = checked_labels(labels, top_labels, len(prediction), prediction)
        method: dict[str, Any] = {
            "samples": num_samples,
            "kernel_width": self.kernel_width,
            "alpha": penalty_of(model_regressor) or 0.0,
        }
        with no_progress_bars(hidden=not progress_bar):
            answer: Any = saliency(
                model, picture[None], [str(k) for k in chosen], "lime", parts=segments, baseline=_hidden(picture, segments, hide_color)[None],
                channel_axis=-1, output_names=[str(k) for k in range(len(prediction))], seed=seed, **method,
            )  # fmt: skip
        found = ImageExplanation(picture, segments)
        found.random_state, found.class_names = self.random_state, [str(k) for k in range(len(prediction))]
        found.explanation, found.predict_proba = answer[0], prediction
        self._fill(found, _numbers(answer, chosen, segments), chosen, top_labels, num_features)
        return found


def _picture(image: Any) -> Picture:
    """A picture with its channels last.

    Raises:
        InputError: it has none.
    """
    picture = np.asarray(image)
    if picture.ndim == 2:
        return np.repeat(picture[:, :, None], 3, axis=2)
    if picture.ndim != 3 or picture.shape[2] > 4:
        raise InputError(
            Argument("image"), f" must be a picture (y, x, channels) or (y, x); this has the shape {picture.shape}. Channels stand last: numpy.moveaxis(image, 0, -1)."
        )  # fmt: skip
    return picture


def _hidden(picture: Picture, segments: npt.NDArray[Any], hide_color: Any) -> Picture:
    """The picture in which all segments are absent."""
    hidden = picture.copy()
    if hide_color is not None:
        hidden[:] = hide_color
        return hidden
    for segment in np.unique(segments):
        inside = segments == segment
        hidden[inside] = picture[inside].mean(axis=0)
    return hidden


def _numbers(answer: Any, chosen: list[int], segments: npt.NDArray[Any]) -> LocalNumbers:
    """The linear models of the chosen outputs."""

    def of_outputs(name: str) -> Any:
        dims, found = answer.extras[name]
        return found[0] if "output" in dims else found[0][..., None]

    return LocalNumbers(
        values=of_outputs("part"),
        std_error=of_outputs("part_error") if "part_error" in answer.extras else None,
        intercept=of_outputs("intercept"),
        r_squared=of_outputs("r_squared"),
        local_prediction=of_outputs("local_prediction"),
        labels=chosen,
        features=np.unique(segments).tolist(),
    )
