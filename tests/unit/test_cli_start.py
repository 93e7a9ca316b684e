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
