"""Models of Keras from ``.keras`` files. Nothing in a file is run before it was checked: its configuration may name only Keras's own layers.

Keras's ``safe_mode`` refuses lambdas, but looks classes up by the module that the file names. So the file is first read here, as zip and JSON, and everything in it
that is not known to be plain data or a layer of Keras is refused.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from whybox.core.library_calls import first_line
from whybox.errors import Argument, ModelFileError, UntrustedPickleError
from whybox.models.differentiable import Differentiable

__all__ = ["read"]

_ARCHIVE_FILES: Final = frozenset({"metadata.json", "config.json", "model.weights.h5"})
_SAFE_MODULES: Final = re.compile(
    r"keras(\.(layers|initializers|regularizers|constraints|activations|models|dtype_policies))?"
    r"|keras\.src\.models\.(functional|sequential)|keras\.src\.ops\.(numpy|nn|math|linalg|image)"
)
_RUNS_CODE: Final = frozenset(  # or reads files that it names
    {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup", "IntegerLookup", "TextVectorization"}
)  # fmt: skip
_PLAIN_DATA: Final = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__"}
)
_OWN_CODE_HINT: Final = "load it in a function of yours that returns the model, and give MODULE:FUNCTION on the command line, or pass the model itself"


def read(path: Path, *, trust_pickle: bool = False) -> Differentiable:
    """Read a model that ``model.save("net.keras")`` wrote.

    Args:
        path: of the file. trust_pickle: also layers that run code of the file (Lambda), without a check.

    Raises:
        UntrustedPickleError: the file names something that is no layer of Keras. ModelFileError: no such file, or it is damaged.
    """
    if not path.is_file():
        raise ModelFileError(f"there is no file {str(path)!r}.")
    raw = path.read_bytes() if trust_pickle else _checked_archive(path.read_bytes(), path.name)
    _choose_backend()
    import keras

    from whybox.adapters.keras.layers import is_functional, model_inputs
    from whybox.adapters.keras.network import network

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.keras"
        copy.write_bytes(raw)
        try:
            model = keras.models.load_model(copy, compile=False, safe_mode=not trust_pickle)
        except Exception as error:  # Keras raises whatever its layers raise
            raise ModelFileError(
                f"{path.name} cannot be loaded by Keras {keras.__version__} ({type(error).__name__}: {first_line(error)})."
            ) from error
    net = network(model)
    module = getattr(net, "module", None)
    if module is not None and is_functional(model):  # what the command line reads pictures and names of inputs by
        given = keras.tree.flatten(model.inputs)
        module.__dict__.update(
            input_shapes=tuple(tuple(i.shape) for i in given),
            declared_names=model_inputs(model),
            whole_number_inputs=tuple("int" in str(i.dtype) for i in given),
        )
    return replace(net, kind=f"{path.name} ({net.kind.partition('(')[2]}")


def _choose_backend() -> None:
    """Keras takes TensorFlow if nobody chose a backend, and maps need another: take torch, or jax, if Keras was not imported yet."""
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ:
        return
    try:  # Keras writes this file itself, with TensorFlow in it
        settings = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
        chosen = json.loads(settings.read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        chosen = None
    if chosen not in ("torch", "jax"):
        os.environ["KERAS_BACKEND"] = "torch" if importlib.util.find_spec("torch") is not None else "jax"


def _checked_archive(raw: bytes, name: str) -> bytes:
    """The archive without the configuration of its training, which is not read.

    Raises:
        UntrustedPickleError: something in it could run code. ModelFileError: it is damaged.
    """
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive, zipfile.ZipFile(out, "w") as clean:
            names = archive.namelist()
            odd = next((n for n in names if n not in _ARCHIVE_FILES), None)
            if odd is not None or len(set(names)) != len(names):
                raise _refusal(name, f"it has a part {odd or names[0]!r} that models of Keras's own layers do not have")
            config = json.loads(archive.read("config.json"))
            config.pop("compile_config", None)
            for found in _objects_in(config):
                _check_object(found, name)
            weights = archive.read("model.weights.h5")
            _check_weights(weights, name)
            clean.writestr("metadata.json", archive.read("metadata.json"))
            clean.writestr("config.json", json.dumps(config))
            clean.writestr("model.weights.h5", weights)
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"{name} is no .keras file of Keras 3, or damaged ({type(error).__name__}: {error})."
        ) from error
    return out.getvalue()


def _objects_in(part: Any) -> Iterator[dict[str, Any]]:
    """All dicts of a configuration that name a class."""
    if isinstance(part, dict):
        if "class_name" in part or "module" in part or "registered_name" in part:
            yield part
        parts: Any = part.values()
    else:
        parts = part if isinstance(part, list) else ()
    for inner in parts:
        yield from _objects_in(inner)


def _check_object(found: dict[str, Any], name: str) -> None:
    """Check that a class is one of Keras's own, and runs nothing of the file.

    Raises:
        UntrustedPickleError: it is not.
    """
    kind, module = found.get("class_name"), found.get("module")
    if module is None and kind in _PLAIN_DATA:
        return
    registered = found.get("registered_name")
    own = isinstance(module, str) and _SAFE_MODULES.fullmatch(module) is not None and registered in (None, kind)
    if not own or not isinstance(kind, str) or kind in _RUNS_CODE or not re.fullmatch(r"[A-Z]\w*", kind):
        raise _refusal(
            name,
            f"it names {str(module)[:60]}.{str(kind)[:60]}, which is no layer of Keras that runs no code of the file",
        )


def _check_weights(weights: bytes, name: str) -> None:
    """Check that weights lie in the file itself.

    Raises:
        UntrustedPickleError: some are links to other files.
    """
    import h5py

    def visit(group: Any) -> None:
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _refusal(name, "its weights are links to elsewhere")
            part = group[key]
            if isinstance(part, h5py.Group):
                visit(part)
            elif part.external:
                raise _refusal(name, "its weights lie in other files")

    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            visit(file)
    except OSError as error:
        raise ModelFileError(f"the weights in {name} are damaged ({first_line(error)}).") from error


def _refusal(name: str, reason: str) -> UntrustedPickleError:
    return UntrustedPickleError(
        f"{name} could run code when it is read: {reason}. If it is yours, {_OWN_CODE_HINT}; or ",
        Argument("trust_pickle", True),
        " to read it without a check.",
    )
