"""The mode that a program of torch.export is frozen in: its flags say nothing, its operators do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from whybox.errors import UnsupportedModelError

if TYPE_CHECKING:
    import torch

__all__ = ["exported_in_eval", "refuse_training"]


def exported_in_eval(module: torch.nn.Module) -> bool:
    """Whether this is what ``program.module()`` of torch.export answers, with nothing in it that trains.

    Raises:
        UnsupportedModelError: something in it does.
    """
    maker = sys.modules.get("torch.export._unlift")  # torch has no public word for it
    if maker is None or not isinstance(module, maker._StatefulGraphModule):  # noqa: SLF001
        return False
    refuse_training(module.graph, "the program")
    return True


def refuse_training(graph: Any, name: str) -> None:
    """A program is frozen in the mode it was exported in.

    Raises:
        UnsupportedModelError: that was train mode.
    """
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for i, argument in enumerate(schema.arguments if schema is not None else ()):
            said = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name, False)
            if argument.name in ("train", "training") and said is True:
                raise UnsupportedModelError(
                    f"{name} was exported in train mode ({node.name} draws or keeps batch statistics); call net.eval() and export it again."
                )
