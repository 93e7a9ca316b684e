from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import whybox as wb
import zoo
from estimated import estimated
from interrupts import interrupt, wait_until
from whybox.cli.main import build_parser, main
from whybox.errors import ModelMismatchError
from whybox.explanation.errors_of_values import median_error


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


def test_errors_of_attributions_are_written_where_they_are_asked_for(folder, capsys, monkeypatch):
    """Without the option a note says how large they are; exact ones are 0, so that the columns do not depend on the rows."""
    from whybox.methods.shap.explainers import TreeShap

    explain = ["explain", "@model.json", "@rows.parquet", "-o", "@errors.parquet"]
    names = [f"{c}_std_error" for c in zoo.COLUMNS]
    assert run(folder, *explain, "--errors") == 0
    assert "standard error" not in capsys.readouterr().out
    assert not pd.read_parquet(folder / "errors.parquet")[names].to_numpy().any()

    answer = TreeShap.__call__
    monkeypatch.setattr(TreeShap, "__call__", lambda self, rows, **more: estimated(answer(self, rows, **more)))
    assert run(folder, *explain) == 0
    said = capsys.readouterr().out
    model, rows = zoo.built("XGBClassifier, binary:logistic")
    e = estimated(wb.explain(model, rows))
    assert f"(median standard error {median_error(e):.2g}; --errors writes the errors)" in said
    assert not {*names} & {*pd.read_parquet(folder / "errors.parquet")}
    assert run(folder, *explain, "--errors", "--id", "id") == 0
    said = capsys.readouterr().out
    assert f"(median standard error {median_error(e):.2g})" in said
    table = pd.read_parquet(folder / "errors.parquet")
    assert np.array_equal(table[names], e.std_error)
    assert table.columns[-2:].tolist() == ["converged", "model_evals"]
    assert run(folder, *explain, "--layout", "long") == 0
    assert "--errors" not in capsys.readouterr().out
    assert np.array_equal(pd.read_parquet(folder / "errors.parquet")["std_error"], e.std_error.reshape(-1))


@pytest.mark.parametrize(
    ("model", "data", "more"),
    [
        ("@model.txt", "@rows.csv", ["--background", "@rows.csv"]),
        ("@model.cbm", "@rows.csv", ["--output", "1"]),
        ("@cats.txt", "@cats.csv", []),
        ("@forest.joblib", "@rows.csv", ["--trust-pickle", "--player", "body=bmi,bp"]),
        ("@model.json", "@rows.csv", ["--scale", "probability", "--background", "@rows.csv", "--index", "banzhaf"]),
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
        run(folder, "report", "@model.json", "@rows.parquet", "-o", "@r.html", "--y", "truth", "--title", "Mine") == 0
    )
    assert "<title>Mine</title>" in (folder / "r.html").read_text(encoding="utf-8")
    assert "Columns that the model does not use were left out: id." in capsys.readouterr().out


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
        (
            ["explain", "@model.json", "@rows.csv", "-o", "@y.docx"],
            2,
            "the result is a file of type .parquet, .pq, .csv",
        ),
        (["explain", "@model.json", "@rows.csv", "-o", "@no/y.csv"], 3, "does not exist"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--output", "2"], 2, "--output 2"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--scale", "probability"], 2, "--background FILE"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--output", "raw"], 2, "write --scale raw"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--player", "x"], 2, "NAME=COLUMN"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--id", "nope"], 2, "--id nope"),
        (["explain", "@model.json", "@rows.csv", "-o", "@y.csv", "--index", "x"], 2, "--index x"),
        (["report", "@model.json", "@rows.csv", "-o", "@y.pdf"], 2, "a file of type .html, .htm"),
        (["report", "@model.json", "@rows.csv", "-o", "@y.html", "--y", "y"], 2, "--y y"),
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


def test_a_file_that_its_library_reads_otherwise_has_a_code_of_its_own(folder, capsys, monkeypatch):
    def differs(*_, **__):
        raise ModelMismatchError("our reading gives 1 where its own predict gives 2")

    before = {p.name for p in folder.iterdir()}
    monkeypatch.setattr("whybox.adapters.files.load.verify_trees", differs)
    assert run(folder, "explain", "@model.json", "@rows.csv", "-o", "@y.csv") == 5
    assert "gives 2" in capsys.readouterr().err
    assert {p.name for p in folder.iterdir()} == before


def test_results_never_overwrite_what_they_are_made_from(folder, tmp_path, capsys):
    for name in ("rows.csv", "rows.parquet", "model.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "link.csv").symlink_to(tmp_path / "rows.csv")
    (tmp_path / "page.html").symlink_to(tmp_path / "rows.csv")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    m, csv, parquet = (str(tmp_path / n) for n in ("model.json", "rows.csv", "rows.parquet"))
    for arguments in (
        ["explain", m, csv, "-o", csv],
        ["explain", m, csv, "-o", str(tmp_path / "." / "link.csv")],
        ["explain", m, parquet, "-o", f"{tmp_path}/../{tmp_path.name}/rows.parquet"],
        ["explain", m, csv, "--background", parquet, "-o", parquet],
        ["report", m, csv, "-o", str(tmp_path / "page.html")],
    ):
        assert main(arguments) == 2
        assert "is the same file as" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_csv_that_is_not_what_it_seems(folder, tmp_path, capsys):
    rows = zoo.X()[:40].round(3)
    good = rows.to_csv(index=False).splitlines()
    ragged = [*good[:20], "", good[20] + ",1", *good[21:]]
    odd = rows.astype({"bmi": object})
    odd.iloc[30, rows.columns.get_loc("bmi")] = "oops"
    cases = {
        "latin.csv": (
            rows.assign(city="Köln").to_csv(index=False).encode("latin-1"),
            "column 'city' is not UTF-8; say what it is",
        ),
        "header.csv": (
            "\n".join(["größe," + good[0], *("1," + g for g in good[1:])]).encode("latin-1"),
            "is not UTF-8; say what it is",
        ),
        "wide.csv": ("\n".join(good).encode("utf-16"), "it is UTF-16; say so with --encoding utf-16"),
        "semi.csv": ("\n".join(good).replace(",", ";").encode(), "separated by ';'"),
        "ragged.csv": ("\n".join(ragged).encode(), "line 22 has 6 values where the first line names 5 columns"),
        "odd.csv": (
            odd.to_csv(index=False).encode(),
            "'oops' in row 30 (counted from 0) of column 'bmi' of odd.csv is not a number",
        ),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert (
            run(folder, "explain", "@model.json", str(tmp_path / name), "-o", str(tmp_path / "o.csv"), "--no-verify")
            == 3
        )
        assert words in capsys.readouterr().err


def test_rows_in_messages_are_rows_of_the_file(folder, tmp_path, monkeypatch, capsys):
    rows = zoo.X()
    rows.iloc[350, 0] = np.inf
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.setattr("whybox.data.table_files.ROWS_PER_BATCH", 100)
    monkeypatch.setattr("whybox.methods.shap.result.ROWS_PER_BLOCK", 30)
    for name in ("rows.parquet", "rows.csv"):
        assert (
            run(folder, "explain", "@model.json", str(tmp_path / name), "-o", str(tmp_path / "o.csv"), "--no-verify")
            == 3
        )
        assert f"(row 350 of {name}, counted from 0)" in capsys.readouterr().err
    with pytest.raises(wb.errors.NonFiniteError, match=r"\(row 350\)"):
        wb.explain(folder / "model.json", rows)


def test_a_pipeline_that_selects_columns_by_name(tmp_path):
    import pyarrow as pa
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = zoo.X()[:200].assign(city=np.resize(np.array(["Rom", "Bern", None], dtype=object), 200))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    read = pd.read_csv(tmp_path / "rows.csv")
    steps = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(steps, RandomForestRegressor(10, max_depth=4, random_state=0)).fit(
        read, zoo.y()[:200] + 90 * read.city.isna()
    )
    joblib.dump(model, tmp_path / "pipe.joblib")
    expected = wb.explain(model, read)
    assert np.abs(expected[:, "city"].values).max() > 1
    frame = pa.Table.from_pandas(read)
    frame = frame.set_column(frame.column_names.index("city"), "city", frame["city"].dictionary_encode())
    assert np.array_equal(wb.explain(model, frame).values, expected.values)
    out = tmp_path / "o.parquet"
    assert (
        main(["explain", str(tmp_path / "pipe.joblib"), str(tmp_path / "rows.csv"), "-o", str(out), "--trust-pickle"])
        == 0
    )
    assert np.array_equal(pd.read_parquet(out)[rows.columns], expected.values)


def test_demo_and_help(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "d")]) == 0
    assert {p.name for p in (tmp_path / "d").iterdir()} == {"report.html", "attributions.parquet"}
    assert str(tmp_path / "d" / "report.html") in capsys.readouterr().out
    assert main([]) == 2
    planned = ["explain", "effects", "importance", "lime", "anchors", "saliency"]
    for command in ([], *([name] for name in build_parser()[1]), *(["plan", name] for name in planned)):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--help"])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        assert "exit codes" in shown
        assert max(map(len, shown.splitlines())) <= 120


def test_streams_parquet_in_batches(folder, monkeypatch, capsys):
    monkeypatch.setattr("whybox.data.table_files.ROWS_PER_BATCH", 100)
    assert run(folder, "explain", "@model.json", "@rows.parquet", "-o", "@batches.parquet") == 0
    assert pq.read_metadata(folder / "batches.parquet").num_row_groups == 5
    monkeypatch.undo()
    assert run(folder, "explain", "@model.json", "@rows.parquet", "-o", "@whole.parquet") == 0
    assert pd.read_parquet(folder / "batches.parquet").equals(pd.read_parquet(folder / "whole.parquet"))


def test_interrupted_leaves_nothing(folder, tmp_path):
    big = pd.concat([zoo.X()] * 4000)
    big.to_parquet(tmp_path / "big.parquet")
    program = [
        sys.executable,
        "-m",
        "whybox.cli.main",
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
    wait_until(process, lambda: any(tmp_path.glob(".o.parquet*")))
    err, seconds = interrupt(process)
    assert process.returncode == 130, err
    assert b"interrupted; nothing was written" in err
    assert seconds < 5
    assert [p.name for p in tmp_path.iterdir()] == ["big.parquet"]


def test_output_takes_the_label_of_a_class(tmp_path, capsys):
    """What is typed is a label, never a position: classes -1, 0 and 3."""
    from catboost import CatBoostClassifier

    rows = zoo.X()[:120]
    classes = np.array([-1, 0, 3])[np.arange(120) % 3]
    model = CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False).fit(rows, classes)
    model.save_model(str(tmp_path / "m.json"), format="json")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    raw = model.predict(rows, prediction_type="RawFormulaVal")
    for typed, column in (("-1", 0), ("0", 1), ("3", 2), ("0.0", 1)):
        assert run(tmp_path, "explain", "@m.json", "@rows.csv", "-o", "@out.parquet", "--output", typed) == 0
        assert np.allclose(pd.read_parquet(tmp_path / "out.parquet")["prediction"], raw[:, column])
    for verb in ("explain", "effects"):
        assert run(tmp_path, verb, "@m.json", "@rows.csv", "-o", "@out.parquet", "--output", "2") == 2
        assert "--output 2 is not an output of this model. Known: '-1', '0', '3'" in capsys.readouterr().err


def test_max_evals_is_about_all_rows_of_the_file(tmp_path, monkeypatch, capsys):
    """Parts of a large file that would be allowed one by one are not allowed together."""
    from sklearn.ensemble import GradientBoostingClassifier

    from whybox.data import table_files

    X = zoo.X()[["bmi", "bp", "s5"]]
    joblib.dump(GradientBoostingClassifier(n_estimators=2).fit(X, zoo.y() > zoo.y().mean()), tmp_path / "m.joblib")
    X[:40].to_csv(tmp_path / "rows.csv", index=False)
    X[:40].to_parquet(tmp_path / "rows.parquet")
    X[:5].to_csv(tmp_path / "background.csv", index=False)
    monkeypatch.setattr(table_files, "ROWS_PER_BATCH", 10)
    for rows in ("rows.csv", "rows.parquet"):
        command = [
            *("explain", f"{tmp_path}/m.joblib", f"{tmp_path}/{rows}", "-o", f"{tmp_path}/out.csv", "--trust-pickle"),
            *(
                "--background",
                f"{tmp_path}/background.csv",
                "--scale",
                "probability",
                "--method",
                "exact",
                "--max-evals",
            ),
        ]
        assert main([*command, "1599"]) == 2
        assert "needs 1,600 predictions (40 rows" in capsys.readouterr().err
        assert not (tmp_path / "out.csv").exists()
        assert main([*command, "1600"]) == 0
        (tmp_path / "out.csv").unlink()
