"""The mode that a program of torch.export is frozen in: its operators show it, its flags do not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from whybox.errors import UnsupportedModelError

if TYPE_CHECKING:
    import torch

__all__ = ["exported_in_eval", "refuse_training"]


def exported_in_eval(module: torch.nn.Module) -> bool:
    """True for the result of ``program.module()`` of torch.export in eval mode.

    Raises:
        UnsupportedModelError: it was exported in train mode.
    """
    maker = sys.modules.get("torch.export._unlift")  # torch has no public word for it
    if maker is None or not isinstance(module, maker._StatefulGraphModule):  # noqa: SLF001
        return False
    refuse_training(module.graph, "the program")
    return True


def refuse_training(graph: Any, name: str) -> None:
    """Check the mode that a program was exported in.

    Raises:
        UnsupportedModelError: train mode.
    """
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for i, argument in enumerate(schema.arguments if schema is not None else ()):
            value = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name, False)
            if argument.name in ("train", "training") and value is True:
                raise UnsupportedModelError(
                    f"{name} was exported in train mode ({node.name} drops units or uses batch statistics); call net.eval() and export it again."
                )
