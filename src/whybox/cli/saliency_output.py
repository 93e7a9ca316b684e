"""What ``whybox saliency`` writes: arrays, explanations, or a picture of all maps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np

from whybox.core.atomic_write import atomic_write
from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation
from whybox.plots.saliency_image import CHARACTERS_PER_INCH

__all__ = ["MAX_ROWS_DRAWN", "write"]

MAX_ROWS_DRAWN: Final = 16  # rows in one picture


def write(found: Mapping[str, Explanation], out: Path) -> list[Path]:
    """Write the maps of one input, or of several under their names; return the files. They appear whole or not at all.

    Raises:
        InputError: the folder cannot be written to. OptionError: there is no figure for maps like these.
    """
    kind = out.suffix.lower()
    if kind == ".whybox":
        paths = [_beside(out, name) for name in found]
        with ExitStack() as stack:
            for e, path in zip(found.values(), paths, strict=True):
                e.save(stack.enter_context(atomic_write(path)))
        return paths
    if kind == ".npz":
        with atomic_write(out) as part, part.open("wb") as file:
            np.savez_compressed(file, **_arrays(found))
        return [out]
    import matplotlib as mpl

    mpl.use("Agg", force=False)
    import matplotlib.pyplot as plt

    _refuse_shapes(found)
    figure = _drawn(found)
    try:
        with atomic_write(out) as part:
            figure.savefig(
                part, format=kind[1:], bbox_inches="tight", metadata={"Date": None} if kind == ".svg" else None
            )
    finally:
        plt.close(figure)
    return [out]


def _beside(out: Path, name: str) -> Path:
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    return out.with_name(f"{out.stem}.{plain}{out.suffix}") if name else out


def _arrays(found: Mapping[str, Explanation]) -> dict[str, Any]:
    """Values, axes, labels; of several inputs under NAME.values and so on, what they share once."""
    first = next(iter(found.values()))
    out: dict[str, Any] = {"evidence": np.array(json.dumps(first.evidence.to_dict()))}
    if first.prediction is not None:
        out["prediction"] = first.prediction
    for name, e in found.items():
        own: dict[str, Any] = {"values": e.values, "dims": np.array(e.dims)}
        own |= {f"{d}_labels": np.array([str(v) for v in labels]) for d, labels in e.coords.items()}
        own |= {} if e.std_error is None else {"std_error": e.std_error}
        out |= {f"{name}.{key}" if name else key: value for key, value in own.items()}
    if "" not in found:
        out["inputs"] = np.array(list(found))
    return out


def _refuse_shapes(found: Mapping[str, Explanation]) -> None:
    from whybox.plots.saliency_series import SERIES_AXES as FIGURES

    for name, e in found.items():
        if e.dims[1:] not in FIGURES:
            of = f" of {name}" if name else ""
            raise OptionError(f"there is no picture of maps{of} with the axes {', '.join(e.dims)}. Leave reduce= out, or take one channel: e[:, 0].")  # fmt: skip


def _drawn(found: Mapping[str, Explanation]) -> Any:
    """A figure with the map of every row and input, under the row's name."""
    import matplotlib.pyplot as plt

    from whybox.plots.saliency_series import panel
    from whybox.plots.style import short

    first = next(iter(found.values()))
    if len(found) == 1 and len(first) == 1:
        return panel(first).figure
    wide = any(e.dims[1:] != ("y", "x") for e in found.values())
    columns = (
        len(found) if len(found) > 1 else 1 if first.dims[1:] not in (("y", "x"), ("feature",)) else min(len(first), 4)
    )
    lines = len(first) if len(found) > 1 else -(-len(first) // columns)
    sizes = {"width": (8.0 if columns == 1 else 4.6) if wide else 3.5, "height": _height(found)}
    figure, cells = plt.subplots(
        lines, columns, figsize=(sizes["width"] * columns, sizes["height"] * lines), layout="constrained", squeeze=False
    )
    places, room = cells.ravel(), int(CHARACTERS_PER_INCH * sizes["width"])
    for cell in places[len(first) * len(found) :]:
        cell.set_axis_off()
    for at, cell in enumerate(places[: len(first) * len(found)]):
        row, which = divmod(at, len(found)) if len(found) > 1 else (at, 0)
        name, e = list(found.items())[which]
        panel(e, row, ax=cell)
        method, _, about = cell.get_title(loc="left").partition(" · ")
        label = e.coords["row"][row]
        label = label if isinstance(label, str) else f"row {label}"
        above = [name, label] if name else [label]
        said = [", ".join(short(t, room // len(above)) for t in above), about or method]
        if len(said[1]) > room:
            said[1] = said[1].replace(" · ", "\n")
        cell.set_title("\n".join(said), loc="left", fontsize="medium")
    figure.suptitle(first.evidence.method, x=0.01, ha="left")
    return figure


def _height(found: Mapping[str, Explanation]) -> float:
    """Inches that the tallest map of a row needs."""
    tall = []
    for e in found.values():
        kind, count = e.dims[1:], e.shape[1]
        of = {("y", "x"): 3.15, ("feature",): 1.1 + 0.3 * min(count, 12), ("time",): 1.9}
        for series in (("time", "feature"), ("feature", "time")):
            of[series] = min(1.5 + 0.2 * len(e.coords.get("feature", ())), 4.0)
        tall.append(of.get(kind, 1.3 + 0.36 * (count // 20)))  # tokens
    return max(tall)
