"""A torch module as a graph of operators, each with a backward rule: DeepLIFT, guided backpropagation.

The graph is run twice: once at reference rows, which keeps what rules need; and at the rows, under autograd, where linear operators have their own backward
and every other one has its rule. An operator that is neither is refused by its name.
"""

# ruff: noqa: SLF001  # ATen has operators whose names begin with an underscore

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from whybox.adapters.torch.batching_rules import RowTensor, evaluate
from whybox.adapters.torch.capture_on_device import captured
from whybox.adapters.torch.forward import TorchForward
from whybox.adapters.torch.gradient_check import input_gradients
from whybox.adapters.torch.graph import INSTEAD_HINT, Graph, operator_name
from whybox.adapters.torch.memory import saved_bytes
from whybox.adapters.torch.rules_elementwise import ELEMENTWISE, Call, Rule
from whybox.adapters.torch.rules_guided import GUIDED, has_undefined_rule
from whybox.adapters.torch.rules_pooling import POOLING
from whybox.adapters.torch.rules_products import BILINEAR, PRODUCTS
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.models.differentiable import Array, Pullback, RuleBackward

__all__ = ["rule_backward"]

aten: Final = torch.ops.aten

Env = dict[Node, Any]

DEEPLIFT: Final[dict[Any, Rule]] = {**ELEMENTWISE, **PRODUCTS, **POOLING}

# Linear in all their tensors together (or only moving numbers); indices must not depend on the input.
_LINEAR_OPERATORS: Final = frozenset(
    getattr(aten, name)
    for name in [
        "add",
        "sub",
        "rsub",
        "neg",
        "sum",
        "mean",
        "view",
        "_unsafe_view",
        "reshape",
        "_reshape_alias",
        "permute",
        "transpose",
        "t",
        "expand",
        "unsqueeze",
        "squeeze",
        "select",
        "slice",
        "cat",
        "stack",
        "split",
        "split_with_sizes",
        "unsafe_split",
        "unsafe_split_with_sizes",
        "unsafe_chunk",
        "chunk",
        "unbind",
        "clone",
        "alias",
        "detach",
        "lift_fresh_copy",
        "_to_copy",
        "constant_pad_nd",
        "flip",
        "roll",
        "repeat",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "adaptive_avg_pool1d",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "upsample_linear1d",
        "upsample_bilinear2d",
        "upsample_bicubic2d",
        "upsample_trilinear3d",
        "pixel_shuffle",
        "pixel_unshuffle",
        "im2col",
        "col2im",
        "cumsum",
        "gather",
        "index_select",
        "index",
        "diagonal",
        "diag_embed",
        "tril",
        "triu",
        "slice_scatter",
        "select_scatter",
        "unfold",
        "reflection_pad1d",
        "reflection_pad2d",
        "reflection_pad3d",
        "replication_pad1d",
        "replication_pad2d",
        "replication_pad3d",
        "channel_shuffle",
        "copy",
        "trace",
        "narrow",
        "movedim",
        "swapaxes",
    ]
    if hasattr(aten, name)
)
# Linear in these operands while the others are constant.
_LINEAR_IN: Final[dict[Any, tuple[int, ...]]] = {
    aten.convolution: (0,),
    aten._convolution: (0,),
    aten.div: (0,),
    aten.where: (1, 2),
    aten.masked_fill: (0, 2),
    aten.native_batch_norm: (0,),
    aten.cudnn_batch_norm: (0,),
    aten._native_batch_norm_legit: (0,),
    aten._native_batch_norm_legit_no_training: (0,),
}
_SELECTING_OPERATORS: Final = {aten.gather: (0,), aten.index_select: (0,), aten.index: (0,)}


def rule_backward(
    net: TorchForward, rules: str, x: tuple[Tensor, ...], reference: tuple[Tensor, ...] | None
) -> RuleBackward:
    """Build the graph of a network with backward rules.

    Args:
        net: in its session. rules: ``"deeplift"`` or ``"guided"``.
        x: some rows; reference: some rows of references. The traced graph is compared with the module at all of them.

    Raises:
        OptionError: there are no such rules. UnsupportedModelError: an operator has no rule, or the network cannot be traced.
    """
    if rules not in ("deeplift", "guided"):
        raise OptionError(f"rules {rules!r} are not known: 'deeplift' or 'guided'.")
    if net.autocast is not None or "mixed" in net.arithmetic:
        raise UnsupportedModelError(
            "operator rules divide small differences and are not computed under autocast or mixed precision; leave ",
            Argument("dtype"),
            " out, or make the network in float32.",
        )
    graph = captured(net, x)
    rules_of, operators = _deeplift_rules(graph) if rules == "deeplift" else _guided_rules(graph)
    runner = _GraphRunner(net, graph, rules_of)
    return RuleBackward(runner.run, operators, runner.check_and_measure(x, None if rules == "guided" else reference))


# The backward rule of each operator.


def _deeplift_rules(graph: Graph) -> tuple[dict[Node, Rule], dict[str, int]]:
    rules_of: dict[Node, Rule] = {}
    for node in graph.steps:
        if node not in graph.moving:
            continue
        rule = _rule_of_node(node, graph)
        if rule is not None:
            rules_of[node] = rule
    _only_first_outputs(graph, rules_of)
    return rules_of, dict(Counter(operator_name(n.target) for n in rules_of))


def _rule_of_node(node: Node, graph: Graph) -> Rule | None:
    """The rule of an operator, None for linear ones.

    Raises:
        UnsupportedModelError: there is none.
    """
    op = node.target
    if op is operator.getitem:
        return None
    packet = getattr(op, "overloadpacket", None)
    places = _moving_places(node, graph)
    if not node.meta["val"].is_floating_point() if isinstance(node.meta.get("val"), Tensor) else False:
        raise _unsupported_operator(
            op, "its output is not a number that changes with the input (a comparison, an index)"
        )
    if packet in _LINEAR_OPERATORS or packet in _LINEAR_IN:
        allowed = _SELECTING_OPERATORS.get(packet) if packet in _LINEAR_OPERATORS else _LINEAR_IN[packet]
        training = packet is not None and "batch_norm" in operator_name(op) and _is_training(node)
        if not training and (allowed is None or set(places) <= set(allowed)):
            return None
    if op in BILINEAR and len(set(places) & set(BILINEAR[op])) <= 1:
        return None
    rule = DEEPLIFT.get(op)
    if rule is None:
        raise _unsupported_operator(op, f"operands {', '.join(map(str, places))} change with the input")
    if len(places) > rule.most or (rule.most == 1 and places != [_own_place(op)]):
        raise _unsupported_operator(op, "more of its operands change with the input than its rule allows")
    reason = "" if rule.refuse is None else rule.refuse(node.args)
    if reason:
        raise _unsupported_operator(op, reason)
    return rule


def _own_place(op: Any) -> int:
    return 1 if op is aten.pow.Scalar else 0


def _is_training(node: Node) -> bool:
    if node.target is aten._native_batch_norm_legit.no_stats:
        return True
    return operator_name(node.target) != "_native_batch_norm_legit_no_training" and bool(node.args[5])


def _moving_places(node: Node, graph: Graph) -> list[int]:
    out = []
    for i, a in enumerate((*node.args, *node.kwargs.values())):
        inside: list[Node] = []
        map_arg(a, inside.append)
        if any(n in graph.moving for n in inside):
            out.append(i)
    return out


def _only_first_outputs(graph: Graph, rules_of: dict[Node, Rule]) -> None:
    """Rules know the first output of an operator (the largest values, not where they are)."""
    for node in graph.steps:
        if node.target is operator.getitem and node.args[0] in rules_of and node.args[1] != 0:
            raise _unsupported_operator(node.args[0].target, f"output {node.args[1]} of it is used")


def _unsupported_operator(op: Any, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"operator {operator_name(op)!r} has no rule here ({reason}); ", INSTEAD_HINT)


def _guided_rules(graph: Graph) -> tuple[dict[Node, Rule], dict[str, int]]:
    rules_of: dict[Node, Rule] = {}
    for node in graph.steps:
        if node not in graph.moving or node.target is operator.getitem:
            continue
        reason = has_undefined_rule(node, graph.output)
        if reason:
            raise UnsupportedModelError(
                f"guided backpropagation is not defined for operator {operator_name(node.target)!r} ({reason}); use ",
                Argument("method", "deeplift"),
                " or 'integrated_gradients'.",
            )
        if node.target in GUIDED and GUIDED[node.target].refuse(node.args) == "":  # type: ignore[misc]
            rules_of[node] = GUIDED[node.target]
    if not rules_of:
        raise UnsupportedModelError(
            "there is no ReLU in this network: guided backpropagation would be the plain gradient; use ",
            Argument("method", "gradient"),
            ".",
        )
    return rules_of, dict(Counter(operator_name(n.target) for n in rules_of))


# Running the graph.


@final
@dataclass
class _ReferenceRun:
    """What rules need of reference rows: for each operator its operands and its output, (references, ...).

    Attributes:
        of: the reference in use; None: row i has reference i.
    """

    kept: dict[Node, tuple[list[Tensor], Tensor]] = field(default_factory=dict)
    of: int | None = 0

    def at(self, node: Node) -> tuple[list[Tensor], Tensor]:
        values, y = self.kept[node]
        if self.of is None:
            return values, y
        some = slice(self.of, self.of + 1)
        return [v[some] for v in values], y[some]


class _RuleFunction(torch.autograd.Function):  # type: ignore[misc]
    """An operator whose derivative is its rule."""

    @staticmethod
    def forward(
        ctx: Any, call: Call, rule: Rule, node: Node, reference: _ReferenceRun | None, *moving: Tensor
    ) -> Tensor:
        y = call(*moving) if rule.value is None else rule.value(call, *moving)
        ctx.call, ctx.rule, ctx.node, ctx.reference = call, rule, node, reference
        ctx.save_for_backward(*moving, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        *x, y = ctx.saved_tensors
        r, ry = ([], y) if ctx.reference is None else ctx.reference.at(ctx.node)
        return (None, None, None, None, *ctx.rule.backward(ctx.call, grads[0], x, y, r, ry))


@final
class _GraphRunner:
    """Runs a graph."""

    def __init__(self, net: TorchForward, graph: Graph, rules_of: dict[Node, Rule]) -> None:
        self.net, self.graph, self.rules_of = net, graph, rules_of
        self.half = net.dtype in (torch.float16, torch.bfloat16)
        self.constants = {n: self._wide(v) for n, v in graph.constants.items()}
        self._last: tuple[Any, _ReferenceRun, Tensor] | None = None

    def _wide(self, value: Any) -> Any:
        """Numbers of 16 bits are computed with in 32: differences of them would be nothing but rounding."""
        if isinstance(value, (list, tuple)):
            return type(value)(self._wide(v) for v in value)
        half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        return value.float() if half else value

    def run_graph(self, x: tuple[Tensor, ...], apply: Callable[[Call, Rule, Node, list[Tensor]], Tensor]) -> Tensor:
        self.net.state.restore()  # buffers are constants here
        graph, n = self.graph, len(x[0])
        env: Env = dict(zip(graph.inputs, x, strict=True))
        for node in graph.steps:
            env[node] = self._step(node, env, n, apply)
            for gone in graph.last_used.get(node, ()):
                env.pop(gone, None)
        y: Any = env.get(graph.output, self.constants.get(graph.output))
        return y if graph.output in graph.per_row else y.expand(n, *y.shape)

    def _step(self, node: Node, env: Env, n: int, apply: Callable[..., Tensor]) -> Any:
        graph = self.graph
        if node.target is operator.getitem:
            return env[node.args[0]][node.args[1]]

        def value(m: Node) -> Any:
            return RowTensor(env[m]) if m in graph.per_row else self.constants[m]

        args = tuple(_substitute_nodes(a, value) for a in node.args)
        kwargs = {k: self._dtype(_substitute_nodes(a, value)) for k, a in node.kwargs.items()}
        made = node.meta["val"]
        several = isinstance(made, (list, tuple))
        shape = tuple(made[0].shape if several else made.shape)
        rule = self.rules_of.get(node)
        if rule is None:
            return evaluate(node.target, args, kwargs, shape, n)
        places = tuple(_moving_places(node, graph))
        call = Call(node.target, args, kwargs, places, shape, n)
        y = apply(call, rule, node, [args[i].t for i in places])
        return (y,) if several else y

    def _dtype(self, a: Any) -> Any:
        return torch.float32 if self.half and a in (torch.float16, torch.bfloat16) else a

    def run_plain(self, x: tuple[Tensor, ...], keep: _ReferenceRun | None = None) -> Tensor:
        """Outputs without derivatives."""

        def apply(call: Call, rule: Rule, node: Node, moving: list[Tensor]) -> Tensor:
            y = call(*moving) if rule.value is None else rule.value(call, *moving)
            if keep is not None:
                keep.kept[node] = (moving, y)
            return y

        with torch.no_grad():
            return self._single(self.run_graph(self._lifted(x), apply))

    def _lifted(self, x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Inputs with a batch axis of length 1 after the rows, as in the traced shape."""
        return tuple(self._wide(a.detach()).unsqueeze(1) for a in x)

    def _single(self, y: Tensor) -> Tensor:
        if y.dim() < 2 or y.shape[1] != 1:
            raise UnsupportedModelError(
                f"for a single row the network outputs a tensor of shape {tuple(y.shape[1:])}; its first axis must be the rows "
                "(a squeeze without an axis removes it)."
            )
        return y.flatten(0, 1)

    def check_and_measure(self, x: tuple[Tensor, ...], reference: tuple[Tensor, ...] | None) -> int:
        """Compare the traced graph with the module, and return the bytes that one row keeps until its pull.

        Raises:
            UnsupportedModelError: the outputs differ.
        """
        with saved_bytes(t for t in self.constants.values() if isinstance(t, Tensor)) as sizes:
            outputs, base, _ = self.run(x, reference)
        self._last = None
        self._compare(self.net.forward(x), outputs)
        if reference is not None and base is not None:
            self._compare(self.net.forward(reference), base)
        return sum(sizes.values()) // len(x[0])

    def _compare(self, expected: Tensor, ours: Tensor) -> None:
        scale = float(expected.abs().max()) + 1e-6
        difference = (
            float((expected.to(ours.dtype) - ours).abs().max()) if expected.shape == ours.shape else float("inf")
        )
        allowed = {torch.float64: 1e-9, torch.float32: 1e-3}.get(self.net.dtype, 2e-2)
        if not difference <= allowed * scale:
            raise UnsupportedModelError(
                f"the traced graph does not reproduce the network (it differs by {difference:.3g}, outputs up to {scale:.3g}): the network depends on the numbers of a "
                f"row in a branch, on the other rows in its batch, or on something outside; ",
                INSTEAD_HINT,
            )

    def references(self, reference: tuple[Tensor, ...]) -> tuple[_ReferenceRun, Tensor]:
        """Run the graph at reference rows, once for the same tensors."""
        if self._last is None or self._last[0] is not reference:
            self.net.passes.forward += len(reference[0])
            kept = _ReferenceRun()
            self._last = (reference, kept, self.run_plain(reference, kept))
        return self._last[1:]

    def run(
        self, x: tuple[Array, ...], reference: tuple[Array, ...] | None, *, paired: bool = False
    ) -> tuple[Array, Array | None, Pullback]:
        """See RuleBackward."""
        self.net.passes.forward += len(x[0])
        kept, base = (None, None) if reference is None else self.references(reference)

        def apply(call: Call, rule: Rule, node: Node, moving: list[Tensor]) -> Tensor:
            return _RuleFunction.apply(call, rule, node, kept, *moving)

        with torch.enable_grad():
            leaves = tuple(a.detach().requires_grad_(a.is_floating_point()) for a in (self._wide(a) for a in x))
            outputs = self._single(self.run_graph(tuple(a.unsqueeze(1) for a in leaves), apply))

        def pull(cotangent: Array, *, last: bool = False, reference: int = 0) -> tuple[Array | None, ...]:
            self.net.passes.backward += len(x[0])
            if kept is not None:
                kept.of = None if paired else reference
            return input_gradients(outputs, leaves, cotangent.to(outputs.dtype), last=last)

        return outputs.detach(), base, pull


def _substitute_nodes(a: Any, value: Callable[[Node], Any]) -> Any:
    """Arguments with values in place of nodes (map_arg would split a RowTensor)."""
    if isinstance(a, Node):
        return value(a)
    if isinstance(a, (list, tuple)):
        return [_substitute_nodes(b, value) for b in a]
    return a
