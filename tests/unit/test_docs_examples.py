"""Every Python block of the pages runs, in the order of its page, on the data that it loads or that is given here; a new page belongs to a list below."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import pytest

import whybox
from page_code import EVERY_PAGE, code_lines, python_of, run_page, text_of

BOOK = "docs/book.md"
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
    "docs/saliency.md",
    "docs/checks.md",
    "docs/from_sklearn.md",
    "docs/from_lime.md",
    "docs/from_captum.md",
    "docs/from_pytorch_grad_cam.md",
    BOOK,
)
CONTINUED = {"docs/start.md": ("docs/methods.md", "docs/coverage.md", "docs/index.md")}  # these go on with its model
RUN_BY = {"docs/where_people_work.md": "test_docs_examples.py", "docs/from_shap.md": "test_compat_shap_docs.py"}
NEEDS = {
    "README.md": ("torch",),
    "docs/saliency.md": ("torch", "tokenizers"),
    "docs/checks.md": ("torch", "tokenizers"),
    "docs/from_captum.md": ("torch",),
    "docs/from_pytorch_grad_cam.md": ("torch",),
    BOOK: ("torch", "jax", "keras"),
}
THE_BOOKS_OWN = "as printed in the book, for another package; the block below it runs it with the import changed"
NOT_RUN = {
    "from sklearn.inspection import plot_partial_dependence": THE_BOOKS_OWN,
    "plot_partial_dependence(model, X, features=[0, 1])": THE_BOOKS_OWN,
    "from lime.lime_tabular import LimeTabularExplainer": THE_BOOKS_OWN,
    "import shap": THE_BOOKS_OWN,
    "grads = tape.gradient(score, pictures)": "of TensorFlow, which whybox refuses; the blocks below are of other libraries",
    "saliency = np.max(np.abs(grads), axis=-1)": "the blocks below run it, for each library",
    "saliency = wb.saliency(net, pictures).values": "the blocks below run it, for each library",
}  # indented lines of docs/book.md
OTHER_FENCES = {"", "{eval-rst}", "{toctree}", "{glossary}"}  # no Python
PYTHON_LINE = re.compile(r"(\w+ = [\w.]+\(.*|(wb\.)?[a-z_.]+\([^()]*\)|import \w+|from \S+ import .*)$")


def given_to(page):
    """What the blocks of a page take as given."""
    if page not in ("README.md", "docs/saliency.md", "docs/checks.md"):
        return {}
    from networks.of_pages import BEFORE

    return BEFORE[page]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("unwritten_pictures")
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    for package in NEEDS.get(page, ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    # where labels stand in figures is looked at in the tests of figures
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
    names = {"wb": whybox} if page == "docs/checks.md" else {}
    run_page(page, names, given_to(page))
    if page == BOOK:  # its last line of Keras, and what it says of the others
        assert names["importance"]["dice"].values < names["importance"]["dice"].std_error
        assert list(names["model"].feature_importances_.argsort()[::-1]).index(10) == 4
        assert abs(names["e"].values - names["saliency"]).max() < 1e-6
    if page == "README.md":
        assert (tmp_path / "network.html").is_file()
    if page == "docs/saliency.md":
        assert (tmp_path / "cat.whybox").is_file()
        assert names["image"].shape == (6, 8, 8)
    if page in CONTINUED:
        names["predict"] = lambda rows: rows["bmi"] * rows["bp"]
        for other in CONTINUED[page]:
            run_page(other, names)


def test_every_python_block_is_run():
    """Whoever runs a page runs all its blocks (`run_page` leaves none out), and every page with a block is run."""
    run = {*PAGES, *(other for others in CONTINUED.values() for other in others), *RUN_BY}
    assert {page for page in EVERY_PAGE if python_of(page)} == run
    for page, file in RUN_BY.items():
        assert f'run_page("{page}", ' in (Path(__file__).parent / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_python_is_where_it_is_found(page):
    """In fences marked python that begin at the margin: no block is indented, marked otherwise or written as a session."""
    text = text_of(page)
    fences = [line for line in re.findall(r"^ *(?:```|~~~).*$", text, re.MULTILINE) if line.strip() != "```"]
    assert {line.removeprefix("```") for line in fences} <= {"python", *OTHER_FENCES}
    assert fences.count("```python") == len(python_of(page))
    assert re.search(r"^ *>>> ", text, re.MULTILINE) is None
    others = [line.strip() for language, line in code_lines(page) if language != "python"]
    assert {line for line in others if PYTHON_LINE.match(line)} == (set(NOT_RUN) if page == BOOK else set())


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


@pytest.mark.filterwarnings("ignore")  # of mlflow and what it imports
def test_python_of_the_page_about_other_tools_runs(tmp_path, monkeypatch):
    for package in ("statsmodels", "torch", "skorch", "mlflow"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    names = {}
    run_page("docs/where_people_work.md", names)
    assert {"importance/age", "importance/bmi"} <= set(names["result"].metrics)


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_python_of_every_page_calls_what_exists(page):
    """Also of blocks that do not run where a package that they need is missing."""
    for block in python_of(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wb":
                assert hasattr(whybox, node.attr), f"{page}:{node.lineno}"
