"""Options out of the namespace of a command line, for all verbs; it loads no torch."""

import argparse
from typing import Any, TypeVar

T = TypeVar("T")


def get_changes(settings: type, arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The fields of a dataclass that the command line sets, or those of `names` that it sets."""
    prefix = f"{settings.__name__}."
    changes = {key.removeprefix(prefix): value for key, value in vars(arguments).items() if key.startswith(prefix)}
    if names:
        changes = {name: value for name, value in changes.items() if name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}


def read_options(options: type[T], arguments: argparse.Namespace) -> T:
    """Options with their defaults. UserError for a value that is not allowed."""
    return options(**get_changes(options, arguments))
