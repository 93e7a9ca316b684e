"""``whybox lime``: local values in a file or as lines, and mistakes that are named."""

from __future__ import annotations

import json
from dataclasses import fields

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

import whybox as wb
import zoo
from whybox.cli.local_output import local_lines
from whybox.cli.main import build_parser, main
from whybox.cli.shared import name_rows
from whybox.errors import InputError, NonFiniteError
from whybox.explanation.html import number_text
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.text_options import LimeTextOptions
from whybox.models.registry import as_model

BACKGROUND = ("--background", "@train.parquet")
TEXTS = ["a dull film", "a great film, great", "dull and long", "great music", "long, long", "a song"]
OF_TEXTS = ("--text", "review", "--trust-pickle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("lime")
    model, rows = zoo.built("LGBMRegressor, regression")
    model.booster_.save_model(path / "model.txt")
    rows, y = rows[:60], zoo.y()[:60]
    rows[40:].to_csv(path / "rows.csv", index=False)
    rows[:40].assign(high=np.where(y[:40] > 150, "yes", "no"), w=np.linspace(1, 2, 40)).to_parquet(path / "truth.parquet")  # fmt: skip
    rows[:40].to_parquet(path / "train.parquet")
    joblib.dump(SVR(C=100).fit(rows.to_numpy(float), y), path / "svr.joblib")
    classes = np.digitize(y, [100, 200])
    joblib.dump(RandomForestClassifier(3, max_depth=3, random_state=0).fit(rows, classes), path / "forest.joblib")
    joblib.dump(make_pipeline(CountVectorizer(), MultinomialNB()).fit(TEXTS, ["bad", "good"] * 3), path / "pipeline.joblib")  # fmt: skip
    pd.DataFrame({"key": range(6), "review": [*TEXTS[:4], "", "NA"]}).to_csv(path / "texts.csv", index=False)
    pd.DataFrame({"review": TEXTS}).to_parquet(path / "texts.parquet")
    return path


def run(folder, *arguments):
    words = [a.replace("@", f"{folder}/") if a.startswith("@") else a for a in arguments]
    return main(["lime", *words, "--no-verify"])


def data(folder):
    model = as_model(folder / "model.txt", verify=False)
    return model, pd.read_csv(folder / "rows.csv"), pd.read_parquet(folder / "train.parquet")


def test_a_file_has_one_line_a_row_and_feature_with_the_evidence(folder, capsys):
    assert run(folder, "@model.txt", "@rows.csv", *BACKGROUND, "-o", "@out.parquet") == 0
    e = wb.lime(*data(folder))
    table = pq.read_table(folder / "out.parquet")
    expected = e.to_frame()
    assert table.column_names == [*expected.columns]
    assert table.column_names[:4] == ["row", "feature", "condition", "local"]
    np.testing.assert_array_equal(table["local"], expected["local"])
    assert table["condition"].to_pylist() == [*expected["condition"]]
    about = json.loads(pq.read_metadata(folder / "out.parquet").metadata[b"whybox"])
    assert about["kind"] == "local"
    assert about["evidence"]["method_id"] == "lime.exact"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{folder / 'out.parquet'}: LIME without a sample: 20 rows x 5 features, in prediction"
    assert any("Note: R squared is below" in line for line in printed)


def test_without_a_file_the_first_rows_are_printed(folder, capsys):
    assert run(folder, "@model.txt", "@rows.csv", *BACKGROUND) == 0
    printed = capsys.readouterr().out
    model, rows, background = data(folder)
    e = wb.lime(model, rows[:3], background)
    assert printed.startswith("LIME without a sample: 3 of 20 rows x 5 features, in prediction\n")
    for line in local_lines(e):
        assert line in printed
    top = int(e[0].ordered(1)[0])
    line = next(line for line in printed.splitlines() if str(e.extras["condition"][1][0, top]) in line)
    assert line.endswith(number_text(float(e.values[0, top])))
    assert "and 17 more rows; -o FILE explains and writes all" in printed


def test_rows_are_named_by_their_positions_in_the_file(folder, capsys):
    assert run(folder, "@model.txt", "@rows.csv", *BACKGROUND, "--rows", "12,3-4", "-o", "@some.whybox") == 0
    e = wb.load(folder / "some.whybox")
    model, rows, background = data(folder)
    assert e.coords["row"].tolist() == [12, 3, 4]
    np.testing.assert_array_equal(e.values, wb.lime(model, rows.iloc[[12, 3, 4]], background).values)
    capsys.readouterr()
    assert run(folder, "@model.txt", "@rows.csv", *BACKGROUND, "--rows", "19") == 0
    printed = capsys.readouterr().out
    assert "row 19: prediction" in printed
    assert "more rows" not in printed


def test_errors_about_a_cell_name_the_row_of_the_file():
    def refuse(rows):
        raise NonFiniteError("infinity in {row}", row=rows)

    with pytest.raises(InputError, match="infinity in row 3 of rows.csv, counted from 0"):
        name_rows(refuse, 1, "folder/rows.csv", positions=[7, 3])


def test_options_reach_the_method(folder):
    arguments = ("@model.txt", "@rows.csv", "--background", "@truth.parquet", "--rows", "0-1", "-o", "@o.whybox")
    model, rows, background = data(folder)
    truth = pd.read_parquet(folder / "truth.parquet")

    def found(*more):
        assert run(folder, *arguments, *more, "--spot-checks", "0") == 0
        return wb.load(folder / "o.whybox")

    def same(one, **options):
        other = wb.lime(model, rows[:2], background, spot_checks=0, **options)
        np.testing.assert_array_equal(one.values, other.values)
        assert one.extras["condition"][1].tolist() == other.extras["condition"][1].tolist()

    same(found("--discretizer", "decile"), discretizer="decile")
    same(found("--discretizer", "none"), discretizer=None)
    edges = {"bmi": [25.0, 30.0], "s5": [4.5]}
    same(found("--discretizer", "bmi=25,30", "--discretizer", "s5=4.5"), discretizer=edges)
    same(found("--neighbourhood", "row"), neighbourhood="row")
    same(found("--kernel-width", "0.5"), kernel_width=0.5)
    same(found("--kernel-width", "0.5,2"), kernel_width=[0.5, 2])
    same(found("--player", "body=bmi,bp", "--alpha", "1"), players={"body": ["bmi", "bp"]}, alpha=1)
    same(found("--background-weight", "w"), background_weight=truth["w"])
    entropy = ("--discretizer", "entropy", "--target", "high")
    same(found(*entropy), discretizer="entropy", y=truth["high"].to_numpy())


def test_classes_and_the_predicted_class(folder, capsys):
    common = ("@forest.joblib", "@rows.csv", *BACKGROUND, "--trust-pickle", "--rows", "0")
    assert run(folder, *common) == 0
    printed = capsys.readouterr().out
    assert all(f"row 0, output {k}: " in printed for k in (0, 1, 2))
    assert run(folder, *common, "--output", "1") == 0
    assert "row 0, output 1: " in capsys.readouterr().out
    assert run(folder, *common, "--output", "predicted") == 0
    assert capsys.readouterr().out.count("row 0, output ") == 1


def test_a_model_that_is_not_read_is_sampled_with_errors(folder, capsys):
    common = ("@svr.joblib", "@rows.csv", *BACKGROUND, "--trust-pickle", "--rows", "0", "--max-evals", "3000")
    assert run(folder, *common, "--spot-checks", "0") == 0
    printed = capsys.readouterr().out
    assert "condition" in printed
    assert "+- error" in printed
    assert run(folder, *common, "--method", "exact") == 4
    assert "exact" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("@rows.csv",), 2, "--background FILE is missing"),
        (("@rows.csv", *BACKGROUND, "--rows", "5-2"), 2, "--rows 5-2: write positions counted from 0, like 7, 0-9 or 0-9,20."),
        (("@rows.csv", *BACKGROUND, "--rows", "9,20"), 3, "--rows 9,20: there is no row 20; the last of 20 rows is 19."),
        (("@rows.csv", *BACKGROUND, "--discretizer", "quartiles"), 2, "--discretizer quartiles is not known. Name one, or give edges, COLUMN=EDGE,EDGE. Did you mean 'quartile'"),
        (("@rows.csv", *BACKGROUND, "--discretizer", "bmi=a"), 2, "--discretizer bmi=a: 'a' is not a list of numbers, like 30,50."),
        (("@rows.csv", *BACKGROUND, "--discretizer", "bmi=20", "--discretizer", "none"), 2, "--discretizer none is given beside others"),
        (("@rows.csv", *BACKGROUND, "--discretizer", "bmi=20", "--discretizer", "bmi=30"), 2, "--discretizer: 'bmi' is given twice."),
        (("@rows.csv", *BACKGROUND, "--discretizer", "zz=20"), 2, "there is no column 'zz'"),
        (("@rows.csv", *BACKGROUND, "--kernel-width", "wide"), 2, "--kernel-width wide: 'wide' is not a list of numbers"),
        (("@rows.csv", *BACKGROUND, "--kernel-width", "-1"), 2, "--kernel-width -1.0 must be a number above 0."),
        (("@rows.csv", *BACKGROUND, "--discretizer", "entropy"), 2, "pass --target"),
        (("@rows.csv", *BACKGROUND, "--target", "high"), 2, "--target is used by --discretizer entropy alone"),
        (("@rows.csv", *BACKGROUND, "--discretizer", "entropy", "--target", "zz"), 2, "--target zz is not a column of"),
        (("@rows.csv", *BACKGROUND, "--method", "sample"), 2, "--method sample is not known. Did you mean 'sampled'"),
        (("@rows.csv", *BACKGROUND, "-o", "@train.parquet"), 2, "is the same file as --background"),
        (("@rows.csv", *BACKGROUND, "-o", "@out.html"), 2, "the result is a file of type"),
        (("@rows.csv", "--background", "@nothing.csv"), 3, "nothing.csv"),
        (("@rows.csv", *BACKGROUND, "--tokenizer", "characters"), 2, "--tokenizer is an option of texts"),
        (("@rows.csv", *BACKGROUND, "--by-position"), 2, "--by-position is an option of texts"),
        (("@rows.csv", *BACKGROUND, "--method", "words"), 2, "--method words is not known. Known"),
        (("@texts.csv", "--text", "review"), 4, "holds no model of texts"),
    ],
)  # fmt: skip
def test_mistakes_are_named(folder, capsys, arguments, code, words):
    assert run(folder, "@model.txt", *arguments) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_texts_of_a_column_are_explained_word_by_word(folder, capsys):
    arguments = ("@pipeline.joblib", "@texts.parquet", *OF_TEXTS)
    assert run(folder, *arguments, "--rows", "3,1", "--seed", "5", "-o", "@words.parquet") == 0
    assert "LIME of texts, exact" not in (printed := capsys.readouterr().out)
    assert printed.startswith(f"{folder / 'words.parquet'}: LIME of texts: 2 of 6 rows x 3 words at most, in probability")  # fmt: skip
    e = wb.lime(joblib.load(folder / "pipeline.joblib"), [TEXTS[3], TEXTS[1]], seed=5)
    table = pq.read_table(folder / "words.parquet")
    assert table.column_names[:4] == ["row", "word", "local", "rank"]
    assert table["row"].to_pylist() == [3, 3, 1, 1, 1]
    assert table["word"].to_pylist() == ["great", "music", "a", "great", "film"]
    np.testing.assert_array_equal(table["local"], e.to_frame()["local"])
    assert json.loads(pq.read_metadata(folder / "words.parquet").metadata[b"whybox"])["evidence"]["method_id"] == "lime.words"  # fmt: skip
    assert run(folder, *arguments, "--rows", "1", "--output", "good", "--by-position", "-o", "@words.whybox") == 0
    saved = wb.load(folder / "words.whybox")
    assert saved.extras["word"][1][0].tolist() == ["a", "great", "film", "great"]
    assert saved.coords["row"].tolist() == [1]


def test_words_are_printed(folder, capsys):
    assert run(folder, "@pipeline.joblib", "@texts.csv", *OF_TEXTS) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "LIME of texts: 3 of 6 rows x 3 words at most, in probability\n  row 0, output good: prediction "
    )
    e = wb.lime(joblib.load(folder / "pipeline.joblib"), TEXTS[:3])
    for line in local_lines(e):
        assert line in printed
    word = e[0].coords["word"][e[0].ordered(1)[0]]
    assert any(line.split()[0] == word for line in printed.splitlines()[2:4])
    assert "and 3 more rows; -o FILE explains and writes all" in printed


def test_what_texts_cost_is_planned(folder, capsys):
    assert main(["plan", "lime", str(folder / "pipeline.joblib"), str(folder / "texts.parquet"), *OF_TEXTS]) == 0
    printed = capsys.readouterr().out
    plan = wb.plan(wb.lime, joblib.load(folder / "pipeline.joblib"), TEXTS)
    assert printed.startswith("LIME of texts: 6 rows; exact\nkernel    every way to leave out words")
    assert f"calls     about {plan.model_calls:,.0f} rows" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--text", "review"), 4, "--trust-pickle"),
        (("--background", "@texts.csv", "--trust-pickle"), 3, "the model takes texts: --text COLUMN says which column"),
        ((*OF_TEXTS[2:], "--text", "reviews"), 2, "--text reviews is not a column of"),
        ((*OF_TEXTS, "--rows", "2,4"), 3, "the text of row 4 of texts.csv is missing"),
        ((*OF_TEXTS, "--rows", "5", "--tokenizer", "NA"), 3, "row 5 has no words ('NA')"),
        ((*OF_TEXTS, "--rows", "6"), 3, "there is no row 6"),
        ((*OF_TEXTS, *BACKGROUND), 2, "--background is an option of tables, and --text explains texts"),
        ((*OF_TEXTS, "--player", "a=b,c"), 2, "--player is an option of tables"),
        ((*OF_TEXTS, "--spot-checks", "3"), 2, "--spot-checks is an option of tables"),
        ((*OF_TEXTS, "--neighbourhood", "row"), 2, "--neighbourhood is an option of tables"),
        ((*OF_TEXTS, "--method", "exact"), 2, "--method exact is not a method of texts"),
        ((*OF_TEXTS, "--kernel-width", "5,25"), 2, "--kernel-width of texts takes one width"),
        ((*OF_TEXTS, "--max-evals", "3"), 2, "--max-evals 3 is too small"),
    ],
)  # fmt: skip
def test_mistakes_about_texts_are_named(folder, capsys, arguments, code, words):
    assert run(folder, "@pipeline.joblib", "@texts.csv", *arguments) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_the_help_writes_the_options_of_a_method_as_they_are_typed(capsys):
    with pytest.raises(SystemExit):
        main(["lime", "--help"])
    printed = capsys.readouterr().out.partition("methods:")[2]
    assert "--y, --discretizer, --neighbourhood" in printed
    assert "--tokenizer, --by-position, --mask-string, --batch-size" in printed
    assert "discretizer=" not in printed


def test_every_option_of_the_method_is_one_of_the_command():
    command = build_parser()[1]["lime"].filled()
    other = {"response_method": None, "players": "--player", "y": "--target"}
    for field in (*fields(LimeOptions), *fields(LimeTextOptions)):
        name = other.get(field.name, "--" + field.name.replace("_", "-"))
        assert name is None or command.knows(name), field.name
