"""Keras on JAX: maps, layers and series, in a process of their own, since Keras has one backend a process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

PROGRAM = """
import sys
sys.path[:0] = eval(sys.argv[1])
import numpy as np
import whybox as wb
from contract import test_axes_of_layers as axes, test_networks as networks

net = networks.keras_net()
e = wb.saliency(net, networks.LAST)
assert 'keras model on jax' in e.evidence.model, e.evidence.model
assert np.abs(e.values - np.load(sys.argv[2])['map']).max() < 1e-6
w = networks.as_network(net)
xs, c = (w.array(networks.LAST),), w.array(np.eye(5, dtype='f')[np.arange(7) % 5])
tap = w.tap_layer(xs, 'conv')
inner, activation = w.split_at_layer('conv', xs)
outputs, pullback = inner((activation, *xs))
assert np.abs(w.numpy(tap.pullback(c)) - w.numpy(pullback(c)[0])).max() < 1e-6
assert np.abs(w.numpy(tap.pullback(c))).max() > 0.01
assert w.with_random_parameters(1, 'fc').fingerprint != w.fingerprint
print('agreed')
axes.every(axes.keras_net, axes.TURNS[3:])  # one method of maps; the others take the same layer
print('layers')
axes.keras_series()
print('series')
"""


@pytest.mark.skipif(not (find_spec("keras") and find_spec("jax")), reason="needs Keras and JAX")
def test_maps_layers_and_series_are_those_of_the_other_libraries(tmp_path):
    import whybox as wb
    from contract import test_networks as networks

    np.savez(tmp_path / "torch.npz", map=wb.saliency(networks.torch_net(), networks.X).values)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, repr(sys.path), str(tmp_path / "torch.npz")],
        env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["agreed", "layers", "series"], done.stderr[-2000:]
