"""What the program loads before it knows which command it runs."""

import subprocess
import sys


def test_the_command_line_starts_without_numpy_and_models():
    """The command that needs them loads them."""
    program = (
        "import sys, whybox.cli.main\n"
        "print(*sorted(m for m in sys.modules if m == 'numpy' or m.startswith(('whybox.data', 'whybox.models', 'whybox.explanation'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_help_loads_no_models_and_no_native_code():
    """Options are described by the dataclasses that hold them; what answers is loaded when it is asked."""
    commands = ("explain", "effects", "importance", "lime", "anchors", "report")
    program = (
        "import sys\nfrom whybox.cli.main import main\n"
        f"for command in {commands!r}:\n    try:\n        main([command, '--help'])\n    except SystemExit:\n        pass\n"
        "heavy = ('whybox._native', 'whybox.kernels', 'whybox.adapters', 'whybox.models.trees')\n"
        "print(*sorted(m for m in sys.modules if m.startswith(heavy)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
