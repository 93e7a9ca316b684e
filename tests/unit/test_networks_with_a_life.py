"""Networks that keep caches, draw at random, cut some derivatives off, are compiled or exported: left as they were, and right, noted or refused."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import whybox as wb
from networks.small import Formula, cnn, flat, rows, seeded
from whybox.adapters.torch import graph
from whybox.adapters.torch.capture_on_device import captured
from whybox.adapters.torch.module import wrap
from whybox.adapters.torch.state import without_compilation
from whybox.errors import InputError, UnsupportedModelError


class Caching(nn.Module):
    """Fills caches when it is first asked, as rotary embeddings do: an attribute, a dict, a buffer registered anew; and counts in a list."""

    def __init__(self):
        super().__init__()
        self.inner, self.turn, self.known, self.seen, self.length = flat(), None, {}, [], 0
        self.register_buffer("grown", torch.zeros(0), persistent=False)

    def forward(self, x):
        n = x.shape[1]
        self.seen.append(len(x))
        if self.turn is None:
            self.turn = torch.cos(torch.arange(n) * 0.1)
        if n not in self.known:
            self.known[n] = torch.sin(torch.arange(n) * 0.1)
        if n > self.length:
            self.length = n
            self.register_buffer("grown", torch.ones(n), persistent=False)
        return self.inner(x * self.turn + x.roll(1, 1) * self.known[n] * self.grown)


@pytest.mark.parametrize("method", ["deeplift", "gradient", "occlusion", "integrated_gradients"])
def test_caches_are_as_they_were_and_hold_nothing_of_ours(method):
    net, x = Caching().eval(), rows(3, 6)
    grown = net.grown
    e = wb.saliency(net, x, 1, method)
    assert net.turn is None
    assert net.known == {}
    assert net.seen == []
    assert net.length == 0
    assert net.grown is grown
    assert np.allclose(e.prediction, net(torch.tensor(x))[:, 1].detach(), atol=1e-6)
    assert np.allclose(wb.saliency(net, x, 1, method).values, e.values, atol=1e-6)  # and with the caches full
    assert type(net.turn) is torch.Tensor


class Renaming(nn.Module):
    """Every forward puts one key, one member of a set and one attribute in the place of another, with the same value."""

    def __init__(self):
        super().__init__()
        self.inner, self.named, self.met, self.first = flat(), {0: True}, {0}, True

    def forward(self, x):
        n = max(self.named)
        del self.named[n], self.__dict__["first" if not n else f"later{n}"]
        self.met.remove(n)
        self.named[n + 1] = True
        self.met.add(n + 1)
        setattr(self, f"later{n + 1}", True)
        return self.inner(x) * (n + 1)


def test_names_are_put_back_and_not_only_what_they_stand_for():
    net, x = Renaming().eval(), rows(40, 6)
    e = wb.saliency(net, x, 1, "integrated_gradients")
    assert (net.named, net.met, net.first) == ({0: True}, {0}, True)
    assert not any(name.startswith("later") for name in vars(net))
    assert np.allclose(e.prediction, net.inner(torch.tensor(x))[:, 1].detach(), atol=1e-6)


class CountingInPython(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.calls = flat(), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * self.calls


def test_attributes_written_in_eval_mode_are_put_back():
    net, x = CountingInPython().eval(), rows(40, 6)
    for method in ("gradient", "occlusion", "deeplift"):
        e = wb.saliency(net, x, 1, method)
        assert net.calls == 0
        assert np.allclose(e.prediction, net.inner(torch.tensor(x))[:, 1].detach(), atol=1e-6)


def test_random_networks_are_refused_by_every_kind_of_method():
    inner = flat()
    net = Formula(lambda x: inner(functional.dropout(x, 0.01, training=True) + 1e-3 * torch.randn_like(x)))
    state = torch.get_rng_state()
    for method in ("gradient", "vargrad", "deeplift", "occlusion", "rise"):
        with pytest.raises(UnsupportedModelError, match="draws random numbers"):
            wb.saliency(net, rows(3, 6), 1, method)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_drawn_and_not_used_is_no_matter():
    inner, x = flat(), rows(3, 6)
    state = torch.get_rng_state()
    e = wb.saliency(Formula(lambda x: inner(x + 0 * torch.rand(6))), x, 1)
    assert np.allclose(e.values, wb.saliency(inner, x, 1).values, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


def partly_without(x, inner):
    with torch.no_grad():
        gate = inner(x).sigmoid()
    return inner(x) * gate


def test_derivatives_that_are_not_those_of_the_answer_are_refused():
    inner, x = flat(), rows(3, 6)
    nets = {
        "detach": lambda x: inner(x) * x.detach()[:, :1],
        "data": lambda x: inner(x) * x.data[:, :1],
        "no_grad": lambda x: partly_without(x, inner),
        "straight": lambda x: inner(Straight.apply(x)),
    }
    for f in nets.values():
        for method in ("gradient", "smoothgrad"):
            with pytest.raises(UnsupportedModelError, match="derivatives are not those of its outputs"):
                wb.saliency(Formula(f), x, 1, method)
    by_operators = wb.saliency(Formula(nets["detach"]), x, 1, "deeplift")
    assert by_operators.extras["converged"][1].all()


def test_what_is_cut_for_a_good_reason_is_not_noted():
    inner, x = flat(), rows(3, 6)

    def softmax(x):
        z = inner(x)
        e = (z - z.max(1, keepdim=True).values.detach()).exp()
        return e / e.sum(1, keepdim=True)

    for f in (softmax, lambda x: inner(Cube.apply(x)), lambda x: checkpoint(inner, x, use_reentrant=False)):
        assert wb.saliency(Formula(f), x, 1).evidence.notes == ()


@pytest.mark.filterwarnings("ignore")
def test_what_torch_cannot_go_back_through_is_refused():
    inner, x = flat(), rows(3, 6)

    def overwritten(x):
        y = inner(x).sigmoid()
        return y.mul_(2)

    for f in (overwritten, lambda x: checkpoint(inner, x, use_reentrant=True)):
        for method in ("gradient", "integrated_gradients"):
            with pytest.raises(UnsupportedModelError, match="torch cannot take derivatives"):
                wb.saliency(Formula(f), x, 1, method)
        assert wb.saliency(Formula(f), x, 1, "occlusion").values.shape == (3, 6)


def test_networks_of_a_fixed_number_of_rows_are_refused():
    inner = flat()

    def only(n):
        def f(x):
            assert len(x) == n, "wrong size"
            return inner(x)

        return Formula(f)

    with pytest.raises(UnsupportedModelError, match=r"works with 1 rows and fails with 3 \(AssertionError: wrong size"):
        wb.saliency(only(1), rows(3, 6), 1)
    with pytest.raises(InputError, match="tried on 1 of the rows: AssertionError: wrong size"):
        wb.saliency(only(3), rows(3, 6), 1)


@dataclass
class Answer:
    logits: torch.Tensor
    loss: float = 0.0


def test_parts_of_an_answer_are_named():
    inner = flat()
    net = Formula(lambda x: Answer(inner(x)))
    named, unasked = wb.saliency(net, rows(3, 6), 1, output="logits"), wb.saliency(net, rows(3, 6), 1)
    np.testing.assert_array_equal(named.values, unasked.values)  # the only array


@pytest.mark.filterwarnings("ignore")
def test_weights_under_a_norm_of_old_are_checked():
    net, x = (
        seeded(lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))),
        rows(4, 6),
    )
    before = net[0].weight
    checks = wb.check(wb.saliency(net, x, 1), net, x)
    assert "reproduced" in str(checks)
    assert net[0].weight is before


class Around(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part, self.last = part, nn.Linear(3, 3)

    def forward(self, x):
        return self.last(self.part(x))


@pytest.mark.filterwarnings("ignore")  # torch reads .grad of what it compiles
@pytest.mark.parametrize("how", ["whole", "part", "in place"])
def test_compiled_networks_as_before(how):
    plain, x = seeded(lambda: Around(cnn())).eval(), rows(2, 3, 6, 6)
    net = copy.deepcopy(plain)
    if how == "whole":
        net = torch.compile(net, backend="eager")
    elif how == "part":
        net.part = torch.compile(net.part, backend="eager")
    else:
        net.compile(backend="eager")
    methods = ("gradient", "deeplift", "gradcam")  # one as it is, one by rules, one by hooks; of a whole network all
    for method in (*methods, "guided_backprop", "scorecam", "occlusion") if how == "whole" else methods:
        options = {"window": 3} if method == "occlusion" else {}
        want = wb.saliency(plain, x, 1, method, **options).values
        assert np.allclose(wb.saliency(net, x, 1, method, **options).values, want, atol=1e-6)
    assert hasattr(net.part if how == "part" else net, "_orig_mod") or net._compiled_call_impl is not None


def test_the_compiler_of_torch_is_not_loaded_where_nothing_is_compiled(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    monkeypatch.setattr(torch.compiler, "set_stance", lambda _: pytest.fail("loads torch._dynamo"))
    with without_compilation():
        assert flat()(torch.zeros(1, 6)).shape == (1, 3)


def test_compiled_networks_are_traced_as_they_were_written_also_the_slow_way(monkeypatch):
    plain, x, met = flat(), rows(3, 6), []
    net = copy.deepcopy(plain)
    net.compile(backend=lambda graph, _: met.append(1) or graph.forward)
    wrapped = wrap(net)
    monkeypatch.setattr(graph, "record_operators", lambda *_: 1 / 0)
    with wrapped.session():
        captured(wrapped, (torch.tensor(x),))
    assert met == []
    assert net._compiled_call_impl is not None


def test_exported_modules_have_no_mode():
    net, x = cnn(), torch.tensor(rows(3, 3, 6, 6))
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},)).module()
    assert np.allclose(wb.saliency(program, x, 1).values, wb.saliency(net, x, 1).values, atol=1e-6)
    trained = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(108, 3)).train()
    with pytest.raises(UnsupportedModelError, match="exported in train mode"):
        wb.saliency(torch.export.export(trained, (x,)).module(), x, 1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_traced_modules_and_channels_innermost_have_rules():
    net, x = cnn(), torch.tensor(rows(3, 3, 6, 6))
    want = wb.saliency(net, x, 1, "deeplift", reduce=None).values
    for other in (torch.jit.trace(net, x), copy.deepcopy(net).to(memory_format=torch.channels_last)):
        assert np.allclose(wb.saliency(other, x, 1, "deeplift", reduce=None).values, want, atol=1e-6)


def test_a_wrapped_network_is_as_new_for_every_question():
    net = wrap(Formula(lambda x: (x.detach() * x).sum(1, keepdim=True)))
    for _ in range(2):
        with pytest.raises(UnsupportedModelError, match="It uses detach"):
            wb.saliency(net, rows(3, 4), 0)
    with pytest.raises(InputError, match="does not take these inputs"):
        wb.saliency(wrap(flat()), rows(2, 5))
    net = wrap(flat())
    assert (
        wb.saliency(net, rows(3, 6), 1).evidence.passes["forward"]
        == wb.saliency(net, rows(3, 6), 1).evidence.passes["forward"]
    )
    with pytest.raises(InputError, match="does not take these inputs"):
        wb.saliency(net, rows(2, 5))
