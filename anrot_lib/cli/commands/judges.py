"""The verb judges: are our attacks as strong as those of other libraries?"""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.commands.fewshot import open_net
from anrot_lib.cli.options.fewshot import EvaluateOptions
from anrot_lib.core import checkpoints
from anrot_lib.core.progress import shorten
from anrot_lib.experiments.judges import run_judges
from anrot_lib.experiments.setting import make_manifest
from anrot_lib.records import results
from anrot_lib.reports import judges as report
from anrot_lib.reports import tables


def judges(arguments: argparse.Namespace) -> int:
    """Compare the attacks on a net, write the record, print it. Returns 0 whatever comes out."""
    path = read_options(EvaluateOptions, arguments).checkpoint
    net, _, about, setting = open_net(arguments)
    file = run_judges(setting, about.get("row", path.stem), net, checkpoints.sha256(path), make_manifest(setting))
    record = results.read(file, "judges")
    print(f"\n{tables.format_text(*report.make_table(record))}\n\n{report.write_caption(record)}")
    print(f"record: {shorten(file)}")
    return 0
