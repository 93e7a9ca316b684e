"""What is in the archives of a release: ``check_archives.py FOLDER [TAG]``.

One source distribution and at least one wheel, all of the version in pyproject.toml (of which the tag is v and the version); nothing is
missing in them, nothing of the tests is in them, no wheel is larger than 5 MB.
"""

from __future__ import annotations

import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 5_000_000
NATIVE = (".so", ".pyd")


def sources() -> set[str]:
    """Return what a build reads, as paths below the root."""
    files = [p for folder in ("src", "native") for p in (ROOT / folder).rglob("*") if p.is_file()]
    kept = {p.relative_to(ROOT).as_posix() for p in files if p.suffix in (".py", ".pyi", ".typed", ".cpp", ".hpp")}
    return kept | {"CHANGELOG.md", "CITATION.cff", "CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml"}


def mistakes_of_sdist(path: Path) -> list[str]:
    """Compare a source distribution with the checkout."""
    with tarfile.open(path) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    wanted = sources()
    return [f"misses {n}" for n in sorted(wanted - found)] + [f"has {n}" for n in sorted(found - wanted)]


def mistakes_of_wheel(path: Path) -> list[str]:
    """Compare a wheel with the checkout."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    info = next(n.partition("/")[0] for n in names if n.endswith(".dist-info/METADATA"))
    package = {n for n in names if n.startswith("whybox/")}
    native = {n for n in package if n.endswith(NATIVE)}
    wanted = {n.removeprefix("src/") for n in sources() if n.startswith("src/")}
    wanted |= {f"{info}/{n}" for n in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    wrong = [f"misses {n}" for n in sorted(wanted - names)]
    wrong += [f"has {n}" for n in sorted(names - wanted - native) if "/sboms/" not in n and not n.endswith("/")]
    if len(native) != 1:
        wrong.append(f"has {len(native)} native modules: {sorted(native)}")
    if path.stat().st_size > LARGEST:
        wrong.append(f"has {path.stat().st_size:,} bytes, more than {LARGEST:,}")
    return wrong


def main(folder: Path, tag: str | None = None) -> int:
    """Print what is wrong; return the exit code."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    sdists, wheels = sorted(folder.glob("*.tar.gz")), sorted(folder.glob("*.whl"))
    wrong = [] if len(sdists) == 1 and wheels else [f"{len(sdists)} source distributions, {len(wheels)} wheels"]
    if tag is not None and tag != f"v{version}":
        wrong.append(f"the tag is {tag}, but pyproject.toml has version {version}")
    for path, compare in [*((p, mistakes_of_sdist) for p in sdists), *((p, mistakes_of_wheel) for p in wheels)]:
        if not path.name.startswith((f"whybox-{version}-", f"whybox-{version}.tar")):
            wrong.append(f"{path.name} is not of version {version}")
        mistakes = compare(path)
        wrong += [f"{path.name} {m}" for m in mistakes]
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB{'' if mistakes else ', complete'}")
    print(*wrong, sep="\n", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
