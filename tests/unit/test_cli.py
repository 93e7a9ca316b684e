from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import whybox as wb
import zoo
from whybox.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    model, rows = zoo.built("XGBClassifier, binary:logistic")
    model.save_model(path / "model.json")
    rows.to_csv(path / "rows.csv", index=False)
    rows.assign(id=[f"p{i}" for i in range(len(rows))], truth=zoo.binary()).to_parquet(path / "rows.parquet")
    zoo.built("LGBMRegressor, regression")[0].booster_.save_model(path / "model.txt")
    zoo.built("CatBoostClassifier, MultiClass")[0].save_model(str(path / "model.cbm"))
    zoo.built("LGBMRegressor, categories")[0].booster_.save_model(path / "cats.txt")
    zoo.categories().to_csv(path / "cats.csv", index=False)
    joblib.dump(zoo.built("RandomForestRegressor")[0], path / "forest.joblib")
    (path / "forest.pkl").write_bytes(pickle.dumps(zoo.built("RandomForestRegressor")[0]))
    return path


def run(folder, *arguments):
    return main([a.replace("@", f"{folder}/") if a.startswith("@") else a for a in arguments])


def test_explain_to_parquet(folder, capsys):
    assert run(folder, "explain", "@model.json", "@rows.parquet", "-o", "@out.parquet", "--id", "id") == 0
    said = capsys.readouterr().out
    assert "442 rows x 5 features, in log-odds" in said
    assert "XGBoost's own predict of the file, in a process of its own" in said
    table = pd.read_parquet(folder / "out.parquet")
    assert table.columns.tolist() == ["id", *zoo.COLUMNS, "base_value", "prediction"]
    model, rows = zoo.built("XGBClassifier, binary:logistic")
    assert np.array_equal(table[zoo.COLUMNS], wb.explain(model, rows).values)
    meta = json.loads(pq.read_metadata(folder / "out.parquet").metadata[b"whybox"])
    assert meta["evidence"]["rows"] == 442


@pytest.mark.parametrize(
    ("model", "data", "more"),
    [
        ("@model.txt", "@rows.csv", ["--background", "@rows.csv"]),
        ("@model.cbm", "@rows.csv", ["--output", "1"]),
        ("@cats.txt", "@cats.csv", []),
        ("@forest.joblib", "@rows.csv", ["--trust-pickle", "--player", "body=bmi,bp"]),
        ("@model.json", "@rows.csv", ["--output", "probability", "--background", "@rows.csv", "--index", "banzhaf"]),
        ("@model.json", "@rows.csv", ["--order", "2", "--no-verify"]),
    ],
)
@pytest.mark.parametrize("out", ["@x.csv", "@x.arrow"])
def test_explain_other_files(folder, model, data, more, out, capsys):
    if "banzhaf" in more:
        pd.read_csv(folder / "rows.csv")[:20].to_csv(folder / "few.csv", index=False)
        data, more = "@few.csv", [m if m != "@rows.csv" else "@few.csv" for m in more]
    assert run(folder, "explain", model, data, "-o", out, *more) == 0
    assert (folder / out[1:]).stat().st_size > 1000
    assert not list(folder.glob("*.part"))


def test_report(folder, capsys):
    assert (
        run(folder, "report", "@model.json", "@rows.parquet", "-o", "@r.html", "--target", "truth", "--title", "Mine")
        == 0
    )
    assert "<title>Mine</title>" in (folder / "r.html").read_text(encoding="utf-8")
    assert "Columns that the model does not use were left out: id, truth" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["explain", "@forest.pkl", "@rows.csv", "-o", "@y.csv"], 4, "--trust-pickle"),
        (["explain", "@forest.joblib", "@rows.csv", "-o", "@y.csv"], 4, "RandomForestRegressor"),
        (["explain", "@nothing.json", "@rows.csv", "-o", "@y.csv"], 4, "no file"),
        (["explain", "@rows.csv", "@rows.csv", "-o", "@y.csv"], 4, "none of the model files"),
        (["explain", "@model.json", "@nothing.csv", "-o", "@y.csv"], 3, "no file"),
        (["explain", "@model.json", "@model.json", "-o", "@y.csv"], 3, "tables are read from"),
        (["explain", "@model.json", "@bad.csv", "-o", "@y.csv"], 3, "lacks column 'bmi'"),
        (["explain", "@model.json", "@text.csv", "-o", "@y.csv"], 3, "column 'bmi' holds text"),
        (["explain", "@model.json", "@empty.csv", "-o", "@y.csv"], 3, "no rows"),
        (["explain", "@model.json", "@junk.parquet", "-o", "@y.csv"], 3, "cannot be read as a table"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.docx"], 3, "results are written to"),
        (["explain", "@model.json", "@rows.csv", "-o", "@no/y.csv"], 3, "does not exist"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--output", "2"], 2, "output='2'"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--output", "probability"], 2, "background"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--player", "x"], 2, "NAME=COLUMN"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--id", "nope"], 3, "--id 'nope'"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--index", "x"], 2, "index='x'"),
        (["report", "@model.json", "@rows.csv", "-o", "@y.pdf"], 2, ".html file"),
        (["report", "@model.json", "@rows.csv", "-o", "@y.html", "--target", "y"], 2, "target='y'"),
    ],
)
def test_errors_are_one_line_with_a_code_and_nothing_written(folder, capsys, arguments, code, words):
    rows = zoo.X()
    rows.drop(columns="bmi").to_csv(folder / "bad.csv", index=False)
    rows.assign(bmi="heavy").to_csv(folder / "text.csv", index=False)
    rows[:0].to_csv(folder / "empty.csv", index=False)
    (folder / "junk.parquet").write_bytes(b"PAR1 nonsense")
    before = {p.name for p in folder.iterdir()}
    assert run(folder, *arguments) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.startswith("whybox: ")
    assert "Traceback" not in said.err
    assert {p.name for p in folder.iterdir()} == before


def test_demo_and_help(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "d")]) == 0
    assert {p.name for p in (tmp_path / "d").iterdir()} == {"report.html", "attributions.parquet"}
    assert str(tmp_path / "d" / "report.html") in capsys.readouterr().out
    assert main([]) == 2
    for command in ([], ["explain"], ["report"], ["demo"]):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--help"])
        assert stop.value.code == 0
    assert "exit codes" in capsys.readouterr().out


def test_streams_parquet_in_batches(folder, monkeypatch, capsys):
    monkeypatch.setattr("whybox.tables.BATCH", 100)
    assert run(folder, "explain", "@model.json", "@rows.parquet", "-o", "@batches.parquet") == 0
    assert pq.read_metadata(folder / "batches.parquet").num_row_groups == 5
    monkeypatch.undo()
    assert run(folder, "explain", "@model.json", "@rows.parquet", "-o", "@whole.parquet") == 0
    assert pd.read_parquet(folder / "batches.parquet").equals(pd.read_parquet(folder / "whole.parquet"))


def test_interrupted_leaves_nothing(folder, tmp_path):
    big = pd.concat([zoo.X()] * 400)
    big.to_parquet(tmp_path / "big.parquet")
    program = [
        sys.executable,
        "-m",
        "whybox.cli",
        "explain",
        str(folder / "model.json"),
        str(tmp_path / "big.parquet"),
        "-o",
        str(tmp_path / "o.parquet"),
        "--background",
        str(folder / "rows.csv"),
        "--no-verify",
    ]
    process = subprocess.Popen(
        program, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    for _ in range(200):
        time.sleep(0.1)
        if list(tmp_path.glob(".o.parquet*")):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"interrupted; nothing was written" in err
    assert time.monotonic() - began < 5
    assert [p.name for p in tmp_path.iterdir()] == ["big.parquet"]
