"""`python -m anrot_lib VERB`: the command line, also installed as `anrot`."""

import sys

from anrot_lib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
