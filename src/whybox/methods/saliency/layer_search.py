"""Finds a layer, and which of its axes are channels, positions, tokens: from the user or by evaluating the network, never from a library's habit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.saliency.axis_probe import AxisOrder, LayerChanges, growing_axes, possible_orders, probe_changes
from whybox.methods.saliency.layer_axes import (
    CHANNEL_AXIS,
    TOKEN_AXIS,
    KnownAxes,
    LayerAxes,
    arranged_axis_names,
    check_reshape,
)
from whybox.methods.saliency.problem import SaliencyProblem

__all__ = ["find_layer", "read_layer"]

GIVEN_AXES: Final = "as given"
MAX_EXTRA_TOKENS: Final = 5  # tokens without a position, if no grid is given: class, distillation and register tokens
MIN_LIKENESS: Final = 0.9  # share of one part of the input in a token's changes, relative to the median, from which on the token may be a position
MIN_MARGIN: Final = 0.05  # by which it must exceed the smallest
MAX_LAYERS_TRIED: Final = 8  # layers whose response is checked, from the last one back


def find_layer(problem: SaliencyProblem, input_index: int) -> LayerAxes:
    """The last layer that outputs channels on a grid of more than one position, and whose axes can be found.

    Raises:
        UnsupportedModelError: there is none.
    """
    layers = problem.net.blocks(problem.to_device(np.zeros(1, dtype=np.intp)))
    times = Counter(name for name, _ in layers)
    rank = problem.inputs[input_index].x.ndim
    fit = [(n, s) for n, s in reversed(layers) if len(s) == rank and s[0] == 1 == times[n] and int(np.prod(s)) > 1]
    grown, tried = growing_axes(problem, input_index) if fit else None, 0
    for name, shape in fit:
        assert grown is not None  # noqa: S101  # there is a layer
        possible = possible_orders(shape, grown(name, shape))
        if len(possible) == 1 and all(shape[axis] == 1 for axis in possible[0].position_axes):
            continue
        if len(possible) > 1 and sum(n > 1 for n in shape[1:]) < 2:  # a vector: channels after a pool, most likely
            continue
        try:
            found = _find_axes(problem, input_index, name, shape, possible)
        except UnsupportedModelError:  # its output has no row axis
            continue
        if isinstance(found, LayerAxes):
            return replace(found, notes=(*found.notes, *_tokens_after(layers, name, rank)))
        tried += 1
        if tried == MAX_LAYERS_TRIED:
            break
    if not fit:
        raise UnsupportedModelError(
            f"no layer of {problem.net.kind} outputs channels on a grid of more than one position (among those that run once); name one: ",
            Argument("layer", example="..."),
            " (of transformers with ",
            Argument("layer_axes", ("token", "channel")),
            ").",
        )
    raise UnsupportedModelError(
        f"no layer of {problem.net.kind} has axes that can be found for certain: which are "
        f"{_join_words(_position_names(problem, input_index))} and which holds channels (looked at: "
        f"{', '.join((repr(n) for n, _ in fit[:MAX_LAYERS_TRIED]))}); name one, and its axes in its own order: ",
        Argument("layer", example="..."),
        ", ",
        Argument("layer_axes", example=str(_axes_example(problem, input_index))),
        f". If axis {problem.inputs[input_index].channel_axis} of the input does not hold its channels: ",
        Argument("channel_axis", example="..."),
    )


def _tokens_after(layers: Sequence[tuple[str, tuple[int, ...]]], layer: str, rank: int) -> tuple[str, ...]:
    """A note if later layers output tokens, as those of transformers do: the last grid is then the first layer."""
    behind = layers[[name for name, _ in layers].index(layer) + 1 :]
    tokens = [(n, s) for n, s in behind if len(s) == 3 != rank and min(s[1:]) > 1]
    if not tokens:
        return ()
    name, shape = tokens[-1]
    return (
        (
            f"after layer {layer!r}, the last one on a grid, {len(tokens)} layers output three axes, like tokens (the last: {name!r}, {shape[1]} x {shape[2]}); "
            "for a map there: layer=..., layer_axes=('token', 'channel')"
        ),
    )


def read_layer(
    problem: SaliencyProblem,
    input_index: int,
    layer: str,
    names: tuple[str, ...] | KnownAxes | None,
    grid: tuple[int, ...] | None,
    reshape: Any,
) -> LayerAxes:
    """The axes of a layer.

    Args:
        problem, input_index: the problem, and the input that the map shows. layer: its name. names, grid, reshape: as the user gave them.

    Raises:
        OptionError: the layer's axes do not match the input's, or those that were given. UnsupportedModelError: they cannot be found for certain.
    """
    shape = _layer_shape(problem, layer, reshape)
    if isinstance(names, KnownAxes):
        return _given_axes(problem, input_index, layer, shape, names.axis_names, grid, reshape, names.spare_tokens)
    if names is not None:
        given_axes = _given_axes(problem, input_index, layer, shape, names, grid, reshape)
        return _check_given_axes(problem, input_index, shape, given_axes, sized=grid is not None)
    if grid is not None:
        raise OptionError(
            Argument("grid", example=""), " needs a token axis: ", Argument("layer_axes", ("token", "channel")), "."
        )
    if len(shape) != problem.inputs[input_index].x.ndim:
        raise OptionError(
            f"layer {layer!r} outputs the shape {shape[1:]} for a row; a class activation map needs channels and the input's position axes "
            f"({_join_words(_position_names(problem, input_index))}). Leave ",
            Argument("layer"),
            " out, name another, or ",
            ("say ", Argument("layer_axes", ("token", "channel")), " if these are tokens.")
            if len(shape) == 3
            else ("bring it into such axes: ", Argument("reshape", example="...")),
        )
    moved = growing_axes(problem, input_index)(layer, shape) if reshape is None else {}
    found = _find_axes(problem, input_index, layer, shape, possible_orders(shape, moved), reshape)
    if isinstance(found, LayerAxes):
        return found
    raise UnsupportedModelError(
        f"which axes of layer {layer!r}, {' x '.join(map(str, shape[1:]))} behind the rows, are "
        f"{_join_words(_position_names(problem, input_index))} and which holds channels cannot be found for certain: {found}. Name "
        "them in the layer's own order, such as ",
        Argument("layer_axes", example=str(_axes_example(problem, input_index))),
        ", or bring them into order first: ",
        Argument("reshape", example="..."),
        f" If axis {problem.inputs[input_index].channel_axis} of the input does not hold its channels: ",
        Argument("channel_axis", example="..."),
    )


def _layer_shape(problem: SaliencyProblem, layer: str, reshape: Any) -> tuple[int, ...]:
    """Shape of a layer's output for one row, after the user's own arrangement.

    Raises:
        OptionError: there is no such layer, or the arrangement is wrong. UnsupportedModelError: it does not run once with one array as its output.
    """
    first = problem.to_device(np.zeros(1, dtype=np.intp))
    known = problem.net.named_shapes(first).get(layer, ()) if reshape is None else ()
    if known[:1] == (1,):
        return known
    one = problem.net.tap_layer(first, layer).activation
    if reshape is not None:
        check_reshape(problem, reshape, layer, tuple(map(int, one.shape)))
        one = reshape(one)
    return tuple(map(int, one.shape))


def _find_axes(
    problem: SaliencyProblem,
    input_index: int,
    layer: str,
    shape: tuple[int, ...],
    possible: list[AxisOrder],
    reshape: Any = None,
) -> LayerAxes | str:
    """The axes, or the reason why they are not known."""
    if not possible:
        return "one axis of the input makes several of them grow, or several make the same one grow"
    arrange = (lambda a: a) if reshape is None else reshape
    by_changes_only = len(possible) > 1
    for times, changes in enumerate(probe_changes(problem, input_index, layer, arrange)):
        if by_changes_only and not times:  # one random change may mislead
            continue
        seen = changes.axis_response()
        sure = [order for order in possible if seen.confirms_order(order, by_changes_only=by_changes_only)]
        if len(sure) == 1:
            how = "changing parts of the input" if by_changes_only else "resizing the input and by changing parts of it"
            return _layer_axes(problem, input_index, layer, sure[0], f"found by {how}", reshape)
    if by_changes_only:
        return "the network does not take a larger input up to this layer, and a change of one part of the input does not change a single part of the layer"
    if not seen.allows_order(possible[0]):
        return "their lengths suggest one reading, and the changes of the layer when parts of the input are changed another (an axis that runs backwards, or is shuffled?)"
    found = _layer_axes(problem, input_index, layer, possible[0], "found by resizing the input", reshape)
    note = (
        f"AXES: by its lengths layer {layer!r} has the axes (row, {', '.join(found.axis_names)}); whether its positions are in the input's order cannot be checked, since a change "
        "of one part of the input changes all of the layer"
    )
    return replace(found, notes=(note,))


def _layer_axes(
    problem: SaliencyProblem, input_index: int, layer: str, order: AxisOrder, found: str, reshape: Any
) -> LayerAxes:
    places = _position_names(problem, input_index)
    at = {order.channel_axis: CHANNEL_AXIS, **dict(zip(order.position_axes, places, strict=True))}
    names = tuple(at[axis] for axis in sorted(at))
    return LayerAxes(layer, names, found, _axis_order(places, names), reshape=reshape)


def _axis_order(places: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """Index of each of the input's position axes among the layer's."""
    own = [n for n in names if n != CHANNEL_AXIS]
    return tuple(own.index(n) for n in places)


def _given_axes(
    problem: SaliencyProblem,
    input_index: int,
    layer: str,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    grid: tuple[int, ...] | None,
    reshape: Any,
    spare: int = 0,
) -> LayerAxes:
    """Axes by their names, checked against the layer's shape; `spare`: tokens at the end without a position.

    Raises:
        OptionError: they do not match.
    """
    places = _position_names(problem, input_index)
    tokens = TOKEN_AXIS in names and TOKEN_AXIS not in places
    if set(names) != ({CHANNEL_AXIS, TOKEN_AXIS} if tokens else {CHANNEL_AXIS, *places}):
        raise OptionError(
            Argument("layer_axes", example=str(names)),
            f": the input's position axes are {_join_words(places)}; name these and 'channel', or 'token' and 'channel', in the layer's "
            "own order.",
        )
    if len(names) != len(shape) - 1:
        raise OptionError(
            Argument("layer_axes", example=str(names)),
            f" are {len(names)}, and layer {layer!r} outputs {len(shape) - 1} axes after the rows: {' x '.join(map(str, shape[1:]))}.",
        )
    if grid is not None and not tokens:
        raise OptionError(
            Argument("grid", example=""), " needs a token axis: ", Argument("layer_axes", ("token", "channel")), "."
        )
    if not tokens:
        return LayerAxes(layer, names, GIVEN_AXES, _axis_order(places, names), reshape=reshape)
    count = shape[names.index(TOKEN_AXIS) + 1]
    grid = _resolve_grid(problem, input_index, layer, count, grid)
    more = count - int(np.prod(grid)) - spare
    if more and int(np.prod(grid)) == 1:
        raise OptionError(
            f"a grid of one position has no map, and which of the {count} tokens of layer {layer!r} it is cannot be found."
        )
    return LayerAxes(layer, names, GIVEN_AXES, tuple(range(len(grid))), grid, more, spare, reshape)


def _check_given_axes(
    problem: SaliencyProblem, input_index: int, shape: tuple[int, ...], axes: LayerAxes, *, sized: bool
) -> LayerAxes:
    """Axes as the user names them, unless larger inputs contradict them; with a note if changed parts of the input do.

    Raises:
        OptionError: another axis grows with the axis of the input that this one is named after.
    """
    named = arranged_axis_names(axes.axis_names, axes.token_grid)
    places = _position_names(problem, input_index)
    channel = named.index(CHANNEL_AXIS) + 1
    own = [i + 1 for i, n in enumerate(named) if n != CHANNEL_AXIS]
    order = AxisOrder(channel, tuple(own[k] for k in axes.position_order))
    if axes.token_grid is None and axes.reshape is None:
        for k, grown in growing_axes(problem, input_index)(axes.layer_name, shape).items():
            if len(grown) == 1 and grown[0] != order.position_axes[k]:
                raise OptionError(
                    Argument("layer_axes", axes.axis_names),
                    f": of layer {axes.layer_name!r}, {' x '.join(map(str, shape[1:]))} behind the rows, axis {grown[0]} (rows being axis 0) grows "
                    f"when the input is made larger along {places[k]}, and axis {order.position_axes[k]} was said to.",
                )
    if axes.token_grid is not None:
        return _on_grid(problem, input_index, axes, order, sized=sized)
    for changes in probe_changes(problem, input_index, axes.layer_name, axes.arrange_output):
        seen = changes.axis_response()
        if seen.confirms_order(order):
            return axes
    return replace(axes, notes=(_axes_note(axes, against=not seen.allows_order(order)),))


def _on_grid(
    problem: SaliencyProblem, input_index: int, axes: LayerAxes, order: AxisOrder, *, sized: bool
) -> LayerAxes:
    """Tokens on their grid; tokens without a position are at the end if those depend on the whole input, and the first ones on single parts of it.

    Args:
        problem, input_index: the problem, and the input that the map shows. axes: the reading. order: of its axes, once arranged. sized: True if the user gave the grid.

    Raises:
        OptionError: the grid was derived from the number of tokens, and the layer does not change on it.
    """
    at = axes.axis_names.index(TOKEN_AXIS) + 1
    raw = replace(axes, token_grid=None)
    for changes in probe_changes(problem, input_index, axes.layer_name, raw.arrange_output):
        single = changes.single_part_shares(at)
        if (
            axes.skipped_tokens
            and _are_positions(single[: axes.skipped_tokens], single)
            and not _are_positions(single[-axes.skipped_tokens :], single)
        ):
            axes = replace(axes, skipped_tokens=0, spare_tokens=axes.skipped_tokens)
        lost = _are_positions(
            np.concatenate([single[: axes.skipped_tokens], single[len(single) - axes.spare_tokens :]]), single
        )
        laid = np.asarray(replace(axes, reshape=None).arrange_output(changes.squared_changes))
        seen = LayerChanges(laid, changes.changed_parts).axis_response()
        if seen.confirms_order(order, by_changes_only=not sized) and not lost:
            return axes
    if not sized:
        assert axes.token_grid is not None  # noqa: S101  # asked by the caller
        raise OptionError(
            f"the tokens of layer {axes.layer_name!r} would form a grid of {_size_text(axes.token_grid)} by their number, and do not change "
            "accordingly when parts of the input are changed; give ",
            Argument("grid", example="(...)"),
            ", tokens along each axis of the input.",
        )
    return replace(axes, notes=(_axes_note(axes, against=lost or not seen.allows_order(order)),))


def _are_positions(some: Floats, single: Floats) -> bool:
    """True if one of these tokens depends on single parts of the input, as most do; class tokens depend on all of it, though not evenly."""
    usual = float(np.median(single))
    return bool(len(some) and some.max() >= MIN_LIKENESS * usual and some.max() > float(single.min()) + MIN_MARGIN)


def _axes_note(axes: LayerAxes, *, against: bool) -> str:
    on = "" if axes.token_grid is None else f" on a grid of {_size_text(axes.token_grid)}"
    if against:
        return (
            f"AXES: layer {axes.layer_name!r} does not change as layer_axes={axes.axis_names}{on} implies when parts of the input "
            "are changed; the positions of the map may be wrong"
        )
    return (
        f"AXES: layer {axes.layer_name!r} is read as layer_axes={axes.axis_names}{on}, as given; this could not be confirmed, since a change of one part of the input "
        "changes no single part of the layer"
    )


def _resolve_grid(
    problem: SaliencyProblem, input_index: int, layer: str, count: int, grid: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The grid of this number of tokens.

    Raises:
        OptionError: it does not fit, or several do.
    """
    sizes = problem.inputs[input_index].position_shape
    if grid is not None:
        if len(grid) != len(sizes) or int(np.prod(grid)) > count:
            raise OptionError(
                Argument("grid", example=str(grid)),
                f": layer {layer!r} has {count} tokens, and the input {len(sizes)} ax{'is' if len(sizes) == 1 else 'es'} of positions ("
                f"{_size_text(sizes)}).",
            )
        return grid
    fit = {
        g
        for p in range(1, max(sizes) + 1)
        if 0 <= count - int(np.prod(g := tuple(n // p for n in sizes))) <= MAX_EXTRA_TOKENS and min(g) > 0
    }
    if len(fit) != 1:
        possible = " or ".join(map(_size_text, sorted(fit))) if fit else "none of square patches"
        raise OptionError(
            f"the {count} tokens of layer {layer!r} form a grid that their number does not decide ({possible}); give ",
            Argument("grid", example="(...)"),
            ", tokens along each axis of the input; tokens beyond these are left out at the beginning.",
        )
    return fit.pop()


def _position_names(problem: SaliencyProblem, input_index: int) -> tuple[str, ...]:
    given = problem.inputs[input_index]
    return tuple(given.dims[i] for i in given.position_axes)


def _join_words(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _axes_example(problem: SaliencyProblem, input_index: int) -> str:
    return str((*_position_names(problem, input_index), CHANNEL_AXIS))


def _size_text(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
