"""``whybox importance``: one line a feature, numbers and evidence in a file, and mistakes that are named."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

import whybox as wb
import zoo
from whybox.cli.importance_output import importance_lines
from whybox.cli.main import main
from whybox.explanation.explanation import Explanation
from whybox.explanation.importance_cells import importance_cells
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.registry import family_ids, find, methods, registered
from whybox.models.registry import as_model
from whybox.reporting.sections.importance import importance_table

TARGET = ("--target", "progression")


def without(rows, *columns):
    return rows.drop(columns=list(columns))


def of_all(rows):
    return rows.assign(progression=zoo.y(), w=np.linspace(1, 2, len(rows)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("importance")
    model, rows = zoo.built("LGBMRegressor, regression")
    model.booster_.save_model(path / "model.txt")
    joblib.dump(
        RandomForestRegressor(5, max_depth=4, random_state=0).fit(rows[:300], zoo.y()[:300]), path / "forest.joblib"
    )
    held, trained = of_all(rows)[300:], of_all(rows)[:300]
    held.to_csv(path / "held.csv", index=False)
    trained.to_parquet(path / "train.parquet")
    without(trained, "progression").to_csv(path / "no_truth.csv", index=False)
    without(trained, "bmi").to_csv(path / "no_bmi.csv", index=False)
    held.assign(progression="high").to_csv(path / "words.csv", index=False)
    held[:1].to_csv(path / "one.csv", index=False)
    held[:0].to_csv(path / "none.csv", index=False)
    held.assign(w=-1.0).to_csv(path / "negative.csv", index=False)
    return path


def run(folder, *arguments):
    words = [a.replace("@", f"{folder}/") if a.startswith("@") else a for a in arguments]
    return main(["importance", *words, "--no-verify"])


def read(folder):
    return as_model(folder / "model.txt", verify=False)


def held():
    rows = zoo.X()[300:]
    return rows, zoo.y()[300:]


def test_values_errors_and_evidence_are_those_of_python(folder, capsys):
    assert run(folder, "@model.txt", "@held.csv", *TARGET, "--role", "held-out", "-o", "@out.parquet") == 0
    e = wb.importance(read(folder), *held(), role="held-out")
    printed = capsys.readouterr().out.splitlines()
    out = folder / "out.parquet"
    assert printed[0] == f"{out}: Permutation importance of 5 features over 142 rows, squared loss, squared units of y"
    assert [line.strip() for line in printed[1:7]] == [line.strip() for line in importance_lines(e, out)]
    assert any("how much worse are this model's predictions" in line for line in printed)
    assert any("all pairs of two different rows" in line for line in printed)
    table = pd.read_parquet(out)
    assert list(table["feature"]) == list(e.feature_names)
    for column, values in {
        "importance": e.values,
        "std_error": e.std_error,
        "interval_low": e.interval[0],
        "rank_interval_high": e.extras["rank_interval"][1][:, 1],
        "off_data": e.off_data,
    }.items():
        np.testing.assert_array_equal(table[column], values)
    about = json.loads(pq.read_metadata(out).metadata[b"whybox"])
    assert about["kind"] == "importance"
    (of_method,) = about["methods"].values()
    assert of_method["units"] == e.units
    assert of_method["players"]["bmi"] == ["bmi"]
    assert of_method["evidence"]["settings"] == e.evidence.settings
    assert of_method["evidence"]["fingerprints"]["model"] == e.evidence.fingerprints["model"]


def test_a_line_says_value_error_interval_ranks_and_test():
    model, rows = zoo.built("RandomForestRegressor")
    e = wb.importance(model, rows[:40], zoo.y()[:40], method="conditional", level=0.9, max_evals=2000)
    lines = importance_lines(e, None)
    assert lines[0].split("  ")[0] == "feature"
    assert all(heading in lines[0] for heading in ("value", "+- error", "90 % interval", "rank"))
    assert lines[0].split()[-2:] == ["p", "q"]
    assert [line.split()[0] for line in lines[1:]] == [e.feature_names[j] for j in np.argsort(-e.values)]
    assert len({len(line) for line in lines}) == 1  # right-aligned
    flat = wb.importance(model, method="impurity")
    assert importance_lines(flat, None)[0].split() == ["feature", "value"]


def test_a_rank_without_an_interval_stands_alone():
    """Of more than 2,000 features ranks have none; the command line and the report say so alike."""
    model, rows = zoo.built("RandomForestRegressor")
    e = wb.importance(model, rows[:40], zoo.y()[:40])
    ends = np.full((len(e), 2), np.nan)
    e = replace(e, extras={**e.extras, "rank_interval": (("feature", "bound"), ends)})
    order = np.argsort(-e.values)
    assert importance_cells(e, order)["rank"] == [f"{rank:.0f}" for rank in e.extras["rank"][1][order]]
    assert "nan" not in " ".join(importance_lines(e, None)) + importance_table(e)


def test_of_many_features_the_largest_are_printed():
    names = np.array([f"feature {i:03d} with a long name that goes on and on" for i in range(60)], dtype=object)
    evidence = wb.importance(zoo.built("RandomForestRegressor")[0], method="impurity").evidence
    e = Explanation(
        kind="importance", values=np.arange(60.0), dims=("feature",), coords={"feature": names}, base=np.zeros(()),
        units="u", evidence=evidence, players={n: (n,) for n in names},
    )  # fmt: skip
    lines = importance_lines(e, None)
    assert len(lines) == 52
    assert lines[1].endswith(" 59")
    assert lines[-1] == "and 10 smaller features; -o FILE writes all"
    assert max(map(len, lines)) < 60


def test_training_rows_players_and_weights(folder, capsys):
    asked = ("--train", "@train.parquet", "--player", "body=bmi,bp", "--sample-weight", "w", "--loss", "absolute")
    assert run(folder, "@model.txt", "@held.csv", *TARGET, *asked, "-o", "@out.csv") == 0
    assert "on training rows" in capsys.readouterr().out
    table = pd.read_csv(folder / "out.csv")
    e = wb.importance(
        read(folder),
        *held(),
        train=(zoo.X()[:300], zoo.y()[:300]),
        players={"body": ["bmi", "bp"]},
        sample_weight=np.linspace(1, 2, 442)[300:],
        loss="absolute",
    )
    assert list(table["feature"]) == list(e.feature_names)
    np.testing.assert_allclose(table["importance"], e.values, rtol=1e-9)
    np.testing.assert_allclose(table["train"], e.extras["train"][1], rtol=1e-9)
    assert run(folder, "@model.txt", "@held.csv", *TARGET, "--players", "auto", "-o", "@out.whybox") == 0
    saved = wb.load(folder / "out.whybox")
    np.testing.assert_allclose(saved.values, wb.importance(read(folder), *held(), players="auto").values)


def test_several_methods_go_into_one_table_and_each_gets_what_it_takes(folder, capsys):
    asked = ("--method", "permutation", "--method", "shap", "--background", "@train.parquet", "--loss", "absolute")
    assert run(folder, "@model.txt", "@held.csv", *TARGET, *asked, "-o", "@out.parquet") == 0
    printed = capsys.readouterr().out
    assert "Permutation importance of 5 features" in printed
    assert "Mean |TreeShap| over the rows of 5 features" in printed
    table = pd.read_parquet(folder / "out.parquet").set_index(["method", "feature"])
    shap = wb.importance(read(folder), held()[0], background=zoo.X()[:300])
    np.testing.assert_allclose(table.loc["shap", "importance"], shap.values)
    permuted = wb.importance(read(folder), *held(), loss="absolute")
    np.testing.assert_allclose(table.loc["permutation", "importance"], permuted.values)
    assert table.loc["shap", "baseline_loss"].isna().all()
    about = json.loads(pq.read_metadata(folder / "out.parquet").metadata[b"whybox"])
    assert {m: a["evidence"]["method_id"] for m, a in about["methods"].items()} == {
        "permutation": "importance.permutation",
        "shap": "importance.shap",
    }
    assert about["findings"] == []
    assert printed.endswith("where the methods disagree by more than their errors:\n  nowhere\n")


def test_what_several_methods_compare_to_is_printed_and_saved(folder, capsys):
    deep = RandomForestRegressor(5, random_state=0).fit(zoo.X()[:300], zoo.y()[:300])
    joblib.dump(deep, folder / "deep.joblib")
    asked = ("--method", "permutation", "--method", "impurity", "--train", "@train.parquet", "-o", "@both.whybox")
    assert run(folder, "@deep.joblib", "@held.csv", *TARGET, *asked, "--trust-pickle") == 0
    printed = capsys.readouterr().out
    saved = wb.load(folder / "both.whybox")
    assert saved.kind == "agreement"
    assert list(saved.coords["method"]) == ["permutation", "impurity"]
    assert any("overfitting" in sentence for sentence in saved.findings)
    assert printed.endswith("".join(f"  {sentence}\n" for sentence in saved.findings))


def test_copies_of_columns_are_permuted_together_as_in_python(folder, capsys):
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(draw.normal(size=(400, 3)), columns=list("abc")).assign(d=lambda x: x["a"] + 0.01 * x["b"])
    rows["progression"] = rows["a"] + rows["d"] + 0.1 * draw.normal(size=400)
    train, some = rows[:300], rows[300:]
    model = RandomForestRegressor(10, max_features=1, max_depth=6, random_state=0)
    model.fit(without(train, "progression"), train["progression"])
    joblib.dump(model, folder / "copies.joblib")
    some.to_csv(folder / "copies.csv", index=False)
    methods = ("--method", "permutation", "--method", "impurity")
    asked = ("@copies.joblib", "@copies.csv", *TARGET, *methods, "--trust-pickle")
    assert run(folder, *asked, "-o", "@copies.whybox") == 0
    capsys.readouterr()
    saved = wb.load(folder / "copies.whybox")
    rows = pd.read_csv(folder / "copies.csv")
    e = wb.importance(model, rows, "progression", method=["permutation", "impurity"])
    assert saved.extras["group"][1].tolist() == e.extras["group"][1].tolist() == ["a + d", "", "", "a + d"]
    np.testing.assert_allclose(saved.extras["together"][1], e.extras["together"][1])
    assert saved.findings == e.findings
    plan = wb.plan(wb.importance, model, rows, "progression", method=["permutation", "impurity"])["permutation"]
    assert main(["plan", "importance", *(a.replace("@", f"{folder}/") for a in asked), "--no-verify"]) == 0
    assert f"{plan.model_calls:,.0f}" in capsys.readouterr().out


def test_a_pickle_is_evaluated_or_trained_again_only_if_it_is_trusted(folder, capsys):
    joblib.dump(SVR(C=100).fit(zoo.X()[:300], zoo.y()[:300]), folder / "svr.joblib")
    asked = ("@svr.joblib", "@held.csv", *TARGET, "--max-evals", "2000")
    assert run(folder, *asked) == 4
    assert run(folder, *asked, "--trust-pickle", "-o", "@svr.csv") == 0
    assert "predictions of the model" in capsys.readouterr().err
    e = wb.importance(joblib.load(folder / "svr.joblib"), *held(), max_evals=2000)
    np.testing.assert_allclose(pd.read_csv(folder / "svr.csv")["importance"], e.values, rtol=1e-9)
    again = ("@held.csv", *TARGET, "--method", "drop_column", "--train", "@train.parquet", "--player", "rest=age,bp,s5")
    assert run(folder, "@forest.joblib", *again, "--trust-pickle") == 0
    assert "Importance by dropping columns of 3 features" in capsys.readouterr().out
    assert run(folder, "@model.txt", *again) == 2
    assert "needs the estimator itself, which " in capsys.readouterr().err


def test_classes_are_matched_by_name_and_outputs_have_blocks_of_their_own(tmp_path, capsys):
    model, rows = zoo.built("XGBClassifier, multi:softprob")
    model.save_model(tmp_path / "model.json")
    rows[:60].assign(progression=zoo.three()[:60]).to_csv(tmp_path / "rows.csv", index=False)
    assert run(tmp_path, "@model.json", "@rows.csv", *TARGET) == 0
    assert "log loss, nats" in capsys.readouterr().out
    assert run(tmp_path, "@model.json", "@rows.csv", "-o", "@out.csv") == 0
    assert capsys.readouterr().out.count("  feature") == 3
    assert len(pd.read_csv(tmp_path / "out.csv")) == 15


def test_impurity_takes_no_rows(folder, capsys):
    assert run(folder, "@model.txt", "--method", "impurity") == 0
    assert "Impurity decrease in training of 5 features, share of impurity decrease" in capsys.readouterr().out


def test_a_method_may_need_training_rows_alone(folder, capsys):
    spec = replace(
        find("importance", "impurity"), id="rows", needs=("trees", "train"), option_names=("train", "players")
    )
    with registered(spec):
        asked = ("--method", "rows", "--train", "@train.parquet", "--trust-pickle")
        assert run(folder, "@forest.joblib", *asked, *TARGET) == 0
        assert run(folder, "@forest.joblib", "@held.csv", *asked, *TARGET) == 0
        assert run(folder, "@forest.joblib", *asked) == 2
        assert "needs the truth of its rows: give --target COLUMN." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("@held.csv", "--target", "progresion"), 2, "--target progresion is not a column of "),
        (("@held.csv", "--y", "progresion"), 2, "--y progresion is not a column of "),
        (("@held.csv", "--target", "bmi"), 2, "--target bmi is a column that the model reads, so it cannot be the truth."),
        (("@held.csv", *TARGET, "--method", "permutaton"), 2, "--method permutaton is not known. Did you mean 'permutation'?"),
        (("@held.csv", *TARGET, "--method", "shap"), 2, "leave --target out"),
        (("@held.csv", "--method", "permutation"), 2, "--method permutation measures against the truth: pass --target."),
        (("@held.csv", *TARGET, "--method", "auto", "--method", "permutation"), 2, "--method permutation is given twice."),
        (("@held.csv", "--train", "@train.parquet"), 2, "needs the truth of its rows: give --target COLUMN."),
        (("@held.csv", *TARGET, "--train", "@no_truth.csv"), 2, "--target progression is not a column of "),
        (("@held.csv", *TARGET, "--train", "@no_bmi.csv"), 3, "lacks the column 'bmi', which the model reads."),
        (("@held.csv", *TARGET, "--train", "@words.csv"), 3, "--train: --target holds 'high', but the model predicts numbers"),
        (("@words.csv", *TARGET), 3, "--target holds 'high', but the model predicts numbers"),
        (("@held.csv", *TARGET, "--loss", "log"), 2, "this model predicts numbers. Take --loss squared."),
        (("@held.csv", *TARGET, "--loss", "sqared"), 2, "--loss sqared is not known. Did you mean 'squared'?"),
        (("@held.csv", *TARGET, "--tol", "2"), 2, "--tol 2.0 must lie between 0 and 1"),
        (("@held.csv", *TARGET, "--scale", "raw"), 2, "leave --scale out"),
        (("@held.csv", *TARGET, "--role", "test"), 2, "--role test is not known."),
        (("@held.csv", *TARGET, "--background", "@held.csv"), 2, "--background is no option of 'permutation'"),
        (("@held.csv", "--method", "pdp", "--method", "impurity", "--tol", "0.1"), 2, "--tol is no option of any of 'pdp', 'impurity'"),
        (("@held.csv", *TARGET, "--players", "auto", "--player", "a=bmi,bp"), 2, "finds all groups itself; give it alone."),
        (("@held.csv", *TARGET, "--player", "body=bmi,bpp"), 2, "Did you mean 'bp'?"),
        (("@held.csv", *TARGET, "--sample-weight", "v"), 2, "--sample-weight v is not a column of "),
        (("@negative.csv", *TARGET, "--sample-weight", "w"), 3, "--sample-weight must be finite, not negative, and not all zero."),
        (("@one.csv", *TARGET), 3, "importance compares rows with one another; there is 1 of positive weight"),
        (("@none.csv", *TARGET), 3, "DATA has no rows."),
        (("@gone.csv", *TARGET), 3, "there is no file "),
        (TARGET, 2, "this importance is measured on rows: pass DATA."),
        (("--method", "shap"), 2, "--method shap averages over rows: pass DATA."),
        (("@held.csv", "progression"), 2, "is one word too many for whybox importance. It takes MODEL DATA."),
        (("@held.csv", "target=progression"), 2, "Did you mean --target progression?"),
        (("@held.csv", *TARGET, "-o", "@held.csv"), 2, "is the same file as DATA"),
        (("@held.csv", *TARGET, "--train", "@train.parquet", "-o", "@train.parquet"), 2, "is the same file as a file that is read"),
        (("@held.csv", *TARGET, "-o", "@x.json"), 2, "the result is a file of type .parquet"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_in_the_words_of_the_command_line(folder, capsys, arguments, code, words):
    before = {p.name for p in folder.iterdir()}
    assert run(folder, "@model.txt", *arguments) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("whybox: ")
    assert shown.err.count("\n") == 1
    assert words in shown.err
    assert shown.out == ""
    assert {p.name for p in folder.iterdir()} == before


def test_classes_that_the_model_does_not_have_are_named(tmp_path, capsys):
    model, rows = zoo.built("XGBClassifier, binary:logistic")
    model.save_model(tmp_path / "model.json")
    truth = np.where(zoo.binary() == 1, "high", "low")[:50]
    rows[:50].assign(progression=truth).to_csv(tmp_path / "rows.csv", index=False)
    assert run(tmp_path, "@model.json", "@rows.csv", *TARGET) == 3
    assert "which are none of the model's classes (0, 1)" in capsys.readouterr().err


def test_the_cost_can_be_asked_before(folder, capsys):
    held_rows = f"{folder}/held.csv"
    assert main(["plan", "importance", f"{folder}/model.txt", held_rows, *TARGET, "--no-verify"]) == 0
    plan = wb.plan(wb.importance, read(folder), *held())
    printed = capsys.readouterr().out
    assert printed.startswith(f"Permutation importance: {plan.rows} rows; exact\nkernel    {plan.kernel}\n")
    assert main(["plan", "importance", f"{folder}/model.txt", "1000", *TARGET]) == 2
    assert "1000 is not a file: give a file of rows; what importance costs" in capsys.readouterr().err


def test_every_method_and_every_option_is_in_the_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["importance", "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f" {method} " in shown for method in family_ids("importance"))
    assert {s.command for s in methods("importance")} == {"importance"}
    assert "shap mean absolute attribution over the rows --output, --scale, " in shown
    assert not {"--fit", "--response-method", "fit,", "response_method,"} & set(shown.split())
    for field in fields(ImportanceOptions):
        if field.metadata["as_text"] and field.name != "response_method":
            assert f"--{field.name.replace('_', '-')}" in shown
