"""The attacks of the score by name: `CA:pm=+:W=1:eps=8/255:alpha=3/255:pgditer=32`, and the profiles made of them."""

from dataclasses import dataclass, replace

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from anrot_lib.core.units import format_pixels, parse_fraction

SIDED = {"CA": "W", "QA": "M"}  # attacks that raise (+) or lower (-) a rank, and the name of their number of partners
KINDS = (*SIDED, "TMA", "ES", "LTM", "GTM", "GTT")
KEYS = {"pm": "pm", "W": "count", "M": "count", "eps": "eps", "alpha": "alpha", "pgditer": "steps"}


@dataclass(frozen=True)
class RankAttack:
    """One attack run: what it is after, with which partners, and how far it may go.

    kind    CA (the image is a candidate), QA (it is a query), TMA (towards a target), ES (embedding shift),
            LTM, GTM, GTT (learning or greedy top-1 mistakes).
    pm      "+" or "-" for CA and QA: raise or lower the rank. Empty for the others.
    count   W queries for CA, M candidates for QA, at least 1. 0 for the others.
    eps, alpha, steps   L-infinity radius and step in units of the pixel range, number of gradient steps.

    UserError for a value outside its range. `str` gives the name that `parse` reads.
    """

    kind: str
    eps: float
    alpha: float
    steps: int
    pm: str = ""
    count: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"unknown ranking attack {self.kind!r}; choose one of {', '.join(KINDS)}")
        letter = SIDED.get(self.kind)
        if letter and (self.pm not in ("+", "-") or self.count < 1):
            raise UserError(f"{self.kind} needs pm=+ or pm=-, and {letter} of at least 1")
        if not letter and (self.pm or self.count):
            raise UserError(f"{self.kind} takes neither pm nor a number of partners")
        self.threat()

    def __str__(self) -> str:
        sided = f":pm={self.pm}:{SIDED[self.kind]}={self.count}" if self.kind in SIDED else ""
        return f"{self.kind}{sided}:eps={_length(self.eps)}:alpha={_length(self.alpha)}:pgditer={self.steps}"

    @property
    def title(self) -> str:
        """ "CA+", "QA-", "ES": the name in a table of attacks."""
        return self.kind + self.pm

    def threat(self, restarts: int = 1, start: str = "clean") -> ThreatModel:
        """The threat model of each image by itself; a single step has the length eps, whatever alpha is."""
        step = self.eps if self.steps == 1 else self.alpha
        return ThreatModel(
            norm="linf",
            eps=self.eps,
            step=step,
            steps=self.steps,
            restarts=restarts,
            start=start,
            target="query",
        )


def _length(value: float) -> str:
    text = format_pixels(value)
    return text if parse_fraction(text) == value else repr(value)


def parse(text: str) -> RankAttack:
    """The attack of a name. Every length must be there: a threat model has no defaults. UserError otherwise."""
    kind, *parts = text.split(":")
    if kind == "SPQA":
        raise UserError("SPQA is not among the attacks of the score and is not offered; use QA")
    values: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        field = KEYS.get(key)
        if not equals or field is None or (key in ("W", "M") and SIDED.get(kind) != key):
            raise UserError(f"{text!r}: {part!r} is not a setting of {kind}; they are {', '.join(_keys(kind))}")
        if field in values:
            raise UserError(f"{text!r} sets {key} twice")
        values[field] = value
    if missing := [key for key in _keys(kind) if KEYS[key] not in values]:
        raise UserError(f"{text!r} does not say {', '.join(missing)}")
    try:
        numbers = {key: parse_fraction(values[key]) for key in ("eps", "alpha")}
        whole = {key: int(values[key]) for key in ("count", "steps") if key in values}
    except ValueError:
        raise UserError(f"{text!r}: lengths are numbers such as 0.03 or 8/255, the others are whole numbers") from None
    return RankAttack(
        kind,
        eps=numbers["eps"],
        alpha=numbers["alpha"],
        steps=whole["steps"],
        pm=values.get("pm", ""),
        count=whole.get("count", 0),
    )


def _keys(kind: str) -> tuple[str, ...]:
    sided = ("pm", SIDED[kind]) if kind in SIDED else ()
    return (*sided, "eps", "alpha", "pgditer")


# eps and alpha of the published suites; the steps are 32 in both
PROFILES = {"rob28": (77 / 255, 3 / 255), "rob224": (8 / 255, 3 / 255)}
ALIASES = {"cvpr": "rob224"}


def make_profile(name: str, eps: float | None = None, steps: int | None = None) -> tuple[RankAttack, ...]:
    """The nine runs behind the ten numbers of the score: rob28, or rob224 (also called cvpr).

    eps and steps replace the profile's. UserError for an unknown name.
    """
    key = ALIASES.get(name, name)
    if key not in PROFILES:
        raise UserError(f"unknown profile {name!r}; choose one of {', '.join((*PROFILES, *ALIASES))}")
    radius, alpha = PROFILES[key]
    plain = RankAttack("ES", radius if eps is None else eps, alpha, 32 if steps is None else steps)
    return (
        *(replace(plain, kind=kind, pm=pm, count=1) for kind in SIDED for pm in "+-"),
        *(replace(plain, kind=kind) for kind in KINDS if kind not in SIDED),
    )
