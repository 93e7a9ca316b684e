"""The size and the names of the code: files, functions, import cycles, one-word names. Other packages are measured the same way.

    python benchmarks/anatomy.py                     whybox, as a Markdown table
    python benchmarks/anatomy.py FOLDER ...          packages in these folders, a column each
    python benchmarks/anatomy.py FOLDER --names      also every definition of one word, by file

- lines: all lines of the Python files, with comments and blank ones. Folders called `tests` are left out.
- longest function: from its `def` to its end, the docstring included.
- files in import cycles: all imports count, also those inside functions and under TYPE_CHECKING.
- one-word names: functions, methods, classes, constants of modules, fields of classes; leading underscores do not count, nor do names like `__init__`.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

KINDS = ("function", "method", "class", "constant", "field")
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")


@dataclass(frozen=True)
class Definition:
    """One name that a file defines."""

    name: str
    kind: str
    file: Path

    @property
    def is_one_word(self) -> bool:
        return sum(len(WORD.findall(part)) for part in self.name.split("_")) <= 1


class Package:
    """A folder of Python files, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [path for path in sorted(folder.rglob("*.py")) if "tests" not in path.relative_to(folder).parts]
        self.texts = {path: path.read_text(encoding="utf-8") for path in paths}
        self.trees = {path: ast.parse(text) for path, text in self.texts.items()}
        self.modules = {self._module_name(path): path for path in self.texts}
        self.compiled = {self._module_name(path) for path in folder.rglob("*.pyi")} - set(
            self.modules
        )  # by their stubs

    def _module_name(self, path: Path) -> str:
        parts = (self.folder.name, *path.relative_to(self.folder).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def lines(self) -> list[int]:
        """Lines of each file."""
        return [len(text.splitlines()) for text in self.texts.values()]

    @cached_property
    def function_lengths(self) -> list[int]:
        """Lines of each function and method."""
        functions = (n for tree in self.trees.values() for n in ast.walk(tree) if _is_function(n))
        return [function.end_lineno - function.lineno + 1 for function in functions]  # type: ignore[attr-defined]

    @cached_property
    def definitions(self) -> list[Definition]:
        """Every name that the package defines, but for those with two underscores on either side."""
        return [
            Definition(name, kind, path)
            for path, tree in self.trees.items()
            for name, kind in _definitions(tree, "module")
            if not (name.startswith("__") and name.endswith("__"))
        ]

    def imports(self, path: Path) -> set[Path]:
        """The files of this package that a file imports, anywhere in it."""
        module = self._module_name(path)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found: set[Path] = set()
        for node in ast.walk(self.trees[path]):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = package.rsplit(".", node.level - 1)[0] if node.level else ""
                origin = ".".join(part for part in (above, node.module) if part)
                submodules = [f"{origin}.{alias.name}" for alias in node.names]
                names = [name if name in self.modules else origin for name in submodules if name not in self.compiled]
            else:
                continue
            found.update(self.modules[name] for name in names if name in self.modules)
        return found - {path}

    @cached_property
    def files_in_cycles(self) -> int:
        """Files that reach themselves by imports."""
        imports = {path: self.imports(path) for path in self.texts}
        return sum(path in _reachable(imports, imports[path]) for path in imports)


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _definitions(node: ast.AST, scope: str) -> Iterator[tuple[str, str]]:
    """(name, kind) of what is defined below a node; scope: what encloses it, "module", "class" or "function"."""
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child.name, "method" if scope == "class" else "function"
            inner = "function"
        elif isinstance(child, ast.ClassDef):
            yield child.name, "class"
            inner = "class"
        elif isinstance(child, (ast.Assign, ast.AnnAssign)) and scope != "function":
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            kind = "constant" if scope == "module" else "field"
            yield from ((target.id, kind) for target in targets if isinstance(target, ast.Name))
        if not isinstance(child, ast.Lambda):
            yield from _definitions(child, inner)


def _reachable(edges: dict[Path, set[Path]], starts: set[Path]) -> set[Path]:
    reached, waiting = set(starts), list(starts)
    while waiting:
        new = edges[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def table(packages: list[Package]) -> list[list[str]]:
    """The measures, a line each: name, then the number for each package."""

    def line(name: str, *numbers: str) -> list[str]:
        return [name, *numbers]

    def share_of_one_word(package: Package, kind: str | None = None) -> str:
        counted = [d for d in package.definitions if kind in (None, d.kind)]
        return f"{100 * sum(d.is_one_word for d in counted) / max(len(counted), 1):.1f} %"

    def name_length(package: Package) -> str:
        return f"{median(len(d.name.strip('_')) for d in package.definitions):g}"

    def longest(package: Package) -> str:
        return f"{max(package.function_lengths)}; {sum(n > 100 for n in package.function_lengths)}"

    return [
        line("files / lines", *(f"{len(p.lines):,} / {sum(p.lines):,}" for p in packages)),
        line("median / largest file", *(f"{median(p.lines):g} / {max(p.lines):,}" for p in packages)),
        line("longest function; over 100 lines", *(longest(p) for p in packages)),
        line("files in import cycles", *(f"{p.files_in_cycles}" for p in packages)),
        line("names", *(f"{len(p.definitions):,}" for p in packages)),
        line("names of one word", *(share_of_one_word(p) for p in packages)),
        *(line(f"- of those that name a {kind}", *(share_of_one_word(p, kind) for p in packages)) for kind in KINDS),
        line("median name length", *(name_length(p) for p in packages)),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own = Path(__file__).resolve().parents[1] / "src" / "whybox"
    parser.add_argument("folders", nargs="*", type=Path, default=[own], metavar="FOLDER")
    parser.add_argument("--names", action="store_true", help="list the definitions of one word, by file")
    args = parser.parse_args()
    packages = [Package(folder.resolve()) for folder in args.folders]
    head = ["", *(p.folder.name for p in packages)]
    for cells in (head, ["---"] * len(head), *table(packages)):
        print("| " + " | ".join(cells) + " |")
    if args.names:
        for package in packages:
            by_file = Counter((d.file, d.name) for d in package.definitions if d.is_one_word)
            for path in package.texts:
                names = [name for file, name in by_file if file == path]
                if names:
                    print(f"{path.relative_to(package.folder)}: {' '.join(names)}")


if __name__ == "__main__":
    main()
