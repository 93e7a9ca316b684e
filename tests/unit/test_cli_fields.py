"""Options of commands come out of the dataclasses of options: written once, there."""

from dataclasses import dataclass, fields
from typing import Any

import pytest

from whybox.cli.main import build_parser
from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.errors import OptionError
from whybox.methods.common.options import option
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.saliency.options import SaliencyOptions
from whybox.methods.shap.options import ShapOptions


@dataclass(frozen=True, kw_only=True)
class Options:
    rows_kept: "int | None" = option(None, "how many rows, 100 % at most")
    share: "float" = option(0.5, "of something")
    colour: "str" = option("red", "one of two", choices=("red", "blue"))
    loud: "bool" = option(False, "say more")
    anything: "Any" = option(None, "an array", as_text=False)


def parser():
    made = CommandParser("whybox try")
    add_fields(made, Options)
    return made


def test_types_defaults_choices_and_help_are_those_of_the_field():
    read = parser().parse_args([])
    assert given_fields(read, Options) == {"rows_kept": None, "share": 0.5, "colour": "red", "loud": False}
    words = ["--rows-kept", "7", "--share", "1e-3", "--colour", "blue", "--loud"]
    read = parser().parse_args(words)
    assert Options(**given_fields(read, Options)) == Options(rows_kept=7, share=1e-3, colour="blue", loud=True)
    shown = " ".join(parser().format_help().split())
    for text in (
        "--rows-kept N how many rows, 100 % at most",
        "--share N of something (default: 0.5)",
        "--colour {red,blue}",
    ):
        assert text in shown
    assert "anything" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows-kept", "x"], "--rows-kept: 'x' is not a whole number"),
        (["--share", "x"], "--share: 'x' is not a number"),
        (["--colour", "rd"], "--colour rd is not known. Did you mean 'red'?"),
    ],
)
def test_a_value_of_another_type_is_refused(words, message):
    with pytest.raises(OptionError, match=message.replace("?", r"\?")):
        parser().parse_args(words)


@pytest.mark.parametrize(
    ("command", "kind", "without"),
    [
        ("explain", ShapOptions, ()),
        ("effects", EffectsOptions, ("response_method",)),  # of an estimator; a command has a file
        ("importance", ImportanceOptions, ("response_method",)),
        ("saliency", SaliencyOptions, ("words",)),
        ("check", SaliencyOptions, ("words",)),
    ],
)
def test_whatever_can_be_written_as_text_is_an_option_of_its_command(command, kind, without):
    known = build_parser()[1][command].filled()
    written = {f.name for f in fields(kind) if f.metadata["as_text"]} - set(without)
    assert len(written) > 5
    assert not [name for name in written if not known.knows("--" + name.replace("_", "-"))]
