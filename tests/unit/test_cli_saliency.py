"""The command ``whybox saliency``: exported programs, files that would run code, pictures, arrays."""

import io
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import whybox as wb
from networks.programs import net
from whybox.cli import network_inputs
from whybox.cli.main import main
from whybox.errors import ModelFileError, UnsupportedModelError, UntrustedPickleError


@pytest.fixture(scope="module")
def folder(program_folder):
    return program_folder


def run(folder, *arguments):
    return main([a.replace("@", f"{folder}/") for a in ("saliency", *arguments)])


def test_a_program_says_what_the_module_says(folder):
    x = np.load(folder / "rows.npy")
    reference = wb.saliency(net(), x)
    for name in ("net.pt2", "three.pt2"):
        found = wb.saliency(wb.networks.exported(folder / name), x)
        assert np.abs(found.values - reference.values).max() < 1e-6
        assert np.abs(found.prediction - reference.prediction).max() < 1e-5
        noisy = wb.saliency(wb.networks.exported(folder / name), x, 1, "smoothgrad", samples=4)
        assert np.abs(noisy.values - wb.saliency(net(), x, 1, "smoothgrad", samples=4).values).max() < 1e-6
    with pytest.raises(UnsupportedModelError, match="train mode"):
        wb.networks.exported(folder / "train.pt2")


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients"])
def test_what_the_maps_rest_on_is_printed(folder, capsys, method):
    assert run(folder, "@net.pt2", "@rows.npy", "-o", "@told.whybox", "--method", method) == 0
    printed = capsys.readouterr().out
    evidence = wb.load(folder / "told.whybox").evidence
    wanted = evidence.lines("estimand", "additivity", "passes", "note")
    assert len(wanted) >= 3
    for label, text in wanted:
        assert f"  {label}: {text}\n" in printed


def test_layers_of_a_program_can_be_named(folder):
    x = np.load(folder / "rows.npy")
    for name in ("net.pt2", "one.pt2"):
        program = wb.networks.exported(folder / name)
        for method in ("gradcam", "scorecam"):
            ours = wb.saliency(net(), x, 1, method, layer="2")
            assert np.abs(wb.saliency(program, x, 1, method, layer="inner.2").values - ours.values).max() < 1e-6
    assert run(folder, "@net.pt2", "@0.png", "-o", "@cam.npz", "--method", "gradcam") == 0
    with pytest.raises(UnsupportedModelError, match="no layer"):  # it is filled up to three rows
        wb.saliency(wb.networks.exported(folder / "three.pt2"), x, 1, "gradcam")


def test_a_layer_that_is_called_by_a_number_can_be_named(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    for given in ("layer=1", "layer='1'"):
        asked = "-o", "@layer.npz", "--method", "conductance", "--target", "1", "--option", given
        assert run(folder, "mine:net", "@rows.npy", *asked) == 0
        with np.load(folder / "layer.npz") as found:
            ours = wb.saliency(sys.modules["mine"].net(), np.load(folder / "rows.npy"), 1, "conductance", layer="1")
            assert np.array_equal(found["values"], ours.values)


def test_maps_of_a_layer_are_not_drawn_over_an_input(folder, monkeypatch, capsys):
    drawn = []
    picture_to_draw = network_inputs.picture_to_draw
    monkeypatch.setattr(network_inputs, "picture_to_draw", lambda path: drawn.append(path) or picture_to_draw(path))
    asked = "@net.pt2", "@0.png", "-o", "@drawn.png", "--target", "1", "--option", "layer=inner.2", "--method"
    assert run(folder, *asked, "conductance") == 2
    assert "Write .npz or .whybox, or add the channels: --reduce sum." in capsys.readouterr().err
    assert run(folder, *asked, "conductance", "--reduce", "sum") == 0
    assert not drawn
    assert run(folder, *asked, "gradcam") == 0
    assert drawn == [f"{folder}/0.png"]


def test_names_of_layers_that_are_not_plain_are_not_used(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def change(page):
        for node in graph(page)["nodes"]:
            stack = node["metadata"]["nn_module_stack"]
            node["metadata"]["nn_module_stack"] = stack.replace(",2,", f',x"+str({CODE})+",')

    rewritten(folder / "net.pt2", tmp_path / "evil.pt2", in_page(change))
    x = np.load(folder / "rows.npy")
    program = wb.networks.exported(tmp_path / "evil.pt2")
    assert np.abs(wb.saliency(program, x, 1).values - wb.saliency(net(), x, 1).values).max() < 1e-6
    assert not [n for n, _ in program.module.inner.named_modules() if "x" in n]
    assert not (tmp_path / "ran").exists()


def test_arrays_in_npz_out(folder, capsys):
    assert run(folder, "@net.pt2", "@rows.npy", "-o", "@out.npz", "--target", "dog", "--names", "@names.txt") == 0
    said = capsys.readouterr().out
    assert "Gradient of 4 rows" in said
    with np.load(folder / "out.npz") as found:
        x = np.load(folder / "rows.npy")
        assert np.allclose(found["values"], wb.saliency(net(), x, 1).values, atol=1e-6)
        assert found["dims"].tolist() == ["row", "y", "x"]
        assert json.loads(str(found["evidence"]))["method"] == "Gradient"


def test_pictures_are_resized_and_scaled_as_asked(folder):
    arguments = (
        "--mean",
        "0.5,0.4,0.3",
        "--std",
        "0.2",
        "--method",
        "smoothgrad",
        "--option",
        "samples=4",
        "--target",
        "2",
    )
    assert run(folder, "@net.pt2", "@0.png", "@1.png", "-o", "@out.whybox", *arguments) == 0
    found = wb.load(folder / "out.whybox")
    assert list(found.coords["row"]) == ["0.png", "1.png"]
    assert found.shape == (2, 8, 8)
    small = [Image.open(folder / f"{i}.png").resize((8, 8), Image.Resampling.BILINEAR) for i in range(2)]
    x = (np.stack([np.asarray(p) for p in small]) / 255 - [0.5, 0.4, 0.3]) / 0.2
    assert np.allclose(found.extras["input"][1], x.transpose(0, 3, 1, 2), atol=1e-5)
    ours = wb.saliency(net(), x.transpose(0, 3, 1, 2).astype(np.float32), 2, "smoothgrad", samples=4)
    assert np.abs(found.values - ours.values).max() < 1e-4
    assert run(folder, "@net.pt2", "@gray.jpg", "-o", "@gray.npz") == 0


def test_a_function_by_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("mine:net", "mine:ten"):
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        assert run(folder, name, "@0.png", "-o", "@mine.npz", "--size", "8x8", "--target", "1") == 0
        with np.load(folder / "mine.npz") as found:
            assert found["values"].shape == (1, 8, 8)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert str(folder) not in sys.path


def test_pictures_out_are_drawn_by_the_figures(folder, monkeypatch):
    from whybox.plots import saliency_series

    drawn = []

    def overlay(e, row=0, image=None, ax=None, title=None):
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        drawn.append(e)
        axes = plt.figure().add_subplot() if ax is None else ax
        axes.imshow(e.values)
        return axes

    monkeypatch.setattr(saliency_series, "overlay", overlay)
    for name in ("out.png", "out.svg"):
        assert run(folder, "@net.pt2", "@rows.npy", "-o", f"@{name}") == 0
        assert (folder / name).stat().st_size > 1000
    assert len(drawn) == 2 * 4  # every input


def test_a_picture_shows_every_input_or_says_that_it_cannot(folder, capsys):
    assert run(folder, "@net.pt2", "@0.png", "@1.png", "-o", "@two.svg") == 0
    said = (folder / "two.svg").read_text()
    assert "0.png" in said
    assert "1.png" in said
    assert "resized to 8x8 (width x height), not cropped: 0.png from 16x20, 1.png from 16x20" in capsys.readouterr().err
    np.save(folder / "many.npy", np.zeros((17, 3, 8, 8), dtype=np.float32))
    assert run(folder, "@net.pt2", "@many.npy", "-o", "@many.png") == 2
    assert ".npz" in capsys.readouterr().err
    assert not (folder / "many.png").exists()


@pytest.mark.parametrize("command", ["saliency", "check"])
def test_the_help_lists_every_method_with_its_options(command, capsys):
    from whybox.methods.registry import methods, options_of

    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = capsys.readouterr().out
    for spec in methods("saliency"):
        assert f"\n  {spec.id} " in printed
        assert spec.summary in " ".join(printed.split())
        assert all(o.name in printed for o in options_of(spec))
    assert "samples=2000, keep=0.5" in printed


def test_a_method_that_is_new_in_the_list_is_in_the_command(folder, capsys):
    from whybox.methods.registry import MethodSpec, registered

    spec = MethodSpec(id="mine", family="saliency", title="Mine", summary="the gradient, by another name",
                      reference="none", run="whybox.methods.saliency.gradients:SmoothGrad",
                      options="whybox.methods.saliency.gradients:SmoothGrad", command="saliency")  # fmt: skip
    asked = "@net.pt2", "@rows.npy", "-o", "@mine.npz", "--method", "mine", "--option", "samples=4"
    assert run(folder, *asked) == 2
    assert "--method mine is not known" in capsys.readouterr().err
    with registered(spec):
        assert run(folder, *asked) == 0
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["saliency", "--help"])
        assert "mine                  the gradient, by another name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("@net.pt2", "@rows.npy", "--method", "gradent"), 2, "gradient"),
        (("@net.pt2", "@rows.npy", "--option", "samples"), 2, "NAME=VALUE"),
        (("@net.pt2", "@rows.npy", "--option", "seed=3"), 2, "not one of the method's"),
        (("@net.pt2", "@rows.npy", "--option", "samples=3"), 2, "samples"),
        (("@net.pt2", "@0.png", "--size", "9x9"), 2, "8x8"),
        (("@net.pt2", "@0.png", "--size", "big"), 2, "HEIGHTxWIDTH"),
        (("@net.pt2", "@0.png", "--mean", "1,2"), 2, "--mean"),
        (("@net.pt2", "@0.png", "--std", "0"), 2, "above 0"),
        (("@net.pt2", "@0.png", "--pixel-scale", "0"), 2, "--pixel-scale and --std must be above 0"),
        (("@net.pt2", "@0.png", "--pixel-scale", "1,2,3"), 2, "--pixel-scale '1,2,3': give one number"),
        (("@net.pt2", "@0.png", "--scale", "255"), 2, "--pixel-scale"),
        (("@net.pt2", "@rows.npy", "--target", "9"), 2, "out of range"),
        (("@net.pt2", "@rows.npy", "--target", "cat"), 2, "--names FILE"),
        (("@net.pt2", "@0.png", "@rows.npy"), 3, "a table, not .npy and .png"),
        (("@net.pt2", "@names.txt"), 3, ".txt"),
        (("@net.pt2", "@objects.npy"), 3, "without running code"),
        (("@net.pt2", "@none.png"), 3, "no file"),
        (("@net.pt2", "@rows.npy", "--names", "@none.txt"), 3, "no file"),
        (("@none.pt2", "@rows.npy"), 4, "no file"),
        (("@names.txt", "@rows.npy"), 4, "torch.export"),
        (("@net.pt", "@rows.npy"), 4, "torch.export.save"),
        (("@train.pt2", "@rows.npy"), 4, "train mode"),
        (("json:nothing", "@rows.npy"), 4, "MODULE:FUNCTION"),
        (("json:loads", "@rows.npy"), 4, "could not be made: TypeError"),
        (("@net.pt2",), 2, "no INPUT"),
        (("@net.pt2", "--input", "0.png"), 2, "NAME=FILE"),
        (("@net.pt2", "@0.png", "--input", "input=0.png"), 2, "not both"),
        (("@net.pt2", "--input", "inptu=@0.png"), 2, "Did you mean 'input'"),
        (("@net.pt2", "@no*.png"), 3, "no file fits"),
        (("@net.pt2", "@0.png", "--mean", "left=0.5"), 2, "here there is one"),
        (("@net.pt2", "@0.png", "--channels", "2"), 2, "1 for grey"),
        (("@net.pt2", "@0.png", "--channel-axis", "x"), 2, "a number, or none"),
        (("@net.pt2", "@rows.npy", "--method", "expected_gradients"), 2, "--background [NAME=]FILE"),
        (("@net.pt2", "@rows.npy", "--names", "@0.png"), 3, "UTF-8"),
        (("@net.pt2", "@number.npy"), 3, "first axis is the rows"),
        (("@net.pt2", "@empty.npy"), 3, "no array"),
        (("@net.pt2", "@archive.npy"), 3, "no array"),
        (("@net.pt2", "@cut.png"), 3, "no picture"),
        (("@net.pt2", "@bomb.png"), 3, "no picture"),
        (("@both.pt2", "@0.png"), 2, "Their names: image, age"),
        (("@both.pt2", "--input", "image=@0.png"), 2, "age is missing"),
        (("@both.pt2", "--input", "0=@0.png", "--input", "2=@age.csv"), 2, "numbered from 0"),
        (("@both.pt2", "--input", "image=@0.png", "--input", "age=@age.csv"), 3, "image 1, age 2"),
        (("@both.pt2", "--input", "image=@0.png", "--input", "age=@text.csv"), 3, "holds text"),
    ],
)  # fmt: skip
def test_wrong_usage_has_its_code_and_writes_nothing(folder, capsys, arguments, code, says):
    assert run(folder, *arguments, "-o", "@no.npz") == code
    said = capsys.readouterr().err
    assert said.startswith("whybox: ")
    assert says in said
    assert not (folder / "no.npz").exists()


def test_results_do_not_overwrite_what_they_are_made_of(folder, capsys):
    assert run(folder, "@net.pt2", "@0.png", "-o", "@0.png") == 2
    assert "same file" in capsys.readouterr().err
    assert run(folder, "@net.pt2", "@0.png", "-o", "@out.txt") == 2
    assert run(folder, "@net.pt2", "@0.png", "-o", "@nowhere/out.npz") == 3


def test_pickles_are_read_where_they_are_trusted(folder):
    assert run(folder, "@net.pt", "@rows.npy", "-o", "@pickled.npz", "--trust-pickle") == 0
    with np.load(folder / "pickled.npz") as found:
        assert np.allclose(found["values"], wb.saliency(net(), np.load(folder / "rows.npy")).values, atol=1e-6)
    with pytest.raises(UnsupportedModelError, match="weights alone"):
        wb.networks.exported(folder / "weights.pth", trust_pickle=True)


# Files that would run code when torch loads them.


class Evil:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


CODE = "__import__('pathlib').Path('ran').touch()"


def rewritten(source, target, edit, add=()):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, edit(name, old.read(name)))
        for name, raw in add:
            new.writestr(name, raw)


def in_page(change):
    def edit(name, raw):
        if not name.endswith("models/model.json"):
            return raw
        page = json.loads(raw)
        change(page)
        return json.dumps(page).encode()

    return edit


def graph(page):
    return page["graph_module"]["graph"]


def evil_expression(page):
    graph(page)["tensor_values"]["input"]["sizes"][0]["as_expr"]["expr_str"] = CODE


def evil_operator(page):
    graph(page)["nodes"][0]["target"] = "torch.os.system"


def evil_method(page):
    graph(page)["nodes"][0]["target"] = "_operator.attrgetter"


def writing_operator(page):
    graph(page)["nodes"][0]["target"] = "torch.ops.aten.from_file.default"


def evil_name(page):
    graph(page)["nodes"][0]["name"] = f"x);{CODE}#"


def evil_key(page):
    graph(page)["tensor_values"][f"x);{CODE}#"] = graph(page)["tensor_values"]["input"]


def evil_guard(page):
    page["guards_code"] = [CODE]


def evil_spec(page):
    signature = page["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = signature["in_spec"].replace("builtins.dict", "collections.defaultdict")


EDITS = [evil_expression, evil_operator, evil_method, writing_operator, evil_name, evil_key, evil_guard, evil_spec]


@pytest.mark.parametrize("change", EDITS, ids=lambda f: f.__name__)
def test_programs_that_say_more_than_data_are_refused(folder, tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    rewritten(folder / "net.pt2", "edited.pt2", in_page(change))
    with pytest.raises(UntrustedPickleError, match="could run code"):
        wb.networks.exported("edited.pt2")
    assert not (tmp_path / "ran").exists()


def test_pickled_parts_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"x": Evil()}, buffer)

    def pickled(name, raw):
        return buffer.getvalue() if name.endswith("sample_inputs/model.pt") else raw

    def weights(name, raw):
        if name.endswith("model_weights_config.json"):
            page = json.loads(raw)
            page["config"]["0.weight"]["use_pickle"] = True
            return json.dumps(page).encode()
        return pickle.dumps(Evil()) if name.endswith("weights/weight_0") else raw

    def same(_name, raw):
        return raw

    rewritten(folder / "net.pt2", "inputs.pt2", pickled)
    rewritten(folder / "net.pt2", "weights.pt2", weights)
    rewritten(folder / "net.pt2", "custom.pt2", same, [("net/data/constants/custom_obj_0", pickle.dumps(Evil()))])
    rewritten(folder / "net.pt2", "compiled.pt2", same, [("net/data/aotinductor/model/net.so", b"\x7fELF")])
    for name in ("inputs", "weights", "custom", "compiled"):
        with pytest.raises(UntrustedPickleError):
            wb.networks.exported(f"{name}.pt2")
    assert not (tmp_path / "ran").exists()
    rewritten(folder / "net.pt2", "same.pt2", same)
    x = np.load(folder / "rows.npy")
    assert wb.saliency(wb.networks.exported("same.pt2"), x).shape == (4, 8, 8)


def test_these_files_do_run_code_in_torch_itself(folder, tmp_path, monkeypatch):
    """So the refusals above are not idle."""
    monkeypatch.chdir(tmp_path)
    rewritten(folder / "net.pt2", "edited.pt2", in_page(evil_expression))
    with pytest.raises((ModelFileError, UnsupportedModelError)):
        wb.networks.exported("edited.pt2", trust_pickle=True)
    assert (tmp_path / "ran").exists()


def test_damaged_files_are_refused(folder, tmp_path):
    raw = (folder / "net.pt2").read_bytes()
    for cut in (0, 10, len(raw) // 2, len(raw) - 30):
        (tmp_path / "cut.pt2").write_bytes(raw[:cut])
        with pytest.raises(ModelFileError):
            wb.networks.exported(tmp_path / "cut.pt2")
    rewritten(folder / "net.pt2", tmp_path / "odd.pt2", lambda n, r: b"{" if n.endswith("model.json") else r)
    with pytest.raises(ModelFileError):
        wb.networks.exported(tmp_path / "odd.pt2")


def test_a_target_that_is_typed_is_a_name_first(folder):
    x = np.load(folder / "rows.npy")
    count = len((folder / "names.txt").read_text().split())
    names = [str(count - 1 - i) for i in range(count)]  # the name of each is the position of another
    (folder / "digits.txt").write_text("\n".join(names))
    for typed in (names[0], "0"):
        assert (
            run(folder, "@net.pt2", "@rows.npy", "-o", "@named.npz", "--target", typed, "--names", "@digits.txt") == 0
        )
        with np.load(folder / "named.npz") as found:
            assert np.allclose(found["values"], wb.saliency(net(), x, names.index(typed)).values, atol=1e-6)


def test_inputs_whose_names_differ_in_signs_alone_have_files_of_their_own(tmp_path):
    from whybox.cli.saliency_output import write_maps

    maps = {
        name: wb.saliency(net(), np.full((1, 3, 8, 8), k, dtype=np.float32)) for k, name in enumerate(["a b", "a_b"])
    }
    paths = write_maps(maps, tmp_path / "m.whybox")
    assert [p.name for p in paths] == ["m.a_b.whybox", "m.a_b_2.whybox"]
    for path, e in zip(paths, maps.values(), strict=True):
        assert np.array_equal(wb.load(path).values, e.values)
