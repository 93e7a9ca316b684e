"""Errors keep the parts of their message: who writes it chooses the words for an argument."""

import copy
import pickle

import numpy as np
import pytest

from whybox.cli.wording import typed
from whybox.errors import Argument, InputError, MissingDependencyError, NonFiniteError, OptionError, WhyboxError

SHELL = "--{0.name}".format


def test_a_message_is_its_parts():
    error = OptionError(Argument("kind", "pdb"), " is not known.", known=["pdp", "ale"], hint="See the docs.")
    assert str(error) == "kind='pdb' is not known. Did you mean 'pdp'? See the docs."
    assert error.render(SHELL) == "--kind is not known. Did you mean 'pdp'? See the docs."
    assert (error.argument, error.given, error.known) == ("kind", "pdb", ("pdp", "ale"))
    plain = InputError("there are no rows.")
    assert (str(plain), plain.argument, plain.given, plain.known, plain.hint) == (
        "there are no rows.",
        None,
        None,
        (),
        (),
    )


def test_an_argument_is_named_with_a_value_with_an_example_or_alone():
    assert [str(Argument("n", 3)), str(Argument("rows", example="X_train")), str(Argument("rows"))] == [
        "n=3",
        "rows=X_train",
        "rows",
    ]
    error = WhyboxError("pass ", ("a", Argument("rows", example="X"), (" or ", Argument("n", None))), ".")
    assert str(error) == "pass arows=X or n=None."
    assert error.argument == "n"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_errors_are_pickled_with_their_parts_whatever_was_given(copied):
    given = Argument("target", lambda outputs: outputs), Argument("n", np.int64(3)), Argument("x", np.zeros(10_000))
    error = copied(OptionError(*given, known=("a",), hint=("see ", Argument("y"))))
    assert [type(p.given).__name__ for p in error.message] == ["_Shown", "int", "_Shown"]
    assert str(error).startswith("target=<function")
    assert "n=3x=array" in str(error)
    assert len(str(error)) < 400
    assert str(error).endswith(" Known: 'a'. see y")
    row = copied(NonFiniteError(Argument("x", 1), " in {row}", row=4))
    assert (str(row), str(row.later(10)), row.render(SHELL)) == ("x=1 in row 4", "x=1 in row 14", "--x in row 4")
    assert str(NonFiniteError("in {row}")) == "in a row"
    package = copied(MissingDependencyError("shap", "comparing"))
    assert str(package) == "comparing needs the package 'shap', which is not installed. Run: pip install shap"


@pytest.mark.parametrize(
    ("word", "shell"),
    [
        ("bmi", "bmi"),
        ("a b", '"a b"'),
        ("it's", '"it\'s"'),
        ('say "x"', "'say \"x\"'"),
        ("$HOME", "'$HOME'"),
        ("", '""'),
        ("('y', 'x')", "\"('y', 'x')\""),
    ],
)
def test_values_are_written_as_one_types_them(word, shell):
    import shlex

    assert typed(word) == shell
    assert shlex.split(typed(word)) == [word]


def test_a_number_is_not_taken_for_another_number():
    from whybox.errors import did_you_mean

    assert did_you_mean(7000, range(70, 73)) == " Known: '70', '71', '72'."
    assert did_you_mean("bim", ["bmi"]) == " Did you mean 'bmi'?"
    assert did_you_mean("target", ["age", "bmi"]) == " Known: 'age', 'bmi'."  # half as long: another word
