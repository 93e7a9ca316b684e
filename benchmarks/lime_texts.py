"""LIME of texts beside lime 0.2.0.1: CPU time of one thread, errors, coverage of intervals, certified words (lime_texts.md).

Usage: OMP_NUM_THREADS=1 python benchmarks/lime_texts.py [--texts 12] [--lime FOLDER]

`--lime`: a folder into which lime was installed (`pip install --target FOLDER lime`), so that the project itself does not have it; without it, only whybox is measured.
Texts are the docstrings of NumPy, SciPy and scikit-learn, cut to 80 different words; the model says which package one is from.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from whybox.methods.lime.text_options import LimeTextOptions
from whybox.methods.lime.texts import explain_texts

PACKAGES = {
    "numpy": ("numpy", "numpy.linalg", "numpy.fft", "numpy.random"),
    "scipy": ("scipy.stats", "scipy.special", "scipy.signal", "scipy.ndimage", "scipy.optimize"),
    "sklearn": (
        "sklearn.linear_model",
        "sklearn.ensemble",
        "sklearn.cluster",
        "sklearn.preprocessing",
        "sklearn.metrics",
    ),
}
WORDS, SAMPLES = 80, 5000


def corpus():
    """Docstrings of at least 80 different words, cut behind the 80th, and their packages."""
    texts, packages = [], []
    for package, modules in PACKAGES.items():
        for module in map(importlib.import_module, modules):
            for name in sorted(dir(module)):
                text = getattr(getattr(module, name), "__doc__", None)
                if isinstance(text, str) and callable(getattr(module, name)):
                    cut = cut_text(text, WORDS)
                    if cut is not None and cut not in texts:
                        texts.append(cut)
                        packages.append(package)
    return texts, np.array(packages)


def cut_text(text, words):
    """The beginning of a text with so many different words; None if it has fewer."""
    seen = set()
    for match in re.finditer(r"\w+", text):
        seen.add(match.group())
        if len(seen) == words:
            return text[: match.end()]
    return None


def cpu(function):
    """CPU seconds of a call, and what it returned."""
    began = time.process_time()
    found = function()
    return time.process_time() - began, found


class Timed:
    """A function of strings that adds up the CPU time it takes."""

    def __init__(self, model):
        self.model, self.seconds = model, 0.0

    def __call__(self, texts):
        spent, found = cpu(lambda: self.model.predict_proba(texts))
        self.seconds += spent
        return found


def measure_time(model, texts, lime_text):
    """Median CPU milliseconds of each way, and beside the model's own predictions; all ways in turn for each text."""
    settings = LimeTextOptions(max_evals=SAMPLES, output="predicted", tol=0)
    names = list(model.classes_)
    seconds: dict[str, list[tuple[float, float]]] = {}
    gap = 0.0
    for text in texts:
        function, of_lime = Timed(model), Timed(model)
        spent, strings = cpu(lambda t=text, f=function: explain_texts(f, t, settings))
        seconds.setdefault("whybox, function of strings", []).append((spent, spent - function.seconds))
        spent, read = cpu(lambda t=text: explain_texts(model, t, settings))
        seconds.setdefault("whybox, read pipeline", []).append((spent, np.nan))
        if lime_text is not None:
            explainer = lime_text.LimeTextExplainer(class_names=names, random_state=0)
            top = names.index(read.rows[0].label[0])
            spent, _ = cpu(
                lambda t=text, k=top, e=explainer, f=of_lime: e.explain_instance(
                    t, f, labels=(k,), num_features=10, num_samples=SAMPLES
                )
            )
            seconds.setdefault("lime", []).append((spent, spent - of_lime.seconds))
        gap = max(gap, float(np.abs(strings.rows[0].fit.values - read.rows[0].fit.values).max()))
    return {name: 1e3 * np.median(of, axis=0) for name, of in seconds.items()}, gap


def measure_error(model, texts, lime_text):
    """Root mean squared error of coefficients at 2,000 and 5,000 predictions, beside 100,000 predictions."""
    errors: dict[str, list[float]] = {}
    for text in texts:
        true = explain_texts(model, text, LimeTextOptions(max_evals=100_000, output="predicted", tol=0)).rows[0]
        label = list(model.classes_).index(true.label[0])
        for count in (2000, SAMPLES):
            for seed in range(3):
                ours = explain_texts(
                    model, text, LimeTextOptions(max_evals=count, output="predicted", tol=0, seed=seed)
                ).rows[0]
                errors.setdefault(f"whybox, {count:,} predictions", []).append(
                    float(((ours.fit.values - true.fit.values) ** 2).mean())
                )
                if lime_text is not None:
                    explainer = lime_text.LimeTextExplainer(random_state=seed, feature_selection="none")
                    found = explainer.explain_instance(
                        text, model.predict_proba, labels=(label,), num_features=WORDS, num_samples=count
                    )
                    value = np.zeros(WORDS)
                    for player, coefficient in found.local_exp[label]:
                        value[player] = coefficient
                    shrunk = explain_texts(
                        model,
                        text,
                        LimeTextOptions(max_evals=100_000, output="predicted", tol=0, alpha=SAMPLES / count),
                    )
                    errors.setdefault(f"lime, {count:,} samples", []).append(
                        float(((value - shrunk.rows[0].fit.values[:, 0]) ** 2).mean())
                    )
    return {name: float(np.sqrt(np.mean(of))) for name, of in errors.items()}


def measure_coverage(model, texts, seeds):
    """How often 95 % intervals hold the enumerated limit, and certified words are right, on texts of 12 words."""
    from whybox.numerics.statistics import critical_value

    inside = {True: [], False: []}
    certified, right = 0, 0
    for text in texts:
        short = cut_text(text, 12)
        true = explain_texts(model, short, LimeTextOptions(max_evals=5000)).rows[0].fit.values
        order = np.argsort(-np.abs(true), axis=0)
        for seed in range(seeds):
            for tol in (0, None):
                found = explain_texts(model, short, LimeTextOptions(max_evals=600, seed=seed, tol=tol)).rows[0]
                reach = critical_value(0.95, found.fit.freedom) * found.fit.std_error
                inside[tol == 0].append((np.abs(found.fit.values - true) <= reach).mean())
                for k, certificate in enumerate(found.certificates):
                    n = certificate.certified
                    certified += n > 0
                    right += n > 0 and bool((certificate.order[:n] == order[:n, k]).all())
    return float(np.mean(inside[True])), float(np.mean(inside[False])), certified, right


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--lime", help="folder into which lime was installed")
    parser.add_argument("--part", choices=("time", "error", "coverage"), action="append")
    options = parser.parse_args()
    lime_text = None
    if options.lime:
        sys.path.insert(0, options.lime)  # before this folder, where lime.py is
        lime_text = importlib.import_module("lime.lime_text")
    texts, packages = corpus()
    order = np.random.default_rng(0).permutation(len(texts))
    train, test = order[60:], order[:60]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0, max_iter=1000))
    model.fit([texts[i] for i in train], packages[train])
    chosen = [texts[i] for i in test[: options.texts]]
    print(
        f"{len(train)} texts, accuracy {model.score([texts[i] for i in test], packages[test]):.2f} on {len(test)} others"
    )
    parts = options.part or ["time", "error", "coverage"]
    if "time" in parts:
        found, gap = measure_time(model, chosen, lime_text)
        for name, (total, beside) in found.items():
            print(f"| {name} | {total:.1f} ms | {beside:.1f} ms |")
        print(f"read pipeline and strings differ by {gap:.2g} at most")
        if lime_text is not None:
            lime, strings = found["lime"], found["whybox, function of strings"]
            ratios = [*(lime / strings), lime[0] / found["whybox, read pipeline"][0]]
            print("lime / strings {:.1f}, beside the predictions {:.1f}; lime / read pipeline {:.1f}".format(*ratios))
    if "error" in parts:
        for name, error in measure_error(model, chosen[:4], lime_text).items():
            print(f"| {name} | {error:.6f} |")
    if "coverage" in parts:
        fixed, stopped, certified, right = measure_coverage(model, [texts[i] for i in test], options.seeds)
        print(f"95 % intervals cover {100 * fixed:.1f} % (whole budget), {100 * stopped:.1f} % (stopped early)")
        print(f"certified: {right:,} of {certified:,} right ({100 * right / max(certified, 1):.2f} %)")


if __name__ == "__main__":
    main()
