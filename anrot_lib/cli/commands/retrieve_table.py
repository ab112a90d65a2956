"""The actions score and table of the verb retrieve: robustness scores, and published rows beside measured ones."""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.retrieve import RankingTableOptions, ScoreOptions
from anrot_lib.core.errors import UserError
from anrot_lib.experiments.ranking import read_records
from anrot_lib.ranking import names
from anrot_lib.ranking.score import ers
from anrot_lib.reports import ranking, tables


def score(arguments: argparse.Namespace) -> int:
    """Print scores: of ten numbers, or of records."""
    options = read_options(ScoreOptions, arguments)
    if options.numbers:
        print(f"ERS {ers.ers(ers.check_numbers(dict(zip(ers.NUMBERS, options.numbers, strict=True)))):.2f}")
        return 0
    records = read_records(options.config, list(options.records))
    if not records:
        raise UserError("there is no record yet; make one: anrot retrieve attack -C NAME")
    for record in records:
        print(ranking.score_line(record))
    return 0


def table(arguments: argparse.Namespace) -> int:
    """Print published and measured rows, apart from each other."""
    options = read_options(RankingTableOptions, arguments)
    name = options.set if options.config is None else names.parse(options.config).dataset
    style = tables.format_markdown if options.markdown else tables.format_text
    headings, rows = ranking.list_published(name)
    if rows:
        print(style(headings, rows))
        print("* computed here from the printed numbers")
        print(f"mAP: {ers.read_published()['about']['mAP']}\n")
    records = read_records(options.config, dataset=options.set if options.config is None else None)
    print(style(*ranking.list_measured(records)) if records else "nothing measured here yet")
    return 0
