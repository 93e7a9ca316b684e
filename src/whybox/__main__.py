"""``python -m whybox``: the command line."""

import sys

from whybox.cli.main import main

sys.exit(main())
