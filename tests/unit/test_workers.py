"""n_jobs=: how many threads that is, with the limits of the system, of containers, of the environment and of joblib."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import whybox as wb
from whybox.core import workers
from whybox.errors import OptionError


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A machine of 16 processors without limits."""
    for name in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(workers, "CGROUP_FOLDER", tmp_path / "cgroup")
    monkeypatch.setattr(workers, "CGROUP_ROOT", tmp_path / "fs")
    workers.cpu_quota.cache_clear()
    yield
    workers.cpu_quota.cache_clear()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_none_is_what_is_allowed_minus_one_every_processor_and_a_number_itself(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert workers.thread_count(None) == 3
    assert workers.thread_count(-1) == 16
    assert workers.thread_count(7) == 7


def test_affinity_and_a_system_without_it(monkeypatch):
    assert workers.threads_allowed() == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5})
    assert workers.threads_allowed() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert workers.threads_allowed() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert workers.threads_allowed() == 1


@pytest.mark.parametrize(
    ("text", "threads"),
    [("4", 4), (" 4 ", 4), ("4,2", 4), ("100", 16), ("0", 16), ("", 16), ("many", 16), ("-1", 16), ("2.5", 16)],
)
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"])
def test_environment(name, text, threads, monkeypatch):
    monkeypatch.setenv(name, text)
    assert workers.threads_allowed() == threads


@pytest.mark.parametrize(
    ("limits", "threads"),
    [
        ({}, None),
        ({"": "max 100000"}, None),
        ({"": "200000 100000"}, 2),
        ({"": "150000 100000"}, 2),
        ({"": "1000 100000"}, 1),
        ({"pod/box": "800000 100000"}, 8),
        ({"pod": "300000 100000", "pod/box": "max 100000"}, 3),
        ({"pod": "300000 100000", "pod/box": "100000 50000"}, 2),
        ({"": "nonsense"}, None),
        ({"": "100000 0"}, None),
    ],
)
def test_quota_of_control_groups_version_2(limits, threads, tmp_path):
    write(tmp_path / "cgroup", "0::/pod/box\n")
    for group, text in limits.items():
        write(tmp_path / "fs" / group / "cpu.max", text + "\n")
    assert workers.cpu_quota() == threads
    assert workers.threads_allowed() == (threads or 16)


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "period", "threads"), [(-1, 100000, None), (250000, 100000, 3), (50000, 100000, 1)])
@pytest.mark.parametrize("group", ["docker/abc", ""])
def test_quota_of_control_groups_version_1(mount, quota, period, threads, group, tmp_path):
    write(tmp_path / "cgroup", f"9:name=systemd:/\n4:cpuset:/other\n3:{mount}:/docker/abc\n")
    write(tmp_path / "fs" / mount / group / "cpu.cfs_quota_us", f"{quota}\n")
    write(tmp_path / "fs" / mount / group / "cpu.cfs_period_us", f"{period}\n")
    assert workers.cpu_quota() == threads


def test_a_group_of_another_namespace_leads_nowhere_else(tmp_path):
    write(tmp_path / "cgroup", "0::/../../elsewhere\n")
    write(tmp_path / "fs" / "cpu.max", "200000 100000\n")
    assert workers.cpu_quota() == 2


def test_the_quota_is_read_once(tmp_path):
    write(tmp_path / "cgroup", "0::/\n")
    write(tmp_path / "fs" / "cpu.max", "200000 100000\n")
    assert workers.threads_allowed() == 2
    write(tmp_path / "fs" / "cpu.max", "400000 100000\n")
    assert workers.threads_allowed() == 2


def test_joblibs_context():
    with joblib.parallel_config("loky", n_jobs=3):
        assert workers.threads_allowed() == 3
        assert workers.thread_count(-1) == 16
    with joblib.parallel_config("loky", n_jobs=-1):
        assert workers.threads_allowed() == 16
    with joblib.parallel_config("threading", n_jobs=2):
        inside = joblib.Parallel()(joblib.delayed(workers.threads_allowed)() for _ in range(2))
    assert inside == [1, 1]
    assert workers.threads_allowed() == 16


def test_a_thread_of_joblib_has_one_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    inside = joblib.Parallel(2, backend="threading")(joblib.delayed(workers.threads_allowed)() for _ in range(2))
    assert inside == [1, 1]


# forked in a process of its own: this one may hold the threads of JAX
_IN_WORKERS = """
import multiprocessing, os
import joblib

def allowed(_=None):
    os.sched_getaffinity = lambda _: set(range(16))
    from whybox.core import workers
    workers.CGROUPS = workers.CGROUP_ROOT  # no quota of this machine
    return workers.threads_allowed()

if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        os.environ.pop(name, None)
    share = lambda **options: joblib.Parallel(2, **options)(joblib.delayed(allowed)() for _ in range(2))[0]
    with joblib.parallel_config("loky", inner_max_num_threads=3):
        print("loky", share())
    print("multiprocessing", share(backend="multiprocessing"))
    fork = multiprocessing.get_context("fork")
    with fork.Pool(1) as pool:
        print("pool", *pool.map(allowed, [0]))
    os.environ["OMP_NUM_THREADS"] = "2"
    with fork.Pool(1) as pool:
        print("pool of two", *pool.map(allowed, [0]))
"""


def test_worker_processes_have_one_or_their_share(tmp_path):
    script = tmp_path / "shares.py"
    script.write_text(_IN_WORKERS)
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["loky 3", "multiprocessing 1", "pool 1", "pool of two 2"]


@pytest.mark.parametrize("wrong", [0, -2, 1.5, True, "2", np.array([1])])
def test_what_is_no_number_of_threads_is_refused(wrong):
    with pytest.raises(OptionError, match="leave it out for those this process may use"):
        workers.check_jobs(wrong)
    assert workers.check_jobs(np.int64(3)) == 3


def test_a_plan_says_how_many(monkeypatch):
    from sklearn.tree import DecisionTreeRegressor

    X = np.arange(40.0).reshape(20, 2)
    model = DecisionTreeRegressor(random_state=0).fit(X, X[:, 0])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert wb.plan(wb.explain, model, 1000).threads == 3
    assert wb.plan(wb.explain, model, 1000, n_jobs=-1).threads == 16
    assert wb.plan(wb.explain, model, 1000, n_jobs=5).threads == 5


@pytest.mark.parametrize("kind", ["blas", "openmp"])
def test_libraries_take_one_thread_and_are_looked_for_when_modules_came(kind, monkeypatch):
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == kind]

    workers._thread_pools.cache_clear()
    with threadpool_limits(2, user_api=kind):
        before = threads()
        assert before
        for _ in range(3):
            with workers.one_library_thread(kind):
                assert set(threads()) == {1}
            assert threads() == before
        assert workers._thread_pools.cache_info().misses == 1
        monkeypatch.setitem(sys.modules, "imported_since", sys)
        with workers.one_library_thread(kind):
            assert set(threads()) == {1}
    assert workers._thread_pools.cache_info().misses == 2
