"""docs/from_shap.md: its Python runs; of its calls, what is the same or differs runs, what raises raises, and so do our own calls beside them run."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import pytest

from page_code import run_page, text_of
from whybox.errors import OptionError

TEXT = text_of("docs/from_shap.md")
ROWS = re.findall(r"^\| `(.+?)` \| (?:`(.+?)` )?\| (same|differs|raises)\b[^|]*\|$", TEXT, re.MULTILINE)
LONG = re.findall(r"^- `(.+?)`;\n  `(.+?)`: (same|differs|raises)\b[^`\n]*$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def names():
    pytest.importorskip("torch")
    out = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
        patch.setattr(plt, "show", lambda: None)
        run_page("docs/from_shap.md", out)
        yield out


def test_the_table_and_the_list_below_it_are_read_whole():
    table, _, items = TEXT.split("| shap | whybox | here |")[1].split("\n\n")[:3]
    assert len(ROWS) == len(table.strip().splitlines()) - 1 > 60
    assert 2 * len(LONG) == len(items.splitlines()) > 30


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("theirs", "ours", "status"), ROWS + LONG, ids=[row[0] for row in ROWS + LONG])
def test_calls_do_what_the_page_says(names, theirs, ours, status):
    for call, raises in ((theirs, status == "raises"), (ours, False)):
        if raises:
            with pytest.raises(OptionError, match=r"not honoured here: .{15}"):
                eval(call, names)  # noqa: S307  # our own page
        elif call:
            eval(call, names)  # noqa: S307
    plt.close("all")
