"""What a verb of the command line is, and a parser of several."""

import argparse
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """A verb, or an action of one.

    summary  one line for the list of verbs; details: what more its own help says.
    example  a command to begin with.
    command  the module below cli/commands and the function that runs it, "fewshot.run"; "" if it has actions.
    add      adds its options to its parser.
    """

    name: str
    summary: str
    example: str
    command: str = ""
    add: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    details: str = ""
    actions: tuple["Verb", ...] = ()


class Formatter(argparse.RawDescriptionHelpFormatter):
    """A help whose first line names only what must be given."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        given = [action for action in actions if action.metavar and (action.required or not action.option_strings)]
        texts = [" ".join([*action.option_strings[:1], str(action.metavar)]) for action in given]
        words = [text if action.required else f"[{text}]" for text, action in zip(texts, given, strict=True)]
        super().add_usage(usage or " ".join(["%(prog)s", *words, "[options]"]), actions, groups, prefix)


def add_verbs(parser: argparse.ArgumentParser, verbs: tuple[Verb, ...], words: Sequence[str], metavar: str) -> None:
    """Add the verbs to a parser. Only those among `words` get their options: the others are listed, not run."""
    parsers = parser.add_subparsers(prog=parser.prog, dest=metavar.lower(), required=True, metavar=metavar)
    for verb in verbs:
        description = textwrap.fill(f"{verb.summary[0].upper()}{verb.summary[1:]}. {verb.details}", 78)
        example = f"example:\n  {verb.example}"
        sub = parsers.add_parser(
            verb.name, help=verb.summary, description=description, epilog=example, formatter_class=Formatter
        )
        sub.set_defaults(command=verb.command)
        if verb.name in words:
            verb.add(sub)
            if verb.actions:
                add_verbs(sub, verb.actions, words, "ACTION")
