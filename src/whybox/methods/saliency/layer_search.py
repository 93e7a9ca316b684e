"""Which layer, and which of its axes are channels, places, tokens: from the user or from the network, never from where libraries usually have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.saliency.axis_probe import Changes, Order, growth, observe, orders
from whybox.methods.saliency.layer_axes import CHANNEL, TOKEN, Known, LayerAxes, only_moves, spread
from whybox.methods.saliency.problem import Question

__all__ = ["find_layer", "read_layer"]

GIVEN: Final = "as given"
EXTRA: Final = 5  # tokens beside those of places, where no grid is given: class, distillation and register tokens
LIKE: Final = 0.9  # share of one part of the input in a token's changes, beside the usual one, from which on the token may be a place
CLEARER: Final = 0.05  # and how much more than the least it must be
TRIES: Final = 8  # layers whose response is looked at, from the last one back


def find_layer(q: Question, which: int) -> LayerAxes:
    """The last layer that outputs channels on a grid of more than one place, and whose axes can be found.

    Raises:
        UnsupportedModelError: there is none.
    """
    met = q.net.blocks(q.lift(np.zeros(1, dtype=np.intp)))
    times = Counter(name for name, _ in met)
    rank = q.inputs[which].x.ndim
    fit = [(n, s) for n, s in reversed(met) if len(s) == rank and s[0] == 1 == times[n] and int(np.prod(s)) > 1]
    grown, tried = growth(q, which) if fit else None, 0
    for name, shape in fit:
        assert grown is not None  # noqa: S101  # there is a layer
        possible = orders(shape, grown(name, shape))
        if len(possible) == 1 and all(shape[axis] == 1 for axis in possible[0].places):
            continue
        if len(possible) > 1 and sum(n > 1 for n in shape[1:]) < 2:  # a vector: channels behind a pool, most likely
            continue
        try:
            found = _read(q, which, name, shape, possible)
        except UnsupportedModelError:  # what it outputs has no rows
            continue
        if isinstance(found, LayerAxes):
            return replace(found, notes=(*found.notes, *_tokens_after(met, name, rank)))
        tried += 1
        if tried == TRIES:
            break
    if not fit:
        raise UnsupportedModelError(
            f"no layer of {q.net.kind} outputs channels on a grid of more than one place (among those that are called once); name one: ",
            Argument("layer", example="..."),
            " (of transformers with ",
            Argument("layer_axes", ("token", "channel")),
            ").",
        )
    raise UnsupportedModelError(
        f"no layer of {q.net.kind} has axes that can be found for certain: which are {_listed(_places(q, which))} and which holds "
        f"channels (looked at: {', '.join(repr(n) for n, _ in fit[:TRIES])}); name one, and its axes in its own order: ",
        Argument("layer", example="..."),
        ", ",
        Argument("layer_axes", example=_example(q, which)),
        f". If axis {q.inputs[which].channel} of the input does not hold its channels: ",
        Argument("channel_axis", example="..."),
    )


def _tokens_after(met: Sequence[tuple[str, tuple[int, ...]]], layer: str, rank: int) -> tuple[str, ...]:
    """A note where layers behind this one output tokens, as those of transformers do: the last grid is then their first layer."""
    behind = met[[name for name, _ in met].index(layer) + 1 :]
    tokens = [(n, s) for n, s in behind if len(s) == 3 != rank and min(s[1:]) > 1]
    if not tokens:
        return ()
    name, shape = tokens[-1]
    return (
        (
            f"behind layer {layer!r}, the last one on a grid, {len(tokens)} layers output three axes, as of tokens (the last: {name!r}, {shape[1]} x {shape[2]}); "
            "for a map there: layer=..., layer_axes=('token', 'channel')"
        ),
    )


def read_layer(
    q: Question,
    which: int,
    layer: str,
    names: tuple[str, ...] | Known | None,
    grid: tuple[int, ...] | None,
    reshape: Any,
) -> LayerAxes:
    """What the axes of a layer are.

    Args:
        q, which: the question, and the input whose places are shown. layer: its name. names, grid, reshape: as the user gave them.

    Raises:
        OptionError: the layer has other axes than the input has places, or than was said. UnsupportedModelError: they cannot be found for certain.
    """
    shape = _shape(q, layer, reshape)
    if isinstance(names, Known):
        return _as_said(q, which, layer, shape, names.names, grid, reshape, names.spare)
    if names is not None:
        said = _as_said(q, which, layer, shape, names, grid, reshape)
        return _held_against(q, which, shape, said, sized=grid is not None)
    if grid is not None:
        raise OptionError(
            Argument("grid", example=""),
            " goes with an axis of tokens: ",
            Argument("layer_axes", ("token", "channel")),
            ".",
        )
    if len(shape) != q.inputs[which].x.ndim:
        raise OptionError(
            f"layer {layer!r} outputs the shape {shape[1:]} for a row; a class activation map needs channels and the input's axes of places "
            f"({_listed(_places(q, which))}). Leave ",
            Argument("layer"),
            " out, name another, or ",
            ("say ", Argument("layer_axes", ("token", "channel")), " where these are tokens.")
            if len(shape) == 3
            else ("bring it into such axes: ", Argument("reshape", example="...")),
        )
    moved = growth(q, which)(layer, shape) if reshape is None else {}
    found = _read(q, which, layer, shape, orders(shape, moved), reshape)
    if isinstance(found, LayerAxes):
        return found
    raise UnsupportedModelError(
        f"which axes of layer {layer!r}, {' x '.join(map(str, shape[1:]))} behind the rows, are {_listed(_places(q, which))} and "
        f"which holds channels cannot be found for certain: {found}. Name them in the layer's own order, such as ",
        Argument("layer_axes", example=_example(q, which)),
        ", or bring them into order first: ",
        Argument("reshape", example="..."),
        f" If axis {q.inputs[which].channel} of the input does not hold its channels: ",
        Argument("channel_axis", example="..."),
    )


def _shape(q: Question, layer: str, reshape: Any) -> tuple[int, ...]:
    """What a layer outputs for one row, after the user's own arrangement.

    Raises:
        OptionError: there is no such layer, or the arrangement is none. UnsupportedModelError: it is not called once with one array.
    """
    first = q.lift(np.zeros(1, dtype=np.intp))
    met = [shape for name, shape in q.net.reachable_shapes(first) if name == layer] if reshape is None else []
    if len(met) == 1 and met[0][:1] == (1,):
        return met[0]
    one = q.net.tap_layer(first, layer).activation
    if reshape is not None:
        only_moves(q, reshape, layer, tuple(map(int, one.shape)))
        one = reshape(one)
    return tuple(map(int, one.shape))


def _read(
    q: Question, which: int, layer: str, shape: tuple[int, ...], possible: list[Order], reshape: Any = None
) -> LayerAxes | str:
    """The axes, or why they are not known."""
    if not possible:
        return "an axis of the input makes several of them grow, or several of the input the same one"
    placed = (lambda a: a) if reshape is None else reshape
    alone = len(possible) > 1
    for times, changes in enumerate(observe(q, which, layer, placed)):
        if alone and not times:  # one draw may deceive
            continue
        seen = changes.response()
        sure = [order for order in possible if seen.confirms(order, alone=alone)]
        if len(sure) == 1:
            how = "changing parts of the input" if alone else "resizing the input and by changing parts of it"
            return _made(q, which, layer, sure[0], f"found by {how}", reshape)
    if alone:
        return "the network takes no larger input up to there, and a change of one part of the input changes no single part of the layer"
    if not seen.allows(possible[0]):
        return "their lengths say one thing, and where the layer changes when parts of the input are changed says another (an axis that runs backwards, or is shuffled?)"
    found = _made(q, which, layer, possible[0], "found by resizing the input", reshape)
    note = (
        f"AXES: by its lengths layer {layer!r} has the axes (row, {', '.join(found.names)}); whether its places stand in the input's order cannot be seen, since a change of "
        "one part of the input changes all of the layer"
    )
    return replace(found, notes=(note,))


def _made(q: Question, which: int, layer: str, order: Order, found: str, reshape: Any) -> LayerAxes:
    places = _places(q, which)
    at = {order.channel: CHANNEL, **dict(zip(order.places, places, strict=True))}
    names = tuple(at[axis] for axis in sorted(at))
    return LayerAxes(layer, names, found, _sorted_as(places, names), reshape=reshape)


def _sorted_as(places: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """Where each of the input's places stands among the layer's."""
    own = [n for n in names if n != CHANNEL]
    return tuple(own.index(n) for n in places)


def _as_said(
    q: Question,
    which: int,
    layer: str,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    grid: tuple[int, ...] | None,
    reshape: Any,
    spare: int = 0,
) -> LayerAxes:
    """Axes by their names, held against the layer's shape; `spare`: tokens at the end that stand for no place.

    Raises:
        OptionError: they are others, or more or fewer.
    """
    places = _places(q, which)
    tokens = TOKEN in names and TOKEN not in places
    if set(names) != ({CHANNEL, TOKEN} if tokens else {CHANNEL, *places}):
        raise OptionError(
            Argument("layer_axes", names),
            f": the input's places are {_listed(places)}; name these and 'channel', or 'token' and 'channel', in the layer's own order.",
        )
    if len(names) != len(shape) - 1:
        raise OptionError(
            Argument("layer_axes", names),
            f" are {len(names)}, and layer {layer!r} outputs {len(shape) - 1} axes behind the rows: {' x '.join(map(str, shape[1:]))}"
            ".",
        )
    if grid is not None and not tokens:
        raise OptionError(
            Argument("grid", example=""),
            " goes with an axis of tokens: ",
            Argument("layer_axes", ("token", "channel")),
            ".",
        )
    if not tokens:
        return LayerAxes(layer, names, GIVEN, _sorted_as(places, names), reshape=reshape)
    count = shape[names.index(TOKEN) + 1]
    grid = _grid(q, which, layer, count, grid)
    more = count - int(np.prod(grid)) - spare
    if more and int(np.prod(grid)) == 1:
        raise OptionError(
            f"a grid of one place has no map, and which of the {count} tokens of layer {layer!r} it is cannot be found."
        )
    return LayerAxes(layer, names, GIVEN, tuple(range(len(grid))), grid, more, spare, reshape)


def _held_against(q: Question, which: int, shape: tuple[int, ...], axes: LayerAxes, *, sized: bool) -> LayerAxes:
    """Axes as the user names them, if larger inputs do not say otherwise; with a note if changed parts of the input do.

    Raises:
        OptionError: an axis does not grow with the axis of the input that it is said to follow, and another does.
    """
    named = spread(axes.names, axes.grid)
    places = _places(q, which)
    channel = named.index(CHANNEL) + 1
    own = [i + 1 for i, n in enumerate(named) if n != CHANNEL]
    order = Order(channel, tuple(own[k] for k in axes.order))
    if axes.grid is None and axes.reshape is None:
        for k, grown in growth(q, which)(axes.layer, shape).items():
            if len(grown) == 1 and grown[0] != order.places[k]:
                raise OptionError(
                    Argument("layer_axes", axes.names),
                    f": of layer {axes.layer!r}, {' x '.join(map(str, shape[1:]))} behind the rows, axis {grown[0]} (rows being axis 0) grows "
                    f"when the input is made larger along {places[k]}, and axis {order.places[k]} was said to.",
                )
    if axes.grid is not None:
        return _on_grid(q, which, axes, order, sized=sized)
    for changes in observe(q, which, axes.layer, axes.placed):
        seen = changes.response()
        if seen.confirms(order):
            return axes
    return replace(axes, notes=(_doubt(axes, against=not seen.allows(order)),))


def _on_grid(q: Question, which: int, axes: LayerAxes, order: Order, *, sized: bool) -> LayerAxes:
    """Tokens on their grid; those of no place at the end where these answer the input as a whole, and the first ones single parts of it.

    Args:
        q, which: the question, and the input whose places are shown. axes: the reading. order: of its axes, once placed. sized: whether the user named the grid.

    Raises:
        OptionError: the grid was taken from the number of tokens, and the layer does not answer on it.
    """
    at = axes.names.index(TOKEN) + 1
    raw = replace(axes, grid=None)
    for changes in observe(q, which, axes.layer, raw.placed):
        single = changes.single(at)
        if axes.skip and _as_places(single[: axes.skip], single) and not _as_places(single[-axes.skip :], single):
            axes = replace(axes, skip=0, spare=axes.skip)
        lost = _as_places(np.concatenate([single[: axes.skip], single[len(single) - axes.spare :]]), single)
        laid = np.asarray(replace(axes, reshape=None).placed(changes.values))
        seen = Changes(laid, changes.parts).response()
        if seen.confirms(order, alone=not sized) and not lost:
            return axes
    if not sized:
        assert axes.grid is not None  # noqa: S101  # asked by the caller
        raise OptionError(
            f"the tokens of layer {axes.layer!r} would lie on a grid of {_by(axes.grid)} by their number, and do not change where that "
            "says when parts of the input are changed; say ",
            Argument("grid", example="(...)"),
            ", tokens along each axis of the input.",
        )
    return replace(axes, notes=(_doubt(axes, against=lost or not seen.allows(order)),))


def _as_places(some: Floats, single: Floats) -> bool:
    """Whether one of these tokens answers single parts of the input as most do; class tokens answer all of it, though some parts more than others."""
    usual = float(np.median(single))
    return bool(len(some) and some.max() >= LIKE * usual and some.max() > float(single.min()) + CLEARER)


def _doubt(axes: LayerAxes, *, against: bool) -> str:
    on = "" if axes.grid is None else f" on a grid of {_by(axes.grid)}"
    if against:
        return f"AXES: layer {axes.layer!r} does not change where layer_axes={axes.names}{on} says when parts of the input are changed; the places of the map may be wrong"
    return (
        f"AXES: layer {axes.layer!r} is read as layer_axes={axes.names}{on}, as given; when one part of the input is changed, no single part of it changes that could "
        "confirm this"
    )


def _grid(q: Question, which: int, layer: str, count: int, grid: tuple[int, ...] | None) -> tuple[int, ...]:
    """The grid of so many tokens.

    Raises:
        OptionError: it does not fit, or several do.
    """
    sizes = q.inputs[which].sizes
    if grid is not None:
        if len(grid) != len(sizes) or int(np.prod(grid)) > count:
            raise OptionError(
                Argument("grid", grid),
                f": layer {layer!r} has {count} tokens, and the input {len(sizes)} ax{'is' if len(sizes) == 1 else 'es'} of places ({_by(sizes)}"
                ").",
            )
        return grid
    fit = {
        g
        for p in range(1, max(sizes) + 1)
        if 0 <= count - int(np.prod(g := tuple(n // p for n in sizes))) <= EXTRA and min(g) > 0
    }
    if len(fit) != 1:
        said = " or ".join(map(_by, sorted(fit))) if fit else "none of square patches"
        raise OptionError(
            f"the {count} tokens of layer {layer!r} lie on a grid that their number does not decide ({said}); say ",
            Argument("grid", example="(...)"),
            ", tokens along each axis of the input; what is more than that is left out at the beginning.",
        )
    return fit.pop()


def _places(q: Question, which: int) -> tuple[str, ...]:
    given = q.inputs[which]
    return tuple(given.dims[i] for i in given.places)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _example(q: Question, which: int) -> str:
    return str((*_places(q, which), CHANNEL))


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
