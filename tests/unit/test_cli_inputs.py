"""What ``whybox saliency`` reads and draws: several inputs by name, pictures of every kind, tables, series, tokens; and what an interrupt leaves."""

import sys

import numpy as np
import pytest
from PIL import Image

import whybox as wb
from networks.programs import Both
from whybox.cli.main import main


@pytest.fixture(scope="module")
def folder(program_folder):
    return program_folder


def run(folder, *arguments):
    return main([a.replace("@", f"{folder}/") for a in ("saliency", *arguments)])


def test_several_inputs_by_name_by_number_and_by_pattern(folder, capsys):
    import pandas as pd

    named = ("--input", "age=@age.csv", "--input", "image=@[01].png", "--method", "integrated_gradients")
    assert run(folder, "@both.pt2", *named, "-o", "@both.npz") == 0
    said = capsys.readouterr().out
    small = [Image.open(folder / f"{i}.png").resize((8, 8), Image.Resampling.BILINEAR) for i in range(2)]
    x = (np.stack([np.asarray(p) for p in small]) / np.float32(255)).transpose(0, 3, 1, 2).astype(np.float32)
    age = pd.read_csv(folder / "age.csv")
    ours = wb.saliency(Both().eval(), (x, age), None, "integrated_gradients")
    with np.load(folder / "both.npz") as found:
        assert found["inputs"].tolist() == ["image", "age"]  # in the program's order
        for name, e in zip(("image", "age"), ours, strict=True):
            assert np.allclose(found[f"{name}.values"], e.values, atol=1e-5)
        assert found["age.feature_labels"].tolist() == ["age", "bmi", "dose", "long"]
        assert found["image.row_labels"].tolist() == found["age.row_labels"].tolist() == ["0.png", "1.png"]
    sums = np.stack([e.values.reshape(2, -1).sum(axis=1) for e in ours], axis=1)
    share = np.abs(sums).mean(axis=0) / np.abs(sums).mean(axis=0).sum()
    for name, part in zip(("image", "age"), share, strict=True):
        assert f"{part:.1%}" in next(line for line in said.splitlines() if line.split()[0] == name)
    numbers = ("--input", "1=@age.csv", "--input", "0=@0.png", "--input", "0=@1.png")
    assert run(folder, "@both.pt2", *numbers, "-o", "@both.whybox") == 0
    capsys.readouterr()
    parts = [wb.load(folder / f"both.{k}.whybox") for k in range(2)]
    assert [e.shape for e in parts] == [(2, 8, 8), (2, 4)]
    program = wb.networks.exported(folder / "both.pt2")
    by_name = wb.saliency(program, {"age": age, "image": x}, None, "integrated_gradients")
    assert np.allclose(by_name[0].values, ours[1].values, atol=1e-6)
    with pytest.raises(wb.errors.InputError, match="takes image, age"):
        wb.saliency(program, {"years": age, "image": x})


def test_one_picture_shows_every_row_of_every_input(folder):
    named = ("--input", "age=@age.csv", "--input", "image=@[01].png")
    assert run(folder, "@both.pt2", *named, "-o", "@both.svg") == 0
    said = (folder / "both.svg").read_text()
    for label in ("image, 0.png", "image, 1.png", "age, 0.png", "age, 1.png", "long"):
        assert label in said
    background = ("--background", "age=@age.csv", "--background", "image=@[01].png", "--method", "expected_gradients")
    assert run(folder, "@both.pt2", *named, *background, "-o", "@both.png") == 0
    assert run(folder, "@both.pt2", *named, "--background", "age=@age.csv", "-o", "@no.png") == 2


def test_each_input_may_be_scaled_in_its_own_way(folder, monkeypatch):
    (folder / "pair.py").write_text(
        "import torch\nclass Pair(torch.nn.Module):\n    def forward(self, left, right):\n        return (left * right).sum((1, 2, 3))\n"
        "def net():\n    return Pair().eval()\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "pair", raising=False)
    sizes = ("--size", "8x6", "--channels", "1", "--mean", "left=0.5", "--mean", "0.25", "--std", "right=2")
    sizes += ("--pixel-scale", "right=51")
    assert (
        run(folder, "pair:net", "--input", "left=@0.png", "--input", "right=@gray.jpg", *sizes, "-o", "@pair.npz") == 0
    )
    small = [
        Image.open(folder / n).convert("L").resize((6, 8), Image.Resampling.BILINEAR) for n in ("0.png", "gray.jpg")
    ]
    left, right = (np.asarray(p) / s for p, s in zip(small, (255, 51), strict=True))
    with np.load(folder / "pair.npz") as found:
        assert np.allclose(found["left.values"][0], np.abs((right - 0.25) / 2), atol=1e-6)
        assert np.allclose(found["right.values"][0], np.abs(left - 0.5), atol=1e-6)
        assert (found["left.row_labels"][0], found["right.row_labels"][0]) == ("0.png", "gray.jpg")


def test_options_of_pictures_are_refused_where_nothing_uses_them(tmp_path, capsys):
    from networks.programs import fill

    files = [f"{fill(tmp_path)}/{name}" for name in ("net.pt2", "rows.npy")]
    for option, value in (
        ("--mean", "0.5"),
        ("--std", "2"),
        ("--size", "8x8"),
        ("--channels", "1"),
        ("--pixel-scale", "1"),
    ):
        assert main(["saliency", *files, "-o", str(tmp_path / "x.npz"), option, value]) == 2
        assert f"{option} {value} is for pictures (.png, .jpg), and arrays" in capsys.readouterr().err


def test_pictures_of_any_kind_mean_the_same(folder, tmp_path, capsys):
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")  # convert() would make it white
    Image.fromarray(grey).convert("RGB").save(tmp_path / "rgb.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    clear = Image.fromarray(grey).convert("RGBA")
    clear.putalpha(Image.fromarray(np.full((8, 8), 200, dtype=np.uint8)))
    clear.save(tmp_path / "clear.png")
    for name in ("grey", "deep", "rgb", "palette", "clear"):
        assert run(folder, "@net.pt2", str(tmp_path / f"{name}.png"), "-o", str(tmp_path / f"{name}.whybox")) == 0
        assert ("transparent" in capsys.readouterr().err) == (name == "clear")
        x = wb.load(tmp_path / f"{name}.whybox").extras["input"][1]
        assert np.allclose(x, np.repeat(grey[None, None] / 255, 3, axis=1), atol=1e-6), name


def test_tables_series_and_tokens_are_drawn(folder, monkeypatch, capsys):
    (folder / "kinds.py").write_text(
        "import torch\nclass F(torch.nn.Module):\n    def forward(self, x):\n        return (x ** 2).flatten(1).sum(1)\ndef net():\n    return F().eval()\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "kinds", raising=False)
    np.save(folder / "series.npy", np.random.default_rng(0).normal(size=(2, 3, 20)).astype(np.float32))
    np.save(folder / "ids.npy", np.arange(10).reshape(2, 5) % 9)
    np.save(folder / "mask.npy", np.ones((2, 5), dtype=np.int64))
    for out, arguments in (
        ("table.svg", ("kinds:net", "@age.csv")),
        ("series.svg", ("kinds:net", "@series.npy")),
        ("channels.svg", ("kinds:net", "@series.npy", "--channel-axis", "1")),
        ("tokens.svg", ("@reader.pt2", "--input", "input_ids=@ids.npy", "--input", "attention_mask=@mask.npy", "--embedding", "inner.emb")),
    ):  # fmt: skip
        assert run(folder, *arguments, "-o", f"@{out}") == 0, capsys.readouterr().err
        said = (folder / out).read_text()
        assert "row 0" in said
        assert "row 1" in said


def test_what_cannot_be_drawn_is_refused_before_any_work(folder, monkeypatch, capsys):
    from whybox.methods.saliency import saliency

    monkeypatch.setattr(saliency, "saliency", lambda *_a, **_o: pytest.fail("worked first"))
    np.save(folder / "many.npy", np.zeros((17, 3, 8, 8), dtype=np.float32))
    assert run(folder, "@net.pt2", "@many.npy", "-o", "@many.png") == 2
    assert run(folder, "@net.pt2", "@rows.npy", "-o", "@all.png", "--target", "all") == 2
    (folder / "taken.png").mkdir()
    assert run(folder, "@net.pt2", "@rows.npy", "-o", "@taken.png") == 3
    assert "is a folder" in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda *_a: False)
    assert run(folder, "@net.pt2", "@rows.npy", "-o", "@locked.png") == 3
    assert "cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["npz", "whybox", "png"])
def test_an_interrupt_leaves_nothing_half_written(folder, monkeypatch, kind, tmp_path):
    def interrupted(*_a, **_o):
        raise KeyboardInterrupt

    monkeypatch.setattr("whybox.cli.saliency_output.write_archive", interrupted)
    monkeypatch.setattr(np, "savez_compressed", interrupted)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupted)
    old = tmp_path / f"old.{kind}"
    old.write_text("old")
    assert run(folder, "@net.pt2", "@rows.npy", "-o", str(old)) == 130
    assert [p.name for p in tmp_path.iterdir()] == [old.name]
    assert old.read_text() == "old"


def test_layers_and_embeddings_that_are_called_twice(tmp_path, monkeypatch, capsys):
    (tmp_path / "twice.py").write_text(
        "import torch\nfrom torch import nn\nclass Twins(nn.Module):\n    def __init__(self):\n        super().__init__()\n        torch.manual_seed(0)\n"
        "        self.eye = nn.Conv2d(3, 4, 3)\n    def forward(self, left, right):\n"
        "        return self.eye(left).relu().mean((2, 3)) - self.eye(right).relu().amax((2, 3))\n"
        "class Texts(nn.Module):\n    def __init__(self):\n        super().__init__()\n        torch.manual_seed(0)\n        self.embed = nn.Embedding(9, 4)\n"
        "    def forward(self, ids, mask, other):\n        return (self.embed(ids) * mask[..., None]).tanh().mean(1) * self.embed(other).sum(1)\n"
        "def twins():\n    return Twins().eval()\ndef texts():\n    return Texts().eval()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "twice", raising=False)
    rng = np.random.default_rng(0)
    np.save("a.npy", rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    np.save("b.npy", rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    cam = (
        "saliency",
        "twice:twins",
        "--input",
        "left=a.npy",
        "--input",
        "right=b.npy",
        "--target",
        "1",
        "--method",
        "gradcam",
        "--option",
        "layer=eye",
    )
    assert main([*cam, "-o", "cam.npz"]) == 2
    assert "(0: of left, 1: of right): --option call=0." in capsys.readouterr().err
    assert main([*cam, "--option", "call=right", "--reduce", "none", "-o", "cam.npz"]) == 0
    import twice

    given = {"left": np.load("a.npy"), "right": np.load("b.npy")}
    (ours,) = wb.saliency(twice.twins(), given, 1, "gradcam", layer="eye", call=1, reduce=None)
    with np.load("cam.npz") as found:
        assert found["inputs"].tolist() == ["right"]
        assert np.allclose(found["right.values"], ours.values, atol=1e-6)
    for name, numbers in (
        ("ids", rng.integers(0, 9, (3, 5))),
        ("mask", np.ones((3, 5), int)),
        ("other", rng.integers(0, 9, (3, 4))),
    ):
        np.save(f"{name}.npy", numbers)
    named = [part for name in ("ids", "mask", "other") for part in ("--input", f"{name}={name}.npy")]
    how = ("--embedding", "embed", "--baseline-token", "0", "--method", "integrated_gradients", "-o", "texts.npz")
    assert main(["saliency", "twice:texts", *named, *how]) == 0
    with np.load("texts.npz") as found:
        assert found["inputs"].tolist() == ["ids", "other"]
        assert found["other.values"].shape == (3, 4)
