"""The map of the package: its rooms, floors and imports, drawn from the code and from the import contract."""

import ast
import tomllib
from collections.abc import Mapping
from pathlib import Path

from anrot_lib.core.errors import UserError
from anrot_lib.reports import tables

PACKAGE = Path(__file__).resolve().parents[1]


def read_floors() -> list[list[str]]:
    """The floors of the import contract in pyproject.toml, highest first; each is a list of rooms."""
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[room.strip() for room in layer.split("|")] for layer in layers]


def describe(room: str) -> str:
    """The first sentence of a room's docstring. UserError if it has none."""
    path = PACKAGE / room / "__init__.py"
    path = path if path.is_file() else PACKAGE / f"{room}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    if not docstring:
        raise UserError(f"{path} needs a docstring that says what the room holds; the map of the package shows it")
    return docstring.split("\n\n")[0].replace("\n", " ")


def find_imports() -> dict[str, set[str]]:
    """Room -> the rooms that its modules import, from their import statements."""
    rooms = {room for floor in read_floors() for room in floor}
    imports: dict[str, set[str]] = {room: set() for room in rooms}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in rooms:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "anrot_lib":
                names = [f"anrot_lib.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            parts = [name.split(".") for name in names]
            imports[room] |= {p[1] for p in parts if p[0] == "anrot_lib" and len(p) > 1 and p[1] in rooms - {room}}
    return imports


def reduce_imports(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that remain when those are left out that a longer way implies. The imports have no circle."""

    def reach(room: str) -> set[str]:
        return imports[room].union(*(reach(other) for other in imports[room]))

    return {room: direct - set().union(*(reach(other) for other in direct)) for room, direct in imports.items()}


def draw_map() -> str:
    """A table of the rooms and what they hold, highest floor first; rooms of one floor do not import one another."""
    rows = [
        [str(number), f"`{room}`", describe(room)]
        for number, floor in zip(range(len(read_floors()), 0, -1), read_floors(), strict=True)
        for room in floor
    ]
    return tables.format_markdown(["floor", "room", "what it holds"], rows, numbers=False)


def draw_picture() -> str:
    """A Mermaid picture of rooms and imports; arrows that a longer way implies are left out."""
    floors, arrows = read_floors(), reduce_imports(find_imports())
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"  {room} --> {other}" for floor in floors for room in floor for other in sorted(arrows[room])]
    return "\n".join([*lines, "```"])
