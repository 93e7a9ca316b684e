"""Effects: one curve a feature (or surface for two), reached by name or position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError, did_you_mean
from whybox.explanation.axis_points import curve_spread, numeric_points, point_labels
from whybox.explanation.explanation import Explanation
from whybox.explanation.figures import EffectsFigures

__all__ = ["CurveKey", "Effects"]

CurveKey = str | tuple[str, ...]


@final
@dataclass(frozen=True, eq=False)
class Effects(Mapping[CurveKey, Explanation]):
    """Curves by feature: ``effects["age"]``, ``effects[0]``; a surface by its two names: ``effects["age", "bmi"]``.

    ``library`` is the frame library of the rows given. Each curve is an Explanation of kind ``"effect"`` with ``grid``, ``values``,
    ``std_error``, ``interval``, ``off_data`` and ``at(points)``.
    """

    curves: Mapping[CurveKey, Explanation]
    library: str = "numpy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", MappingProxyType(dict(self.curves)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the curves, as explanations are."""
        return Effects, (dict(self.curves), self.library)

    def __len__(self) -> int:
        """Return the number of curves."""
        return len(self.curves)

    def __iter__(self) -> Iterator[CurveKey]:
        """Iterate over the names."""
        return iter(self.curves)

    def __getitem__(self, key: Any) -> Explanation:
        """Return a curve by name, by position, or a surface by its two names, in the order they were asked for.

        Raises:
            OptionError: no such curve. IndexError: a position beyond the last.
        """
        if isinstance(key, (int, np.integer)):
            return list(self.curves.values())[int(key)]
        curve = self.curves.get(tuple(key) if isinstance(key, list) else key)
        if curve is None:
            raise OptionError(f"there is no effect of {key!r}.{did_you_mean(key, self._names_in_words())}")
        return curve

    def __contains__(self, key: object) -> bool:
        """Whether there is a curve of this name."""
        return key in self.curves

    def _names_in_words(self) -> list[str]:
        return [k if isinstance(k, str) else repr(k) for k in self.curves]

    @property
    def plot(self) -> EffectsFigures:
        """Figures: ``effects.plot()`` and ``effects.plot.grid()`` draw the features that matter most side by side."""
        return EffectsFigures(self)

    def ordered(self, most: int | None = None) -> list[CurveKey]:
        """Return names by falling size of their effect: the standard deviation of the curve over the rows (over outputs, the largest)."""
        order = np.argsort([-curve_spread(e) for e in self.curves.values()], kind="stable")
        names = list(self.curves)
        return [names[i] for i in order[:most]]

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return all curves as one data frame, a line a number.

        Columns: ``feature``, ``value`` (numbers; NaN elsewhere), ``level`` (the point in words), those of a second feature where there are
        surfaces, ``row`` and ``output`` where there are any, ``effect``, ``std_error``, ``interval_low``,
        ``interval_high`` and ``off_data``; ``learner_error``, ``learner_interval_low`` and ``learner_interval_high`` where there were refits,
        ``region`` where there are regions.

        Args:
            library: ``"pandas"``, ``"polars"``, ``"pyarrow"``; None: that of the rows given.

        Raises:
            MissingDependencyError: the library is not installed.
        """
        from whybox.data.table import build_frame

        return build_frame(_curve_columns(self.curves), library=library or self.library)

    def to_arrow(self) -> Any:
        """Return all curves as one pyarrow Table, laid out as :meth:`to_frame`."""
        return self.to_frame(library="pyarrow")

    def save(self, path: str | Path) -> None:
        """Write all curves to one file that cannot run code; read it back with ``wb.load``.

        Raises:
            InputError: the folder cannot be written to.
        """
        from whybox.explanation.save import save_effects

        save_effects(self, path)

    def __repr__(self) -> str:
        kinds = sorted({e.evidence.method for e in self.curves.values()})
        return f"Effects({len(self)}: {', '.join(self._names_in_words()[:6])}{', ...' if len(self) > 6 else ''}; {', '.join(kinds)})"

    def _repr_html_(self) -> str:
        from whybox.explanation.html import effects_html

        return effects_html(self, self.ordered())


def _curve_columns(curves: Mapping[CurveKey, Explanation]) -> dict[str, npt.NDArray[Any]]:
    several = {d for e in curves.values() for d in e.dims}
    apart = any(isinstance(key, str) and tuple(e.players) != (key,) for key, e in curves.items())
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for key, e in curves.items():
        names = list(e.players)
        shape = e.values.shape
        n = e.values.size
        line: dict[str, npt.NDArray[Any]] = {"region": np.full(n, key, dtype=object)} if apart else {}
        for dim, tag in (("point", ""), ("point_2", "_2")):
            if dim not in several:
                continue
            has_axis = dim in e.dims
            name = names[0 if dim == "point" else 1] if has_axis else ""
            line[f"feature{tag}"] = np.full(n, name, dtype=object)
            axis = e.dims.index(dim) if has_axis else 0
            values = e.coords[dim] if has_axis else np.array([""], dtype=object)
            where = [-1 if i == axis else 1 for i in range(len(shape))] if has_axis else [1] * len(shape)
            for what, cells in (("value", numeric_points(values)), ("level", point_labels(values))):
                line[f"{what}{tag}"] = np.broadcast_to(cells.reshape(where), shape).reshape(-1)
        for dim in ("row", "output"):
            if dim in several:
                axis = e.dims.index(dim)
                where = [-1 if i == axis else 1 for i in range(len(shape))]
                line[dim] = np.broadcast_to(np.asarray(e.coords[dim]).reshape(where), shape).reshape(-1)
        line["effect"] = e.values.reshape(-1)
        line["std_error"] = np.full(n, np.nan) if e.std_error is None else e.std_error.reshape(-1)
        for end, bound in zip(("low", "high"), e.interval or (None, None), strict=True):
            line[f"interval_{end}"] = np.full(n, np.nan) if bound is None else bound.reshape(-1)
        off = e.extras.get("off_data")
        spread = np.full(n, np.nan)
        if off is not None:
            lengths = [s if d in off[0] else 1 for d, s in zip(e.dims, shape, strict=True)]
            spread = np.broadcast_to(off[1].reshape(lengths), shape).reshape(-1)
        line["off_data"] = spread
        if any("learner_error" in c.extras for c in curves.values()):
            line["learner_error"] = e.extras["learner_error"][1].reshape(-1)
        if any("learner_interval" in c.extras for c in curves.values()):
            ends = e.extras["learner_interval"][1].reshape(-1, 2)
            line |= {"learner_interval_low": ends[:, 0], "learner_interval_high": ends[:, 1]}
        for name, cells in line.items():
            parts.setdefault(name, []).append(cells)
    return {name: np.concatenate(cells) for name, cells in parts.items()}
