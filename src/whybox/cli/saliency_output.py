"""What ``whybox saliency`` writes: arrays, explanations, or a picture of all maps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np

from whybox.core.atomic_write import atomic_write
from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation
from whybox.explanation.save import write_archive
from whybox.plots.saliency_image import CHARACTERS_PER_INCH

__all__ = ["MAX_ROWS_DRAWN", "write_maps"]

MAX_ROWS_DRAWN: Final = 16  # rows in one picture


Pictures = Mapping[str, "list[str] | None"]


def write_maps(maps: Mapping[str, Explanation], out: Path, pictures: Pictures | None = None) -> list[Path]:
    """Write the maps of one input, or of several under their names; return the files. They appear whole or not at all.

    Args:
        maps: by the name of the input. out: the file. pictures: for each input the files of its rows, under which maps are drawn; None where it has none.

    Raises:
        InputError: the folder cannot be written to. OptionError: there is no figure for maps like these.
    """
    kind = out.suffix.lower()
    if kind == ".whybox":
        paths = _paths_of_inputs(out, maps)
        with ExitStack() as stack:
            for e, path in zip(maps.values(), paths, strict=True):
                write_archive(e, stack.enter_context(atomic_write(path)))
        return paths
    if kind == ".npz":
        with atomic_write(out) as part, part.open("wb") as file:
            np.savez_compressed(file, **_map_arrays(maps))
        return [out]
    import matplotlib as mpl

    mpl.use("Agg", force=False)
    import matplotlib.pyplot as plt

    _refuse_axes(maps)
    figure = _draw_maps(maps, pictures or {})
    try:
        with atomic_write(out) as part:
            figure.savefig(
                part, format=kind[1:], bbox_inches="tight", metadata={"Date": None} if kind == ".svg" else None
            )
    finally:
        plt.close(figure)
    return [out]


def _paths_of_inputs(out: Path, names: Iterable[str]) -> list[Path]:
    """One path an input, with its name as far as a file name takes it; numbered where two would be the same."""
    paths: list[Path] = []
    for name in names:
        safe_name = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        numbered = (safe_name, *(f"{safe_name}_{k}" for k in range(2, len(paths) + 2)))
        free = (out.with_name(f"{out.stem}.{n}{out.suffix}") for n in numbered)
        paths.append(next(path for path in free if path not in paths) if name else out)
    return paths


def _map_arrays(maps: Mapping[str, Explanation]) -> dict[str, Any]:
    """Values, axes, labels; of several inputs under NAME.values and so on, what they share once."""
    first = next(iter(maps.values()))
    out: dict[str, Any] = {"evidence": np.array(json.dumps(first.evidence.to_dict()))}
    if first.prediction is not None:
        out["prediction"] = first.prediction
    for name, e in maps.items():
        arrays_of_input: dict[str, Any] = {"values": e.values, "dims": np.array(e.dims)}
        arrays_of_input |= {f"{d}_labels": np.array([str(v) for v in labels]) for d, labels in e.coords.items()}
        arrays_of_input |= {} if e.std_error is None else {"std_error": e.std_error}
        out |= {f"{name}.{key}" if name else key: value for key, value in arrays_of_input.items()}
    if "" not in maps:
        out["inputs"] = np.array(list(maps))
    return out


def _refuse_axes(maps: Mapping[str, Explanation]) -> None:
    from whybox.plots.saliency_series import SERIES_AXES as FIGURES

    for name, e in maps.items():
        if e.dims[1:] not in FIGURES:
            of = f" of {name}" if name else ""
            summed = ", or add the channels: --reduce sum" if "channel" in e.dims else ""
            raise OptionError(f"there is no picture of maps{of} with the axes {', '.join(e.dims)}. Write .npz or .whybox{summed}.")  # fmt: skip


def _picture_of(pictures: Pictures, name: str, e: Explanation, row: int) -> Any:
    """The picture under a map; None where there is none, and of a layer, which may belong to another input."""
    from whybox.cli.network_inputs import picture_to_draw

    files = pictures.get(name)
    return None if files is None or "input" not in e.extras else picture_to_draw(files[row])


def _draw_maps(maps: Mapping[str, Explanation], pictures: Pictures) -> Any:
    """A figure with the map of every row and input, under the row's name, over its picture."""
    import matplotlib.pyplot as plt

    from whybox.plots.saliency_series import panel
    from whybox.plots.style import shorten_label

    first = next(iter(maps.values()))
    if len(maps) == 1 and len(first) == 1:
        return panel(first, image=_picture_of(pictures, next(iter(maps)), first, 0)).figure
    has_wide_maps = any(e.dims[1:] != ("y", "x") for e in maps.values())
    n_columns = (
        len(maps) if len(maps) > 1 else 1 if first.dims[1:] not in (("y", "x"), ("feature",)) else min(len(first), 4)
    )
    n_lines = len(first) if len(maps) > 1 else -(-len(first) // n_columns)
    sizes = {"width": (8.0 if n_columns == 1 else 4.6) if has_wide_maps else 3.5, "height": _figure_height(maps)}
    figure, axes = plt.subplots(
        n_lines,
        n_columns,
        figsize=(sizes["width"] * n_columns, sizes["height"] * n_lines),
        layout="constrained",
        squeeze=False,
    )
    all_axes, characters = axes.ravel(), int(CHARACTERS_PER_INCH * sizes["width"])
    for ax in all_axes[len(first) * len(maps) :]:
        ax.set_axis_off()
    for at, ax in enumerate(all_axes[: len(first) * len(maps)]):
        row, input_number = divmod(at, len(maps)) if len(maps) > 1 else (at, 0)
        name, e = list(maps.items())[input_number]
        panel(e, row, image=_picture_of(pictures, name, e, row), ax=ax)
        method, _, about = ax.get_title(loc="left").partition(" · ")
        label = e.coords["row"][row]
        label = label if isinstance(label, str) else f"row {label}"
        row_label = [name, label] if name else [label]
        title_lines = [", ".join(shorten_label(t, characters // len(row_label)) for t in row_label), about or method]
        if len(title_lines[1]) > characters:
            title_lines[1] = title_lines[1].replace(" · ", "\n")
        ax.set_title("\n".join(title_lines), loc="left", fontsize="medium")
    figure.suptitle(first.evidence.method, x=0.01, ha="left")
    return figure


def _figure_height(maps: Mapping[str, Explanation]) -> float:
    """Inches that the tallest map of a row needs."""
    tall = []
    for e in maps.values():
        kind, count = e.dims[1:], e.shape[1]
        of = {("y", "x"): 3.15, ("feature",): 1.1 + 0.3 * min(count, 12), ("time",): 1.9}
        for series in (("time", "feature"), ("feature", "time")):
            of[series] = min(1.5 + 0.2 * len(e.coords.get("feature", ())), 4.0)
        tall.append(of.get(kind, 1.3 + 0.36 * (count // 20)))  # tokens
    return max(tall)
