"""Read model files. Formats that cannot run code are read by our own parsers; others are refused unless the caller trusts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from whybox.adapters.catboost.encoders import CatBoostEncoder
from whybox.adapters.files import subprocess_predict
from whybox.adapters.files.library_predict import lightgbm_scale, with_file_library
from whybox.adapters.files.strict_document import CheckedNode, parse_json
from whybox.adapters.files.ubjson import parse_ubjson
from whybox.adapters.verification.verify import Domain, verify_linear, verify_trees
from whybox.data.table import Floats
from whybox.errors import Argument, MissingDependencyError, ModelFileError, UntrustedPickleError, quoted_list
from whybox.models.base import FileLibrary, Model
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["know_library", "load_model_file", "load_trusted_pickle"]

MAX_FILE_BYTES: Final = 4 * 2**30


def load_model_file(
    path: Path, adapt: Callable[[Any], Model], *, trust_pickle: bool = False, verify: bool = True
) -> Model:
    """Read a model file: XGBoost JSON or UBJSON, LightGBM text, CatBoost JSON or cbm, skops; pickle and joblib when trusted.

    Args:
        path: the file. adapt: reads an estimator that was in it, object -> model.
        trust_pickle: allow formats that run whatever code is in them.
        verify: compare with the library's own predict, in a process of its own, where it is installed: now, and rows of the first answer. False: the
            library is never started.

    Raises:
        ModelFileError: truncated, edited, of an unknown version or format.
        UntrustedPickleError: a pickle, and `trust_pickle` is not set.
        UnknownFieldError, UnsupportedModelError, ModelMismatchError: see whybox.errors.
    """
    if not path.is_file():
        raise ModelFileError(
            f"there is no file {str(path)!r}." if not path.exists() else f"{str(path)!r} is not a file."
        )
    size = path.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise ModelFileError(
            f"{path.name} is empty."
            if size == 0
            else f"{path.name} has {size / 2**30:.1f} GiB; model files of up to {MAX_FILE_BYTES // 2**30} GiB are read."
        )
    data = path.read_bytes()
    reader = _reader_of(path, data)
    if reader is None:
        return adapt(_read_pickle(path, data, trust_pickle))
    if reader is _read_skops:
        return _adapt_possibly_damaged(path, adapt, _read_skops(path, data))
    model = reader(path, data)
    if verify:
        return know_library(path, _verify_in_subprocess(path, model))
    library = _library_of(model)
    return replace(model, file_library=FileLibrary(library, f"{library} is not asked without verification of the file"))


def load_trusted_pickle(path: Path) -> Any:
    """Return what a trusted pickle or joblib file holds, a model that is read or any other; None for other files.

    Raises:
        ModelFileError: it cannot be unpickled.
    """
    data = path.read_bytes()
    return _read_pickle(path, data, trusted=True) if _reader_of(path, data) is None else None


FileReader = Callable[[Path, bytes], Model]


def _reader_of(path: Path, data: bytes) -> FileReader | None:
    """Return the reader for a file by its content, not its name; None for pickles."""
    head = data[:64].lstrip()
    if data[:1] == b"{" and data[1:2] in (b"L", b"i", b"U", b"I", b"l", b"$", b"#"):
        return _read_xgboost_ubjson
    if head[:1] == b"{":
        return _read_json
    if data[:5] == b"tree\n" or data[:6] == b"tree\r\n":
        return _read_lightgbm
    if data[:4] == b"CBM1":
        return _read_cbm
    if data[:4] == b"PK\x03\x04" and path.suffix != ".npz":
        return _read_skops
    if _is_pickle(data) or path.suffix in (".pkl", ".pickle", ".joblib"):
        return None
    if data[:4] in (b"binf", b"\0\0\0\0") or path.suffix == ".deprecated":
        raise ModelFileError(
            f"{path.name} looks like XGBoost's old binary format, which XGBoost itself dropped. Load it with the version that wrote it and save it as .json."
        )
    raise ModelFileError(
        f"{path.name} is none of the model files this version reads: XGBoost .json or .ubj, LightGBM .txt, CatBoost .json or .cbm, skops, "
        "and (only when trusted) pickle or joblib. It may be truncated or edited at its very beginning."
    )


def _is_pickle(data: bytes) -> bool:
    return (data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or data[:2] in (
        b"\x1f\x8b",
        b"BZ",
        b"\x78\x9c",
        b"\x78\x01",
        b"\x78\xda",
        b"\xfd7",
    )


def _read_json(path: Path, data: bytes) -> Model:
    doc = parse_json(data)
    if not isinstance(doc.value, dict):
        raise ModelFileError(f"{path.name} is JSON but not a model.")
    if "learner" in doc.value:
        return _read_xgboost(doc)
    if "features_info" in doc.value or "oblivious_trees" in doc.value:
        return _read_catboost(doc)
    if "tree_info" in doc.value and "feature_names" in doc.value:
        raise ModelFileError(
            f"{path.name} looks like LightGBM's dump_model, which drops what predict needs; save the model with booster.save_model('model.txt')."
        )
    raise ModelFileError(
        f"{path.name} is JSON, but neither an XGBoost nor a CatBoost model (it begins with {quoted_list(list(doc.value), 4)})."
    )


def _read_xgboost(doc: CheckedNode) -> Model:
    from whybox.adapters.xgboost.document import ReadContext, read_document

    version = doc.value.get("version")
    version_text = ".".join(str(v) for v in version) if isinstance(version, (list, tuple)) else "?"
    model = read_document(doc, ReadContext(f"XGBoost model file (saved by {version_text})"))
    return replace(model, notes=(*model.notes, _MISSING_NOTE))


_MISSING_NOTE: Final = (
    "Only NaN counts as missing here: an XGBoost file does not record an estimator's missing=... value. "
    "If yours was fitted with one, pass the estimator itself, or put NaN in its place."
)


def _read_xgboost_ubjson(path: Path, data: bytes) -> Model:
    del path
    return _read_xgboost(parse_ubjson(data))


def _read_catboost(doc: CheckedNode) -> Model:
    from whybox.adapters.catboost.document import read_document

    return read_document(doc, "CatBoost model file")


def _read_cbm(path: Path, data: bytes) -> Model:
    del data
    return _read_catboost(parse_json(subprocess_predict.cbm_as_json(path)))


def _read_lightgbm(path: Path, data: bytes) -> Model:
    from whybox.adapters.lightgbm.text_format import read_text_model

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelFileError(f"{path.name} begins like a LightGBM model but is not text; it was edited.") from None
    return read_text_model(text.replace("\r\n", "\n"), "LightGBM model file")


def _adapt_possibly_damaged(path: Path, adapt: Callable[[Any], Model], estimator: Any) -> Model:
    """Adapt an estimator of a file that may have been edited."""
    try:
        return adapt(estimator)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"the model in {path.name} is not whole: {type(error).__name__}: {error}.") from error


def _read_skops(path: Path, data: bytes) -> Any:
    del data
    try:
        from skops import io
    except ImportError:
        raise MissingDependencyError("skops", f"reading {path.name}", "skops") from None
    try:
        types = io.get_untrusted_types(file=path)
        foreign_types = [t for t in types if not t.startswith(_SKOPS_ALLOWED_PREFIXES)]
        if foreign_types:
            raise ModelFileError(
                f"{path.name} holds types that are not on the allow-list: {quoted_list(foreign_types)}. "
                "Models of other libraries inside a skops file reach those libraries' native loaders; save them in their own format (XGBoost .json, LightGBM .txt, CatBoost .json)."
            )
        return io.load(path, trusted=types)
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"skops cannot read {path.name}: {error}. It may be truncated, edited, or written by an incompatible version."
        ) from error


_SKOPS_ALLOWED_PREFIXES: Final = (
    "sklearn.tree.",
    "sklearn.ensemble.",
    "sklearn.pipeline.",
    "sklearn.compose.",
    "sklearn.preprocessing.",
    "sklearn.impute.",
    "sklearn.dummy.",
    "sklearn.model_selection.",
    "sklearn.multioutput.",
    "sklearn._loss.",
    "sklearn.utils.",
    "sklearn.decomposition.",
    "sklearn.feature_selection.",
    "numpy.",
    "functools.partial",
    "collections.",
    "builtins.",
)


def _read_pickle(path: Path, data: bytes, trusted: bool) -> Any:
    if not trusted:
        imported_names = _imported_names(data)
        raise UntrustedPickleError(
            f"{path.name} is a pickle or joblib file, and reading one runs whatever code is in it{f' (it names {quoted_list(imported_names, 6)})' if imported_names else ''}"
            ". If you made it yourself or trust who did, say so: ",
            Argument("trust_pickle", True),
            ". Safer: save the model in its library's own format (XGBoost .json, LightGBM .txt, CatBoost .json) or with skops.",
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:
        raise ModelFileError(
            f"{path.name} cannot be unpickled: {type(error).__name__}: {error}. It may be truncated, or need another version of its library."
        ) from error


def _imported_names(data: bytes) -> list[str]:
    """Return the names that a plain pickle would import, without running it."""
    import pickletools

    imported: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                imported.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                imported.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except Exception:  # compressed or damaged: there is nothing to show
        return sorted(set(imported))
    return sorted(set(imported))


def _library_of(model: Model) -> str:
    """The library that wrote the file."""
    return next(library for name, library in _LIBRARY_OF_KIND.items() if model.kind.startswith(name))


_LIBRARY_OF_KIND: Final = {"XGBoost": "xgboost", "LightGBM": "lightgbm", "CatBoost": "catboost"}


def _verify_in_subprocess(path: Path, model: Model) -> Model:
    """Compare the model with its library's own predict, in a process of its own, where it is installed."""
    library = _library_of(model)
    if not subprocess_predict.is_installed(library) or not isinstance(model, (TreeEnsemble, Linear)):
        return model
    return _VERIFIER_OF_LIBRARY[library](path, model)


def know_library(path: Path, model: Model) -> Model:
    """Let the model know how its library is asked about rows of an answer."""
    library = _library_of(model)
    if library == "xgboost":
        from whybox.adapters.xgboost.document import RELATIVE_ROUNDING as XGBOOST_ROUNDING

        return with_file_library(path, model, library, _rounds_of(model), relative=XGBOOST_ROUNDING)
    if library == "lightgbm":
        from whybox.adapters.lightgbm.estimator import RELATIVE_ROUNDING as LIGHTGBM_ROUNDING

        scale = lightgbm_scale(model)
        return with_file_library(path, model, library, scale, scale=scale, relative=LIGHTGBM_ROUNDING)
    from whybox.adapters.catboost.estimator import RELATIVE_ROUNDING as CATBOOST_ROUNDING

    return with_file_library(path, model, library, *_catboost_arguments(path, model), relative=CATBOOST_ROUNDING)


def _rounds_of(model: Model) -> str:
    """Boosting rounds that count; 0: all."""
    return str(model.rounds_used[0] if model.rounds_used else 0)


def _catboost_arguments(path: Path, model: Model) -> list[str]:
    from whybox.adapters.catboost.estimator import row_decoder

    encoder = model.inputs.encoder
    with path.open("rb") as file:
        arguments = ["cbm" if file.read(4) == b"CBM1" else "json"]
    if isinstance(encoder, CatBoostEncoder) and isinstance(model, TreeEnsemble) and row_decoder(model) is not None:
        arguments += [",".join(map(str, encoder.float_positions)), str(len(model.inputs.names))]
    return arguments


def _verify_xgboost(path: Path, model: Model) -> Model:
    def predict(rows: Floats) -> Floats:
        return subprocess_predict.predict_in_subprocess("xgboost", path, rows, _rounds_of(model))

    from whybox.adapters.xgboost.document import RELATIVE_ROUNDING
    from whybox.adapters.xgboost.estimator import predict_domain

    against = "XGBoost's own predict of the file, in a process of its own"
    if isinstance(model, Linear):
        return verify_linear(model, predict, relative=RELATIVE_ROUNDING, against=against)
    assert isinstance(model, TreeEnsemble)  # noqa: S101  # the caller asks
    return verify_trees(
        model, predict, scale="raw", relative=RELATIVE_ROUNDING, domain=predict_domain(model), against=against
    )


def _verify_lightgbm(path: Path, model: Model) -> Model:
    from whybox.adapters.lightgbm.estimator import RELATIVE_ROUNDING, predict_domain

    assert isinstance(model, TreeEnsemble)  # noqa: S101  # LightGBM writes no others
    scale = lightgbm_scale(model)

    def predict(rows: Floats) -> Floats:
        return subprocess_predict.predict_in_subprocess("lightgbm", path, rows, scale)

    against = "LightGBM's own predict of the file, in a process of its own"
    return verify_trees(
        model,
        predict,
        scale=scale,
        relative=RELATIVE_ROUNDING,
        domain=predict_domain(model.inputs),
        against=against,
    )


def _verify_catboost(path: Path, model: Model) -> Model:
    from whybox.adapters.catboost.estimator import RELATIVE_ROUNDING, row_decoder

    assert isinstance(model, TreeEnsemble)  # noqa: S101  # CatBoost writes no others
    arguments = _catboost_arguments(path, model)
    decode = row_decoder(model)

    def predict(rows: Any) -> Floats:
        matrix = rows if decode is None else rows[:, list(decode.encoder.float_positions)].astype(float)
        return subprocess_predict.predict_in_subprocess("catboost", path, matrix, *arguments)

    against = "CatBoost's own predict of the file, in a process of its own"
    return verify_trees(
        model,
        predict,
        scale="raw",
        relative=RELATIVE_ROUNDING,
        domain=Domain(categories={}),
        decode=decode,
        against=against,
    )


_VERIFIER_OF_LIBRARY: Final[dict[str, Callable[[Path, Model], Model]]] = {
    "xgboost": _verify_xgboost,
    "lightgbm": _verify_lightgbm,
    "catboost": _verify_catboost,
}
