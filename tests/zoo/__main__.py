"""Write the table of docs/models.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import zoo

if "--write" in sys.argv:
    old = zoo.page().read_text(encoding="utf-8")
    head, tail = old.split(zoo.BEGIN)[0], old.split(zoo.END)[1]
    zoo.page().write_text(f"{head}{zoo.BEGIN}\n{zoo.table()}\n{zoo.END}{tail}", encoding="utf-8")
