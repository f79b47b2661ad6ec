"""`python -m fashionreg` is `fashionreg`."""

import sys

from fashionreg.cli import main

sys.exit(main())
