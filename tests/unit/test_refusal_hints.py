"""What refusals say to do: the order of the axes of pictures, and the nearest of many names."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

import whybox as wb
from whybox.errors import InputError, OptionError, did_you_mean


@pytest.fixture(scope="module")
def network():
    torch = pytest.importorskip("torch")
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 5)
    ).eval()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 9, 8, 3), r"x\.transpose\(0, 3, 1, 2\): channels before height"),
        ((3, 9, 8), r"x\[None\]: one picture"),
        ((9, 8, 3), r"x\.transpose\(2, 0, 1\)\[None\]: one picture"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_pictures_in_another_order_of_axes_say_which_is_taken(network, shape, words, dtype):
    x = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    with pytest.raises(InputError, match=words) as refused:
        wb.saliency(network, x)
    hint = str(refused.value).partition("takes them as ")[2].partition(":")[0]
    right = eval(hint, {"x": x.astype(np.float32)})  # noqa: S307  # what the message says
    assert wb.saliency(network, right).dims == ("row", "y", "x")
    if dtype == np.uint8:
        assert "astype('float32') / 255" in str(refused.value)


def test_what_no_order_helps_has_no_hint(network):
    with pytest.raises(InputError) as refused:
        wb.saliency(network, np.zeros((2, 9, 8, 5), np.float32))
    assert "takes them as" not in str(refused.value)


def test_grey_pictures_without_an_axis_of_channels():
    torch = pytest.importorskip("torch")
    grey = torch.nn.Sequential(
        torch.nn.Flatten(2),
        torch.nn.Unflatten(2, (6, 7)),
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.Flatten(),
        torch.nn.Linear(40, 2),
    ).eval()
    with pytest.raises(InputError, match=r"x\[:, None\]|x\[None, None\]|x\[None\]"):
        wb.saliency(grey, np.zeros((5, 6, 7), np.float32))


def test_of_many_names_the_nearest_are_said():
    names = [f"class {i:03d}" for i in range(500)]
    assert did_you_mean("klass 1", names).count("class") <= 3
    assert did_you_mean("zzz", names).startswith(" The nearest of 500: ")
    assert did_you_mean("zzz", names[:12]).startswith(" Known: ")
    assert did_you_mean(7, names).startswith(" Known: ")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    y = pd.Series([f"class {i % 60:03d}" for i in range(300)])
    model = RandomForestClassifier(2, max_depth=3, random_state=0).fit(X, y)
    with pytest.raises(OptionError, match="The nearest of 61") as refused:
        wb.explain(model, X, output="zzz")
    assert len(str(refused.value)) < 160
    with pytest.raises(InputError, match="60, nearest are 'class") as refused:
        wb.importance(model, X, y.replace("class 003", "3rd class"))
    assert len(str(refused.value)) < 250
