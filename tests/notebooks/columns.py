"""Lines of code that are too wide to be read beside a table of contents, or on a telephone."""

import re

MOST_COLUMNS = 90
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)  # of code within text


def find_wide_lines(text: str, is_code: bool) -> list[str]:
    """The lines of a cell's code, or of the blocks of code in its text, with more than MOST_COLUMNS characters."""
    parts = [text] if is_code else BLOCK.findall(text)
    return [line for part in parts for line in part.splitlines() if len(line) > MOST_COLUMNS]
