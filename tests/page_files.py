"""The files that command lines of the pages name: small models, rows, texts, networks and pictures, written once and copied for each line."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd

import zoo

TEXTS = [
    f"{how} {what} {when}" for how in ("a good", "a dull", "no bad") for what in ("story", "film") for when in ("", "today", "again , not bad")
]  # fmt: skip


def write_customers(folder):
    """A boosted classifier in two formats, one that is only evaluated, and rows with ids and what came true."""
    from sklearn.neighbors import KNeighborsClassifier

    model, rows = zoo.built("XGBClassifier, binary:logistic")
    model.save_model(folder / "model.json")
    zoo.built("LGBMClassifier, binary, sigmoid=2, unbalanced")[0].booster_.save_model(folder / "model.txt")
    truth = zoo.binary()
    joblib.dump(KNeighborsClassifier().fit(rows, truth), folder / "model.joblib")
    every = rows.assign(customer_id=[f"C{i}" for i in range(len(rows))], defaulted=truth, churned=truth)
    every[:30].to_parquet(folder / "customers.parquet")
    every[:30].to_csv(folder / "customers.csv", index=False)
    every[100:150].to_parquet(folder / "heldout.parquet")
    every[100:120].to_csv(folder / "heldout.csv", index=False)
    rows[200:230].to_parquet(folder / "train.parquet")
    rows[200:230].to_csv(folder / "train.csv", index=False)


def write_prices(folder):
    """A regression on a place, given by two columns, and two more."""
    from xgboost import XGBRegressor

    rng = np.random.default_rng(0)
    city = rng.integers(0, 4, 300)
    rows = pd.DataFrame({"city": city, "zip": 10 * city + rng.integers(0, 3, 300), "rooms": rng.integers(1, 7, 300)})
    rows["size"] = 20 * rows.rooms + rng.normal(0, 8, 300)
    price = 3 * rows["size"] + 40 * city + rng.normal(0, 10, 300)
    XGBRegressor(n_estimators=20, max_depth=3).fit(rows[:150], price[:150]).save_model(folder / "model.json")
    rows[:150].assign(price=price[:150]).to_csv(folder / "train.csv", index=False)
    rows[150:].assign(price=price[150:]).to_csv(folder / "heldout.csv", index=False)


def write_reviews(folder):
    """A pipeline from texts to praise or blame, and texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, ["dull" not in t for t in TEXTS])
    joblib.dump(pipeline, folder / "pipeline.joblib")
    pd.DataFrame({"review": TEXTS}).to_csv(folder / "reviews.csv", index=False)


def write_pictures(folder):
    """A network of pictures with its classes, two pictures, an array of them and its map."""
    import torch
    from PIL import Image

    from networks.programs import save
    from networks.small import pictures, pooled_cnn
    from whybox.cli.main import main

    save(pooled_cnn(), (torch.randn(2, 3, 32, 32),), folder / "network.pt2")
    (folder / "classes.txt").write_text("tabby\nsiamese\npoodle\nbeagle\n")
    rng = np.random.default_rng(0)
    for name in ("cat.png", "dog.png"):
        Image.fromarray(rng.integers(0, 256, (50, 40, 3), dtype=np.uint8)).save(folder / name)
    np.save(folder / "images.npy", pictures(2, (3, 32, 32)))
    network, images, maps = (str(folder / name) for name in ("network.pt2", "images.npy", "maps.whybox"))
    assert main(["saliency", network, images, "-o", maps]) == 0


def write_scans(folder):
    """A network of a picture and a table, and one of numbers and a category."""
    import torch
    from PIL import Image

    from networks.programs import Both, save

    (folder / "scans").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        picture = Image.fromarray(rng.integers(0, 256, (20, 16, 3), dtype=np.uint8))
        picture.save(folder / "scans" / f"{i}.png")
    pd.DataFrame(rng.normal(size=(3, 4)), columns=["age", "bmi", "dose", "long"]).to_csv(
        folder / "patients.csv", index=False
    )
    save(Both(), (torch.randn(2, 3, 8, 8), torch.randn(2, 4)), folder / "network.pt2")


def write_shop(folder):
    """A network of numbers and a category, one number a row."""
    import torch

    from networks.programs import save

    class Shop(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.kinds, self.judge = torch.nn.Embedding(5, 3), torch.nn.Linear(5, 1)

        def forward(self, x, kind):
            return self.judge(torch.cat([x, torch.tanh(self.kinds(kind))], dim=1))

    save(Shop(), (torch.randn(2, 2), torch.tensor([0, 3])), folder / "shop.pt2")
    pd.DataFrame({"bmi": [21.5, 30, 25], "kind": [1, 0, 4], "age": [40, 71, 23]}).to_csv(
        folder / "rows.csv", index=False
    )
