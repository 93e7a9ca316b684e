"""Files of rows: compressed, with other separators, decimals and encodings, and workbooks of Excel."""

import gzip
import sys

import numpy as np
import pandas as pd
import pytest

import zoo
from whybox.cli.main import main
from whybox.data.file_formats import TextFormat, kind_of_file, reading_text_as
from whybox.data.table_files import column_names, read_table
from whybox.errors import InputError, MissingDependencyError

ROWS = pd.DataFrame({"name": ["Zürich", "Genève"], "x": [1.5, -2.25], "n": [1, 2]})


@pytest.mark.parametrize("suffix", [".csv.gz", ".tsv.gz", ".CSV.GZ"])
def test_compressed_text_is_read(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    text = ROWS.to_csv(index=False, sep="\t" if "tsv" in suffix else ",")
    path.write_bytes(gzip.compress(text.encode()))
    assert kind_of_file(path) == suffix.lower()
    assert column_names(path) == ["name", "x", "n"]
    assert read_table(path).to_pandas().equals(ROWS)
    path.write_bytes(gzip.compress(text.encode("utf-16")))
    with pytest.raises(InputError, match="it is UTF-16; say so with --encoding utf-16"):
        read_table(path)


def test_a_compressed_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "rows.csv.gz").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(InputError, match=r"rows\.csv\.gz cannot be read"):
        read_table(tmp_path / "rows.csv.gz")


@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        (TextFormat(";", ",", "latin1"), "latin1"),
        (TextFormat("|", None, None), "utf-8"),
        (TextFormat(None, None, "utf-16"), "utf-16"),
    ],
)
def test_text_is_cut_and_coded_as_said(tmp_path, form, encoding):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS.to_csv(index=False, sep=form.separator or ",", decimal=form.decimal or "."), encoding=encoding)
    with reading_text_as(form):
        assert read_table(path).to_pandas().equals(ROWS)
        assert column_names(path) == ["name", "x", "n"]
    with pytest.raises(InputError, match="--sep|--encoding"):
        read_table(path)


def test_the_first_sheet_of_a_workbook_is_read(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in (["name", "x", "mixed"], ["a", 1, 2], ["b", 2.5, "two"], [None, None, None]):
        book.active.append(line)
    book.save(tmp_path / "rows.xlsx")
    table = read_table(tmp_path / "rows.xlsx")
    assert table.to_pydict() == {"name": ["a", "b"], "x": [1.0, 2.5], "mixed": ["2", "two"]}
    assert column_names(tmp_path / "rows.xlsx") == ["name", "x", "mixed"]
    book.active["B1"] = "name"
    book.save(tmp_path / "twice.xlsx")
    with pytest.raises(InputError, match="'name' is there twice"):
        read_table(tmp_path / "twice.xlsx")
    (tmp_path / "none.xlsx").write_text("a,b")
    with pytest.raises(InputError, match="workbook"):
        read_table(tmp_path / "none.xlsx")


def test_a_workbook_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "rows.xlsx").write_bytes(b"")
    with pytest.raises(MissingDependencyError, match="pip install openpyxl"):
        read_table(tmp_path / "rows.xlsx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("formats")
    model, rows = zoo.built("LGBMRegressor, regression")
    model.booster_.save_model(path / "model.txt")
    rows.to_parquet(path / "rows.parquet")
    rows.to_csv(path / "german.csv", index=False, sep=";", decimal=",", encoding="latin1")
    rows.to_csv(path / "rows.csv.gz", index=False)
    return path


def explain(folder, name, out, *more):
    return main(
        ["explain", str(folder / "model.txt"), str(folder / name), "-o", str(folder / out), "--no-verify", *more]
    )


def test_the_command_line_reads_them(folder, capsys):
    assert explain(folder, "rows.parquet", "a.parquet") == 0
    assert explain(folder, "german.csv", "b.parquet", "--sep", ";", "--decimal", ",", "--encoding", "latin1") == 0
    assert explain(folder, "rows.csv.gz", "c.parquet") == 0
    first, *others = (pd.read_parquet(folder / f"{name}.parquet") for name in "abc")
    assert all(np.allclose(first, other, atol=1e-12) for other in others)
    assert explain(folder, "german.csv", "d.parquet") == 3
    assert "--sep ';'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--sep", "ab"), "--sep 'ab': one character"),
        (("--sep", "§"), "--sep '§': one character"),
        (("--decimal", ";"), "--decimal ';': . or ,"),
        (("--decimal", ","), "needs another --sep"),
        (("--encoding", "klingon"), "--encoding 'klingon' is not known"),
        (("--encoding", "undefined"), "--encoding 'undefined' is not known"),
        (("--encoding", ""), "--encoding '' is not known"),
    ],
)
def test_what_is_no_format_is_refused(folder, capsys, more, words):
    assert explain(folder, "german.csv", "e.parquet", *more) == 2
    assert words in capsys.readouterr().err


def test_a_format_of_text_is_refused_where_there_is_none(folder, capsys):
    assert explain(folder, "rows.parquet", "e.parquet", "--sep", ";") == 2
    assert "there is none here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--sep", "|"), "separated by ';', but the file is cut at '|', as --sep says: say --sep ';'."),
        (("--sep", "-"), "separated by ';', but the file is cut at '-', as --sep says: say --sep ';'."),
        ((), "separated by ';', but a .csv file is cut at ',': say --sep ';' on the command line"),
    ],
)
def test_a_separator_that_does_not_fit_names_the_one_that_does(folder, capsys, more, words):
    assert explain(folder, "german.csv", "e.parquet", *more, "--encoding", "latin1") == 3
    assert words in capsys.readouterr().err


def test_a_number_in_another_notation_says_which_is_read(folder, capsys):
    """Thousands with signs between them, decimals behind a comma that was not said; and one word among numbers behind commas."""
    _, rows = zoo.built("LGBMRegressor, regression")
    name = rows.columns[0]
    german = ("--sep", ";", "--decimal", ",")
    cells = [f"{1000 + i}.{i:03},5" for i in range(len(rows))]
    for more, first, words in [
        (german, cells, "'1000.000,5' in row 0 (counted from 0)"),
        (
            german,
            [c.replace(".", "") for c in cells[:-1]] + ["oops"],
            f"'oops' in row {len(rows) - 1} (counted from 0)",
        ),
        (
            german[:2],
            [c.replace(".", "") for c in cells],
            "with '.' before decimals (--decimal) and nothing between thousands",
        ),
    ]:
        rows.assign(**{name: first}).to_csv(
            folder / "cells.csv", index=False, sep=";", decimal=more[-1].replace(";", ".")
        )
        assert explain(folder, "cells.csv", "e.parquet", *more) == 3
        told = capsys.readouterr().err
        assert words in told
        assert "is not a number" in told
