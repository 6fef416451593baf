"""`python -m gonogo.harness.command` is `gonogo`."""

import sys

from gonogo.harness.command import main

sys.exit(main())
