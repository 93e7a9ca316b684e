"""``whybox anchors``: rules in a file or as lines, and mistakes that are named."""

from __future__ import annotations

import json
from dataclasses import fields

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.svm import SVC

import whybox as wb
import zoo
from whybox.cli.anchors_output import anchors_lines
from whybox.cli.main import build_parser, main
from whybox.methods.anchors.options import AnchorsOptions
from whybox.models.registry import as_model

COMMON = ("@model.txt", "@rows.csv", "--background", "@train.parquet", "--spot-checks", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("anchors")
    model, rows = zoo.built("LGBMClassifier, multiclass")
    model.booster_.save_model(path / "model.txt")
    regression, of_regression = zoo.built("LGBMRegressor, regression")
    regression.booster_.save_model(path / "regression.txt")
    of_regression[:40].to_csv(path / "others.csv", index=False)
    rows[40:52].to_csv(path / "rows.csv", index=False)
    rows[:40].assign(w=np.linspace(1, 2, 40)).to_parquet(path / "weighted.parquet")
    rows[:40].to_parquet(path / "train.parquet")
    joblib.dump(SVC(C=10).fit(rows.to_numpy(float), rows.iloc[:, 0] > rows.iloc[:, 0].median()), path / "svc.joblib")
    return path


def run(folder, *arguments):
    words = [a.replace("@", f"{folder}/") if a.startswith("@") else a for a in arguments]
    return main(["anchors", *words, "--no-verify"])


def data(folder):
    model = as_model(folder / "model.txt", verify=False)
    return model, pd.read_csv(folder / "rows.csv"), pd.read_parquet(folder / "train.parquet")


def found(folder, *more, common=COMMON):
    assert run(folder, *common, "--rows", "0-1", "-o", "@o.whybox", *more) == 0
    return wb.load(folder / "o.whybox")


def same(one, other):
    assert one.extras["rule"][1].tolist() == other.extras["rule"][1].tolist()
    np.testing.assert_array_equal(one.extras["precision_interval"][1], other.extras["precision_interval"][1])


def test_a_file_has_one_line_a_row_with_the_evidence(folder, capsys):
    assert run(folder, *COMMON, "--rows", "3,1", "-o", "@out.parquet") == 0
    model, rows, background = data(folder)
    e = wb.anchors(model, rows.iloc[[3, 1]], background)
    table = pq.read_table(folder / "out.parquet")
    assert table.column_names[:4] == ["row", "rule", "label", "precision"]
    assert table["row"].to_pylist() == [3, 1]
    assert table["rule"].to_pylist() == e.extras["rule"][1].tolist()
    np.testing.assert_array_equal(table["precision_interval_low"], e.extras["precision_interval"][1][:, 0])
    about = json.loads(pq.read_metadata(folder / "out.parquet").metadata[b"whybox"])
    assert about["kind"] == "rule"
    assert about["evidence"]["method_id"] == "anchors.anchors"
    certified = int(e.extras["certified"][1].sum())
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{folder / 'out.parquet'}: Anchors: 2 of 12 rows, {certified} with a certified rule"


def test_without_a_file_the_first_rows_are_printed(folder, capsys):
    assert run(folder, *COMMON) == 0
    printed = capsys.readouterr().out
    model, rows, background = data(folder)
    e = wb.anchors(model, rows[:3], background)
    assert printed.startswith("Anchors: 3 of 12 rows, ")
    for line in anchors_lines(e):
        assert line in printed
    assert "row 0: predicted " in printed
    assert "coverage" in printed
    assert "and 9 more rows; -o FILE explains and writes all" in printed


def test_a_rule_that_is_not_certified_says_so(folder, capsys):
    assert run(folder, *COMMON, "--rows", "0", "--precision", "0.9999") == 0
    printed = capsys.readouterr().out
    assert ", 0 with a certified rule" in printed
    assert "not certified: the lower bound" in printed


def test_options_reach_the_method(folder):
    model, rows, background = data(folder)
    weights = np.linspace(1, 2, 40)
    name = background.columns[0]
    edge = float(np.round(background[name].median(), 2))

    def expected(**options):
        return wb.anchors(model, rows[:2], background, **options)

    same(found(folder, "--discretizer", "decile"), expected(discretizer="decile"))
    same(found(folder, "--discretizer", f"{name}={edge}"), expected(discretizer={name: [edge]}))
    limits = {"precision": 0.8, "level": 0.9, "seed": 3}
    same(found(folder, "--precision", "0.8", "--level", "0.9", "--seed", "3"), expected(**limits))
    pair = [*background.columns[:2]]
    same(found(folder, "--player", f"both={','.join(pair)}"), expected(players={"both": pair}))
    same(found(folder, "--max-size", "1", "--max-evals", "4000"), expected(max_size=1, max_evals=4_000))
    common = ("@model.txt", "@rows.csv", "--background", "@weighted.parquet")
    weighted = found(folder, "--background-weight", "w", common=common)
    same(weighted, expected(background_weight=weights))
    label = str(expected().extras["label"][1][0])
    of_class = found(folder, "--output", label)
    assert set(of_class.extras["label"][1]) <= {label, f"not {label}"}


def test_a_classifier_that_is_not_read_is_evaluated(folder, capsys):
    arguments = ("@svc.joblib", *COMMON[1:], "--trust-pickle", "--rows", "0")
    assert run(folder, *arguments) == 0
    assert "row 0: predicted " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("@model.txt", "@rows.csv"), 2, "the following arguments are required: --background"),
        ((*COMMON, "--rows", "5-2"), 2, "--rows 5-2: write positions counted from 0, like 7, 0-9 or 0-9,20."),
        ((*COMMON, "--rows", "12"), 3, "--rows 12: there is no row 12; the last of 12 rows is 11."),
        ((*COMMON, "--precision", "1"), 2, "--precision 1.0 must lie between 0 and 1"),
        ((*COMMON, "--level", "95"), 2, "--level 95.0"),
        ((*COMMON, "--discretizer", "entropy"), 2, "--discretizer entropy is not known. Name one, or give edges, COLUMN=EDGE,EDGE."),
        ((*COMMON, "--discretizer", "none"), 2, "--discretizer none is not known."),
        ((*COMMON, "--discretizer", "zz=3"), 2, "there is no column 'zz'"),
        ((*COMMON, "--output", "zz"), 2, "--output zz is not a class of this model."),
        ((*COMMON, "--max-evals", "500"), 2, "anchors take at least 640 predictions"),
        ((*COMMON, "--background-weight", "zz"), 2, "--background-weight zz is not a column of"),
        ((*COMMON, "-o", "@train.parquet"), 2, "is the same file as --background"),
        ((*COMMON, "-o", "@out.html"), 2, "the result is a file of type"),
        (("@regression.txt", "@others.csv", "--background", "@others.csv"), 4, "this model gives one number a row. Pass a classifier"),
    ],
)  # fmt: skip
def test_mistakes_are_named(folder, capsys, arguments, code, words):
    assert run(folder, *arguments) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_every_option_of_the_method_is_one_of_the_command():
    command = build_parser()[1]["anchors"].filled()
    other = {"response_method": None, "players": "--player"}
    for field in fields(AnchorsOptions):
        name = other.get(field.name, "--" + field.name.replace("_", "-"))
        assert name is None or command.knows(name), field.name


def test_help_says_what_a_rule_is_and_lists_the_method(capsys):
    with pytest.raises(SystemExit):
        main(["anchors", "--help"])
    printed = capsys.readouterr().out
    assert "keeps" in printed
    assert "a rule of few conditions" in printed
    assert "--precision" in printed


def test_a_plan_says_what_the_command_will_take(folder, capsys):
    words = [a.replace("@", f"{folder}/") for a in COMMON]
    assert main(["plan", "anchors", *words, "--rows", "0-1", "--no-verify"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Anchors: 2 rows; estimated\n")
    assert "12,000 that all rows share" in printed
    assert main(["plan", "anchors", words[0], "100", *words[2:]]) == 2
    assert "give a file of rows; what anchors cost depends on the rows themselves" in capsys.readouterr().err
