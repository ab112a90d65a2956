"""The API reference: a page a room for Sphinx's autodoc, and docstrings, which are Markdown, made ready for MyST."""

import ast
import pkgutil
import re
from collections.abc import Sequence
from pathlib import Path

import anrot_lib
from anrot_lib.publish import rooms as house

FACE = "anrot_lib"
LEFT_OUT = ("anrot_lib.course.exercises", "anrot_lib.__main__")  # the first holds the solutions
# A line of a docstring that says what a parameter or field is: its name, two spaces or more, a text.
TOLD = re.compile(r"^(?P<indent> *)(?P<name>[A-Za-z_][\w, .*()/]*?)(?<! ) {2,}(?P<text>\S.*)$")


def list_documented() -> list[str]:
    """Every module of the library by name, without the exercises: a face lists names, so its modules are named here."""
    modules = pkgutil.walk_packages(anrot_lib.__path__, f"{FACE}.")
    return [FACE, *(module.name for module in modules if not module.name.startswith(LEFT_OUT))]


def write(folder: Path, rooms: Sequence[str] | None = None) -> None:
    """Write a page a room and the page of the public face into `folder`; rooms: None for all."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [room for floor in house.read_floors() for room in floor if rooms is None or room in rooms]
    contents = "\n".join(f"   {room}" for room in listed)
    face = (house.PACKAGE / "__init__.py").read_text("utf-8")
    names = _list_face(FACE, face)
    text = f"{_head('API reference')}\n.. automodule:: {FACE}\n\n{names}\n\n.. toctree::\n   :hidden:\n\n{contents}\n"
    (folder / "index.rst").write_text(text, "utf-8")
    modules = list_documented()
    for room in listed:
        inside = [name for name in modules if name == f"{FACE}.{room}" or name.startswith(f"{FACE}.{room}.")]
        (folder / f"{room}.rst").write_text(_describe_room(room, inside), "utf-8")


def _head(title: str, line: str = "=") -> str:
    return f"{title}\n{line * len(title)}\n"


def _describe_room(room: str, modules: Sequence[str]) -> str:
    parts = [_head(room)]
    for name in modules:
        path = house.PACKAGE.joinpath(*name.split(".")[1:])
        if path.is_dir():
            if name != modules[0]:
                parts.append(_head(name.partition(".")[2], "-"))
            face = (path / "__init__.py").read_text("utf-8")
            parts.append(f".. automodule:: {name}\n\n{_list_face(name, face)}\n")
        else:
            parts.append(_head(name.partition(".")[2], "-"))
            parts.append(f".. automodule:: {name}\n   :members:\n   :undoc-members:\n")
    return "\n".join(parts)


def _list_face(module: str, text: str) -> str:
    """The names that a face offers, each leading to where it is described; empty if it offers none."""
    homes = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(module)
        for alias in node.names
    }
    public = [name for name in homes if not name.startswith("_") and name != "attach"]
    if not public:
        return ""
    return "Its face: " + ", ".join(f":py:obj:`{name} <{homes[name]}>`" for name in sorted(public)) + "."


def prepare_docstring(lines: Sequence[str]) -> list[str]:
    """A docstring in Markdown, whose aligned lists of names and texts became definition lists."""
    prepared: list[str] = []
    inside, fence = "", False
    for line in lines:
        fence ^= line.lstrip().startswith("```")
        entry = None if fence or line.lstrip().startswith(("|", "-", ">>>")) else TOLD.match(line)
        if entry:
            prepared += [
                "",
                f"{entry['indent']}`{entry['name']}`",
                f"{entry['indent']}: {entry['text']}",
            ]
            inside = entry["indent"] + " "
        elif inside and line.startswith(inside):
            prepared.append(f"{inside} {line.strip()}")
        else:
            if inside and line.strip():
                prepared.append("")
            inside = inside if not line.strip() else ""
            prepared.append(line)
    return prepared
