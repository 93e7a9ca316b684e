"""Networks from files: programs of ``torch.export``, which hold their own graph and need no code; pickled modules only if the file is trusted."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from whybox.adapters.torch.archive_safety import check_archive
from whybox.adapters.torch.module import TorchNetwork, wrap
from whybox.adapters.torch.training_mode import refuse_training
from whybox.core.library_calls import first_line
from whybox.errors import Argument, ModelFileError, UnsupportedModelError, UntrustedPickleError

__all__ = ["Program", "read"]

_PICKLE_SUFFIXES: Final = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
_EXPORT_HINT: Final = (
    "Export the network where its code is: program = torch.export.export(net.eval(), (example,), "
    "dynamic_shapes=({0: torch.export.Dim('rows')},)); torch.export.save(program, 'net.pt2')"
)


def read(path: Path, *, trust_pickle: bool = False) -> TorchNetwork:
    """See whybox.networks.exported.

    Raises:
        ModelFileError, UntrustedPickleError, UnsupportedModelError: see there.
    """
    if not path.is_file():
        raise ModelFileError(f"there is no file {str(path)!r}.")
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        return _read_pickle(path, trust_pickle=trust_pickle)
    if path.suffix.lower() == ".safetensors":
        raise ModelFileError(
            f"{path.name} holds weights alone, and a network is weights and what is computed with them: write a function that builds the network, loads them "
            "(net.load_state_dict(safetensors.torch.load_file(path))) and returns net.eval(); give it as MODULE:FUNCTION on the command line, or pass the network. "
            f"{_EXPORT_HINT}."
        )
    if path.suffix.lower() != ".pt2":
        raise ModelFileError(f"{path.name}: networks are read from .pt2 and .keras files. {_EXPORT_HINT}.")
    raw = path.read_bytes()
    if not trust_pickle:
        check_archive(raw, path.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(raw))
    except Exception as error:
        raise ModelFileError(
            f"{path.name} cannot be loaded by torch {torch.__version__} ({type(error).__name__}: {first_line(error)})."
        ) from error
    refuse_training(program.graph, path.name)
    net = wrap(Program(program))
    count = sum(p.numel() for p in net.module.parameters())
    at_once = min(net.max_batch_size, net.module.max_rows)  # a layer runs once for all rows of a batch
    kind = f"{path.name} (exported torch program, {count:,} parameters)"
    return replace(net, max_batch_size=at_once, declared_names=net.module.declared_names, kind=kind)


def _read_pickle(path: Path, *, trust_pickle: bool) -> TorchNetwork:
    if not trust_pickle:
        raise UntrustedPickleError(
            f"{path.name} is a pickle, and reading it would run whatever code is in it. {_EXPORT_HINT}. If you trust whoever made the "
            "file: ",
            Argument("trust_pickle", True),
            " in Python.",
        )
    try:
        loaded = torch.load(path, weights_only=False, map_location="cpu")
    except Exception as error:
        raise ModelFileError(f"{path.name} cannot be read ({type(error).__name__}: {error}).") from error
    if not isinstance(loaded, torch.nn.Module):
        raise UnsupportedModelError(
            f"{path.name} holds {type(loaded).__name__}, not a network: weights alone are not a network. {_EXPORT_HINT}."
        )
    return wrap(loaded.eval())


_MODULE_PATH: Final = re.compile(r"(?!.*__)[A-Za-z0-9_.@]*")
_PARAMETER_NAME: Final = re.compile(r"[A-Za-z0-9_.@]*")


def _with_layers(program: Any) -> torch.nn.Module:
    """The program with the layers it was exported from, so that they have names; in one piece if it does not keep them, or would give other outputs."""
    flat = program.module()
    stacks = [node.meta.get("nn_module_stack", {}) for node in program.graph.nodes]
    plain = all(
        _PARAMETER_NAME.fullmatch(str(key))
        and _MODULE_PATH.fullmatch(str(path))
        and _PARAMETER_NAME.fullmatch(str(kind))
        for stack in stacks
        for key, (path, kind) in stack.items()
    )  # torch writes names of layers into code, and the reader of the file takes them for comments
    if not plain:
        return flat
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            layered = torch.export.unflatten(program)
            for part in layered.modules():
                part.training = False
            given = _example_inputs(program)
            ours, theirs = (_flatten_tensors(m(*given)) for m in (layered, flat))
    except Exception:  # torch fails in many ways; the program in one piece still runs
        return flat
    same = len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    return layered if same else flat


def _flatten_tensors(loaded: Any) -> list[torch.Tensor]:
    """All arrays of a result, in order."""
    if isinstance(loaded, dict):
        loaded = [loaded[k] for k in sorted(loaded, key=str)]
    return (
        [leaf for part in loaded for leaf in _flatten_tensors(part)] if isinstance(loaded, (list, tuple)) else [loaded]
    )


def _example_inputs(program: Any) -> list[torch.Tensor]:
    """Inputs of the shapes that the program was exported with."""
    out = []
    wanted = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            held = node.meta["val"]
            shape = [n if type(n) is int else int(n.node.hint) for n in held.shape]
            whole = not held.dtype.is_floating_point
            count = torch.Size(shape).numel()
            out.append((torch.ones(count) if whole else torch.linspace(-1, 1, count)).reshape(shape).to(held.dtype))
    return out


class Program(torch.nn.Module):  # type: ignore[misc]
    """An exported program that takes any number of rows.

    Attributes:
        input_shapes: of its inputs, None for axes of any length. declared_names: names of the inputs. whole_number_inputs: for each whether it takes whole
            numbers alone.
    """

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.program = program
        wanted = set(program.graph_signature.user_inputs)
        held = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted}
        self.declared_names = tuple(name for name, v in held.items() if isinstance(v, torch.Tensor))
        shapes = [tuple(held[name].shape) for name in self.declared_names]
        if not shapes or any(not s for s in shapes):
            raise UnsupportedModelError("the program takes no arrays of rows.")
        self.input_shapes = tuple(tuple(n if type(n) is int else None for n in s) for s in shapes)
        self.whole_number_inputs = tuple(
            not (held[name].is_floating_point() or held[name].is_complex()) for name in self.declared_names
        )
        self.min_rows, self.max_rows = _row_bounds(program, shapes[0][0])
        # if rows are padded, layers output rows that were not given
        self.inner = _with_layers(program) if self.min_rows == 1 else program.module()
        for part in self.modules():
            part.training = False

    @contextmanager
    def any_size(self) -> Iterator[None]:
        """Within it the program runs as far as it can on inputs of another size than that of the export."""
        check_archive = [part for part in self.modules() if getattr(part, "check_input_constraints", False)]
        for part in check_archive:
            part.check_input_constraints = False
        try:
            yield
        finally:
            for part in check_archive:
                part.check_input_constraints = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the program as torch.export saves it, and the parameters as they are now: the module made of it can be neither."""
        buffer = io.BytesIO()
        torch.export.save(self.program, buffer)
        return _unpickle_program, (buffer.getvalue(), self.state_dict())

    def forward(self, *x: torch.Tensor, **named: torch.Tensor) -> Any:
        """Run rows in as many pieces as the program needs, the last one padded with repeated rows."""
        if named and (x or set(named) != set(self.declared_names)):
            raise TypeError(f"the program takes {', '.join(self.declared_names)}, not {', '.join(named)}")
        x = tuple(named[name] for name in self.declared_names) if named else x
        rows = len(x[0])
        if self.min_rows <= rows <= self.max_rows:
            return self.inner(*x)
        loaded = []
        for start in range(0, rows, self.max_rows):
            part = tuple(a[start : start + self.max_rows] for a in x)
            n = len(part[0])
            if n < self.min_rows:
                part = tuple(torch.cat([a, a[-1:].expand(self.min_rows - n, *a.shape[1:])]) for a in part)
            out = self.inner(*part)
            if not isinstance(out, torch.Tensor):
                raise UnsupportedModelError(
                    f"the program takes {self.max_rows} rows at a time and returns {type(out).__name__}; export it with a dynamic number of rows, or with one output."
                )
            loaded.append(out[:n])
        return torch.cat(loaded)


def _unpickle_program(saved_bytes: bytes, parameters: dict[str, torch.Tensor]) -> Program:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Program(torch.export.load(io.BytesIO(saved_bytes)))
    for tensor in parameters.values():
        made.to(tensor.device)
        break
    made.load_state_dict(parameters)
    return made


def _row_bounds(program: Any, rows: Any) -> tuple[int, int]:
    """The least and the most rows of a call."""
    if type(rows) is int:
        return rows, rows
    known = program.range_constraints.get(rows.node.expr)
    if known is None:
        return 1, 2**31
    max_rows = int(known.upper) if bool(known.upper < 2**31) else 2**31
    return max(1, int(known.lower)), max_rows
