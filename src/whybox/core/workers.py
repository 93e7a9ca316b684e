"""How many threads a computation may use: ``n_jobs=`` in numbers."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from whybox.errors import Argument, OptionError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = [
    "available_processors",
    "check_jobs",
    "cpu_quota",
    "one_blas_thread",
    "one_library_thread",
    "thread_count",
    "threads_allowed",
]

CGROUP_FOLDER: Final = Path("/proc/self/cgroup")  # in which control groups this process is
CGROUP_ROOT: Final = Path("/sys/fs/cgroup")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let products and factorisations of matrices use one thread: for small ones that is faster, and the last bits do not depend on how many there are."""
    with one_library_thread("blas"):
        yield


def one_library_thread(kind: Literal["blas", "openmp"]) -> AbstractContextManager[Any]:
    """Return a context in which libraries of this kind use one thread."""
    limited: AbstractContextManager[Any] = _thread_pools(len(sys.modules)).limit(limits=1, user_api=kind)
    return limited


@lru_cache(maxsize=1)
def _thread_pools(modules: int) -> ThreadpoolController:
    """Return the libraries with threads that are loaded; to look for them takes milliseconds, so it is done when modules were imported since."""
    from threadpoolctl import ThreadpoolController

    del modules
    return ThreadpoolController()


def check_jobs(n_jobs: Any) -> int | None:
    """Return `n_jobs` as an int or None; :func:`thread_count` says how many threads that is.

    Raises:
        OptionError: it is neither None, -1 nor a positive whole number.
    """
    if n_jobs is None:
        return None
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0 or n_jobs < -1:
        raise OptionError(
            Argument("n_jobs", n_jobs),
            " must be a positive whole number of threads, or -1 for all processors; leave it out for those this process may use.",
        )
    return int(n_jobs)


def thread_count(n_jobs: int | None) -> int:
    """Return the number of threads that a checked `n_jobs` stands for, here and now.

    Args:
        n_jobs: None: as many as this process may use (:func:`threads_allowed`). -1: one for each processor that the process may run on.
            Else that many.
    """
    if n_jobs is None:
        return threads_allowed()
    return available_processors() if n_jobs == -1 else n_jobs


def threads_allowed() -> int:
    """Return how many threads this process may use: the smallest of what the system, the environment and joblib allow; at least 1.

    - the processors that the process may run on (affinity);
    - the CPU quota of its control groups, rounded up (containers, batch systems);
    - ``OMP_NUM_THREADS`` and ``LOKY_MAX_CPU_COUNT``;
    - joblib: ``n_jobs`` of an enclosing ``parallel_config``. Inside a worker: what ``OMP_NUM_THREADS`` gives a worker process, else 1.
    """
    limits = [
        available_processors(),
        cpu_quota(),
        _from_environment("OMP_NUM_THREADS"),
        _from_environment("LOKY_MAX_CPU_COUNT"),
    ]
    return max(1, min(limit for limit in (*limits, _joblib_limit()) if limit is not None))


def available_processors() -> int:
    """Return how many processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


@cache
def cpu_quota() -> int | None:
    """Return the CPU quota of this process's control groups in processors, rounded up; None where there is none. Read once a process."""
    quotas = list(_cgroup_quotas(CGROUP_FOLDER, CGROUP_ROOT))
    return max(1, math.ceil(min(quotas))) if quotas else None


def _cgroup_quotas(groups: Path, root: Path) -> Iterator[float]:
    """Yield the quota of each control group above this process, in processors: ``cpu.max`` of version 2, ``cpu.cfs_quota_us`` of version 1."""
    for line in _text_of_file(groups).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            for folder in _with_parents(root, path):
                yield from _quota_of(_text_of_file(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                for folder in _with_parents(mount, path):
                    names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
                    yield from _quota_of([_text_of_file(folder / name).strip() for name in names])


def _with_parents(mount: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a control group and those above it, down to the mount; a group of another namespace has none of its own here."""
    folder = mount / path.strip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _quota_of(numbers: list[str]) -> Iterator[float]:
    """Yield quota / period; nothing where there is no limit ("max", -1)."""
    if len(numbers) == 2 and all(number.isdigit() for number in numbers) and int(numbers[1]):
        yield int(numbers[0]) / int(numbers[1])


def _text_of_file(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _from_environment(name: str) -> int | None:
    """Return a positive whole number (the first of a list "4,2"), or None where the variable is missing or says something else."""
    first = re.match(r"\s*(\d+)\s*(,|$)", os.environ.get(name, ""))
    return int(first[1]) or None if first else None


def _joblib_limit() -> int | None:
    """Return what joblib's context allows, or None where there is none. What is not imported yet has no context, and is not imported for it."""
    process, joblib = sys.modules.get("multiprocessing.process"), sys.modules.get("joblib.parallel")
    in_process = process is not None and process.parent_process() is not None
    backend, jobs = joblib.get_active_backend() if joblib is not None else (None, None)
    if getattr(backend, "nesting_level", None):  # inside a worker
        return _from_environment("OMP_NUM_THREADS") or 1 if in_process else 1
    if process is not None and in_process and process.current_process().daemon:  # a worker of a pool
        return _from_environment("OMP_NUM_THREADS") or 1
    return jobs if isinstance(jobs, int) and jobs > 0 else None
