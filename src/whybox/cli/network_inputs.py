"""What ``whybox saliency`` is given to read: pictures, arrays and tables, for each input of a network."""

from __future__ import annotations

import argparse
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.cli.table_inputs import Shape, read_table_input, shape_text
from whybox.data.file_formats import READABLE_SUFFIXES, kind_of_file
from whybox.errors import InputError, OptionError, did_you_mean

__all__ = ["NetworkInputs", "files_of", "picture_to_draw", "read_inputs", "require_file"]

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
PICTURE_OPTIONS: Final = ("size", "channels", "pixel-scale", "mean", "std")
UNNAMED_INPUT: Final = ""  # the name of an input that has none


@final
@dataclass(frozen=True)
class NetworkInputs:
    """What was read.

    Attributes:
        inputs: an array or table; of several inputs a tuple, or a dict where the network takes them by name.
        names: of the inputs, () where there is one without a name. rows: how many.
        labels: for each input those of its rows: names of its files, else of another input's; None where there are none.
        pictures: for each input the files that its rows were read from; None where they are no pictures.
        notes: what the reader should know.
    """

    inputs: Any
    names: tuple[str, ...]
    rows: int
    labels: tuple[list[str] | None, ...]
    pictures: tuple[list[str] | None, ...] = ()
    notes: tuple[str, ...] = ()


def require_file(path: str | None) -> bool:
    """Whether a path was given.

    Raises:
        InputError: it was, and there is no file.
    """
    if path is not None and not Path(path).is_file():
        raise InputError(f"there is no file {path!r}.")
    return path is not None


def files_of(plain: Sequence[str], named: Sequence[str], option: str = "--input") -> dict[str, list[str]]:
    """The files of each input, by name; patterns (image=*.png) are filled in here, where the shell does not see them.

    Raises:
        OptionError: both kinds, or a name without a file. InputError: a pattern that nothing fits.
    """
    if plain and named:
        raise OptionError(f"give files, or {option} NAME=FILE for every input, not both.")
    if plain:
        return {UNNAMED_INPUT: [p for text in plain for p in _matching_files(text)]}
    out: dict[str, list[str]] = {}
    for text in named:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise OptionError(f"{option} {text!r}: write NAME=FILE, with the name of the network's input.")
        out.setdefault(name, []).extend(_matching_files(path))
    return out


def _matching_files(pattern: str) -> list[str]:
    """A path itself, or the files that fit a pattern, by name.

    Raises:
        InputError: none does.
    """
    path = Path(pattern)
    if not set("*?[") & set(pattern) or path.exists():
        return [pattern]
    paths = sorted(str(p) for p in Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not paths:
        raise InputError(f"no file fits {pattern!r}.")
    return paths


def read_inputs(options: argparse.Namespace, net: Any, files: Mapping[str, list[str]]) -> NetworkInputs:
    """Read the files of all inputs, in the order the network takes them.

    Raises:
        InputError: files that cannot be read, or that do not fit together or the network. OptionError: names the network does not have.
    """
    for path in (p for paths in files.values() for p in paths):
        require_file(path)
    program = getattr(net, "module", None)
    expects: Sequence[Shape] | None = getattr(program, "input_shapes", None)
    input_names: Sequence[str] = getattr(program, "declared_names", ())
    whole_numbers: Sequence[bool] = getattr(program, "whole_number_inputs", ())
    order = _input_order(list(files), expects, input_names)
    read = {}
    for at, name in enumerate(order):
        shape = None if expects is None else (expects[at] or ())[1:]
        is_whole = bool(whole_numbers) and whole_numbers[at]
        read[name] = _InputReader(options, name, tuple(order), net.channels, is_whole).read(files[name], shape)
    rows = {name: len(r.rows) for name, r in read.items()}
    if len(set(rows.values())) > 1:
        raise InputError(f"the inputs have different numbers of rows: {', '.join(f'{n} {r:,}' for n, r in rows.items())}.")  # fmt: skip
    first = next((r.labels for r in read.values() if r.labels is not None), None)
    labels = tuple(first if r.labels is None else r.labels for r in read.values())
    pictures = tuple(r.pictures for r in read.values())
    notes = tuple(note for r in read.values() for note in r.notes)
    count = next(iter(rows.values()))
    arrays = {name: r.rows for name, r in read.items()}
    if order == [UNNAMED_INPUT]:
        return NetworkInputs(arrays[UNNAMED_INPUT], (), count, labels, pictures, notes)
    by_place = all(n.isdigit() for n in order)
    inputs: Any = (tuple(arrays.values()) if len(arrays) > 1 else arrays[order[0]]) if by_place else arrays
    return NetworkInputs(inputs, tuple(order), count, labels, pictures, notes)


def refuse_ignored_options(options: argparse.Namespace, files: Mapping[str, list[str]]) -> None:
    """Refuse options of pictures for inputs that are none, since arrays and tables are taken as they are; and columns where there is no table.

    Raises:
        OptionError: with the option that would be ignored.
    """
    pictures = {n for n, paths in files.items() if {Path(p).suffix.lower() for p in paths} & set(PICTURE_SUFFIXES)}
    for option in PICTURE_OPTIONS:
        for text in getattr(options, option.replace("-", "_")) or ():
            name, equals, _ = text.partition("=")
            ignored = (name in files and name not in pictures) if equals else not pictures
            if ignored:
                raise OptionError(
                    f"--{option} {text} is for pictures (.png, .jpg), and arrays and tables are taken as they are: prepare them beforehand."
                )
    tables = {n for n, paths in files.items() if {kind_of_file(p) for p in paths} & set(READABLE_SUFFIXES)}
    for text in options.column:
        name, equals, _ = text.partition("=")
        if (name in files and name not in tables) if equals else not tables:
            raise OptionError(
                f"--column {text} is for tables ({', '.join(READABLE_SUFFIXES)}), and {name if equals else 'INPUT'} is none."
            )


def _input_order(names: list[str], expects: Sequence[Shape] | None, input_names: Sequence[str]) -> list[str]:
    """The inputs in the order the network takes them: by its own names where it says them, or by their numbers."""
    if expects is not None and names == [UNNAMED_INPUT] and len(expects) > 1:
        raise OptionError(f"the program takes {len(expects)} inputs: give each with --input NAME=FILE. Their names: {', '.join(input_names)}.")  # fmt: skip
    if names == [UNNAMED_INPUT]:
        return names
    if all(n.isdigit() for n in names):
        if sorted(map(int, names)) != list(range(len(expects) if expects is not None else len(names))):
            raise OptionError(f"--input: the inputs {', '.join(names)} must be numbered from 0 on, each once and none left out.")  # fmt: skip
        return sorted(names, key=int)
    if expects is not None:
        unknown = next((n for n in names if n not in input_names), None)
        if unknown is not None:
            raise OptionError(
                f"--input {unknown}=...: the program has no such input.{did_you_mean(unknown, input_names)}"
            )
        if missing := [n for n in input_names if n not in names]:
            raise OptionError(
                f"--input: the program takes {', '.join(input_names)} too; {', '.join(missing)} is missing."
            )
        return list(input_names)
    return names


@final
@dataclass
class _InputRows:
    rows: Any
    labels: list[str] | None
    notes: list[str] = field(default_factory=list)
    pictures: list[str] | None = None


@final
@dataclass(frozen=True)
class _InputReader:
    """Reads the files of one input, as the options say for it or for all."""

    options: argparse.Namespace
    name: str
    names: tuple[str, ...]
    channels: str
    whole_numbers: bool

    def read(self, paths: list[str], shape: Shape) -> _InputRows:
        kinds = {kind_of_file(p) for p in paths}
        if kinds == {".npy"}:
            return _read_arrays(paths, shape)
        if kinds <= set(READABLE_SUFFIXES):
            return _InputRows(
                read_table_input(
                    paths,
                    shape,
                    self.name,
                    self._setting("column"),
                    whole_numbers=self.whole_numbers,
                    several=len(self.names) > 1,
                ),
                None,
            )
        if kinds <= set(PICTURE_SUFFIXES):
            return self._pictures(paths, shape)
        unknown = next((k for k in sorted(kinds) if k not in (*PICTURE_SUFFIXES, *READABLE_SUFFIXES, ".npy")), None)
        raise InputError(
            f"inputs of type {unknown!r} are not read; give .png, .jpg, .npy, {', '.join(READABLE_SUFFIXES[:-1])} or {READABLE_SUFFIXES[-1]}."
            if unknown is not None
            else f"give pictures, arrays or a table, not {' and '.join(sorted(kinds))} for one input."
        )

    def _pictures(self, paths: list[str], shape: Shape) -> _InputRows:
        if shape is not None and len(shape) != 3:
            raise InputError(
                f"the program takes rows of shape {shape_text(shape)}, which are no pictures; give .npy arrays."
            )
        text = self._setting("channels")
        if text not in (None, "1", "3"):
            raise OptionError(f"--channels {text!r}: 1 for grey, or 3.")
        count = (shape[0] if self.channels == "first" else shape[2]) if shape is not None else int(text or 3)
        if count not in (None, 1, 3):
            raise InputError(f"the program takes pictures of {count} channels; give .npy arrays.")
        size = _picture_size(self._setting("size"), shape, self.channels)
        mean, std = (_numbers_per_channel(n, self._setting(n), count or 3) for n in ("mean", "std"))
        pixel_scale = _numbers_per_channel("pixel-scale", self._setting("pixel-scale") or "255", 1)
        if (pixel_scale is not None and pixel_scale[0] <= 0) or (std is not None and (std <= 0).any()):
            raise OptionError("--pixel-scale and --std must be above 0.")
        rows: list[npt.NDArray[Any]] = []
        resized: list[str] = []
        notes: list[str] = []
        for path in paths:
            pixels, is_transparent = _read_picture(path, grey=count == 1, size=size, resized=resized)
            if is_transparent:
                notes.append(f"{Path(path).name} is transparent in parts; the colours under it were taken as they are")
            pixels = pixels / (np.float32(255.0) if pixel_scale is None else pixel_scale[0])
            pixels = pixels if mean is None else pixels - mean
            pixels = pixels if std is None else pixels / std
            rows.append(pixels.transpose(2, 0, 1) if self.channels == "first" else pixels)
        if resized and size is not None:
            notes.append(f"resized to {size[1]}x{size[0]} (width x height), not cropped: {_first_few(resized)}")
        if len({r.shape for r in rows}) > 1:
            raise InputError("the pictures have different sizes; say --size HxW.")
        labels = [Path(p).name for p in paths]
        return _InputRows(np.ascontiguousarray(np.stack(rows), dtype=np.float32), labels, notes, paths)

    def _setting(self, option: str) -> str | None:
        """What an option says for this input, or for all.

        Raises:
            OptionError: it names an input that is not there, or says one thing twice.
        """
        said: dict[str, str] = {}  # by the name of the input, UNNAMED_INPUT for all
        for text in getattr(self.options, option.replace("-", "_")) or ():
            name, equals, value = text.partition("=")
            if equals and self.names == (UNNAMED_INPUT,):
                raise OptionError(f"--{option} {text!r}: NAME=... is for one of several inputs; here there is one.")
            if equals and name not in self.names:
                raise OptionError(f"--{option} {text!r}: there is no input {name!r}.{did_you_mean(name, self.names)}")
            key, value = (name, value) if equals else (UNNAMED_INPUT, text)
            if key in said:
                raise OptionError(f"--{option} {text}: --{option} was said before{f' of {key}' if key else ''}; say it once, with commas where it takes several.")  # fmt: skip
            said[key] = value
        return said.get(self.name, said.get(UNNAMED_INPUT))


def _first_few(texts: Sequence[str], most: int = 4) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _read_arrays(paths: list[str], shape: Shape) -> _InputRows:
    parts = []
    for path in paths:
        try:
            a = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{path} is no array that can be read without running code ({error}).") from None
        if not isinstance(a, np.ndarray) or not a.ndim:
            raise InputError(f"{path} holds no array whose first axis is the rows.")
        parts.append(a[None] if shape is not None and a.ndim == len(shape) else a)
    if len({p.shape[1:] for p in parts}) > 1:
        raise InputError(
            f"the arrays have rows of different shapes: {', '.join(shape_text(p.shape[1:]) for p in parts)}."
        )
    rows = np.concatenate(parts)
    if shape is not None and (
        rows.ndim != len(shape) + 1 or any(n not in (None, m) for n, m in zip(shape, rows.shape[1:], strict=True))
    ):
        raise InputError(
            f"the program takes rows of shape {shape_text(shape)}, and the arrays have {shape_text(rows.shape[1:])}."
        )
    return _InputRows(rows, [Path(p).name for p in paths] if all(len(p) == 1 for p in parts) else None)


def picture_to_draw(path: str) -> npt.NDArray[Any]:
    """Return a picture as it is, upright, in numbers from 0 to 1, (height, width, 3)."""
    pixels, _ = _read_picture(path, grey=False, size=None, resized=[])
    return np.asarray(np.clip(pixels / 255.0, 0.0, 1.0))


def _read_picture(
    path: str, *, grey: bool, size: tuple[int, int] | None, resized: list[str]
) -> tuple[npt.NDArray[np.float32], bool]:
    """A picture in bytes, (height, width, channels), of 16 bits with fractions; and whether parts of it are transparent.

    Raises:
        InputError: it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), _open_picture(path) as opened:
            is_transparent = opened.has_transparency_data and bool(
                (np.asarray(opened.convert("RGBA"))[..., 3] < 255).any()
            )
            has_16_bits = opened.mode.startswith("I")  # 16 bits: what convert() makes of them is white
            upright = ImageOps.exif_transpose(opened)
            picture = _grey_bytes(upright) if has_16_bits else upright
            picture = picture.convert("L" if grey else "RGB") if not has_16_bits else picture
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise InputError(f"{path} is no picture that can be read ({str(error).rstrip('.')}).") from None
    if size is not None and size != (picture.height, picture.width):
        resized.append(f"{Path(path).name} from {picture.width}x{picture.height}")
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, dtype=np.float32).reshape(picture.height, picture.width, -1)
    return (pixels if grey or pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)), is_transparent


def _open_picture(path: str) -> Any:
    from PIL import Image

    warnings.simplefilter(
        "ignore", Image.DecompressionBombWarning
    )  # large, and read all the same; twice as large is refused
    return Image.open(path, formats=("PNG", "JPEG"))


def _grey_bytes(picture: Any) -> Any:
    """A grey picture of 16 bits as floats from 0 to 255."""
    from PIL import Image

    return Image.fromarray(np.asarray(picture).astype(np.float32) / np.float32(257.0))


def _picture_size(text: str | None, shape: Shape, channels: str) -> tuple[int, int] | None:
    wanted = (None, None) if shape is None else (shape[1:] if channels == "first" else shape[:2])
    if text is None:
        return (wanted[0], wanted[1]) if wanted[0] is not None and wanted[1] is not None else None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise OptionError(f"--size {text!r}: write HEIGHTxWIDTH, like 224x224.")
    size = int(parts[0]), int(parts[1])
    if any(w is not None and w != s for w, s in zip(wanted, size, strict=True)):
        raise OptionError(f"--size {text}: the program takes {wanted[0]}x{wanted[1]}; leave --size out.")
    return size


def _numbers_per_channel(name: str, text: str | None, count: int) -> npt.NDArray[np.float32] | None:
    if text is None:
        return None
    try:
        numbers = np.array([float(p) for p in text.split(",")], dtype=np.float32)
    except ValueError:
        numbers = np.array([np.nan], dtype=np.float32)
    if len(numbers) not in (1, count) or not np.isfinite(numbers).all():
        raise OptionError(f"--{name} {text!r}: give one number{f', or {count}, with commas between them' if count > 1 else ''}.")  # fmt: skip
    return numbers
