"""Print the lowest versions that pyproject.toml allows of what whybox depends on, as constraints for pip."""

from __future__ import annotations

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
print(*(requirement.replace(">=", "==") for requirement in project["dependencies"]), sep="\n")
