"""Settings as dataclasses: range checks, changes, JSON, and a key for what is stored under them."""

import hashlib
import json
import math
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from anrot_lib.core.errors import UserError


class Settings(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


S = TypeVar("S", bound=Settings)


def check_at_least(settings: Any, **least: float) -> None:
    """UserError for the first of these fields that is not a finite number of at least so much."""
    for name, low in least.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and value >= low):
            raise UserError(f"{name.replace('_', ' ')} must be at least {low:g}, got {value:g}")


def change(settings: S, **changes: Any) -> S:
    """The same settings with those of `changes` that are not None; the spelling of a command line's options."""
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})


def from_dict(cls: type[S], values: dict[str, Any]) -> S:
    """Rebuild stored settings. An unknown key is an error: a typo must not become a silent default."""
    known = {f.name for f in fields(cls)}
    if unknown := sorted(set(values) - known):
        raise UserError(f"unknown setting {', '.join(unknown)} for {cls.__name__}; it has {', '.join(sorted(known))}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def to_dict(settings: Any) -> dict[str, Any]:
    """JSON-able settings; tuples become lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}


def make_key(*parts: Any) -> str:
    """A short name for settings: equal settings, equal name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def list_differences(old: dict[str, Any], new: dict[str, Any], recipe: str = "recipe") -> list[str]:
    """Names of the settings whose values differ; of the entry `recipe`, those of its fields."""
    old, new = ({**s, **(s.get(recipe) or {})} for s in (old, new))
    return sorted(k for k in old.keys() | new.keys() if k != recipe and old.get(k) != new.get(k))
