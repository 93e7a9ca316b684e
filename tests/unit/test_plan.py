"""Plans, threads, precisions, memory the caller gives, and being interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

import whybox as wb
import zoo
from interrupts import interrupt, processor_seconds, work
from whybox.errors import OptionError
from whybox.explainers import TreeShap
from whybox.explanation.html import number_text
from whybox.kernels import compiled_trees
from whybox.methods.common.plan import Stopwatch, smallest_seconds
from whybox.methods.shap.plan import TABLE_NANOSECONDS, WALK_NANOSECONDS, _sampled_trees
from whybox.models.registry import as_model


@pytest.fixture(scope="module")
def forest():
    X, y = np.asarray(zoo.X(), dtype=float), np.asarray(zoo.y())
    return RandomForestRegressor(16, random_state=0).fit(X, y), X


@pytest.fixture(scope="module")
def forest_read(forest):
    """The same, read and verified once."""
    return as_model(forest[0]), forest[1]


SETS = [s.name for s in compiled_trees.instruction_sets()]


@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("kernel", [None, "lane walk", "pattern tables"])
@pytest.mark.parametrize("asked", [{}, {"background": 20}, {"order": 2}, {"order": 2, "background": 20}], ids=str)
def test_a_plan_names_what_explain_then_does(forest_read, asked, kernel, instructions):
    """On every instruction set and kernel: the kernel, and a memory that holds all tables that are then compiled."""
    model, X = forest_read[0], forest_read[1][:120]
    asked = {**asked, "background": X[: asked["background"]]} if "background" in asked else asked
    with compiled_trees.forced_kernel(instructions=instructions, kernel=kernel):
        explainer = TreeShap(model, **asked)
        plan = explainer.plan(len(X))
        assert explainer(X).evidence.kernel == plan.name
        assert wb.plan(wb.explain, model, X, asked.get("background"), order=asked.get("order", 1)).kernel == plan.kernel
    compiled = [made for _, made in explainer._compiled_problem(explainer.model.inputs.names)._compiled.values()]
    assert sum(made.kept_bytes for made in compiled) <= 1.1 * plan.table_bytes
    assert plan.memory_bytes > min(plan.table_bytes, compiled_trees.MAX_COMPILED_KEPT)
    assert plan.kernel in str(plan)
    assert plan.seconds > 0


def test_what_is_not_predicted_says_so(forest):
    from sklearn.ensemble import GradientBoostingClassifier

    _, X = forest
    model = GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X[:, :4], X[:, 2] > X[:, 2].mean())
    asked = {"scale": "probability", "method": "rescaled"}
    plan = wb.plan(wb.explain, model, 10, X[:5, :4], **asked)
    assert plan.kernel == wb.explain(model, X[:2, :4], X[:5, :4], **asked).evidence.kernel == "rescaled"
    assert "not predicted" in str(plan)
    assert "nan" not in str(plan)


@pytest.fixture
def clocks(monkeypatch):
    """The clock on the wall and the processor's, which only the test moves."""
    now = [0.0, 0.0]
    monkeypatch.setattr("whybox.methods.common.plan.read_clocks", lambda: tuple(now))
    return now


def test_a_plan_corrects_its_speed_by_the_smallest_of_several_timings(forest, monkeypatch, clocks):
    """On clocks of the test's own, so that neither the processor nor its load decides; benchmarks/trees.md holds plans against real time."""
    model, X = forest
    builds, runs = iter([0.3, 0.1, 0.2, 9.9]), iter([0.4, 0.001, 9.0])

    def add(self, rows, out, **more):
        clocks[1] += next(runs) if len(rows) > 1 else next(builds)
        clocks[0] = 3 * clocks[1]  # other programs have two thirds of the machine

    monkeypatch.setattr(compiled_trees.CompiledTrees, "add_values", add)
    explainer = TreeShap(model, n_jobs=1)
    plan = explainer.plan(1000 * len(X))
    part, share = _sampled_trees(explainer.model)
    assert plan.row_seconds / share == pytest.approx(0.001 / 1024, rel=0.3)  # 1,024 rows on some of the trees
    assert plan.build_seconds == pytest.approx(0.1 * share, rel=0.5)
    assert part.n_trees < explainer.model.n_trees or share == 1


def test_the_times_that_a_plan_prints_agree(forest, monkeypatch, clocks):
    """That of the plan is that of its choice, however much faster or slower than expected this machine is."""

    def add(self, rows, out, **more):
        clocks[0] += 0.2
        clocks[1] += 0.2

    monkeypatch.setattr(compiled_trees.CompiledTrees, "add_values", add)
    plan = wb.plan(wb.explain, forest[0], 1_000_000)
    assert len(plan.considered) > 1
    chosen = [seconds for kernel, bits, seconds in plan.considered if (kernel, bits) == (plan.kernel, plan.bits)]
    assert chosen == [pytest.approx(plan.seconds)]
    assert min(seconds for _, _, seconds in plan.considered) == pytest.approx(plan.seconds)
    together = next(line for line in str(plan).splitlines() if line.startswith("together"))
    assert together.split()[1] in (number_text(plan.seconds, 3), number_text(plan.seconds / 60, 3))
    others = str(plan).partition("instead")[2]
    assert others.count("about") == len(plan.considered) - 1  # its own time stands in the table alone


@pytest.mark.parametrize(
    ("by_clock", "processor", "may_wait", "counted"),
    [
        (10.0, 0.1, False, 0.1),  # other programs ran meanwhile
        (10.0, 1.0, True, 1.0),
        (10.0, 0.1, True, 10.0),  # it waited for something
        (1.0, 3.0, True, 1.0),  # several threads
    ],
)
def test_what_a_time_is(clocks, by_clock, processor, may_wait, counted):
    watch = Stopwatch(may_wait=may_wait)
    clocks[0] += by_clock
    clocks[1] += processor
    assert watch.elapsed_seconds() == counted


def test_what_takes_long_is_timed_once(clocks):
    made = []

    def work(seconds):
        made.append(seconds)
        clocks[0] += seconds
        clocks[1] += seconds

    durations = iter([0.2, 0.1, 0.15, 7.0, 8.0])
    assert smallest_seconds(work, lambda: next(durations)) == pytest.approx(0.1)
    assert smallest_seconds(work, lambda: next(durations)) == 7.0
    assert len(made) == 4


def test_one_row_does_not_pay_for_tables_that_many_rows_want():
    X, y = np.asarray(zoo.X(), dtype=float), np.asarray(zoo.y())
    model = GradientBoostingRegressor(n_estimators=60, max_depth=7, random_state=0).fit(X, y)
    explainer = TreeShap(model, n_jobs=1)
    few, many = explainer.plan(1), TreeShap(model, n_jobs=1).plan(1_000_000)
    assert few.build_seconds < many.build_seconds
    first = explainer(X[:1])
    later = explainer(np.tile(X, (40, 1)))
    assert np.allclose(first.values[0], later.values[0], atol=1e-12 * np.abs(later.values).max())


def test_precision_of_arithmetic_and_values(forest):
    model, X = forest
    exact, single = wb.explain(model, X), wb.explain(model, X, dtype="float32")
    assert exact.values.dtype == np.float64
    assert single.values.dtype == np.float32
    assert "float64" in exact.evidence.kernel
    assert "float32" in single.evidence.kernel
    assert 0 < np.abs(single.values - exact.values).max() < 1e-5 * np.abs(exact.values).max()
    for asked in ({"background": X[:9]}, {"order": 2}, {"background": X[:9], "order": 2}):
        a, b = wb.explain(model, X[:5], **asked), wb.explain(model, X[:5], dtype=np.float32, **asked)
        assert b.values.dtype == np.float32
        assert np.abs(a.values - b.values).max() < 1e-5 * np.abs(a.values).max()


def test_threads_give_the_same_numbers(forest):
    model, X = forest
    rows = np.tile(X, (3, 1))
    for asked in ({}, {"background": X[:9]}, {"order": 2}):
        some = rows if not asked else rows[:40]
        one, two = wb.explain(model, some, n_jobs=1, **asked), wb.explain(model, some, n_jobs=2, **asked)
        assert np.allclose(one.values, two.values, rtol=0, atol=1e-12 * np.abs(one.values).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_written_where_the_caller_says(forest, dtype):
    model, X = forest
    out = np.full((len(X), X.shape[1]), 7, dtype)
    explanation = TreeShap(model)(X, out=out)
    assert np.shares_memory(out, explanation.values)
    assert np.allclose(out, wb.explain(model, X).values, rtol=0, atol=1e-5 * np.abs(out).max())
    assert not explanation.values.flags.writeable


def test_memory_that_does_not_fit_is_refused(forest):
    model, X = forest
    for wrong in (
        np.zeros((len(X), 3)),
        np.zeros((len(X), X.shape[1]), int),
        np.zeros((X.shape[1], len(X))).T,
        [[0.0]],
    ):
        with pytest.raises(OptionError, match="out must be"):
            TreeShap(model)(X, out=wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"n_jobs": 0}, {"n_jobs": -2}, {"n_jobs": 1.5}, {"n_jobs": True}, {"dtype": "float16"}, {"dtype": int}],
)
def test_options_out_of_range(forest_read, wrong):
    model, X = forest_read
    with pytest.raises(OptionError, match=next(iter(wrong))):
        wb.explain(model, X[:2], **wrong)
    with pytest.raises(OptionError):
        wb.plan(wb.explain, model, 0)


def test_forced_choices_are_taken_and_agree(forest_read):
    model, X = forest_read
    right = wb.explain(model, X[:50]).values
    for instructions in compiled_trees.instruction_sets():
        with compiled_trees.forced_kernel(instructions=instructions.name):
            forced = wb.explain(model, X[:50])
        assert instructions.name in forced.evidence.kernel
        assert np.allclose(forced.values, right, rtol=0, atol=1e-12 * np.abs(right).max())


def test_the_environment_limits_the_instruction_set():
    program = "import whybox.kernels.compiled_trees as l; print(*[s.name for s in l.instruction_sets()])"

    def names(asked):
        env = {**os.environ, "WHYBOX_INSTRUCTIONS": asked}
        return subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, env=env)

    for at, name in enumerate(SETS):
        assert names(name).stdout.split() == SETS[at:]
    assert "WHYBOX_INSTRUCTIONS='sse9': this processor has" in names("sse9").stderr


def test_an_explainer_in_several_threads(forest):
    model, X = forest
    explainer = TreeShap(model)
    right = explainer(X).values
    wrong = []

    def use():
        wrong.append(np.abs(explainer(X).values - right).max() > 1e-12 * np.abs(right).max())

    users = [threading.Thread(target=use) for _ in range(4)]
    for u in users:
        u.start()
    for u in users:
        u.join()
    assert wrong == [False] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="processor time is read from /proc")
def test_ctrl_c_is_answered_within_a_second_or_so(tmp_path):
    """Deep trees and many rows: minutes of work, most of it in native code."""
    program = textwrap.dedent("""
        import numpy as np, sys
        from sklearn.ensemble import RandomForestRegressor
        from whybox.explainers import TreeShap
        rng = np.random.default_rng(0)
        X = rng.normal(size=(1500, 12)); y = X.sum(axis=1) + rng.normal(size=1500)
        model = RandomForestRegressor(10, random_state=0).fit(X, y)
        explainers = {400000: TreeShap(model, order=1), 20000: TreeShap(model, order=2)}
        rows = np.tile(X, (300, 1))
        for n, explainer in explainers.items():
            print("ready", flush=True)
            try:
                explainer(rows[:n])
            except KeyboardInterrupt:
                if n == 20000:
                    raise
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout.readline().strip() == b"ready"
    work(process, seconds=1)
    before = processor_seconds(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline().strip() == b"ready"  # for the next order
    assert processor_seconds(process.pid) - before < 5  # of all threads; it takes a fraction of one
    work(process, seconds=1)
    err, seconds = interrupt(process)
    assert b"KeyboardInterrupt" in err
    assert seconds < 5


def test_a_background_that_can_be_read_once_serves_a_list_of_methods():
    import pyarrow as pa

    model, X = zoo.built("GradientBoostingClassifier")
    reader = pa.Table.from_pandas(X[:5], preserve_index=False).to_reader()
    plans = wb.plan(wb.explain, model, 10, reader, method=["tree_shap", "rescaled"], scale="probability")
    assert set(plans) == {"tree_shap", "rescaled"}


def test_every_instruction_set_has_speeds():
    """Also those of other processors: a set without one would fail there alone."""
    files = (Path(__file__).parents[2] / "native" / "simd").glob("*.cpp")
    names = {name for f in files for name in re.findall(r'kSet = kernels\("(\w+)"', f.read_text(encoding="utf-8"))}
    assert names >= {"plain", "avx2", "avx512", "neon"}
    wanted = {(name, arithmetic) for name in names for arithmetic in ("float32", "float64")}
    assert set(WALK_NANOSECONDS) == set(TABLE_NANOSECONDS) == wanted
