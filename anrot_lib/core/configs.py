"""Settings as dataclasses: range and type checks, changes, JSON, and a key for what is stored under them."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from numbers import Integral, Real
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

from anrot_lib.core.errors import UserError


class Settings(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


if TYPE_CHECKING:
    from pydantic import TypeAdapter

S = TypeVar("S", bound=Settings)


def check_types(settings: Settings) -> None:
    """UserError for the first field that is not of its declared type. A whole number may stand for a fraction."""
    for name, hint in _get_hints(type(settings)).items():
        value = getattr(settings, name)
        if not _is_of_type(value, hint):
            kind = hint.__name__ if isinstance(hint, type) else str(hint)
            raise UserError(f"{name.replace('_', ' ')} must be of the type {kind}, got {value!r}")


@functools.cache
def _get_hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _is_of_type(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_is_of_type(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_is_of_type(part, get_args(hint)[0]) for part in value)
    numbers_of = {int: Integral, float: Real}
    if hint in numbers_of:
        return isinstance(value, numbers_of[hint]) and not isinstance(value, bool)
    return isinstance(value, hint)


def check_at_least(settings: Any, **least: float) -> None:
    """UserError for the first of these fields that is not a finite number of at least so much."""
    for name, low in least.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and value >= low):
            raise UserError(f"{name.replace('_', ' ')} must be at least {low:g}, got {value:g}")


def check_at_most(settings: Any, **most: float) -> None:
    """UserError for the first of these fields that is greater: beyond reason, a size overflows or fills the memory."""
    for name, high in most.items():
        if getattr(settings, name) > high:
            raise UserError(f"{name.replace('_', ' ')} must be at most {high:g}, got {getattr(settings, name):g}")


@functools.cache
def _build_adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter  # it takes as long to load as the rest of the command line

    return TypeAdapter(kind)


def check_type(value: Any, kind: Any, what: str) -> Any:
    """The value, if it is of a type in every part, without conversions. UserError with the place of the first fault.

    kind: any annotation, such as `dict[str, int]`, or a TypedDict. what: the value in words, "the recipe in net.pt".
    """
    from pydantic import ValidationError

    try:
        _build_adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in fault["loc"])
        raise UserError(f"{what}{place} is of another type than it should be: {fault['msg'].lower()}") from None
    return value


def change(settings: S, **changes: Any) -> S:
    """The same settings with those of `changes` that are not None; the spelling of a command line's options."""
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})


def from_dict(cls: type[S], values: dict[str, Any]) -> S:
    """Rebuild stored settings. An unknown key, or a value of another type, is an error, never a silent default."""
    check_type(values, dict[str, Any], f"the settings of {cls.__name__}")
    known = {f.name for f in fields(cls)}
    if unknown := sorted(set(values) - known):
        raise UserError(f"unknown setting {', '.join(unknown)} for {cls.__name__}; it has {', '.join(sorted(known))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"the setting {name} of {cls.__name__} must be a finite number, got {value:g}")
    try:
        return cls(**values)
    except TypeError as error:
        raise UserError(f"the settings of {cls.__name__} are not complete: {error}") from None


def to_dict(settings: Any) -> dict[str, Any]:
    """JSON-able settings; tuples become lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}


def add_defaults(cls: type[S], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings as `to_dict` gives them today: fields that did not exist then have their defaults."""
    return to_dict(from_dict(cls, dict(stored)))


def make_key(*parts: Any) -> str:
    """A short name for settings: equal settings, equal name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def list_differences(old: dict[str, Any], new: dict[str, Any], recipe: str = "recipe") -> list[str]:
    """Names of the settings whose values differ; of the entry `recipe`, those of its fields."""
    old, new = ({**s, **(s.get(recipe) or {})} for s in (old, new))
    return sorted(k for k in old.keys() | new.keys() if k != recipe and old.get(k) != new.get(k))
