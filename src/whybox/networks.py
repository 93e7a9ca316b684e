"""Networks that do not say by themselves how they take rows, wrapped for ``wb.saliency``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from whybox.models.differentiable import Differentiable

__all__ = ["exported", "jax"]


def jax(
    function: Any,
    params: Any = None,
    *,
    batched: bool | None = None,
    channels: Literal["first", "last"] | None = None,
) -> Differentiable:
    """Wrap a function of JAX, or a module of equinox or flax that departs from its library's habit.

    Args:
        function: ``function(params, *inputs)`` where `params` is given, ``function(*inputs)`` where it is not (such as ``module.apply`` of flax.linen with its
            variables); or a module of equinox or flax.nnx.
        params: any tree of arrays, held fixed.
        batched: whether it takes all rows at once (inputs with the row axis), or one row, which is then mapped over rows by ``jax.vmap``.
            None: equinox modules one row, everything else all rows.
        channels: where pictures have their channels. None: equinox modules first, everything else last.

    Raises:
        UnsupportedModelError: a module in train mode. OptionError: no function.
    """
    from whybox.adapters.jax.network import wrap

    return wrap(function, params, batched=batched, channels=channels)


def exported(path: str | Path, *, trust_pickle: bool = False) -> Differentiable:
    """Read a network from a ``.pt2`` file that ``torch.export.save`` wrote, or a ``.keras`` file. Nothing in it is run before it was checked.

    Args:
        path: of the file.
        trust_pickle: read parts that only Python's pickle can, which runs whatever code is in them; also .pt and .pth files of whole modules, and
            layers of ``.keras`` files that are not Keras's own.

    Raises:
        UntrustedPickleError: the file could run code. ModelFileError: not such a file, or damaged.
    """
    if Path(path).suffix.lower() == ".keras":
        from whybox.adapters.keras.files import read as read_keras

        return read_keras(Path(path), trust_pickle=trust_pickle)
    from whybox.adapters.torch.exported import read

    return read(Path(path), trust_pickle=trust_pickle)
