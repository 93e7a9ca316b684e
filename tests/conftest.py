import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test workers share two cores
# LightGBM and XGBoost take a thread a core whatever stands above, and threads that wait for each other keep a core busy
os.environ.setdefault("OMP_THREAD_LIMIT", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# networks here are small and run a few times: JAX takes longer to optimise them than to run them
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
os.environ.setdefault("JAX_TRACEBACK_FILTERING", "off")
# compiled files are kept, those of pytest too, which rewrites 250 of them: they take half of the time that collecting takes, in each worker
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
sys.path.insert(0, str(Path(__file__).parent))

import pytest

if (
    "numpy" in sys.modules
):  # a plugin loaded it before the line above: threads that wait for each other take most of a busy processor
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)


def pytest_addoption(parser):
    parser.addoption(
        "--instructions", help="the best instruction set the processor seems to have: avx512, avx2, neon, plain"
    )
    parser.addoption("--kernel", help="take this kernel wherever the question allows it: 'lane walk', 'pattern tables'")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is loaded until all tests are known stays: the garbage collector need not walk through it again and again."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # what a figure leaves behind is more than the usual 700 objects
    gc.enable()
    return result


def pytest_configure(config):
    """Let the processor seem to have no better instruction set than this one, in programs that tests start too."""
    if name := config.getoption("--instructions"):
        os.environ["WHYBOX_INSTRUCTIONS"] = name


@pytest.fixture(scope="session", autouse=True)
def forced_choice(request):
    """The whole suite on one kernel, when asked."""
    from whybox.kernels import compiled_trees

    with compiled_trees.forced_kernel(kernel=request.config.getoption("--kernel")):
        yield


@pytest.fixture(scope="session", autouse=True)
def library_answers():
    """What libraries in processes of their own wrote, by program, model file and rows: the same question is put once, in a fork."""
    import library_processes
    from whybox.adapters.files import subprocess_predict

    ask, answers = subprocess_predict._run_program, {}

    def asked_once(program, library, *arguments, **more):
        at = 1 if program == "cbm" else 2  # the file that is written
        given = [*arguments[:at], *arguments[at + 1 :]]
        contents = [Path(g).read_bytes() if Path(g).is_file() else g for g in given]
        question = (subprocess_predict._PROGRAM_TEXTS[program], *contents)
        if question not in answers:
            ask(program, library, *arguments, **more)
            answers[question] = Path(arguments[at]).read_bytes()
        Path(arguments[at]).write_bytes(answers[question])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess_predict, "_run_program", asked_once)
        if hasattr(os, "fork"):
            patch.setattr(subprocess_predict, "subprocess", library_processes.FORKED)
        yield answers


@pytest.fixture
def started_processes(library_answers, monkeypatch):
    """Libraries are asked in processes that are started, as for a user."""
    from whybox.adapters.files import subprocess_predict

    library_answers.clear()
    monkeypatch.setattr(subprocess_predict, "subprocess", subprocess)


def _seeded():
    """Networks that a test makes are the same in every run, whichever tests ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def seeded_module():
    _seeded()


@pytest.fixture(autouse=True)
def seeded_test():
    _seeded()


@pytest.fixture(autouse=True)
def figures_closed():
    """No test leaves figures behind."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def unwritten_pictures(monkeypatch):
    """Figures of reports are drawn, but matplotlib does not write them as SVG; the tests of reports read what it writes."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    empty = '<svg width="1pt" height="1pt"></svg>'
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", lambda self, file, **_: file.write(empty))


@pytest.fixture(scope="session")
def exported_programs(tmp_path_factory):
    """A folder of exported networks, pictures, arrays and tables, written once."""
    from networks import programs

    return programs.fill(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def program_folder(exported_programs, tmp_path_factory):
    """A copy of it, for tests that write beside the programs."""
    return shutil.copytree(exported_programs, tmp_path_factory.mktemp("programs") / "copy")
