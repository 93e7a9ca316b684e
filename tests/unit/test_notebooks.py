"""The notebooks of the docs run, are stored without outputs, and show what results show in a notebook: static, without warnings, once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SCRIPT = re.compile(r"<script|\son[a-z]+=|javascript:", re.IGNORECASE)
WARNED = pytest.mark.filterwarnings("ignore")  # of the client of the kernel


@pytest.fixture(autouse=True)
def figures_as_in_a_notebook(monkeypatch):
    """Kernels take the backend of figures from the environment, where these tests have one that shows nothing."""
    monkeypatch.delenv("MPLBACKEND", raising=False)


def run(notebook, folder):
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def run_cells(folder, *cells):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in cells]
    return run(notebook, folder)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert cell.metadata == {}
        for line in cell.source.splitlines():
            assert len(line) <= 120, line


@WARNED
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_shows_no_script_and_no_warning(path, tmp_path):
    if path.stem == "picture_classifier":
        pytest.importorskip("torch")
    notebook = nbformat.read(path, 4)
    shown = [output for outputs in run(notebook, tmp_path) for output in outputs]
    assert not [o for o in shown if o.output_type == "error" or o.get("name") == "stderr"]
    assert [o for o in shown if "text/html" in o.get("data", {})]
    assert [o for o in shown if "image/png" in o.get("data", {})]
    for output in shown:
        assert not SCRIPT.search(output.get("data", {}).get("text/html", ""))
    for link in re.findall(r"\]\((\.\./[^)#]+)", "".join(c.source for c in notebook.cells)):
        assert (path.parent / link).is_file(), link


SETUP = """
import time
import whybox as wb
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
model = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, y)
e = wb.explain(model, X[:5], X[:20])
"""


@WARNED
def test_each_result_is_shown_once_and_work_shows_a_line_that_goes_away(tmp_path):
    bar = (
        "from whybox.core.progress import progress_counter\n"
        "with progress_counter(40, description='slow work') as done:\n"
        "    for _ in range(30):\n"
        "        time.sleep(0.1); done(1)\n"
        "'done'"
    )
    cells = ("e", "e[0].plot.waterfall();", "wb.effects(model, X[:50], ['bmi'])", "wb.importance(model, X[:50], y[:50])", "e.evidence", bar)  # fmt: skip
    _, table, figure, effects, importance, evidence, work = run_cells(tmp_path, SETUP, *cells)
    for outputs in (table, effects, importance, evidence):
        assert [o.output_type for o in outputs] == ["execute_result"]
        assert "text/html" in outputs[0].data
    assert [list(o.data) for o in figure] == [["text/plain", "image/png"]]
    assert not [o for o in work if o.output_type == "stream"]
    assert work[-1].data == {"text/plain": "'done'"}
    if len(work) == 2 and "application/vnd.jupyter.widget-view+json" not in work[0].data:
        assert work[0].data == {"text/plain": ""}  # shown for a second, then written over
    else:
        assert len(work) == 2


@WARNED
def test_an_interrupted_kernel_answers(tmp_path):
    cell = (
        "import os, signal, threading\n"
        "threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "class Slow:\n"
        "    def predict(self, rows):\n"
        "        time.sleep(0.05); return model.predict(rows)\n"
        "try:\n"
        "    found = wb.explain(Slow(), X[:20], X[:100], max_evals=10**6, tol=1e-9)\n"
        "    stopped = any(note.startswith('UNFINISHED') for note in found.evidence.notes)\n"
        "except KeyboardInterrupt:  # in the first round, before anything is known\n"
        "    stopped = True\n"
        "print(stopped)"
    )
    *_, outputs, after = run_cells(tmp_path, SETUP, cell, "wb.explain(model, X[:5], X[:20]).values.shape")
    assert "True" in "".join(o.get("text", "") for o in outputs)
    assert after[0].data["text/plain"] == "(5, 10)"
