"""`python -m tonotopy` is the command `tonotopy`."""

import sys

from tonotopy.cli import main

sys.exit(main())
