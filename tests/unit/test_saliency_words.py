"""What saliency says: messages about inputs the network does not take, evidence in words, names of features."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import whybox as wb
from networks.small import convolutional, seeded
from whybox.errors import InputError, OptionError


def tabular():
    return seeded(lambda: torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)))


@pytest.mark.parametrize(
    "inputs",
    [
        np.ones((4, 5), dtype=np.float32),
        np.ones((4, 3), dtype=np.int64),
        (np.ones((4, 3), dtype=np.float32), np.ones((4, 3), dtype=np.float32)),
        {"table": np.ones((4, 3), dtype=np.float32)},
    ],
    ids=["columns", "whole numbers", "two", "name"],
)
def test_inputs_that_the_network_does_not_take_are_shown_with_its_own_words(inputs):
    method = "ablation" if isinstance(inputs, np.ndarray) and inputs.dtype.kind == "i" else "gradient"
    with pytest.raises(InputError, match=r"does not take these inputs .*of shape \(4, ") as caught:
        wb.saliency(tabular(), inputs, 0, method)
    assert isinstance(caught.value.__cause__, (RuntimeError, TypeError))


def test_an_error_of_the_users_own_target_is_theirs():
    def broken(outputs):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        wb.saliency(tabular(), np.ones((2, 3), dtype=np.float32), broken)


def test_a_name_without_names_says_where_they_are_given():
    with pytest.raises(OptionError, match="output_names="):
        wb.saliency(tabular(), np.ones((2, 3), dtype=np.float32), "cat")
    with pytest.raises(OptionError, match="Did you mean 'cat'") as caught:
        wb.saliency(tabular(), np.ones((2, 3), dtype=np.float32), "cta", output_names=["cat", "dog"])
    assert "output_names" not in str(caught.value)


def test_the_evidence_reads_as_lines():
    e = wb.saliency(tabular(), np.ones((2, 3), dtype=np.float32), 0, "integrated_gradients")
    said = str(e.evidence)
    assert "Rows through the network: " in said
    assert "add up to score less baseline score within" in said
    assert said.count("\n") == len(e.evidence.lines()) - 1


def test_what_went_wrong_stands_in_the_one_line():
    e = wb.saliency(convolutional(), np.ones((1, 3, 9, 9), dtype=np.float32), 0)
    assert "see .evidence.notes" not in repr(e)
    loud = replace(e, evidence=replace(e.evidence, notes=("EMPTY: the map is 0 everywhere", "a note")))
    assert repr(loud).endswith("; EMPTY, see .evidence.notes)")


def test_parts_of_several_places_say_that_their_worth_is_shared_out():
    picture = np.random.default_rng(0).normal(size=(1, 3, 9, 9)).astype(np.float32)
    shared = wb.saliency(convolutional(), picture, 0, "ablation", patches=3)
    assert shared.units == "score per position of a part"
    assert np.allclose(shared.values[0].reshape(3, 3, 3, 3).sum(axis=(1, 3)).ravel(), shared.extras["part"][1][0])
    assert wb.saliency(convolutional(), picture, 0, "ablation", patches=9).units == "score"


def test_feature_values_are_known_under_their_names():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), columns=["a", "b", "c"])
    e = wb.saliency(tabular(), frame, 0, "gradient_x_input")
    assert e.data.names == ("a", "b", "c")
    colours = {tuple(c) for part in e.plot.beeswarm().collections for c in part.get_facecolors()}
    assert len(colours) > 3  # grey alone would be one
