"""`python -m gonogo.harness.command` is `gonogo`."""

import sys

from gonogo.harness.command import main

if __name__ == "__main__":
    sys.exit(main())
