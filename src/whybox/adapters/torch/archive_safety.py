"""Is a ``.pt2`` file safe to load? Torch's own reader evaluates expressions in it as Python, looks operators up by dotted names and unpickles parts.

So the file is first read here, as zip and JSON, and everything in it that is not known to be plain data is refused.
"""

from __future__ import annotations

import ast
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from whybox.errors import Argument, ModelFileError, Part, UntrustedPickleError

__all__ = ["check_archive"]

_PLAIN_TEXT: Final = re.compile(r"[\w.]*")
_OPERATOR_NAME: Final = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!from_file\b)\w+\.\w+"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_(int|float|max|min|not|ite|sum|sqrt)"
)
_ARCHIVE_FILES: Final = re.compile(
    r"[^/]+/(data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id|alignment)|\.format_version|\.storage_alignment|version)"
)
_SHAPE_WORDS: Final = frozenset(
    {"Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Mod", "Max", "Min", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Abs"}
    | {"FloorDiv", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt", "TruncToInt", "IntTrueDiv", "FloatTrueDiv", "ModularIndexing", "Where"}
)  # fmt: skip
_ARITHMETIC_PATTERN: Final = (
    *(ast.Expression, ast.Load, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.operator, ast.unaryop),
    *(ast.cmpop, ast.boolop, ast.keyword, ast.Tuple, ast.Subscript),
)
_TREE_SPECS: Final = frozenset(
    {None, "builtins.tuple", "builtins.list", "builtins.dict", "builtins.NoneType", "collections.OrderedDict"}
)


def check_archive(raw: bytes, name: str) -> None:
    """Check that nothing in the file can run code.

    Raises:
        UntrustedPickleError: something could, or may. ModelFileError: there is no such file, or it is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
            if "serialized_exported_program.json" in names:
                raise UntrustedPickleError(
                    _refusal_parts(name, "it has the old format, which torch unpickles; export it again")
                )
            if len({n.lower() for n in names}) != len(names):
                raise ModelFileError(f"{name}: two parts of the file have one name.")
            odd = next((n for n in names if not _ARCHIVE_FILES.fullmatch(n)), None)
            if odd is not None:
                raise UntrustedPickleError(
                    _refusal_parts(name, f"it has a part {odd!r}, which is not known to be plain data")
                )
            pages = {n: json.loads(archive.read(n)) for n in names if n.endswith(".json")}
            pickled = [n for n in names if n.endswith("/sample_inputs/model.pt")]
            for n, page in pages.items():
                if n.endswith("_config.json"):
                    root = n.rpartition("/")[0]
                    pickled += [f"{root}/{w['path_name']}" for w in page["config"].values() if w["use_pickle"]]
            for n in pickled:
                _check_pickle(archive.read(n), name, n)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{name} is not a file of torch.export.save, or it is damaged ({type(error).__name__}: {error})."
        ) from None
    for page in pages.values():
        for key, text in _strings_with_keys(page):
            if not _is_plain(key, text):
                raise UntrustedPickleError(_refusal_parts(name, f"it has {text[:60]!r} in place of {key}"))


def _refusal_parts(name: str, what: str) -> tuple[Part, ...]:
    about = f"{name} could run code when it is loaded: {what}. If you trust whoever made it: "
    return about, Argument("trust_pickle", True), "."


def _check_pickle(raw: bytes, name: str, part: str) -> None:
    """Check that torch's restricted reader can read what the loader will read without restriction."""
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, AttributeError, EOFError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UntrustedPickleError(
            _refusal_parts(name, f"{part} is a pickle of more than arrays ({first[:120]})")
        ) from None


def _strings_with_keys(page: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) for all texts and all keys; comments of nodes (``metadata``) are never run."""
    if isinstance(page, dict):
        for k, of in page.items():
            yield "a name", k
            if k != "metadata" or key != "nodes":
                yield from _strings_with_keys(of, k)
    elif isinstance(page, list):
        for of in page:
            yield from _strings_with_keys(of, key)
    elif isinstance(page, str):
        yield key, page


def _is_plain(key: str, text: str) -> bool:
    if key == "target":
        return _OPERATOR_NAME.fullmatch(text) is not None
    if key in ("expr_str", "guards_code"):
        return _is_arithmetic(text)
    if key in ("in_spec", "out_spec"):
        return _is_nested_spec(json.loads(text))
    if key in ("as_string", "as_strings"):  # arguments of operators: kept as texts
        return True
    return _PLAIN_TEXT.fullmatch(text) is not None or (
        key == "torch_version" and re.fullmatch(r"[\w.+]*", text) is not None
    )


def _is_arithmetic(text: str) -> bool:
    """True for sums, comparisons and known functions of symbols and sizes of inputs."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in nodes:
        if isinstance(node, ast.Name):
            fine = node.id in _SHAPE_WORDS or re.fullmatch(r"[suz]f?\d+|L|oo|int_oo", node.id) is not None
        elif isinstance(node, ast.Constant):
            fine = isinstance(node.value, (bool, int, float)) or (
                isinstance(node.value, str) and node.value.isidentifier()
            )
        elif isinstance(node, ast.Attribute):
            fine = node.attr == "size"
        elif isinstance(node, ast.Call):
            fine = (isinstance(node.func, ast.Name) and node.func.id in _SHAPE_WORDS) or isinstance(
                node.func, ast.Attribute
            )
        else:
            fine = isinstance(node, _ARITHMETIC_PATTERN)
        if not fine:
            return False
    return True


def _is_nested_spec(spec: Any) -> bool:
    """True for a tree of tuples, lists and dicts with plain names."""
    if isinstance(spec, list):
        return all(map(_is_nested_spec, spec))
    if isinstance(spec, dict):
        context = spec.get("context")
        plain = context is None or (
            isinstance(context, str) and re.fullmatch(r'null|\[[\w., "]*\]', context) is not None
        )
        return spec.get("type") in _TREE_SPECS and plain and _is_nested_spec(spec.get("children_spec", []))
    return isinstance(spec, int)
