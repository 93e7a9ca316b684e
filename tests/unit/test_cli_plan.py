"""``whybox plan``: what a command would cost."""

from dataclasses import replace

import pandas as pd
import pytest

import whybox as wb
import zoo
from whybox.cli.main import build_parser, main
from whybox.cli.wording import speller
from whybox.errors import Argument
from whybox.methods.common.plan import cost_table


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


def test_a_plan_is_one_table_with_one_unit_each_and_a_total(folder, capsys):
    assert run(folder, "explain", "@model.txt", "1000000", "--n-jobs", "1") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    at = next(i for i, line in enumerate(lines) if line[0] == "about")
    assert lines[at][1] in ("ms", "seconds")
    assert lines[at][2:] == ["MiB"]
    table = {
        " ".join(w for w in line if w[0].isalpha()): [float(w.replace(",", "")) for w in line if w[0].isdigit()]
        for line in lines[at + 1 : at + 6]
    }
    assert list(table) == ["tables", "work", "rows given", "result", "together"]
    total = table.pop("together")
    seconds, memory = [v[0] for v in table.values() if len(v) == 2], [v[-1] for v in table.values()]
    assert sum(seconds) == pytest.approx(total[0], rel=0.02)
    assert sum(memory) == pytest.approx(total[1], rel=0.02)
    plan = wb.plan(wb.explain, folder / "model.txt", 1_000_000, n_jobs=1)
    assert plan.given_bytes == 8e6 * 5
    assert plan.result_bytes == 8e6 * 5
    assert table["result"] == [pytest.approx(plan.result_bytes / 2**20, rel=0.01)]


def test_the_units_of_a_plan_fit_its_total():
    table = cost_table({"work": 7300.0}, {"work": 3 * 2.0**30, "rows given": 2.0**30})
    assert [line.split() for line in table] == [
        ["about", "hours", "GiB"],
        ["work", "2.03", "3"],
        ["rows", "given", "1"],
        ["together", "2.03", "4"],
    ]
    assert cost_table({"work": float("nan")}, {"work": float("nan")})[-1].split() == ["work", "not", "predicted"]


@pytest.fixture
def bars(monkeypatch):
    """What bars are asked to show: their totals and what they were told."""
    import tqdm.auto

    shown = []

    class Bar:
        def __init__(self, **options):
            self.options, self.done = options, []
            shown.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, count):
            self.done.append(count)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    return shown


def test_the_rows_of_a_file_have_one_bar_for_all_batches(folder, tmp_path, monkeypatch, bars):
    from whybox.data import table_files

    monkeypatch.setattr(table_files, "ROWS_PER_BATCH", 100)
    out = str(tmp_path / "out.parquet")
    assert main(["explain", str(folder / "model.txt"), str(folder / "rows.parquet"), "-o", out, "--no-verify"]) == 0
    (whole,) = [bar for bar in bars if bar.options["desc"] == "Explaining" and bar.options["total"] == 442]
    assert whole.done == [100, 100, 100, 100, 42]
    assert whole.options["delay"] == 2
    assert whole.options["disable"] is None  # in a terminal only
    assert all(bar.options["delay"] > 2 for bar in bars if bar is not whole)


def boosted(folder):
    import lightgbm as lgb

    X, y = zoo.X(), zoo.y()
    model = lgb.LGBMClassifier(n_estimators=5, num_leaves=4, verbose=-1).fit(X, y > y.mean())
    model.booster_.save_model(folder / "classes.txt")
    X.to_parquet(folder / "X.parquet")
    X.iloc[:4].to_parquet(folder / "few.parquet")
    return X


def test_enumerating_coalitions_is_timed(folder):
    X = boosted(folder)
    plan = wb.plan(wb.explain, folder / "classes.txt", 10, background=X.iloc[:4], scale="probability")
    assert plan.kernel == "enumeration"
    assert plan.seconds == 10 * plan.row_seconds > 0


@pytest.mark.parametrize(("seconds", "lines"), [(5.0, 0), (30.0, 1), (600.0, 2)])
def test_long_work_says_its_time_first_and_how_to_have_it_sooner(folder, tmp_path, monkeypatch, capsys, seconds, lines):
    from whybox.methods.shap import explainers

    boosted(folder)
    monkeypatch.setattr(explainers, "timed_enumeration", lambda plan, _: replace(plan, row_seconds=seconds / plan.rows))
    arguments = [
        "--background",
        str(folder / "few.parquet"),
        "--scale",
        "probability",
        "-o",
        str(tmp_path / "out.parquet"),
    ]
    assert main(["explain", str(folder / "classes.txt"), str(folder / "few.parquet"), *arguments]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    if lines:
        assert said[0] == f"whybox: 4 rows, about {'30 s' if seconds == 30 else '10 min'}"
    if lines == 2:
        assert said[1].startswith("whybox: sooner: --scale raw")
        assert "fewer rows of --background" in said[1]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("plan", "explain", "m.json", "0"), "ROWS"),
        (("lime", "m.json", "r.csv", "--background", "b.csv", "--rows", "9"), "--rows"),
    ],
)
def test_an_error_about_rows_names_what_was_typed(words, name):
    options = build_parser()[0].parse_args(list(words))
    assert speller(options.command, options.wording)(Argument("rows")) == name
