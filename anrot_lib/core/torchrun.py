"""Whether torchrun started this process; it loads nothing, for the command line asks before it loads torch."""

import os


def count_started() -> int:
    """How many processes `torchrun` started together with this one, on all machines; 1 if it did not."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
