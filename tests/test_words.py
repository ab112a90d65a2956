"""The house keeps its plan: rooms at the root, short modules, functions that begin with a verb, one name a thing."""

import ast
import collections
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "anrot_lib"
TREES = {file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text("utf-8")) for file in PACKAGE.rglob("*.py")}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ROOT_FILES = {"__init__.py", "__main__.py", "py.typed", "settings.py"}
MOST_AT_THE_ROOT = 18
MOST_LINES = 300
PREPOSITIONS = {"after", "at", "by", "from", "in", "of", "on", "to", "with"}
# The usual names of Python and torch; with_NAME changes one field of a copy, as pathlib's with_suffix does.
USUAL = {"from_arrays", "from_dict", "to", "to_batch", "to_dict", "to_episode", "to_float", "to_standard"}
USUAL |= {"with_images", "with_queries"}
PRIVATE_WORDS = {"found", "in_all", "own", "said", "told"}


def nodes_of(tree: ast.AST, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def begins_with_a_preposition(function: ast.FunctionDef) -> bool:
    is_constructor = any(isinstance(d, ast.Name) and d.id == "classmethod" for d in function.decorator_list)
    first, name = function.name.strip("_").partition("_")[0], function.name
    return first in PREPOSITIONS and name not in USUAL and not (first == "from" and is_constructor)


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that the module gives: variables, arguments, functions, classes, attributes that it sets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node.lineno


def spreads_a_literal(call: ast.Call) -> bool:
    return any(isinstance(a, ast.Starred) and isinstance(a.value, ast.Tuple | ast.List) for a in call.args)


def faults(name: str, tree: ast.AST) -> list[str]:
    functions = nodes_of(tree, *FUNCTIONS)
    lines = [
        f"{name}:{f.lineno}: {f.name} begins with a preposition" for f in functions if begins_with_a_preposition(f)
    ]
    lines += [f"{name}:{at}: the name {word!r}" for word, at in identifiers(tree) if word.strip("_") in PRIVATE_WORDS]
    calls = nodes_of(tree, ast.Call)
    lines += [f"{name}:{call.lineno}: a call spreads a literal" for call in calls if spreads_a_literal(call)]
    return lines


def test_the_root_holds_rooms_and_settings():
    entries = {p for p in PACKAGE.iterdir() if p.name != "__pycache__"}
    assert {p.name for p in entries if p.is_file()} == ROOT_FILES
    assert all((p / "__init__.py").is_file() for p in entries if p.is_dir())
    assert len(entries) <= MOST_AT_THE_ROOT


def test_no_module_is_long():
    lengths = {name: len((PACKAGE / name).read_text("utf-8").splitlines()) for name in TREES}
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


def test_functions_and_names_are_plain():
    lines = [line for name, tree in sorted(TREES.items()) for line in faults(name, tree)]
    assert not lines, f"{len(lines)}:\n" + "\n".join(lines)


def test_no_two_classes_share_a_name():
    names = [node.name for tree in TREES.values() for node in nodes_of(tree, ast.ClassDef)]
    assert not [name for name, times in collections.Counter(names).items() if times > 1]


@pytest.mark.parametrize(
    ("line", "is_fault"),
    [
        ("def of_maps(): ...", True),
        ("def _in_all(): ...", True),
        ("def from_file(): ...", True),
        ("class A:\n @classmethod\n def from_file(cls): ...", False),
        ("def to_dict(): ...", False),
        ("def offer(): ...", False),
        ("found = 1", True),
        ("def f(found): ...", True),
        ("foundation = 1", False),
        ("f(*(a, b), c)", True),
        ("f(*[a, b])", True),
        ("f(*a, b)", False),
    ],
)
def test_the_checks_see_faults(line: str, is_fault: bool):
    assert bool(faults("line", ast.parse(line))) == is_fault
