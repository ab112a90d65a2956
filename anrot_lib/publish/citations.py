"""References: the BibTeX file beside this module, and links from where one is named to where it can be read."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from anrot_lib.core.errors import UserError

FILE = Path(__file__).with_name("references.bib")
ENTRY = re.compile(r"^@(?P<kind>\w+)\{(?P<key>\w+),\n(?P<fields>.*?)^\}$", re.DOTALL | re.MULTILINE)
FIELD = re.compile(r"^  (?P<name>\w+) = \{(?P<value>.*)\},$", re.MULTILINE)
ARXIV = re.compile(r"arXiv:?\s+(?P<number>\d{4}\.\d{4,5})")
# What no link may be put into: code, formulas, comments, links, addresses.
KEPT = re.compile(
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$|<!--.*?-->|!?\[[^\]]*\]\([^)]*\)|<[^>\n]*>|https?://\S+", re.DOTALL
)


@dataclass(frozen=True)
class Reference:
    """A publication. `authors` are last names with initials; `address` is where it can be read, "" if nowhere."""

    key: str
    authors: tuple[str, ...]
    title: str
    year: str
    venue: str
    address: str
    note: str
    cited: str
    phrase: str

    @property
    def name(self) -> str:
        """As texts name it: "Madry et al. 2018", "Croce & Hein 2020", "Sohn 2016"."""
        last = [author.partition(",")[0] for author in self.authors]
        names = f"{last[0]} et al." if len(last) > 2 or last[-1] == "others" else " & ".join(last)
        return f"{names} {self.year}".strip()


@cache
def read_references() -> tuple[Reference, ...]:
    """All entries of the file, by name. UserError if one lacks author or title, or if two have one key."""
    text = FILE.read_text("utf-8")
    listed = [_make_reference(entry["key"], dict(FIELD.findall(entry["fields"]))) for entry in ENTRY.finditer(text)]
    if len({reference.key for reference in listed}) != text.count("\n@"):
        raise UserError(f"{FILE.name}: an entry cannot be read, or two have one key; one field stands on each line")
    return tuple(sorted(listed, key=lambda reference: (reference.name.casefold(), reference.title)))


def _make_reference(key: str, fields: dict[str, str]) -> Reference:
    if missing := {"author", "title"} - fields.keys():
        raise UserError(f"{FILE.name}: {key} has no {' and no '.join(sorted(missing))}")
    places = {"eprint": "https://arxiv.org/abs/", "doi": "https://doi.org/", "url": ""}
    address = next((f"{start}{fields[field]}" for field, start in places.items() if field in fields), "")
    venue = fields.get("journal") or fields.get("booktitle", "")
    return Reference(
        key,
        tuple(fields["author"].split(" and ")),
        fields["title"],
        fields.get("year", ""),
        venue,
        address,
        fields.get("note", ""),
        fields.get("cited", ""),
        fields.get("phrase", fields["title"]),
    )


@cache
def _list_names() -> tuple[tuple[re.Pattern[str], str], ...]:
    """(pattern, address) of the names by which prose cites; of names that two publications share none."""
    spelled: list[tuple[str, str]] = []
    for reference in read_references():
        if reference.cited:
            spelled.append((reference.cited, reference.address))
        if reference.year:
            spelled.append((reference.name, reference.address))
        if "et al." in reference.name:
            spelled.append((reference.name.removesuffix(f" {reference.year}"), reference.address))
    count = Counter(name for name, _ in spelled)
    chosen = [(name, address) for name, address in spelled if address and count[name] == 1]
    chosen.sort(key=lambda pair: len(pair[0]), reverse=True)
    return tuple((_spell(name), address) for name, address in chosen)


def _spell(name: str) -> re.Pattern[str]:
    """A citation with "and" or "&", with its year bare, after a comma or in brackets, over a line's end, too."""
    words = [re.escape(word) for word in name.split()]
    if re.fullmatch(r"\d{4}", words[-1]):
        words[-1] = rf"\(?{words[-1]}\)?"
    joined = r",?\s+".join(words).replace(r"\&", r"(?:\&|and)")
    return re.compile(rf"(?<!\w){joined}(?![\w-])(?!,?\s+\(?\d{{4}})")


@cache
def _list_phrases() -> tuple[tuple[re.Pattern[str], str], ...]:
    known = sorted((r for r in read_references() if r.address), key=lambda r: len(r.phrase), reverse=True)
    return tuple((re.compile(r"\s+".join(map(re.escape, r.phrase.split())), re.IGNORECASE), r.address) for r in known)


def attach_links(text: str) -> str:
    """Markdown whose citations, titles in a list "References" and numbers of arXiv lead to the publications."""
    head, mark, tail = text.partition("## References")
    if mark:
        items = re.split(r"(?m)^(?=- )", tail)
        tail = "".join(attach_link(item) for item in items)
    return _link_any(head) + mark + tail


def attach_link(item: str) -> str:
    """One reference with its title as a link; where the title is not known, what else can be one."""
    for pattern, address in _list_phrases():
        if (match := pattern.search(item)) and "](" not in item:
            return f"{item[: match.start()]}[{match[0]}]({address}){item[match.end() :]}"
    return _link_any(item)


def _link_any(text: str) -> str:
    for pattern, address in _list_names():
        text = _replace(pattern, partial(_write_link, address), text)
    return _replace(ARXIV, lambda match: _write_link(f"https://arxiv.org/abs/{match['number']}", match), text)


def _write_link(address: str, match: re.Match[str]) -> str:
    return f"[{match[0]}]({address})"


def _replace(pattern: re.Pattern[str], write: Callable[[re.Match[str]], str], text: str) -> str:
    """Replace outside of code, formulas, comments and links."""
    parts, at = [], 0
    for kept in KEPT.finditer(text):
        parts += [pattern.sub(write, text[at : kept.start()]), kept[0]]
        at = kept.end()
    return "".join([*parts, pattern.sub(write, text[at:])])


def draw_references() -> str:
    """The bibliography as a Markdown list, by name: authors, title with its link, venue, year, what it is cited for."""
    lines = []
    for reference in read_references():
        authors = ", ".join(_write_author(author) for author in reference.authors)
        title = f"[{reference.title}]({reference.address})" if reference.address else reference.title
        parts = ", ".join(part for part in (title, reference.venue, reference.year) if part)
        lines.append(f"- {authors}: {parts}{f' ({reference.note})' if reference.note else ''}.")
    return "\n".join(lines).replace(", others:", " et al.:")


def _write_author(author: str) -> str:
    last, _, first = author.partition(", ")
    return f"{first} {last}".strip()
