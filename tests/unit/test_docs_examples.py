"""What README.md and some pages of docs/ show runs: their Python in one go on the data they load, their commands as far as the parser."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import matplotlib.pyplot as plt
import pytest

import whybox
from whybox.cli.main import build_parser

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/five_minutes.md",
    "docs/start.md",
    "docs/any_model.md",
    "docs/partition.md",
    "docs/importance.md",
    "docs/anchors.md",
    "docs/lime.md",
    "docs/lime_texts.md",
    "docs/report.md",
    "docs/from_sklearn.md",
    "docs/from_lime.md",
    "docs/from_captum.md",
    "docs/from_pytorch_grad_cam.md",
    "docs/book.md",
)
BOOK = "docs/book.md"
EVERY_PAGE = ("README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md"))))
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def python_of(page):
    """The Python blocks of a page, each at its line, so that an error names the line of the page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [("\n" * text.count("\n", 0, m.start(1)) + m[1]) for m in PYTHON.finditer(text)]


def commands_of(page):
    """The command lines of whybox in code blocks, fenced or indented."""
    fenced = False
    for line in (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        fenced ^= line.startswith("```")
        if (fenced or line.startswith("    ")) and re.match(r" *whybox [a-z]", line):
            yield shlex.split(line, comments=True)[1:]


def run(blocks, page, names):
    for block in blocks:
        exec(compile(block, page, "exec"), names)  # noqa: S102  # our own pages
    plt.close("all")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("unwritten_pictures")
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    if page in {"docs/from_captum.md", "docs/from_pytorch_grad_cam.md", BOOK}:
        pytest.importorskip("torch")
    if page == BOOK:
        pytest.importorskip("jax")
        pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    # where labels stand in figures is looked at in the tests of figures
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
    blocks = [b for b in python_of(page) if "net, " not in b or page == BOOK]
    assert blocks
    names = {}
    run(blocks, page, names)
    if page == BOOK:  # its last line of Keras, and what it says of the others
        assert names["importance"]["dice"].values < names["importance"]["dice"].std_error
        assert list(names["model"].feature_importances_.argsort()[::-1]).index(10) == 4
        assert abs(names["e"].values - names["saliency"]).max() < 1e-6
    if page == "docs/start.md":  # these pages go on with its model
        names["predict"] = lambda rows: rows["bmi"] * rows["bp"]
        for other in ("docs/methods.md", "docs/coverage.md", "docs/index.md"):
            run(python_of(other), other, names)


@pytest.mark.skipif(not (find_spec("keras") and find_spec("jax")), reason="needs Keras and JAX")
def test_python_of_the_book_about_keras_runs_on_jax(tmp_path):
    """In a process of its own, since Keras has one backend a process."""
    (block,) = [b for b in python_of(BOOK) if "import keras" in b]
    before = "import jax, numpy as np, whybox as wb\nfrom sklearn.datasets import load_digits\ndigits = load_digits()\n"
    after = "assert keras.backend.backend() == 'jax'\nassert abs(e.values - saliency).max() < 1e-6\nassert 'keras model on jax' in e.evidence.model\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys\nsys.path[:0] = {sys.path!r}\n{before}{block.lstrip()}\n{after}"],
        env={**os.environ, "KERAS_BACKEND": "jax"}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.usefixtures("unwritten_pictures")
def test_python_about_networks_runs(tmp_path, monkeypatch):
    """README's block, and the first of the pages about maps and checks; the others need a model of texts."""
    pytest.importorskip("torch")
    from torch.nn import Tanh

    from networks.small import convolutional, digits

    monkeypatch.chdir(tmp_path)
    pictures = digits()[0][:2]
    names = {
        "wb": whybox,
        "net": convolutional(Tanh, channels=1, outputs=10, places=(8, 8)),
        "pictures": pictures,
        "images": pictures,
    }
    for page in ("README.md", "docs/saliency.md", "docs/checks.md"):
        blocks = [b for b in python_of(page) if "net, " in b]
        run(blocks[:1], page, names)
    assert (tmp_path / "network.html").is_file()
    assert (tmp_path / "cat.whybox").is_file()


@pytest.mark.filterwarnings("ignore")  # of mlflow and what it imports
def test_python_of_the_page_about_other_tools_runs(tmp_path, monkeypatch):
    for package in ("statsmodels", "torch", "skorch", "mlflow"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    names = {}
    run(python_of("docs/where_people_work.md"), "docs/where_people_work.md", names)
    assert {"importance/age", "importance/bmi"} <= set(names["result"].metrics)


def test_python_about_functions_runs():
    pytest.importorskip("sklearn")
    names = {}
    run([b for b in python_of("docs/saliency.md") if "classifier_fn" in b], "docs/saliency.md", names)
    assert names["e"].extras["part"][1].shape == (2, 16)


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_python_of_every_page_calls_what_exists(page):
    """Also of blocks that do not run here, as they need a network that is not installed."""
    for block in python_of(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wb":
                assert hasattr(whybox, node.attr), f"{page}:{node.lineno}"


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_commands_of_a_page_are_understood(page):
    parser, _ = build_parser()
    for words in commands_of(page):
        parser.parse_args(words[: words.index(">")] if ">" in words else words)


def test_there_are_commands_to_understand():
    assert len(list(commands_of("README.md"))) >= 6
