"""The verb report."""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.report import ReportOptions
from anrot_lib.core.progress import shorten


def report(arguments: argparse.Namespace) -> int:
    """Redraw tables and figures from the reference records, or write the site."""
    from anrot_lib.publish import pages

    options = read_options(ReportOptions, arguments)
    if options.site is None:
        return pages.report(check=options.check)
    from anrot_lib.publish import website

    print(f"site: {shorten(website.build(options.site.absolute()))}")
    return 0
