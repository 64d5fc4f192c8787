"""`python -m circuit_reuse.command` is the command `circuit-reuse`."""

import sys

from circuit_reuse.command.arguments import main

sys.exit(main())
