"""``whybox completion``: the script completes in a real bash."""

import shutil
import subprocess
import sys

import pytest

from whybox.cli.main import main


def completions(script, words):
    """What bash offers for the last of some words."""
    program = f"""
        source {script}
        COMP_WORDS=({" ".join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}
        COMP_LINE="{" ".join(words)}"; COMP_POINT=${{#COMP_LINE}}
        $(complete -p whybox | sed 's/.*-F \\([^ ]*\\).*/\\1/') whybox "{words[-1]}" "{words[-2]}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_values_and_files(tmp_path, capsys, monkeypatch):
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "whybox.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "model.json").touch()
    monkeypatch.chdir(tmp_path)
    assert completions(script, ["whybox", "e"]) == {"explain", "effects"}
    assert completions(script, ["whybox", "plan", "e"]) == {"explain", "effects"}
    assert completions(script, ["whybox", "explain", "--lay"]) == {"--layout"}
    assert completions(script, ["whybox", "explain", "--layout", "w"]) == {"wide"}
    assert completions(script, ["whybox", "saliency", "--method", "grad"]) >= {"gradcam", "gradient", "gradcam++"}
    assert "model.json" in completions(script, ["whybox", "explain", "mod"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_there_is_a_script_for_each_shell(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    assert "saliency" in capsys.readouterr().out


def test_without_shtab_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'whybox[completion]'" in capsys.readouterr().err
