"""`python -m narrate_stream` is `narrate`."""

import sys

from narrate_stream.cli import main

sys.exit(main())
