"""TODO."""

import argparse

from anrot_lib.core.progress import shown


def report(arguments: argparse.Namespace) -> int:
    from anrot_lib.publish import readme

    if arguments.site is None:
        return readme.report(check=arguments.check)
    from anrot_lib.publish import website

    print(f"site: {shown(website.build(arguments.site.absolute()))}")
    return 0
