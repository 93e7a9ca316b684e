"""Tables as inputs on the command line: one number a row, categories, columns of one file for several inputs, every kind of file."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

import whybox as wb
from networks.programs import save
from whybox.cli.main import main

MODULE = """
import torch


class Shop(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.top = torch.nn.Embedding(5, 3), torch.nn.Linear(5, 2)

    def forward(self, x, kind, weight):
        return self.top(torch.cat([x, self.kind(kind)], 1)) * weight[:, None]


def shop():
    return Shop().eval()


def plain():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).eval()
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "tables_here.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    import tables_here

    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=6), "b": rng.normal(size=6), "kind": rng.integers(0, 5, 6)})
    rows["weight"] = rng.uniform(1, 3, 6)
    rows.to_csv(folder / "rows.csv", index=False)
    rows[["a", "b"]].to_csv(folder / "x.csv", index=False)
    rows[["kind"]].to_csv(folder / "kind.csv.gz", index=False)
    rows[["weight"]].to_csv(folder / "weight.tsv", index=False, sep="\t")
    example = torch.zeros(2, 2), torch.ones(2, dtype=torch.int64), torch.ones(2)
    save(tables_here.shop(), example, folder / "shop.pt2")
    save(tables_here.plain(), (torch.zeros(2, 2),), folder / "plain.pt2")
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def folder(written, monkeypatch):
    monkeypatch.chdir(written)
    return written


def inputs_of(rows):
    x = rows[["a", "b"]].to_numpy().astype(np.float32)
    return {"x": x, "kind": rows["kind"].to_numpy(), "weight": rows["weight"].to_numpy().astype(np.float32)}


ONE_FILE = tuple(
    part
    for name, columns in (("x", "a,b"), ("kind", "kind"), ("weight", "weight"))
    for part in ("--input", f"{name}=rows.csv", "--column", f"{name}={columns}", "--background", f"{name}=rows.csv")
)
FILES = ("--input", "x=x.csv", "--input", "kind=kind.csv.gz", "--input", "weight=weight.tsv")
FILES += ("--background", "x=x.csv", "--background", "kind=kind.csv.gz", "--background", "weight=weight.tsv")


@pytest.mark.parametrize(
    ("model", "given"), [("shop.pt2", FILES), ("shop.pt2", ONE_FILE), ("tables_here:shop", ONE_FILE)]
)
def test_one_number_a_row_comes_from_a_column(folder, model, given, capsys):
    import tables_here

    assert main(["saliency", model, *given, "--target", "1", "--method", "ablation", "-o", "maps.npz"]) == 0
    named = inputs_of(pd.read_csv("rows.csv"))
    ours = wb.saliency(tables_here.shop(), named, 1, "ablation", background=named)
    with np.load("maps.npz") as found:
        for name, e in zip(named, ours, strict=True):
            assert np.allclose(found[f"{name}.values"], e.values, atol=1e-5)
        assert found["kind.feature_labels"].tolist() == ["kind"]
        assert found["kind.values"].shape == (6, 1)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.tsv", "x.tsv.gz", "x.parquet", "x.xlsx"])
def test_tables_are_read_from_every_kind_of_file(folder, name):
    import tables_here

    rows = pd.read_csv("x.csv")
    if name.endswith(".xlsx"):
        pytest.importorskip("openpyxl")
        rows.to_excel(name, index=False)
    elif name.endswith(".parquet"):
        rows.to_parquet(name)
    else:
        rows.to_csv(name, index=False, sep="\t" if "tsv" in name else ",")
    assert main(["saliency", "plain.pt2", name, "--target", "1", "-o", "maps.npz"]) == 0
    with np.load("maps.npz") as found:
        assert np.allclose(found["values"], wb.saliency(tables_here.plain(), rows, 1).values, atol=1e-6)
        assert found["feature_labels"].tolist() == ["a", "b"]


def test_text_is_cut_as_told(folder, capsys):
    pd.read_csv("x.csv").to_csv("semi.csv", index=False, sep=";", decimal=",")
    assert main(["saliency", "plain.pt2", "semi.csv", "-o", "maps.npz"]) == 3
    assert "say --sep ';'" in capsys.readouterr().err
    assert main(["saliency", "plain.pt2", "semi.csv", "--sep", ";", "--decimal", ",", "-o", "maps.npz"]) == 0
    assert main(["saliency", "plain.pt2", "x.parquet", "--sep", ";", "-o", "maps.npz"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plain.pt2", "rows.csv"), "rows.csv has 4 columns, and the program takes 2"),
        (("plain.pt2", "rows.csv", "--column", "a,bb"), "rows.csv has no column 'bb'"),
        (("plain.pt2", "rows.csv", "--column", "a,a"), "each column is named once"),
        (("plain.pt2", "rows.csv", "--column", "a"), "--column names 1, and the program takes 2"),
        (("plain.pt2", "rows.npy", "--column", "a"), "--column a is for tables"),
        (("shop.pt2", *FILES[:4], "--input", "weight=rows.csv"), "one number a row as weight, and there are 4 columns"),
        (("shop.pt2", *FILES[:2], *FILES[4:6], "--input", "kind=rows.csv", "--column", "kind=weight"), "takes whole numbers, and row 0"),
        (("shop.pt2", *FILES[:4], "--input", "weight=x.csv", "--column", "weight=kind"), "no column 'kind'"),
        (("plain.pt2", "rows.csv", "--column", "a", "--column", "b"), "--column was said before; say it once"),
        (("shop.pt2", *ONE_FILE, "--column", "x=a"), "--column was said before of x; say it once"),
        (("tables_here:shop", "--input", "x=x.csv", "--input", "kind=gap.csv", "--column", "kind=kind"), "holds a missing cell"),
        (("plain.pt2", "rows.doc"), r"inputs of type '.doc' are not read; give .png, .jpg, .npy, .csv, .tsv, .csv.gz"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(folder, capsys, arguments, message):
    np.save("rows.npy", np.zeros((2, 2), np.float32))
    (folder / "rows.doc").write_text("")
    (folder / "gap.csv").write_text('kind\n1\n""\n')
    assert main(["saliency", *arguments, "-o", "maps.npz"]) in (2, 3)
    assert message in capsys.readouterr().err
