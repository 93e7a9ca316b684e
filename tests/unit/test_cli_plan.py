"""``whybox plan``: what a command would cost."""

import pandas as pd
import pytest

import whybox as wb
import zoo
from whybox.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan")
    model, rows = zoo.built("LGBMRegressor, regression")
    model.booster_.save_model(path / "model.txt")
    rows.to_csv(path / "rows.csv", index=False)
    rows.to_parquet(path / "rows.parquet")
    return path


def run(folder, *arguments):
    return main(["plan", *(a.replace("@", f"{folder}/") for a in arguments), "--no-verify"])


@pytest.mark.parametrize("rows", ["@rows.csv", "@rows.parquet", "442"])
def test_explain_names_the_kernel_for_the_rows_of_a_file_or_their_number(folder, capsys, rows):
    assert run(folder, "explain", "@model.txt", rows, "--n-jobs", "1") == 0
    printed = capsys.readouterr().out
    plan = wb.plan(wb.explain, folder / "model.txt", 442, n_jobs=1)
    assert f"\n{plan.kernel}, " in printed
    assert "442 rows, 1 thread" in printed
    assert {p.name for p in folder.iterdir()} == {"model.txt", "rows.csv", "rows.parquet"}


def test_options_change_the_plan(folder, capsys):
    assert run(folder, "explain", "@model.txt", "1,000,000", "--background", "@rows.csv", "--order", "2") == 0
    printed = capsys.readouterr().out
    assert "1,000,000 rows" in printed
    assert "walk" in printed
    assert run(folder, "explain", "@model.txt", "10", "--scale", "probability") == 2
    assert "--scale probability: this model predicts" in capsys.readouterr().err
    assert run(folder, "explain", "@model.txt", "0") == 2
    assert capsys.readouterr().err == "whybox: ROWS must be a positive whole number.\n"
    assert run(folder, "explain", "@model.txt", "@nothing.csv") == 3


def test_effects_counts_predictions(folder, capsys):
    assert run(folder, "effects", "@model.txt", "@rows.csv", "--feature", "bmi", "--kind", "anova") == 0
    printed = capsys.readouterr()
    assert "Functional ANOVA component: 1 curve" in printed.out
    assert "no predictions" in printed.out
    assert printed.err == ""
    assert run(folder, "effects", "@model.txt", "@rows.csv", "--feature", "bmy") == 2


def test_lime_counts_predictions_of_the_rows_chosen(folder, capsys):
    background = ("--background", "@rows.csv")
    assert run(folder, "lime", "@model.txt", "@rows.csv", *background, "--rows", "0-4") == 0
    printed = capsys.readouterr()
    assert "LIME without a sample: 5 rows; exact" in printed.out
    assert printed.err == ""
    assert run(folder, "lime", "@model.txt", "5", *background) == 2
    assert "what LIME costs depends on the rows themselves" in capsys.readouterr().err
    assert run(folder, "lime", "@model.txt", "@rows.csv", *background, "--rows", "500") == 3


def test_saliency_counts_passes(tmp_path, capsys):
    from networks.programs import fill

    folder = fill(tmp_path)
    asked = [f"{folder}/net.pt2", f"{folder}/rows.npy", "--method", "smoothgrad", "--option", "samples=4"]
    assert main(["plan", "saliency", *asked]) == 0
    printed = capsys.readouterr().out
    assert "SmoothGrad" in printed
    assert "rows" in printed
    assert main(["plan", "saliency", *asked[:2], "--method", "smothgrad"]) == 2
    assert "Did you mean 'smoothgrad'" in capsys.readouterr().err


def test_a_file_with_a_column_too_few_is_refused(folder, capsys):
    pd.read_csv(folder / "rows.csv").drop(columns="bmi").to_csv(folder / "few.csv", index=False)
    assert run(folder, "effects", "@model.txt", "@few.csv") == 3
    assert capsys.readouterr().err.startswith("whybox: DATA lacks column 'bmi'")
    (folder / "few.csv").unlink()


def test_what_can_be_planned_is_said(folder, capsys):
    assert main(["plan"]) == 2
    assert main(["plan", "explian"]) == 2
    assert "explian is no command of whybox plan. Did you mean 'explain'?" in capsys.readouterr().err
