"""Processes of a model library, for the tests: forked from one that has loaded the library, since that takes longer than what they do.

Each program still runs in a process of its own, where it may crash, hang or run out of memory.
"""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

# For each line [program, arguments, folder, seconds] that it reads: run the program there in a fork, and write its exit status and what it wrote.
_SERVER = """
import json, os, signal, sys, tempfile, traceback
exec(compile(sys.argv[1], "<loaded>", "exec"))
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    program, arguments, folder, seconds = json.loads(line)
    with tempfile.TemporaryFile() as written:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.chdir(folder)
                os.dup2(written.fileno(), 1)
                os.dup2(written.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                sys.argv = ["-c", *arguments]
                signal.setitimer(signal.ITIMER_REAL, seconds)  # then SIGALRM ends it
                exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        written.seek(0)
        print(json.dumps([status, written.read().decode("utf-8", "replace")]), file=answers, flush=True)
"""
_SIGALRM = 14
_IMPORT = re.compile(r"^import .*\b(xgboost|lightgbm|catboost)\b.*$", re.MULTILINE)


_SERVERS: dict[str, subprocess.Popen[str]] = {}


def _server(library, loaded):
    if library not in _SERVERS:
        pipe, command = subprocess.PIPE, [sys.executable, "-c", _SERVER, loaded]
        server = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        atexit.register(server.communicate)  # it ends where its input ends
        _SERVERS[library] = server
    return _SERVERS[library]


def run(command, **options):
    """Do as `subprocess.run` does with a Python program; one that imports a model library runs in a fork that has it already."""
    _, _, program, *arguments = command
    found = _IMPORT.search(program)
    if found is None:
        return subprocess.run(command, **options)  # noqa: PLW1510  # `check` is among the options
    server = _server(found[1], program[: found.end()])
    print(json.dumps([program, arguments, str(Path.cwd()), options["timeout"]]), file=server.stdin, flush=True)
    answer = server.stdout.readline()
    if not answer:
        raise RuntimeError(f"the process that loads {found[1]} has ended")
    status, written = json.loads(answer)
    if status == -_SIGALRM:
        raise subprocess.TimeoutExpired(command, options["timeout"])
    if options["check"] and status:
        raise subprocess.CalledProcessError(status, command, stderr=written)
    return SimpleNamespace(returncode=status, stdout=b"", stderr=written.encode())


FORKED = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)  # in the place of the module subprocess
