"""The verb recompute. Nothing that it imports loads torch."""

import argparse
import dataclasses
import json
from pathlib import Path

from anrot_lib.audit.recompute import recompute_folder
from anrot_lib.cli.commands.namespaces import read_options
from anrot_lib.cli.options.audit import RecomputeOptions
from anrot_lib.core import paths
from anrot_lib.core.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[3]


def recompute(arguments: argparse.Namespace) -> int:
    """Compute the numbers of records again and say how many; 1 if one differs from what is stored or printed."""
    options = read_options(RecomputeOptions, arguments)
    folder = options.records or paths.results_dir()
    if not folder.exists():
        raise UserError(f"there are no records in {folder}")
    pages = [] if options.records else [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    again = recompute_folder(folder, [page for page in pages if page.is_file()])
    if not again.counts:
        raise UserError(f"there are no records in {folder}")
    if options.json:
        print(json.dumps(dataclasses.asdict(again), indent=1, ensure_ascii=False))
        return int(bool(again.deviations))
    print("computed again: " + ", ".join(f"{n:,} {kind}s" for kind, n in again.counts.items()))
    if again.taken:
        kinds = ", ".join(f"{n:,} of {kind}" for kind, n in sorted(again.taken.items(), key=lambda pair: -pair[1]))
        print(f"taken from the record: {sum(again.taken.values()):,} numbers, which it holds as they are ({kinds})")
    for deviation in again.deviations:
        print(f"{deviation.where}: {deviation.what}: {deviation.stored}, computed {deviation.computed}")
    print(f"{len(again.deviations)} differ" if again.deviations else "none differs")
    return int(bool(again.deviations))
