"""The verb report."""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.report import ReportOptions
from anrot_lib.core.progress import bar, shorten


def report(arguments: argparse.Namespace) -> int:
    """Redraw tables and figures from the reference records, or write the site."""
    from anrot_lib.publish import pages

    options = read_options(ReportOptions, arguments)
    if options.review is not None:
        from anrot_lib.audit.defects import list_defects
        from anrot_lib.publish import print_form
        from anrot_lib.reports import review

        save = print_form.save_page if options.review.suffix.lower() in (".html", ".htm") else review.save_review
        with bar("demos", len(list_defects())) as advance:
            print(f"review: {shorten(save(options.review.absolute(), advance))}")
        return 0
    if options.site is None:
        return pages.report(check=options.check)
    from anrot_lib.publish import website

    print(f"site: {shorten(website.build(options.site.absolute()))}")
    return 0
