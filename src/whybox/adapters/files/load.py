"""Model files. Formats that cannot run code are read by our own parsers; the others are refused until the caller vouches for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from whybox.adapters.catboost.encoders import CatBoostEncoder
from whybox.adapters.files import subprocess_predict
from whybox.adapters.files.strict_document import CheckedNode, parse_json
from whybox.adapters.files.ubjson import parse_ubjson
from whybox.adapters.verification.verify import Domain, verified, verified_linear
from whybox.data.table import Floats
from whybox.errors import MissingDependencyError, ModelFileError, UntrustedPickleError, shown
from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["load"]

MAX_FILE_BYTES: Final = 4 * 2**30


def load(path: Path, adapt: Callable[[Any], Model], *, trust_pickle: bool = False, verify: bool = True) -> Model:
    """Read a model file: XGBoost JSON or UBJSON, LightGBM text, CatBoost JSON or cbm, skops; pickle and joblib when trusted.

    Args:
        path: the file. adapt: reads an estimator that was in it, object -> model.
        trust_pickle: allow formats that run whatever code is in them.
        verify: compare with the library's own predict, in a process of its own, where it is installed.

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
    reader = _reader(path, data)
    if reader is None:
        return adapt(_pickle(path, data, trust_pickle))
    if reader is _skops:
        return _whole(path, adapt, _skops(path, data))
    model = reader(path, data)
    return model if not verify else _VERIFY[reader](path, model)


Reader = Callable[[Path, bytes], Model]


def _reader(path: Path, data: bytes) -> Reader | None:
    """Tell formats by their content, not by their name; None for pickles."""
    head = data[:64].lstrip()
    if data[:1] == b"{" and data[1:2] in (b"L", b"i", b"U", b"I", b"l", b"$", b"#"):
        return _xgboost_ubj
    if head[:1] == b"{":
        return _json
    if data[:5] == b"tree\n" or data[:6] == b"tree\r\n":
        return _lightgbm
    if data[:4] == b"CBM1":
        return _cbm
    if data[:4] == b"PK\x03\x04" and path.suffix != ".npz":
        return _skops
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


def _json(path: Path, data: bytes) -> Model:
    doc = parse_json(data)
    if not isinstance(doc.value, dict):
        raise ModelFileError(f"{path.name} is JSON but not a model.")
    if "learner" in doc.value:
        return _xgboost(doc)
    if "features_info" in doc.value or "oblivious_trees" in doc.value:
        return _catboost(doc)
    if "tree_info" in doc.value and "feature_names" in doc.value:
        raise ModelFileError(
            f"{path.name} looks like LightGBM's dump_model, which drops what predict needs; save the model with booster.save_model('model.txt')."
        )
    raise ModelFileError(
        f"{path.name} is JSON, but neither an XGBoost nor a CatBoost model (it begins with {shown(list(doc.value), 4)})."
    )


def _xgboost(doc: CheckedNode) -> Model:
    from whybox.adapters.xgboost.document import Document, read

    version = doc.value.get("version")
    label = ".".join(str(v) for v in version) if isinstance(version, (list, tuple)) else "?"
    model = read(doc, Document(f"XGBoost model file (saved by {label})"))
    return replace(model, notes=(*model.notes, _NO_MISSING))


_NO_MISSING: Final = (
    "Only NaN counts as missing here: an XGBoost file does not record an estimator's missing=... value. "
    "If yours was fitted with one, pass the estimator itself, or put NaN in its place."
)


def _xgboost_ubj(path: Path, data: bytes) -> Model:
    del path
    return _xgboost(parse_ubjson(data))


def _catboost(doc: CheckedNode) -> Model:
    from whybox.adapters.catboost.document import read

    return read(doc, "CatBoost model file")


def _cbm(path: Path, data: bytes) -> Model:
    del data
    return _catboost(parse_json(subprocess_predict.as_json(path)))


def _lightgbm(path: Path, data: bytes) -> Model:
    from whybox.adapters.lightgbm.text_format import read

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelFileError(f"{path.name} begins like a LightGBM model but is not text; it was edited.") from None
    return read(text.replace("\r\n", "\n"), "LightGBM model file")


def _whole(path: Path, adapt: Callable[[Any], Model], estimator: Any) -> Model:
    """Adapt an estimator of a file that may have been edited."""
    try:
        return adapt(estimator)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"the model in {path.name} is not whole: {type(error).__name__}: {error}.") from error


def _skops(path: Path, data: bytes) -> Any:
    del data
    try:
        from skops import io
    except ImportError:
        raise MissingDependencyError("skops", f"reading {path.name}", "skops") from None
    try:
        types = io.get_untrusted_types(file=path)
        foreign = [t for t in types if not t.startswith(_SKOPS_ALLOWED)]
        if foreign:
            raise ModelFileError(
                f"{path.name} holds types that are not on the allow-list: {shown(foreign)}. Models of other libraries inside a skops file reach those libraries' native "
                "loaders; save them in their own format (XGBoost .json, LightGBM .txt, CatBoost .json)."
            )
        return io.load(path, trusted=types)
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"skops cannot read {path.name}: {error}. It may be truncated, edited, or written by an incompatible version."
        ) from error


_SKOPS_ALLOWED: Final = (
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


def _pickle(path: Path, data: bytes, trusted: bool) -> Any:
    if not trusted:
        found = _imports(data)
        raise UntrustedPickleError(
            f"{path.name} is a pickle or joblib file, and reading one runs whatever code is in it{f' (it names {shown(found, 6)})' if found else ''}. "
            "If you made it yourself or trust who did, say so: --trust-pickle on the command line, trust_pickle=True in Python. Safer: save the model in its library's own "
            "format (XGBoost .json, LightGBM .txt, CatBoost .json) or with skops."
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:
        raise ModelFileError(
            f"{path.name} cannot be unpickled: {type(error).__name__}: {error}. It may be truncated, or need another version of its library."
        ) from error


def _imports(data: bytes) -> list[str]:
    """Return the names that a plain pickle would import, read without running it."""
    import pickletools

    found: list[str] = []
    strings: list[str] = []
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "GLOBAL":
                found.append(str(argument).replace(" ", "."))
            elif code.name == "STACK_GLOBAL" and len(strings) > 1:
                found.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except Exception:  # compressed or damaged: there is nothing to show
        return sorted(set(found))
    return sorted(set(found))


def _verify_xgboost(path: Path, model: Model) -> Model:
    if not subprocess_predict.installed("xgboost"):
        return model
    rounds = model.rounds_used[0] if model.rounds_used else 0  # 0: all

    def predict(rows: Floats) -> Floats:
        return subprocess_predict.predictions("xgboost", path, rows, str(rounds))

    from whybox.adapters.xgboost.document import ROUNDING
    from whybox.adapters.xgboost.estimator import domain

    against = "XGBoost's own predict of the file, in a process of its own"
    if isinstance(model, Linear):
        return verified_linear(model, predict, relative=ROUNDING, against=against)
    if not isinstance(model, TreeEnsemble):
        return model
    return verified(model, predict, scale="raw", relative=ROUNDING, domain=domain(model), against=against)


def _verify_lightgbm(path: Path, model: Model) -> Model:
    if not isinstance(model, TreeEnsemble) or not subprocess_predict.installed("lightgbm"):
        return model
    from whybox.adapters.lightgbm.estimator import ROUNDING, domain

    raw = bool((model.tree_weight == 1.0).all())

    def predict(rows: Floats) -> Floats:
        return subprocess_predict.predictions("lightgbm", path, rows, "raw" if raw else "response")

    against = "LightGBM's own predict of the file, in a process of its own"
    return verified(
        model,
        predict,
        scale="raw" if raw else "response",
        relative=ROUNDING,
        domain=domain(model.inputs),
        against=against,
    )


def _verify_catboost(path: Path, model: Model) -> Model:
    if not isinstance(model, TreeEnsemble) or not subprocess_predict.installed("catboost"):
        return model
    from whybox.adapters.catboost.estimator import ROUNDING, decoder

    encoder = model.inputs.encoder
    extra = ["cbm" if path.read_bytes()[:4] == b"CBM1" else "json"]
    decode = decoder(model)
    if decode is not None and isinstance(encoder, CatBoostEncoder):
        extra += [",".join(map(str, encoder.floats)), str(len(model.inputs.names))]

    def predict(rows: Any) -> Floats:
        matrix = rows if decode is None else rows[:, list(decode.encoder.floats)].astype(float)
        return subprocess_predict.predictions("catboost", path, matrix, *extra)

    against = "CatBoost's own predict of the file, in a process of its own"
    return verified(
        model, predict, scale="raw", relative=ROUNDING, domain=Domain(categories={}), decode=decode, against=against
    )


def _verify_json(path: Path, model: Model) -> Model:
    return _verify_catboost(path, model) if model.kind.startswith("CatBoost") else _verify_xgboost(path, model)


_VERIFY: Final[dict[Reader, Callable[[Path, Model], Model]]] = {
    _xgboost_ubj: _verify_xgboost,
    _json: _verify_json,
    _lightgbm: _verify_lightgbm,
    _cbm: _verify_catboost,
}
