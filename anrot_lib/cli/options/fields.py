"""Options of the command line, made from the annotated fields of dataclasses; their help stands in the dataclass."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from anrot_lib.core.errors import UserError
from anrot_lib.core.options import PIXELS, Option
from anrot_lib.core.units import format_pixels, parse_fraction

METAVARS = {int: "N", float: "X", Path: "FILE"}


def add_options(
    parser: argparse._ActionsContainer,
    settings: type,
    *names: str,
    defaults: Callable[[str], str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> None:
    """Add the fields of a dataclass that carry an `Option`, or only those named.

    parser    a parser, or a group of one.
    defaults  name of a field -> the text of its default, for settings whose defaults follow from something else.
    flags     name of a field -> what it is called here in place of its usual name.

    An option that is not given leaves nothing in the namespace. One that is stands there as "Class.field".
    """
    hints = get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        option = next((a for a in get_args(hints[field.name]) if isinstance(a, Option)), None)
        if option is None or (names and field.name not in names):
            continue
        default = describe_value(field.default, option) if defaults is None else defaults(field.name)
        words: dict[str, Any] = _describe_type(hints[field.name], field, option)
        words["help"] = (option.help + (f" (default: {default})" if default else "")).replace("%", "%%")
        words["default"] = argparse.SUPPRESS
        key = f"{settings.__name__}.{field.name}"
        if option.positional:
            if field.default is not dataclasses.MISSING:
                words |= {"nargs": words.get("nargs", "?"), "default": field.default}
            parser.add_argument(key, **words)
            continue
        flag = (flags or {}).get(field.name, f"--{field.name.replace('_', '-')}")
        required = field.default is dataclasses.MISSING and defaults is None
        parser.add_argument(*(option.flags or (flag,)), dest=key, required=required, **words)


def describe_value(value: object, option: Option | None = None) -> str:
    """A default as the help shows it; "" where there is nothing to show."""
    if value is None or value is False or value == () or value is dataclasses.MISSING:
        return ""
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    if isinstance(value, float):
        return format_pixels(value) if option is not None and option.metavar == PIXELS else f"{value:g}"
    return "on" if value is True else str(value)


def describe_defaults(settings: Mapping[str, object], otherwise: str = "") -> Callable[[str], str]:
    """For `add_options`: the default of a field in several settings of one class, by what each is called.

    otherwise  the text where they differ; "" lists them.
    """

    def describe(name: str) -> str:
        hints = get_type_hints(type(next(iter(settings.values()))), include_extras=True)
        option = next(a for a in get_args(hints[name]) if isinstance(a, Option))
        texts = {label: describe_value(getattr(one, name), option) for label, one in settings.items()}
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        return otherwise or ", ".join(f"{label} {text or 'off'}" for label, text in texts.items())

    return describe


def _parse_number(text: str) -> float:
    try:
        return parse_fraction(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parse_whole(text: str) -> int:
    """A whole number of 64 bits, which is what arrays and records hold."""
    number = int(text)
    if abs(number) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is beyond 64 bits")
    return number


_parse_whole.__name__ = "int"  # argparse: "invalid int value"
TYPES: dict[type, Callable[[str], object]] = {float: _parse_number, int: _parse_whole}


def _describe_type(hint: Any, field: dataclasses.Field[Any], option: Option) -> dict[str, Any]:
    """The arguments of argparse for the values of a field."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if isinstance(hint, UnionType):
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    if hint is bool:
        return {"action": "store_true" if field.default is False else argparse.BooleanOptionalAction}
    words: dict[str, Any] = {}
    if get_origin(hint) is tuple:
        hint, words["nargs"] = get_args(hint)[0], option.count
    words["type"] = TYPES.get(hint, hint)
    if option.choices:
        words["choices"] = option.choices
    if option.metavar or not option.choices:
        word = METAVARS.get(hint, field.name.split("_")[-1].upper())
        words["metavar"] = option.metavar or (field.name if option.positional else word)
    if option.alone:
        words |= {"nargs": "?", "const": hint(option.alone)}
    return words
