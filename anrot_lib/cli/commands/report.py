"""TODO."""

import argparse

from anrot_lib.core.progress import shown


def report(arguments: argparse.Namespace) -> int:
    from anrot_lib.publish import pages

    if arguments.site is None:
        return pages.report(check=arguments.check)
    from anrot_lib.publish import website

    print(f"site: {shown(website.build(arguments.site.absolute()))}")
    return 0
