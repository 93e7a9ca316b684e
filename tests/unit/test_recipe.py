"""How a map was made: kept as plain data, read back, and the cost that each group of checks declares."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from whybox.checks.check import CHECK_GROUPS
from whybox.checks.cost import CheckCost
from whybox.errors import InputError, OptionError
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.recipe import Recipe, TargetRecipe, read_recipe, rebuild_method


class Several(nn.Module):
    """Outputs inside outputs."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(5, 3)

    def forward(self, x):
        return {"scores": (x.sum(dim=1), self.a(x))}


def rows():
    return np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def test_a_recipe_is_read_back_as_it_was(tmp_path):
    e = wb.saliency(nn.Linear(5, 3).eval(), rows(), None, "integrated_gradients", baseline=[0, 0.5], tol=0.02)
    e.save(tmp_path / "map.whybox")
    for found in (e, wb.load(tmp_path / "map.whybox")):
        recipe = read_recipe(found)
        assert recipe == Recipe(
            "integrated_gradients",
            {"baseline": [0, 0.5], "tol": 0.02, "steps": None, "max_steps": 512},
            TargetRecipe(None, (3,)),
            reduce="sum",
            channel_axis=None,
            inputs=(0,),
        )
        assert recipe.to_settings() == dict(found.evidence.settings)
        assert rebuild_method(recipe, options=None).tol == 0.02


def test_fields_that_a_file_lacks_have_defaults_and_unknown_ones_do_no_harm():
    e = wb.saliency(nn.Linear(5, 3).eval(), rows(), 1)
    settings = {k: v for k, v in e.evidence.settings.items() if k not in ("dtype", "inputs", "embedding")}
    old = replace(e, evidence=replace(e.evidence, settings={**settings, "of a later version": 1}))
    recipe = read_recipe(old)
    assert recipe.target == TargetRecipe((1,), (3,))
    assert (recipe.dtype, recipe.inputs, recipe.embedding) == (None, (), None)
    with pytest.raises(InputError, match="without settings"):
        read_recipe(replace(e, evidence=replace(e.evidence, settings={})))


def test_an_output_inside_an_output_is_checked_again():
    torch.manual_seed(0)
    net = Several().eval()
    e = wb.saliency(net, rows(), 2, output=("scores", 1))
    assert read_recipe(e).output == ("scores", 1)
    assert wb.check(e, net, rows(), checks="numerical")["reproduced"].verdict == "pass"


def test_an_output_named_as_no_output_is_one_target_of_all_rows():
    e = wb.saliency(nn.Linear(5, 2).eval(), rows(), "predicted", output_names=["given", "predicted"])
    assert read_recipe(e).target == TargetRecipe((1,), (2,))
    assert list(e.coords["output"]) == ["predicted"]
    assert "target" not in e.extras


def test_options_of_tokens_are_refused_for_other_maps():
    assert not ReadingOptions().changed_options()
    e = wb.saliency(nn.Linear(5, 3).eval(), rows(), 1)
    with pytest.raises(OptionError, match="baseline_token= is for maps of tokens"):
        wb.check(e, nn.Linear(5, 3).eval(), rows(), baseline_token=3)


def test_every_group_of_checks_declares_what_it_costs():
    assert CheckCost(n_maps=3, n_maps_if_expensive=1, n_forwards=10).passes_per_row(2) == 16
    assert CheckCost(n_maps=3, n_maps_if_expensive=1, n_forwards=10).passes_per_row(1000) == 1010
    for group in CHECK_GROUPS:
        assert group.cost.passes_per_row(1) > 0, group.name
        assert group.cost.passes_per_row(1000) <= 1000 * max(group.cost.n_maps, 1) + group.cost.n_forwards
    assert {group.name for group in CHECK_GROUPS if group.cost.needs_rows} == {"model dependence", "faithfulness"}


def test_a_background_whose_columns_stand_in_another_order_is_the_same():
    import pandas as pd

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).eval()
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32), columns=list("abcd"))
    background = rows[list("dcba")][:5]
    e = wb.saliency(net, rows, method="integrated_gradients", baseline="background", background=background)
    done = wb.check(e, net, rows, checks=["numerical"], background=background)
    assert done["reproduced"].verdict == "pass"
