"""What a newcomer types wrong is named in one line that says what to type; nothing is read or written before."""

import joblib
import numpy as np
import pytest

import zoo
from whybox.cli.main import main

GOOD = ("explain", "@model.json", "@rows.csv", "-o", "@x.csv", "--no-verify")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mistakes")
    model, rows = zoo.built("XGBClassifier, binary:logistic")
    model.save_model(path / "model.json")
    rows[:50].to_csv(path / "rows.csv", index=False)
    return path


def run(folder, *arguments):
    return main([a.replace("@", f"{folder}/") if a.startswith("@") else a for a in arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explian", *GOOD[1:]), "explian is no command of whybox. Did you mean 'explain' or 'plan'?"),
        (("--out", "x"), "a command comes first: whybox COMMAND --out"),
        (("explain", "--outptu", "x"), "--outptu is no option of whybox explain. Did you mean '--output' or '--out'?"),
        ((*GOOD, "--outptu=x"), "--outptu is no option of whybox explain."),
        ((*GOOD, "--n_jobs", "2"), "--n_jobs is no option of whybox explain. Did you mean '--n-jobs'?"),
        ((*GOOD, "-output", "x.csv"), "-output is no option of whybox explain. Did you mean '--output'?"),
        ((*GOOD, "--outp", "x"), "--outp is no option of whybox explain."),
        ((*GOOD, "--qqq"), "--qqq is no option of whybox explain. See whybox explain --help."),
        ((*GOOD, "output=probability"), "Did you mean --output probability?"),
        ((*GOOD, "more.csv"), "'more.csv' is one word too many for whybox explain. It takes MODEL DATA."),
        (("explain", "@rows.csv", "@model.json", "-o", "@x.csv"), "MODEL comes first, and "),
        (("explain", "@model.json"), "required: DATA. See whybox explain --help."),
        (("explain", "@model.json", "@rows.csv"), "required: -o/--out. See whybox explain --help."),
        ((*GOOD, "--layout", "wid"), "--layout wid is not known. Did you mean 'wide'?"),
        (
            (*GOOD, "--scale", "probabilty"),
            "--scale probabilty is not known. Did you mean 'probability'?",
        ),
        (
            (*GOOD, "--output", "raw"),
            "--output raw is not an output of this model: --output says which class or output. For the scale, write --scale raw.",
        ),
        ((*GOOD, "--output", "2"), "--output 2 is not an output of this model. Known: '0', '1', 'all'."),
        ((*GOOD, "--index", "shaply"), "--index shaply is not known. Did you mean 'shapley'?"),
        ((*GOOD, "--order", "3"), "--order 3 is not known. Known: '1', '2'."),
        ((*GOOD, "--n-jobs", "two"), "--n-jobs: 'two' is not a whole number."),
        ((*GOOD, "--n-jobs", "0"), "--n-jobs 0 must be a positive whole number of threads, or -1"),
        ((*GOOD, "--sparse", "--scale", "probability"), "--background FILE"),
        (("effects", *GOOD[1:], "--kind", "pdb"), "--kind pdb is not known. Did you mean 'pdp'?"),
        (("effects", *GOOD[1:], "--grid", "many"), "--grid many: give a number of points"),
        (("effects", *GOOD[1:], "--feature", "bmy"), "there is no feature 'bmy'. Did you mean 'bmi'?"),
        (("effects", *GOOD[1:], "--sample-weight", "bmy"), "--sample-weight bmy is not a column of "),
        (("saliency", "@rows.csv", "net.pt2", "-o", "m.npz"), "MODEL comes first"),
        (("saliency", "net.pt2", "@rows.csv", "-o", "m.npz", "--method", "gradcm"), "Did you mean 'gradcam'"),
        (
            ("effects", *GOOD[1:], "--feature", "bmi,bp,age"),
            "--feature: an effect is of one column, or of two different ones.",
        ),
        (("effects", *GOOD[1:], "--response-method", "predict"), "--response-method is no option of whybox effects."),
        (
            ("lime", *GOOD[1:], "--num_features", "3"),
            "--num_features is no option of whybox lime: every feature has a value. --top says how many",
        ),
        (
            ("lime", *GOOD[1:], "--num-samples=99"),
            "--num-samples is no option of whybox lime: the sample grows until the largest values are settled. --max-evals",
        ),
        (("lime", *GOOD[1:], "--discretize-continuous"), "pass --discretizer none."),
        (
            ("plan", "lime", "@model.json", "@rows.csv", "--bow"),
            "--bow is no option of whybox plan lime: write --by-position",
        ),
        (
            ("anchors", *GOOD[1:], "--threshold", "0.9"),
            "--threshold is no option of whybox anchors: write --precision N.",
        ),
        (
            ("saliency", "net.pt2", "@rows.csv", "-o", "m.npz", "--kernel-width", "1"),
            "but of a method: write --option kernel_width=VALUE.",
        ),
        (("effects", *GOOD[1:], "--kind", "pdp", "--kind=ale"), "--kind is given twice, and whybox effects takes one."),
        ((*GOOD, "--out", "@z.csv"), "--out is given twice, and whybox explain takes one."),
        (("plan", "effects", "@model.json", "1000"), "1000 is not a file: give a file of rows;"),
        (("plan", "explain", "@model.json", "1e6"), "1e6 is not a file: write a whole number of rows in digits"),
        (("completion", "fish"), "SHELL fish is not known. Known: 'bash', 'zsh', 'tcsh'."),
    ],
)
def test_a_mistake_is_named(folder, capsys, arguments, words):
    before = {p.name for p in folder.iterdir()}
    assert run(folder, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("whybox: ")
    assert shown.err.count("\n") == 1
    assert words in shown.err
    assert {p.name for p in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("explain", "net.pt2", "@rows.csv", "-o", "@x.csv"),
            4,
            "net.pt2 holds a network, and whybox explain reads models of tables",
        ),
        (
            ("saliency", "@model.json", "@rows.csv", "-o", "@x.npz"),
            4,
            "holds a model of tables, and whybox saliency reads networks",
        ),
        (("check", "@model.json", "@rows.csv"), 4, "holds a model of tables, and whybox check reads networks"),
        (("explain", "@model.json", "@rows.csv", "-o", "@"), 3, "is a folder; name a file."),
        (("report", "@model.json", "@rows.csv", "-o", "@"), 3, "is a folder; name a file."),
        (("report", "@model.json", "@rows.csv", "-o", "@r.pdf"), 2, "r.pdf: the result is a file of type .html, .htm."),
        (
            (*GOOD, "--player", "body=bmi,bpp"),
            2,
            "--player: 'body' names the column 'bpp', which is not there. Did you mean 'bp'?",
        ),
    ],
)
def test_a_mistake_about_files_is_named(folder, capsys, arguments, code, words):
    assert run(folder, *arguments) == code
    assert words in capsys.readouterr().err


def test_columns_and_weights_are_named_as_they_were_typed(folder, tmp_path, capsys):
    zoo.X()[:9].rename(columns={"bmi": "a", "bp": "b"}).assign(text="x").to_csv(tmp_path / "rows.csv", index=False)
    given = str(tmp_path / "rows.csv")
    assert run(folder, "explain", "@model.json", given, "-o", "@x.csv", "--no-verify") == 3
    assert (
        "DATA lacks 2 columns 'bmi', 'bp' that the model was trained on. Columns there: 'age'"
        in capsys.readouterr().err
    )
    zoo.X()[:9].assign(text="x").to_csv(tmp_path / "rows.csv", index=False)
    assert run(folder, "effects", "@model.json", given, "-o", "@x.csv", "--no-verify", "--sample-weight", "text") == 3
    assert "whybox: --sample-weight must be numbers, one a row." in capsys.readouterr().err


def test_help_is_a_command_too(capsys):
    for words in (["help"], ["help", "plan", "effects"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: whybox {' '.join(words[1:])}".rstrip())


def test_a_negative_number_is_a_value_and_words_behind_two_dashes_are_no_options(folder, capsys):
    assert run(folder, *GOOD, "--n-jobs", "-1", "--no-verify") == 0
    assert run(folder, "explain", "-o", "@y.csv", "--", "-model.json", "-rows.csv") == 3
    assert "-rows.csv" in capsys.readouterr().err


def test_rows_that_an_encoder_refuses_are_the_fault_of_the_data(tmp_path, capsys):
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = zoo.X()[:100].assign(city=np.resize(np.array(["Rom", "Bern"], dtype=object), 100))
    steps = make_column_transformer((OneHotEncoder(handle_unknown="error"), ["city"]), remainder="passthrough")
    joblib.dump(make_pipeline(steps, RandomForestRegressor(5)).fit(rows, zoo.y()[:100]), tmp_path / "pipe.joblib")
    rows.loc[0, "city"] = "Paris"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for verb in ("explain", "effects"):
        assert run(tmp_path, verb, "@pipe.joblib", "@rows.csv", "-o", "@x.csv", "--trust-pickle") == 3
        assert "refuses these rows: Found unknown categories ['Paris']" in capsys.readouterr().err


def test_scales_are_those_of_the_library():
    from whybox.cli.shared import SCALES as NAMES
    from whybox.methods.common.output import SCALES

    assert NAMES == SCALES
