"""``whybox check``: sanity checks of a saliency map."""

import json

import numpy as np
import pytest

import whybox as wb
from whybox.checks.check import GROUP_NAMES
from whybox.cli.main import main


@pytest.fixture(scope="module")
def folder(program_folder):
    return program_folder


def run(folder, *arguments):
    return main(["check", *(a.replace("@", f"{folder}/") for a in arguments)])


def test_the_map_is_made_and_the_checks_are_printed_and_written(folder, capsys):
    few = "--check", "numerical", "--check", "stability", "--max-rows", "2", "--seed", "3"
    code = run(
        folder, "@net.pt2", "@rows.npy", "--method", "gradient_x_input", "--target", "1", "-o", "@out.json", *few
    )
    printed = capsys.readouterr().out
    net, x = wb.networks.exported(folder / "net.pt2"), np.load(folder / "rows.npy")
    e = wb.saliency(net, x, 1, "gradient_x_input", seed=3)
    ours = wb.check(e, net, x, checks=("numerical", "stability"), max_rows=2, seed=3)
    written = json.loads((folder / "out.json").read_text())
    assert [(c["check"], c["verdict"]) for c in written["checks"]] == [(c.name, c.verdict) for c in ours.rows]
    assert all(f"{c.name} " in printed and c.verdict in printed for c in ours.rows)
    assert code == {"pass": 0, "cannot tell": 7}.get(ours.verdict, 6)


def test_a_failed_check_has_an_exit_code_of_its_own(folder, monkeypatch):
    from whybox.checks import check as room
    from whybox.checks.result import Check, Checks

    for verdict, code in (("pass", 0), ("not applicable", 0), ("fail", 6), ("disagree", 6), ("cannot tell", 7)):
        about = dict(method="m", rows=1, seed=0, forward=0, backward=0, seconds=0.0) | {"rows explained": 1}
        found = Checks((Check("numerical", "x", verdict, None, "why"),), about)
        monkeypatch.setattr(room, "check", lambda *_, found=found, **__: found)
        assert run(folder, "@net.pt2", "@rows.npy") == code


def test_a_saved_map_is_held_against_the_network_and_its_rows(folder, capsys):
    net, x = wb.networks.exported(folder / "net.pt2"), np.load(folder / "rows.npy")
    wb.saliency(net, x, 1).save(folder / "map.whybox")
    few = "--check", "numerical", "--max-rows", "2"
    assert run(folder, "@net.pt2", "@rows.npy", "--map", "@map.whybox", *few) == 0
    printed = capsys.readouterr().out
    assert "2 of " in printed
    assert "numerical" in printed or "reproduc" in printed
    np.save(folder / "other.npy", x[::-1])
    assert run(folder, "@net.pt2", "@other.npy", "--map", "@map.whybox", *few) == 3
    assert "whybox: " in capsys.readouterr().err
    assert run(folder, "@net.pt2", "@rows.npy", "--map", "@map.whybox", "--method", "rise") == 2
    assert "leave --method out" in capsys.readouterr().err
    assert run(folder, "@net.pt2", "@rows.npy", "--map", "@none.whybox") == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("@net.pt2", "@rows.npy", "--check", "stabilty"),
            2,
            "--check stabilty is not known. Did you mean 'stability'?",
        ),
        (("@net.pt2", "@rows.npy", "-o", "@x.csv"), 2, "the result is a .json file"),
        (("@net.pt2", "@rows.npy", "-o", "@no/x.json"), 3, "does not exist"),
        (
            ("@net.pt2", "@rows.npy", "--names", "@n.json", "-o", "@n.json"),
            2,
            "is the same file as a file that is read",
        ),
        (("@net.pt2", "@rows.npy", "--max-rows", "0"), 2, "--max-rows: '0' is not a whole number, 1 or more"),
        (("@rows.npy", "@net.pt2"), 2, "MODEL comes first"),
        (("@net.pt2",), 2, "there is no INPUT"),
    ],
)
def test_wrong_usage(folder, capsys, arguments, code, words):
    assert run(folder, *arguments) == code
    assert words in capsys.readouterr().err


def test_groups_are_those_of_the_library():
    from whybox.cli.check import GROUPS as NAMES

    assert NAMES == GROUP_NAMES
