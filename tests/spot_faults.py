"""Faults of maps, planted one by one as switches, to count how often a map's own checks find them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from whybox.games import local_linear
from whybox.methods.saliency import (
    cam,
    expected_gradients,
    occlusion,
    problem,
    result,
    rise,
    segment_shapley,
)
from whybox.methods.saliency.layer_axes import LayerAxes
from whybox.methods.saliency.segments import Segments
from whybox.methods.saliency.targets import Target
from whybox.numerics.adaptive_quadrature import AdaptiveQuadrature

__all__ = ["FAULTS", "planted"]


def _answers(patch, change):
    """Change the numbers of an answer just before they are returned: (values, errors) -> the same."""
    whole = result._make_explanation

    def wrong(*given):
        e = whole(*given)
        values, errors = change(e.values.copy(), None if e.std_error is None else e.std_error.copy())
        return replace(e, values=values, std_error=errors)

    patch.setattr(result, "_make_explanation", wrong)


def _scaled(patch, seed, factor):
    """A tenth of the numbers off by a factor, which are none that are 0."""
    draw = np.random.default_rng(seed)

    def change(v, s):
        scaled = np.flatnonzero(v)
        scaled = draw.choice(scaled, min(len(scaled), max(1, v.size // 10)), replace=False)
        v.flat[scaled] *= factor
        return v, s

    _answers(patch, change)


def one_percent(patch, seed):
    _scaled(patch, seed, 1.01)


def ten_percent(patch, seed):
    _scaled(patch, seed, 0.9)


def rows_shifted(patch, seed):
    _answers(patch, lambda v, s: (np.roll(v, 1, axis=0), s))


def places_shifted(patch, seed):
    _answers(patch, lambda v, s: (np.roll(v, 1, axis=1), s))


def wrong_errors(patch, seed):
    _answers(patch, lambda v, s: (v, s * 1.05))


def wrong_target(patch, seed):
    right = Target.cotangent

    def cotangent(self, t, rows):
        return np.roll(right(self, t, rows), 1, axis=-1)

    patch.setattr(Target, "cotangent", cotangent)


def predictions_of_other_rows(patch, seed):
    right = problem.RowOutputs.record_outputs

    def record_outputs(self, net, rows, outputs):
        right(self, net, rows, outputs)
        self.outputs[rows] = np.roll(self.outputs[rows], 1, axis=0)

    patch.setattr(problem.RowOutputs, "record_outputs", record_outputs)


def channels_swapped(patch, seed):
    right = problem.SaliencyProblem.gradients_at_rows

    def gradients_at_rows(self, rows):
        xs, grads = right(self, rows)
        return xs, [tuple(None if g is None else g[:, [1, 0, *range(2, g.shape[1])]] for g in of) for of in grads]

    patch.setattr(problem.SaliencyProblem, "gradients_at_rows", gradients_at_rows)


def inputs_of_other_rows(patch, seed):
    right = problem.SaliencyProblem.to_device
    patch.setattr(problem.SaliencyProblem, "to_device", lambda self, rows: right(self, np.roll(rows, 1)))


def wrong_axis_reduced(patch, seed):
    right = result._reduce_channels
    patch.setattr(result, "_reduce_channels", lambda v, s, axis, how: right(v, s, 2 if axis == 1 else 1, how))


def noise_of_one_sign(patch, seed):
    right = problem.SaliencyProblem.gradients_at_points
    seen = []

    def gradients_(self, xs, rows, **given):
        seen.append(xs)
        return right(self, seen[-2] if len(seen) % 2 == 0 else xs, rows, **given)

    patch.setattr(problem.SaliencyProblem, "gradients_at_points", gradients_)


def wrong_weights(patch, seed):
    right = AdaptiveQuadrature._compute_rule_weights

    def weights(self):
        w, coarse = right(self)
        w = w.copy()
        w[: len(w) // 2 * 2] = w[: len(w) // 2 * 2][::-1]
        return w, coarse

    patch.setattr(AdaptiveQuadrature, "_compute_rule_weights", weights)


def no_control_variate(patch, seed):
    patch.setattr(expected_gradients, "_with_control_variate", lambda a, g, c: np.asarray(a))


def neighbouring_window(patch, seed):
    right = occlusion._window_masks

    def masks(input_, index, chosen):
        found = right(input_, index, chosen)
        return None if found is None else np.roll(found, 1, axis=-1)

    patch.setattr(occlusion, "_window_masks", masks)


def neighbouring_part(patch, seed):
    right = Segments.position_masks
    patch.setattr(Segments, "position_masks", lambda self, keep, rows: right(self, np.roll(keep, 1, axis=1), rows))


def replacement_of_ones(patch, seed):
    right = occlusion._MaskedRows._reference_rows
    patch.setattr(occlusion._MaskedRows, "_reference_rows", lambda self, *given: right(self, *given) + 0.1)


def wrong_probability(patch, seed):
    right = rise.Rise._estimate_map

    def estimate(self, scores, sampler):
        return right(replace(self, keep=self.keep * 1.02), scores, sampler)

    patch.setattr(rise.Rise, "_estimate_map", estimate)


def wrong_kernel(patch, seed):
    right = local_linear.size_weights
    law = local_linear.size_law
    patch.setattr(local_linear, "size_weights", lambda players, width: right(players, 1.1 * width))
    patch.setattr(local_linear, "size_law", lambda players, width: law(players, 1.1 * width))


def banzhaf_for_shapley(patch, seed):
    from whybox.games.indices import BANZHAF

    right = segment_shapley.exact_values
    patch.setattr(segment_shapley, "exact_values", lambda worths: right(worths, BANZHAF))


def transposed_grid(patch, seed):
    right = LayerAxes.to_input_order
    patch.setattr(LayerAxes, "to_input_order", lambda self, maps: np.swapaxes(right(self, maps), 1, 2))


def transposed_drawing(patch, seed):
    right = cam.upsample
    patch.setattr(cam, "upsample", lambda a, shape: np.swapaxes(right(a, shape), 1, 2))


def channels_weighted_by_others(patch, seed):
    right = cam.GradCam._channel_terms

    def combine(self, of, activation, gradient, channel):
        order = np.roll(np.arange(gradient.shape[channel]), 1)
        return right(self, of, activation, gradient[:, order], channel)

    patch.setattr(cam.GradCam, "_channel_terms", combine)


# fault -> methods whose maps it makes wrong (with their options)
_ALL = (
    ("gradient", {}), ("gradient_x_input", {}), ("smoothgrad", {"samples": 6}), ("vargrad", {"samples": 6}), ("integrated_gradients", {}),
    ("integrated_gradients", {"steps": 5}), ("expected_gradients", {"samples": 32}), ("occlusion", {"window": 2}), ("ablation", {"patches": 2}),
    ("rise", {"samples": 30}), ("shapley", {"patches": 2}), ("lime", {"patches": 2}),
    ("lime", {"patches": 3, "samples": 60}), ("gradcam", {}), ("layercam", {}), ("scorecam", {}), ("deeplift", {}), ("guided_backprop", {}),
    ("guided_gradcam", {}), ("layer_integrated_gradients", {"layer": "1"}), ("conductance", {"layer": "1"}),
)  # fmt: skip
_LIME = tuple(m for m in _ALL if m[0] == "lime")
_NOISY = tuple(m for m in _ALL if m[0] in ("smoothgrad", "vargrad"))
FAULTS = {
    one_percent: _ALL,
    ten_percent: _ALL,
    rows_shifted: _ALL,
    places_shifted: _ALL,
    wrong_errors: (*(m for m in _ALL if m[0] in ("smoothgrad", "expected_gradients", "rise")), _LIME[1]),
    wrong_target: tuple(m for m in _ALL if m[0] in ("gradient", "smoothgrad", "integrated_gradients", "gradcam", "guided_backprop"))[:-1],
    predictions_of_other_rows: (("gradient", {}), ("occlusion", {"window": 2}), ("gradcam", {})),
    channels_swapped: (("gradient_x_input", {}),),
    inputs_of_other_rows: (("gradient", {}), ("smoothgrad", {"samples": 6}), ("occlusion", {"window": 2})),
    wrong_axis_reduced: (("gradient", {}), ("smoothgrad", {"samples": 6})),
    noise_of_one_sign: _NOISY,
    wrong_weights: (("integrated_gradients", {}),),
    no_control_variate: (("expected_gradients", {"samples": 32}),),
    neighbouring_window: (("occlusion", {"window": 2}),),
    neighbouring_part: (("ablation", {"patches": 2}), ("shapley", {"patches": 2}), *_LIME),
    replacement_of_ones: (("occlusion", {"window": 2}), ("ablation", {"patches": 2}), ("rise", {"samples": 30}), ("shapley", {"patches": 2}), *_LIME, ("scorecam", {})),
    wrong_probability: (("rise", {"samples": 30}),),
    wrong_kernel: _LIME,
    banzhaf_for_shapley: (("shapley", {"patches": 2}),),
    transposed_grid: (("gradcam", {}), ("layercam", {})),
    transposed_drawing: (("gradcam", {}),),
    channels_weighted_by_others: (("gradcam", {}),),
}  # fmt: skip


@contextmanager
def planted(fault, seed=0):
    """Maps are wrong in one way while this is open."""
    with pytest.MonkeyPatch.context() as patch:
        if fault is not None:
            fault(patch, seed)
        yield
