"""The verb card: is a net robust, or do the attacks only lack a gradient?"""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.commands.fewshot import open_net
from anrot_lib.cli.options.fewshot import EvaluateOptions
from anrot_lib.core import checkpoints
from anrot_lib.core.progress import shorten
from anrot_lib.experiments.card import run_card
from anrot_lib.experiments.setting import make_manifest
from anrot_lib.records import results
from anrot_lib.reports import tables


def card(arguments: argparse.Namespace) -> int:
    """Make the card of a net, write its record, print it and draw it. Returns 0 also for a card that is not passed."""
    from anrot_lib.reports import card as report  # these load matplotlib
    from anrot_lib.reports import figures

    path = read_options(EvaluateOptions, arguments).checkpoint
    net, _, about, setting = open_net(arguments)
    file = run_card(setting, about.get("row", path.stem), net, checkpoints.sha256(path), make_manifest(setting))
    record = results.read(file, "card")
    print(f"\n{tables.format_text(*report.make_table(record))}\n\n{report.write_caption(record)}")
    print(f"figure: {shorten(figures.save(report.draw_card(record), file.with_suffix('.png')))}")
    print(f"record: {shorten(file)}")
    return 0
