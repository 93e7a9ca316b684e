"""Models of Keras from files: their own layers are read, whatever else a file names is refused before Keras sees it."""

import io
import json
import os
import zipfile

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

import whybox as wb
from whybox.cli.main import main
from whybox.errors import ModelFileError, UntrustedPickleError

keras = pytest.importorskip("keras")
if keras.backend.backend() not in ("torch", "jax"):
    pytest.skip("Keras runs on another backend here", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
layers = keras.layers
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    i = keras.Input((4,), name="x")
    out = layers.Dense(2)(keras.ops.tanh(layers.Dense(5, activation="gelu", name="first")(i)))
    made = keras.Model(i, out)
    made.compile("adam", "mse")
    return made


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "net.keras"
    model.save(path)
    return path


def rewritten(path, change=lambda config: None, more=()):
    """The file with a changed configuration, or further parts."""
    with zipfile.ZipFile(path) as archive:
        parts = {n: archive.read(n) for n in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (*parts.items(), *more):
            archive.writestr(name, data)
    return path


def test_a_model_from_a_file_gives_the_maps_of_the_model(model, saved):
    net = wb.networks.exported(saved)
    want = wb.saliency(model, X, 1, "integrated_gradients")
    assert np.allclose(wb.saliency(net, X, 1, "integrated_gradients").values, want.values, atol=1e-6)
    assert net.kind.startswith("net.keras (keras model on ")
    assert wb.saliency(net, X, 1, "conductance", layer="first").values.shape == (3, 5)


def first_dense(config):
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


def other_module(config):
    first_dense(config).update(module="os", class_name="System")


def function_of_python(config):
    first_dense(config)["config"]["activation"] = {"module": "builtins", "class_name": "function", "config": "eval"}


def unsafe_switch(config):
    first_dense(config).update(module="keras.config", class_name="enable_unsafe_deserialization")


def pickled_module(config):
    first_dense(config).update(module="keras.layers", class_name="TorchModuleWrapper")


def registered_name(config):
    first_dense(config)["registered_name"] = "Custom>Dense"


def lookup_of_a_file(config):
    first_dense(config).update(class_name="StringLookup", config={"vocabulary": "/etc/passwd"})


def class_without_module(config):
    del first_dense(config)["module"]


def lambda_function(config):
    first_dense(config)["config"]["activation"] = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}


@pytest.mark.parametrize(
    "change",
    [other_module, function_of_python, unsafe_switch, pickled_module, registered_name, lookup_of_a_file, class_without_module, lambda_function],
)  # fmt: skip
def test_files_that_name_other_code_are_refused(saved, change, monkeypatch):
    monkeypatch.setattr(keras.models, "load_model", lambda *given, **named: pytest.fail("Keras has read the file"))
    with pytest.raises(UntrustedPickleError, match="could run code"):
        wb.networks.exported(rewritten(saved, change))


def test_further_parts_and_weights_elsewhere_are_refused(saved, monkeypatch):
    h5py = pytest.importorskip("h5py")
    monkeypatch.setattr(keras.models, "load_model", lambda *given, **named: pytest.fail("Keras has read the file"))
    with pytest.raises(UntrustedPickleError, match="assets/a.txt"):
        wb.networks.exported(rewritten(saved, more=[("assets/a.txt", b"a")]))
    for link, says in ((h5py.ExternalLink("/etc/other.h5", "/x"), "links to elsewhere"), (None, "lie in other files")):
        held = io.BytesIO()
        with h5py.File(held, "w") as file:
            if link is None:
                file.create_dataset("x", (4,), dtype="u1", external=[("/etc/passwd", 0, 4)])
            else:
                file["x"] = link
        with zipfile.ZipFile(saved) as archive:
            config, metadata = archive.read("config.json"), archive.read("metadata.json")
        path = saved.with_name("links.keras")
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (
                ("config.json", rebuilt(config)),
                ("metadata.json", metadata),
                ("model.weights.h5", held.getvalue()),
            ):
                archive.writestr(name, data)
        with pytest.raises(UntrustedPickleError, match=says):
            wb.networks.exported(path)


def rebuilt(config):
    return json.dumps(json.loads(config))


def test_trusted_files_are_read_with_their_lambdas(tmp_path):
    path = tmp_path / "lambda.keras"
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: 2 * x), layers.Dense(2)]).save(path)
    with pytest.raises(UntrustedPickleError, match=r"keras\.layers\.Lambda"):
        wb.networks.exported(path)
    assert wb.saliency(wb.networks.exported(path, trust_pickle=True), X, 1).values.shape == (3, 4)


def test_damaged_files_and_files_of_weights(saved, tmp_path, capsys):
    for data in (b"", b"PK", saved.read_bytes()[:200]):
        (tmp_path / "bad.keras").write_bytes(data)
        with pytest.raises(ModelFileError, match="damaged|no .keras file"):
            wb.networks.exported(tmp_path / "bad.keras")
    with pytest.raises(ModelFileError, match="there is no file"):
        wb.networks.exported(tmp_path / "none.keras")
    (tmp_path / "net.safetensors").write_bytes(b"")
    with pytest.raises(ModelFileError, match="weights alone.*MODULE:FUNCTION"):
        wb.networks.exported(tmp_path / "net.safetensors")


def test_the_command_line_reads_keras_files(saved, tmp_path, capsys):
    np.save(tmp_path / "rows.npy", X)
    maps = tmp_path / "maps.npz"
    main(
        [
            "saliency",
            str(saved),
            str(tmp_path / "rows.npy"),
            "--target",
            "1",
            "--method",
            "integrated_gradients",
            "-o",
            str(maps),
        ]
    )
    want = wb.saliency(wb.networks.exported(saved), X, 1, "integrated_gradients").values
    assert np.allclose(np.load(maps)["values"], want, atol=1e-6)
