"""The command ``whybox saliency``: a network in a file or made by a function, pictures or arrays, maps in a file."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.errors import InputError, ModelFileError, OptionError

__all__ = ["add_parser"]

_ABOUT: Final = """Write which parts of each input a network's answer hangs on.
MODEL is a program of torch.export (.pt2), which needs no code and runs none while it is read, or MODULE:FUNCTION, which is imported and called and returns a
network (a torch module in eval mode, a Keras model, whybox.networks.jax(...)). INPUT are pictures (.png, .jpg) or arrays (.npy)."""
_PICTURES: Final = (".png", ".jpg", ".jpeg")
_RESULTS: Final = (".npz", ".whybox", ".png", ".svg")
_METHODS: Final = (
    "gradient", "gradient_x_input", "smoothgrad", "vargrad", "integrated_gradients", "expected_gradients", "deeplift", "guided_backprop", "gradcam",
    "gradcam++", "layercam", "scorecam", "occlusion", "rise", "ablation", "shapley",
)  # fmt: skip  # held against the catalog by a test, for the catalog takes long to import
DRAWINGS: Final = (".png", ".svg")
DRAWN: Final = 16  # inputs in one picture


def add_parser(commands: Any, exit_codes: str) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "saliency",
        help="write which parts of each input a network's answer hangs on",
        description=_ABOUT,
        epilog=exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "model", metavar="MODEL", help=".pt2 of torch.export.save, or MODULE:FUNCTION; .pt and .pth with --trust-pickle"
    )
    add(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="pictures (.png, .jpg), or arrays (.npy) whose first axis is the rows",
    )
    add(
        "-o",
        "--out",
        required=True,
        metavar="FILE",
        help="where to write: .npz, .whybox (with its evidence), .png or .svg",
    )
    add("--method", default="gradient", help=f"one of {', '.join(_METHODS)} (default: %(default)s)")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="option of the method (repeatable)")
    add("--target", metavar="OUTPUT", help="number or name of the output to explain, or all (default: the largest)")
    add("--names", metavar="FILE", help="names of the outputs, one a line")
    add("--size", metavar="HxW", help="resize pictures to this height and width (default: what the program takes)")
    add(
        "--scale",
        type=float,
        default=255.0,
        help="pictures: the largest byte, 255, becomes 255 / SCALE (default: %(default)s)",
    )
    add("--mean", metavar="M[,M,M]", help="pictures: taken off after scaling, for each channel")
    add("--std", metavar="S[,S,S]", help="pictures: divided by after that")
    add("--reduce", choices=("auto", "max", "sum"), default="auto", help="how channels become one number")
    add("--budget", default="1GB", help="bytes that derivatives may keep at a time (default: %(default)s)")
    add("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    add("--trust-pickle", action="store_true", help="read files that run whatever code is in them")
    parser.set_defaults(run=_saliency)


def _saliency(options: argparse.Namespace) -> None:
    from whybox.explanation.explanation import labels
    from whybox.methods.saliency.saliency import saliency

    out = _result_path(options)
    method_options = _options(options.option)
    names = Path(options.names).read_text(encoding="utf-8").split("\n") if _there(options.names) else None
    net = _network(options.model, trust_pickle=options.trust_pickle)
    rows, called = _rows(options, net)
    found = saliency(
        net,
        rows,
        _target(options.target),
        options.method,
        reduce=options.reduce,
        output_names=[n.strip() for n in names if n.strip()] if names else None,
        budget=options.budget,
        seed=options.seed,
        **method_options,
    )
    found = found[0] if isinstance(found, tuple) else found
    if out.suffix.lower() in DRAWINGS and len(found) > DRAWN:
        raise OptionError(
            f"-o {options.out}: a picture shows up to {DRAWN} inputs, and there are {len(found)}; write .npz or .whybox."
        )
    if called is not None:
        found = replace(found, coords={**found.coords, "row": labels(called)})
    _write(found, out)
    print(f"{out}: {found.evidence.method} of {len(found):,} input{'s' if len(found) != 1 else ''}, {found.units}")
    for label, text in found.evidence.lines():
        if label.startswith(("Estimand", "Absent", "Attributions", "Passes", "Note")):
            print(f"  {label}: {text}")


def _result_path(options: argparse.Namespace) -> Path:
    out = Path(options.out)
    if out.suffix.lower() not in _RESULTS:
        raise OptionError(f"-o {options.out}: the result is a file of type {', '.join(_RESULTS)}.")
    if not out.resolve().parent.is_dir():
        raise InputError(f"the folder {str(out.parent)!r} does not exist.")
    for given in (options.model, *options.inputs, options.names):
        if (
            given
            and Path(given).exists()
            and (out.resolve() == Path(given).resolve() or (out.exists() and out.samefile(given)))
        ):
            raise OptionError(f"-o {options.out} is the same file as {given}; write the result to another file.")
    return out


def _there(path: str | None) -> bool:
    if path is not None and not Path(path).is_file():
        raise InputError(f"there is no file {path!r}.")
    return path is not None


def _options(given: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise OptionError(f"--option {text!r}: write NAME=VALUE.")
        if name in out:
            raise OptionError(f"--option {name} is given twice.")
        if name in inspect.signature(_public()).parameters:
            raise OptionError(f"--option {name}: this is not one of the method's; see whybox saliency --help.")
        try:
            out[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            out[name] = value
    return out


def _public() -> Any:
    from whybox.methods.saliency.saliency import saliency

    return saliency


def _target(said: str | None) -> Any:
    return int(said) if said is not None and said.lstrip("-").isdigit() else said


def _network(model: str, *, trust_pickle: bool) -> Any:
    from whybox.models.registry import as_network
    from whybox.networks import exported

    module, colon, name = model.partition(":")
    if not colon or Path(model).exists():
        return exported(model, trust_pickle=trust_pickle)
    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ModelFileError(f"{model}: {error}. Write MODULE:FUNCTION, importable from here.") from None
    finally:
        sys.path.remove(str(Path.cwd()))
    return as_network(made() if inspect.isfunction(made) or inspect.isclass(made) else made)


def _rows(options: argparse.Namespace, net: Any) -> tuple[npt.NDArray[Any], list[str] | None]:
    """All inputs as one array, and names of the rows where each is a file."""
    expects = getattr(getattr(net, "module", None), "expects", None)
    if expects is not None and len(expects) > 1:
        raise OptionError(
            f"the program takes {len(expects)} inputs; on the command line it can be given one. Use Python."
        )
    shape = None if expects is None else expects[0][1:]
    for path in options.inputs:
        _there(path)
    kinds = {Path(p).suffix.lower() for p in options.inputs}
    if kinds == {".npy"}:
        return _arrays(options.inputs, shape)
    if kinds <= set(_PICTURES):
        return _pictures(options, shape, net.channels), [Path(p).name for p in options.inputs]
    odd = next(iter(kinds - {*_PICTURES, ".npy"}), None)
    raise InputError(
        f"inputs of type {odd!r} are not read; give .png, .jpg or .npy."
        if odd is not None
        else "give pictures or arrays, not both."
    )


def _arrays(paths: list[str], shape: tuple[int | None, ...] | None) -> tuple[npt.NDArray[Any], list[str] | None]:
    parts = []
    for path in paths:
        try:
            a = np.load(path, allow_pickle=False)
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is no array that can be read without running code ({error}).") from None
        parts.append(a[None] if shape is not None and a.ndim == len(shape) else a)
    if len({p.shape[1:] for p in parts}) > 1:
        raise InputError(f"the arrays have rows of different shapes: {', '.join(str(p.shape[1:]) for p in parts)}.")
    rows = np.concatenate(parts)
    if shape is not None and (
        rows.ndim != len(shape) + 1 or any(n not in (None, m) for n, m in zip(shape, rows.shape[1:], strict=True))
    ):
        raise InputError(f"the program takes rows of shape {shape}, and the arrays have {rows.shape[1:]}.")
    return rows, [Path(p).name for p in paths] if all(len(p) == 1 for p in parts) else None


def _pictures(
    options: argparse.Namespace, shape: tuple[int | None, ...] | None, channels: str
) -> npt.NDArray[np.float32]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if shape is not None and len(shape) != 3:
        raise InputError(f"the program takes rows of shape {shape}, which are no pictures; give .npy arrays.")
    count = (shape[0] if channels == "first" else shape[2]) if shape is not None else 3
    if count not in (None, 1, 3):
        raise InputError(f"the program takes pictures of {count} channels; give .npy arrays.")
    size = _size(options.size, shape, channels)
    mean, std = (_numbers(n, getattr(options, n), count or 3) for n in ("mean", "std"))
    if options.scale <= 0 or (std is not None and (std <= 0).any()):
        raise OptionError("--scale and --std must be above 0.")
    rows, resized = [], []
    for path in options.inputs:
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as opened:
                picture = ImageOps.exif_transpose(opened).convert("L" if count == 1 else "RGB")
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise InputError(f"{path} is no picture that can be read ({error}).") from None
        if size is not None and size != (picture.height, picture.width):
            resized.append(f"{Path(path).name} from {picture.width}x{picture.height}")
            picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        x = np.asarray(picture, dtype=np.float32).reshape(picture.height, picture.width, -1) / np.float32(options.scale)
        x = x if mean is None else x - mean
        x = x if std is None else x / std
        rows.append(x.transpose(2, 0, 1) if channels == "first" else x)
    if resized and size is not None:
        print(f"resized to {size[1]}x{size[0]} (width x height), not cropped: {', '.join(resized)}", file=sys.stderr)
    if len({r.shape for r in rows}) > 1:
        raise InputError("the pictures have different sizes; say --size HxW.")
    return np.ascontiguousarray(np.stack(rows), dtype=np.float32)


def _size(said: str | None, shape: tuple[int | None, ...] | None, channels: str) -> tuple[int, int] | None:
    wanted = (None, None) if shape is None else (shape[1:] if channels == "first" else shape[:2])
    if said is None:
        return (wanted[0], wanted[1]) if wanted[0] is not None and wanted[1] is not None else None
    parts = said.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise OptionError(f"--size {said!r}: write HEIGHTxWIDTH, like 224x224.")
    size = int(parts[0]), int(parts[1])
    if any(w is not None and w != s for w, s in zip(wanted, size, strict=True)):
        raise OptionError(f"--size {said}: the program takes {wanted[0]}x{wanted[1]}; leave --size out.")
    return size


def _numbers(name: str, said: str | None, count: int) -> npt.NDArray[np.float32] | None:
    if said is None:
        return None
    try:
        found = np.array([float(p) for p in said.split(",")], dtype=np.float32)
    except ValueError:
        found = np.array([np.nan], dtype=np.float32)
    if len(found) not in (1, count) or not np.isfinite(found).all():
        raise OptionError(f"--{name} {said!r}: give one number, or {count}, with commas between them.")
    return found


def _write(found: Any, out: Path) -> None:
    from whybox.storage import writing

    kind = out.suffix.lower()
    if kind == ".whybox":
        found.save(out)
        return
    if kind == ".npz":
        about: dict[str, Any] = {
            "dims": np.array(found.dims),
            "evidence": np.array(json.dumps(found.evidence.to_dict())),
        }
        about |= {f"{d}_labels": np.array([str(v) for v in labels]) for d, labels in found.coords.items()}
        about |= {n: a for n, a in (("std_error", found.std_error), ("prediction", found.prediction)) if a is not None}
        with writing(out) as part, part.open("wb") as file:
            np.savez_compressed(file, values=found.values, **about)
        return
    import matplotlib as mpl

    mpl.use("Agg", force=False)
    import matplotlib.pyplot as plt

    figure = _drawn(found)
    try:
        with writing(out) as part:
            figure.savefig(part, format=kind[1:], bbox_inches="tight")
    finally:
        plt.close(figure)


def _drawn(found: Any) -> Any:
    """A figure with every input and its map, under the input's name where there are several."""
    import matplotlib.pyplot as plt

    if len(found) == 1:
        return found.plot.overlay().figure
    columns = min(len(found), 4)
    lines = -(-len(found) // columns)
    figure, cells = plt.subplots(lines, columns, figsize=(3.5 * columns, 3.15 * lines), layout="constrained")
    for cell in cells.ravel()[len(found) :]:
        cell.set_axis_off()
    for row, cell in enumerate(cells.ravel()[: len(found)]):
        found.plot.overlay(row, ax=cell)
        method, _, about = cell.get_title(loc="left").partition(" · ")
        cell.set_title(f"{found.coords['row'][row]}\n{about or method}", loc="left", fontsize="medium")
    figure.suptitle(found.evidence.method, x=0.01, ha="left")
    return figure
