"""Names of the rows of tables: that of a method, or of a method and a seed, as titles and in the order of tables."""

import re
from collections.abc import Iterable

from anrot_lib.core.errors import escape_control
from anrot_lib.fewshot.levels.names import PREFIX
from anrot_lib.fewshot.methods import get_method, is_registered, list_methods

SEED = re.compile(r"(?P<method>.+)-seed(?P<seed>\d+)")
KEYED = re.compile(r"(?P<method>.+)-(?P<key>[0-9a-f]{12})")  # a net of `anrot train`, by the key of its recipe


def name_row(method: str, seed: int, first: int) -> str:
    """What a row is called whose method was trained with a seed; the first of several has the name of the method."""
    return method if seed == first else f"{method}-seed{seed}"


def split_row(row: str) -> tuple[str, int | None]:
    """(method, seed) of the name of a row; the seed is None for the first, whose name is the method's."""
    match = SEED.fullmatch(row)
    return (match["method"], int(match["seed"])) if match and is_registered(match["method"]) else (row, None)


def title_method(name: str) -> str:
    """The title of a row's method; of a name that is not known here, as in another's record, the name, escaped."""
    method, seed = split_row(name)
    if (keyed := KEYED.fullmatch(name)) and is_registered(keyed["method"]):
        return f"{title_method(keyed['method'])}, net {keyed['key']}"
    title = get_method(method).title if is_registered(method) or method.startswith(PREFIX) else method
    return escape_control(title if seed is None else f"{title}, seed {seed}")


def sort_methods(names: Iterable[str]) -> list[str]:
    """Names in the order of tables, by seed within a method; unknown ones behind, by name."""
    order = [method.name for method in list_methods()]

    def rank(name: str) -> tuple[int, str, int]:
        method, seed = split_row(name)
        return (order.index(method) if method in order else len(order), method, -1 if seed is None else seed)

    return sorted(names, key=rank)
