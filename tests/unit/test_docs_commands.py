"""Every command line of whybox on the pages runs, on small files of the names that it has; a line that cannot is listed with the reason."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

import page_files
from page_code import EVERY_PAGE, code_lines, commands_of
from whybox.cli.main import build_parser, main

WRITERS = {
    "completion": None,
    "--target price": page_files.write_prices,
    "pipeline.joblib": page_files.write_reviews,
    "image=scans": page_files.write_scans,
    "shop.pt2": page_files.write_shop,
    "network.pt2": page_files.write_pictures,
    "": page_files.write_customers,
}  # part of a line -> what writes the files that it names; the first that fits
NOT_RUN: dict[str, str] = {}  # line -> why it cannot run here
NEEDS = {"pt2": "torch", "completion": "shtab"}
CODES = {"check": {0, 6, 7}}  # a check of a network that has learned nothing may fail, or be unable to tell
LINES = {shlex.join(words): words for page in EVERY_PAGE for words in commands_of(page)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders with the files of each writer, filled when they are first asked for."""
    filled = {}

    def folder(writer):
        if writer not in filled:
            into = tmp_path_factory.mktemp("files")
            if writer is not None:
                writer(into)
            filled[writer] = into
        return filled[writer]

    return folder


@pytest.mark.parametrize("line", [line for line in LINES if line not in NOT_RUN], ids=str)
@pytest.mark.usefixtures("unwritten_pictures")
def test_a_command_of_the_pages_runs(line, folders, tmp_path, monkeypatch, capsys):
    for part, package in NEEDS.items():
        if part in line:
            pytest.importorskip(package)
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
    words = LINES[line]
    shutil.copytree(folders(next(w for part, w in WRITERS.items() if part in line)), tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    words, redirected = (words[: words.index(">")], True) if ">" in words else (words, False)
    before = {p: p.stat().st_mtime_ns for p in Path().iterdir()}
    code = main(words)
    said = capsys.readouterr()
    assert code in CODES.get(words[0], {0}), said.err
    if "-o" in words:
        out = Path(words[words.index("-o") + 1])
        assert out.stat().st_mtime_ns != before.get(out)
    else:
        assert said.out.strip()
    if redirected:
        assert "whybox" in said.out


def test_every_line_is_run_or_listed():
    """Also one behind a prompt or another command is found here: it is to be written as the others."""
    assert len(LINES) > 40
    assert set(NOT_RUN) <= set(LINES)
    commands = "|".join(build_parser()[1])
    for page in EVERY_PAGE:
        named = [
            line
            for language, line in code_lines(page)
            if language != "python" and re.search(rf"(?<![`\w])whybox +({commands})\b", line)
        ]
        assert len(named) == len(commands_of(page)), page
