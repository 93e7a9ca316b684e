"""What is installed, and by which scripts: versions and bounds written once, extras that belong together, workflows that run what exists."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import whybox

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PUBLIC_CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
STAGES = set(re.findall(r"^(\w+)\(\) \($", CI, re.MULTILINE))
FOR_DEVELOPERS = {"dev", "docs"}


def name(path):
    return path.name


def parts(requirements):
    """The packages that requirements name, with the lowest version of each."""
    found = {}
    for requirement in requirements:
        package, _, lowest = requirement.partition(">=")
        found[package.strip().replace("_", "-")] = lowest.strip()
    return found


def archives():
    """``.ci/check_archives.py``, as a module."""
    spec = importlib.util.spec_from_file_location("check_archives", ROOT / ".ci" / "check_archives.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_written_once():
    written = PROJECT["project"]["version"]
    assert whybox.__version__ == version("whybox") == written
    said = subprocess.run([sys.executable, "-m", "whybox", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout == f"whybox {written}\n"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    spelled = re.compile(rf"""\bversion\b["']?\s*[:=]\s*["']?{re.escape(written)}\b""", re.IGNORECASE)
    places = [
        f
        for f in listed.stdout.splitlines()
        if f.endswith((".py", ".toml", ".yaml", ".yml", ".cff", ".txt")) and not f.startswith("tests/")
        if spelled.search((ROOT / f).read_text(encoding="utf-8"))
    ]
    assert places == ["pyproject.toml"]


def test_extras_belong_together():
    """``all`` has what a user may need and ``dev`` has ``all``; the lowest version of a package is the same wherever it is named."""
    for extra in ("all", "dev"):
        named = next(r for r in EXTRAS[extra] if r.startswith("whybox["))
        wanted = {"all"} if extra == "dev" else set(EXTRAS) - {"all", *FOR_DEVELOPERS}
        assert set(named.removeprefix("whybox[").removesuffix("]").split(",")) == wanted
    lowest = {}
    for requirements in (PROJECT["project"]["dependencies"], *EXTRAS.values()):
        for package, bound in parts(r for r in requirements if not r.startswith("whybox[")).items():
            assert re.fullmatch(r"[\d.]+", bound), f"{package}: a lowest version, and no other bound"
            assert lowest.setdefault(package, bound) == bound, package


def test_errors_name_extras_that_exist():
    named = set()
    for path in Path(whybox.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "MissingDependencyError":
                given = [*call.args[2:], *(k.value for k in call.keywords if k.arg == "extra")]
                named |= {e.value for e in given if isinstance(e, ast.Constant)}
    assert {"completion", "skops", "xarray"} <= named <= set(EXTRAS)


def test_pinned_versions_are_for_the_tests_alone():
    """A pin stands in the constraints, for a package that a bound in pyproject.toml leaves open."""
    pins = [r for r in (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines() if r[:1] not in "#"]
    assert pins
    for pin in pins:
        package, _, pinned = pin.partition("==")
        bound = parts(EXTRAS[package])[package]
        assert tuple(map(int, pinned.split("."))) >= tuple(map(int, bound.split(".")))
    assert CI.count("PIP_CONSTRAINT=.ci/constraints.txt") == 2
    assert "==" not in str(PROJECT["project"])


def test_classifiers_name_the_versions_that_are_tested():
    named = {c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert named == set(PUBLIC_CI["tests"]["strategy"]["matrix"]["python"])
    built = {f"3.{tag[3:-2]}" for tag in PROJECT["tool"]["cibuildwheel"]["build"]}
    assert built == named
    assert PROJECT["project"]["requires-python"] == f">={min(named, key=lambda v: int(v[2:]))}"
    assert PROJECT["tool"]["scikit-build"]["wheel"]["py-api"] == "cp312"


def test_conda_needs_what_pip_needs():
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    needs = {r.replace(" >=", ">=") for r in recipe["requirements"]["run"]}
    python = f"python{PROJECT['project']['requires-python']}"
    wanted = {r.replace("matplotlib>", "matplotlib-base>") for r in PROJECT["project"]["dependencies"]} | {python}
    assert needs == wanted
    host = {r.replace(" >=", ">=") for r in recipe["requirements"]["host"]}
    assert host == {*PROJECT["build-system"]["requires"], python, "pip"}
    assert recipe["about"]["summary"] == PROJECT["project"]["description"]
    assert recipe["about"]["license"] == PROJECT["project"]["license"]
    scripts = [f"{k} = {v}" for k, v in PROJECT["project"]["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_workflows_run_what_exists(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
        for command in [s["run"] for s in job.get("steps", ()) if "run" in s]:
            script = re.search(r"\.ci/\w+(\.py)?", command)
            assert script is None or (ROOT / script[0]).is_file()
            if command.startswith(".ci/run"):
                assert set(command.split()[1:]) <= STAGES
    assert "secrets." not in text


def test_every_stage_of_the_ci_is_run_in_public():
    commands = [s.get("run", "") for job in PUBLIC_CI.values() for s in job["steps"]]
    run = {stage for command in commands if command.startswith(".ci/run ") for stage in command.split()[1:]}
    assert run == STAGES
    refused = subprocess.run([ROOT / ".ci" / "run", "nonsense"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert all(stage in refused.stderr for stage in STAGES)


@pytest.mark.parametrize("path", FORMS, ids=name)
def test_forms_for_issues_can_be_read(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name != "config.yml":
        assert {"name", "description", "body"} <= set(form)
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert len(ids) == len(set(ids)) > 0


def test_the_citation_says_what_the_project_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["title"] == PROJECT["project"]["name"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["abstract"] == PROJECT["project"]["description"]


def test_pages_for_the_community_have_short_lines():
    for page in ("SECURITY.md", "CODE_OF_CONDUCT.md", ".github/PULL_REQUEST_TEMPLATE.md"):
        assert max(map(len, (ROOT / page).read_text(encoding="utf-8").splitlines())) <= 120, page


@pytest.fixture
def release(tmp_path):
    """A source distribution and a wheel with all that they should have, made by hand."""
    sources, written = archives().sources(), PROJECT["project"]["version"]
    (tmp_path / "dist").mkdir()
    with tarfile.open(tmp_path / "dist" / f"whybox-{written}.tar.gz", "w:gz") as sdist:
        for file in sorted(sources):
            sdist.add(ROOT / file, f"whybox-{written}/{file}")
    info = f"whybox-{written}.dist-info"
    with zipfile.ZipFile(
        tmp_path / "dist" / f"whybox-{written}-cp312-abi3-any.whl", "w", zipfile.ZIP_DEFLATED
    ) as wheel:
        for file in sorted(s for s in sources if s.startswith("src/")):
            wheel.write(ROOT / file, file.removeprefix("src/"))
        for file in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"):
            wheel.writestr(f"{info}/{file}", "")
        wheel.writestr("whybox/_native.abi3.so", b"")
    return tmp_path / "dist"


def test_what_a_build_reads_is_what_is_distributed():
    """The files that pyproject.toml puts into the source distribution are those that .ci/check_archives.py expects."""
    settings = PROJECT["tool"]["scikit-build"]["sdist"]
    assert settings["exclude"] == ["*"]
    found = {
        p.relative_to(ROOT).as_posix()
        for glob in settings["include"]
        for p in ROOT.glob(glob.lstrip("/").replace("[ch]pp", "cpp"))
    }
    found |= {p.relative_to(ROOT).as_posix() for p in ROOT.glob("native/**/*.hpp")}
    assert found == archives().sources()
    assert {"LICENSE", "src/whybox/py.typed", "src/whybox/_native.pyi", "CMakeLists.txt"} <= found
    assert not [f for f in found if f.startswith(("tests", "benchmarks", "docs", ".ci"))]
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert {f for f in re.findall(r"native/\w+/\w+\.cpp", cmake) if "tests/" + f not in cmake} <= found


def test_archives_of_a_release_are_checked(release, capsys):
    check, written = archives().main, PROJECT["project"]["version"]
    assert check(release, f"v{written}") == 0
    assert check(release, "v9.9") == 1
    with zipfile.ZipFile(next(release.glob("*.whl")), "a") as wheel:
        wheel.writestr("tests/test_stray.py", "")
        wheel.writestr("whybox/_native.cpython-311-x86_64-linux-gnu.so", b"")
        wheel.writestr("whybox/large.bin", os.urandom(archives().LARGEST))
    assert check(release) == 1
    said = capsys.readouterr().err
    for mistake in ("has tests/test_stray.py", "has 2 native modules", "more than 5,000,000", "the tag is v9.9"):
        assert mistake in said
    next(release.glob("*.tar.gz")).unlink()
    assert check(release) == 1
    assert "0 source distributions" in capsys.readouterr().err
