"""The layout's promises, checked on the syntax trees: who imports whom, what importing costs, what is public, how long things are."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import method_lists
import whybox
import zoo

ROOT = Path(__file__).parents[2]
INSTALLED = Path(whybox.__file__).parent
SRC = INSTALLED if (INSTALLED / "adapters").is_dir() else ROOT / "src" / "whybox"

# Rungs from the ground up (CONTRIBUTING.md, "The ladder"). A module may import rungs below its own, and its own room.
LADDER = [
    {"errors", "_native"},
    {"core"},
    {"data"},
    {"numerics"},
    {"models"},
    {"explanation"},
    {"kernels"},
    {"games"},
    {"background", "adapters"},
    {"methods"},
    {"plots", "explainers", "networks", "checks"},
    {"api", "typing"},
    {"reporting"},
    {"compat"},
    {"cli"},
    {"__main__", "__init__"},
]
RUNG = {room: i for i, rooms in enumerate(LADDER) for room in rooms}


@cache
def modules():
    return {
        p: ".".join(["whybox", *p.relative_to(SRC).with_suffix("").parts]).removesuffix(".__init__")
        for p in sorted(SRC.rglob("*.py"))
    }


@cache
def nodes(path):
    """All nodes of a file's syntax tree, parsed once for all tests here."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module", autouse=True)
def _trees_forgotten():
    yield
    nodes.cache_clear()


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def imports(path):
    """Modules of whybox that a file imports, at top level or inside functions; not those for type checkers only."""
    return tuple(_imports(path))


def _imports(path):
    known = {*modules().values(), "whybox._native"}
    skipped = set()
    for node in nodes(path):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {id(n) for n in ast.walk(node)}
    for node in nodes(path):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "whybox":
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in known else node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "whybox")


def test_imports_point_one_way():
    wrong = []
    for path, module in modules().items():
        for target in imports(path):
            here, there = room(module), room(target)
            if here == "__init__" or here == there:
                continue
            if there not in RUNG or here not in RUNG:
                wrong.append(f"{module} imports {target}: one of them has no place on the ladder")
            elif RUNG[there] >= RUNG[here]:
                wrong.append(f"{module} imports {target}, which is not below it")
    assert not wrong, "\n".join(wrong)


SHARED_BY_METHODS = ("common", "registry", "method_spec", "table_methods", "saliency_methods")


def test_methods_do_not_import_each_other():
    """What two of them need lies below them, in games or in methods/common."""
    wrong = []
    for path, module in modules().items():
        here = module.split(".")[1:3]
        for target in imports(path):
            there = target.split(".")[1:3]
            if (
                here[:1] == there[:1] == ["methods"]
                and len(here) == len(there) == 2
                and here[1] != there[1]
                and there[1] not in SHARED_BY_METHODS
            ):
                wrong.append(f"{module} imports {target}")
    assert not wrong, wrong


def every_import(path):
    """Those for type checkers too, and modules that are named in a text: ``import_module("whybox.adapters")``."""
    known = set(modules().values()) - {"whybox"}
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "whybox":
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in known else node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def test_games_are_about_players_and_worths_alone():
    """Segments of pictures, words and columns of tables are players alike: games know no method, adapter or kernel."""
    allowed = {"errors", "core", "data", "numerics", "models", "games"}
    wrong = [f"{m} imports {t}" for p, m in modules().items() if room(m) == "games" for t in imports(p)]
    wrong = [line for line in wrong if room(line.split()[-1]) not in allowed]
    assert not wrong, wrong


def test_no_cycles():
    known = set(modules().values()) - {"whybox"}
    graph = {m: {t for t in every_import(p) if t in known and t != m} for p, m in modules().items() if m in known}
    done, path = set(), []

    def visit(m):
        if m in path:
            raise AssertionError(" -> ".join([*path[path.index(m) :], m]))
        if m in done:
            return
        path.append(m)
        for t in graph[m]:
            visit(t)
        path.pop()
        done.add(m)

    for m in graph:
        visit(m)


WORDS_FOR_PEOPLE = {"method", "kernel", "estimand", "title", "summary", "notes", "said", "quantity", "residual_against"}


def test_nothing_reads_words_for_people_to_decide():
    """Titles, notes and the like are shown, never compared with a text: what decides is data (an id, a flag)."""
    wrong = []
    for path, module in modules().items():
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                tested = node.func.value if node.func.attr in ("startswith", "endswith") else None
            elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
                texts = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
                tested = node.comparators[0] if texts else None
            else:
                continue
            owner = ast.unparse(tested.value).split(".")[-1] if isinstance(tested, ast.Attribute) else ""
            if isinstance(tested, ast.Attribute) and tested.attr in WORDS_FOR_PEOPLE and owner != "options":
                wrong.append(f"{module}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


LIBRARIES = {"sklearn", "xgboost", "lightgbm", "catboost", "interpret", "skops", "joblib"}
LIBRARIES |= {"torch", "jax", "equinox", "flax", "keras"}


def test_model_libraries_are_known_to_their_adapters_only():
    wrong = []
    allowed = {
        "whybox.cli.demo": {"sklearn"},
        **{
            f"whybox.compat.captum.attr.{name}": {"torch"}
            for name in ("call", "forward", "gradients", "layers", "neurons", "noise", "noisy_rows", "perturbation")
        },  # its tensors
        **{
            f"whybox.compat.pytorch_grad_cam.{name}": {"torch"}
            for name in ("cam", "utils.image", "utils.model_targets")
        },
        "whybox.compat.shap.backgrounds": {"sklearn"},  # kmeans
        "whybox.compat.shap.cohorts": {"sklearn"},  # its own small tree
        "whybox.compat.shap.datasets": {"sklearn"},  # data sets
        "whybox.compat.sklearn.dependence": {"sklearn"},  # its Bunch
        "whybox.compat.sklearn.dependence_display": {"sklearn"},  # its figures
        "whybox.compat.sklearn.importance": {"sklearn"},  # its Bunch
        "whybox.reporting.performance": {"sklearn"},
        "whybox.methods.common.bins": {"sklearn"},  # its own small tree
        "whybox.methods.common.surrogates.trees": {"sklearn"},  # its own boosted trees
        "whybox.methods.importance.conditional_values": {"sklearn"},  # its own regressions
        "whybox.methods.importance.drop_column": {"sklearn"},  # clone
        "whybox.methods.importance.scorers": {"sklearn"},  # its scorers, and what they take for an estimator
    }
    for path, module in modules().items():
        for node in nodes(path):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                root = name.split(".")[0]
                if (
                    root in LIBRARIES
                    and not module.startswith("whybox.adapters")
                    and root not in allowed.get(module, set())
                ):
                    wrong.append(f"{module} imports {name}")
    assert not wrong, wrong


def test_importing_whybox_costs_next_to_nothing():
    """Counted in modules, not in seconds: what is not loaded takes no time on any machine."""
    program = "import sys, numpy; before = set(sys.modules); import whybox; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = run.stdout.split()
    assert len(names) < 10, names
    loaded = {name.split(".")[0] for name in names}
    assert not loaded & {
        "pandas",
        "torch",
        "sklearn",
        "matplotlib",
        "scipy",
        "pyarrow",
        "polars",
        "narwhals",
        "xgboost",
        "lightgbm",
        "catboost",
        "tqdm",
    }


def test_explaining_a_model_imports_its_library_only():
    program = (
        "import sys, numpy as np, whybox as wb\nfrom sklearn.tree import DecisionTreeRegressor\n"
        "X = np.random.rand(50, 3); wb.explain(DecisionTreeRegressor(max_depth=3).fit(X, X[:, 0]), X)\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'xgboost', 'lightgbm', 'catboost', 'torch', 'matplotlib', 'polars', 'skops'}))"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == ""
    )


PUBLIC = {
    "whybox": [
        "Effects",
        "Explanation",
        "Plan",
        "RemoteModel",
        "__version__",
        "anchors",
        "check",
        "concat",
        "effects",
        "errors",
        "explain",
        "explainers",
        "importance",
        "interactions",
        "lime",
        "load",
        "networks",
        "plan",
        "regions",
        "report",
        "saliency",
        "submodular_pick",
        "typing",
    ],
    "whybox.networks": ["exported", "jax"],
    "whybox.explainers": [
        "Ablation",
        "AdditiveShap",
        "Anchors",
        "Conductance",
        "DeepLift",
        "ExactShap",
        "ExpectedGradients",
        "GradCam",
        "GradCamPlusPlus",
        "Gradient",
        "GradientInput",
        "GuidedBackprop",
        "GuidedGradCam",
        "Index",
        "IntegratedGradients",
        "LayerCam",
        "LayerIntegratedGradients",
        "Lime",
        "LimeParts",
        "LinearShap",
        "Occlusion",
        "PartitionShap",
        "Rise",
        "Saliency",
        "SampledShap",
        "ScoreCam",
        "ShapleyParts",
        "SmoothGrad",
        "TreeShap",
        "VarGrad",
    ],
    "whybox.typing": [
        "Check", "Checks", "Differentiable", "Effects", "EffectsPlan", "Evidence", "Explanation",
        "KernelPlan", "MethodPlan", "Plan", "Table",
    ],
    "whybox.errors": [
        "Argument", "ColumnsError", "DtypeError", "EmptyDataError", "ExplanationFileError", "InputError",
        "LimitError", "MissingDependencyError", "ModelError", "ModelFileError", "ModelMismatchError",
        "NonFiniteError", "OptionError", "SpotCheckError", "UnknownFieldError", "UnsupportedModelError",
        "UntrustedPickleError", "WhyboxError",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_these(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == PUBLIC[name]
    for public in module.__all__:
        assert getattr(module, public) is not None
    assert set(PUBLIC["whybox"]) <= set(dir(whybox))
    with pytest.raises(AttributeError):
        whybox.nothing_of_the_kind  # noqa: B018


def test_errors_are_one_tree_and_the_docstring_draws_it():
    from whybox import errors

    for name in errors.__all__:
        cls = getattr(errors, name)
        if cls is errors.Argument:
            continue
        assert issubclass(cls, errors.WhyboxError)
        assert re.search(rf"\b{name}\b", errors.__doc__)


def test_every_public_docstring_says_what_it_raises():
    for name in (
        "anchors",
        "check",
        "effects",
        "explain",
        "importance",
        "interactions",
        "lime",
        "load",
        "plan",
        "regions",
        "report",
        "saliency",
        "submodular_pick",
    ):
        doc = inspect.getdoc(getattr(whybox, name))
        assert "Raises:" in doc, name
    for cls in (whybox.explainers.TreeShap, whybox.explainers.LinearShap, whybox.explainers.Saliency):
        assert "Raises" in inspect.getdoc(cls) or "errors" in inspect.getdoc(cls)


# Longer than the limits, with the reason.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
NATIVE = sorted((ROOT / "native").rglob("*.[ch]pp"))


def test_files_and_functions_are_short():
    long = []
    for path in [*modules(), *sorted((ROOT / "tests").rglob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        relative = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.relative_to(SRC.parent))
        if len(text.splitlines()) > 500 and relative not in LONG_FILES:
            long.append(f"{relative}: {len(text.splitlines())} lines")
        if not path.is_relative_to(SRC):
            continue
        for node in nodes(path):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno - body[0].lineno + 1) if body else 0
                if lines > 60 and f"{relative}:{node.name}" not in LONG_FUNCTIONS:
                    long.append(f"{relative}:{node.name}: {lines} lines")
    for path in NATIVE:
        if len(path.read_text(encoding="utf-8").splitlines()) > 500:
            long.append(path.name)
    assert not long, "\n".join(long)


def test_native_code_knows_python_in_one_room_only():
    assert len(NATIVE) > 30
    for path in NATIVE:
        text = path.read_text(encoding="utf-8")
        if path.parent.name != "bindings":
            assert "Python.h" not in text
            assert "nanobind" not in text
    build = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    flags = "\n".join(line for line in build.splitlines() if not line.strip().startswith("#"))
    assert "fast-math" not in flags
    assert "openmp" not in flags.lower()


def test_loading_the_native_module_leaves_the_floating_point_mode_alone():
    program = "import whybox._native\nx = 1e-310\nprint(x * 0.5)"
    assert (
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
        == 5e-311
    )


def test_docs_list_every_kind_of_model():
    text = zoo.page().read_text(encoding="utf-8")
    inside = text.split(zoo.BEGIN)[1].split(zoo.END)[0].strip()
    assert inside == zoo.table(), "run: python tests/zoo --write"


@pytest.mark.parametrize("page", method_lists.PAGES, ids=lambda p: p.name)
def test_docs_list_every_method(page):
    assert method_lists.inside(page) == method_lists.PAGES[page](), "run: python tests/method_lists.py --write"


def test_readme_and_ci_run_the_same_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("pip install . && whybox demo", "pip install -e '.[dev]' && pytest"):
        assert f"\n    {command}\n" in readme
        assert f"\n{command}\n" in script


def test_nothing_of_a_workplace_is_in_the_project():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    for name in filter(None, listed):
        path = ROOT / name
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".txt", ".cpp", ".hpp", ".yml", ""):
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"(?<![\w.])/(home|root|work|opt|mnt)/\w", text), name


def test_changelog_names_the_version():
    assert f"## {whybox.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_public_names_are_loaded_when_first_used():
    """Reading the lists of names loads none of what they name; type checkers are told the same names."""
    from whybox.methods.registry import methods

    program = (
        "import sys, whybox\n"
        "for module in (whybox, whybox.explainers, whybox.typing):\n    dir(module), module.__all__\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('whybox.methods.', 'whybox.explanation', 'whybox.checks', 'whybox.kernels')) "
        "and m not in ('whybox.methods.registry', 'whybox.methods.method_spec', 'whybox.methods.table_methods', 'whybox.methods.saliency_methods')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    for name in ("whybox", "whybox.explainers", "whybox.typing"):
        module = importlib.import_module(name)
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
        told = {alias.asname or alias.name for n in block.body for alias in n.names}
        assert told == set(module.__all__) - {"__version__"}, name
    saliency = {spec.run.partition(":")[2] for spec in methods("saliency")}
    assert len(saliency) == 20
    assert saliency <= set(whybox.explainers.__all__)


def test_every_public_class_of_a_map_goes_where_its_name_goes():
    from whybox.methods.registry import load, methods

    for spec in methods("saliency"):
        assert getattr(whybox.explainers, spec.run.partition(":")[2]) is load(spec.run)
