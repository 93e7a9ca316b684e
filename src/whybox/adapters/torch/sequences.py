"""Layers of a torch module that tell time from features, and the inputs they get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import nn

from whybox.adapters.torch.state import without_compilation

__all__ = ["inputs_of_sequence_layers"]

FEATURES_FIRST: Final = ("row", "feature", "time")
FEATURES_LAST: Final = ("row", "time", "feature")
ROWS_SECOND: Final = ("time", "row", "feature")
_CHANNEL_SECOND_LAYERS: Final = (
    nn.Conv1d,
    nn.ConvTranspose1d,
    nn.BatchNorm1d,
    nn.InstanceNorm1d,
    nn.MaxPool1d,
    nn.AvgPool1d,
)
_BY_OPTION: Final = (nn.RNNBase, nn.TransformerEncoderLayer, nn.MultiheadAttention)


def inputs_of_sequence_layers(
    module: nn.Module, rows: int, run: Callable[[], Any]
) -> Iterator[tuple[str, tuple[str, ...], torch.Tensor]]:
    """Name, names of axes and input of each such layer, in the order they are called while `run` runs the module on so many rows."""
    recorded: list[tuple[str, tuple[str, ...], torch.Tensor]] = []

    def note(name: str, layer: nn.Module) -> Callable[..., None]:
        def record(_module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            first = next((a for a in (*given, *named.values()) if isinstance(a, torch.Tensor)), None)
            axes = None if first is None or first.ndim != 3 else _axis_names(layer, first, rows)
            if first is not None and axes is not None and first.shape[axes.index("row")] == rows:
                recorded.append((name, axes, first.detach().clone()))

        return record

    sequence_layers = [(name, m) for name, m in module.named_modules() if _sequence_layer_type(m) is not None]
    handles = [m.register_forward_pre_hook(note(name, m), with_kwargs=True) for name, m in sequence_layers]
    try:
        with without_compilation():
            if sequence_layers:
                run()
    finally:
        for handle in handles:
            handle.remove()
    return iter(recorded)


def _sequence_layer_type(layer: nn.Module) -> type | None:
    """The class of such a layer, None for others; of layers of an exported program, the class they were made from."""
    known = {f"{c.__module__}.{c.__name__}": c for c in (*_CHANNEL_SECOND_LAYERS, nn.RNN, nn.LSTM, nn.GRU)}
    called = getattr(layer, "type_name", None)
    if callable(called):
        return known.get(str(called()))
    return next((c for c in (*_CHANNEL_SECOND_LAYERS, *_BY_OPTION) if isinstance(layer, c)), None)


def _axis_names(layer: nn.Module, given: torch.Tensor, rows: int) -> tuple[str, ...] | None:
    kind = _sequence_layer_type(layer)
    if kind is None or issubclass(kind, _CHANNEL_SECOND_LAYERS):
        return FEATURES_FIRST
    option = getattr(layer, "batch_first", getattr(getattr(layer, "self_attn", None), "batch_first", None))
    if option is None:  # an exported program does not keep the option
        where = [i for i in (0, 1) if given.shape[i] == rows]
        option = where == [0] if len(where) == 1 else None
    return None if option is None else FEATURES_LAST if option else ROWS_SECOND
