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
PREPOSITIONS = {"after", "as", "at", "by", "for", "from", "in", "of", "on", "per", "to", "with", "without"}
# The usual names of Python and torch; with_NAME changes one field of a copy, as pathlib's with_suffix does.
USUAL = {"from_dict", "to", "to_batch", "to_dict", "to_episode", "to_standard", "with_images", "with_queries"}
PRIVATE_WORDS = {"found", "in_all", "own", "told"}
VERBS = """
accumulate add adjust advance align ascend assign attach attack augment average begin blur bootstrap bound broadcast
build certify change check choose classify climb compare compute concatenate convert copy count create cut decode
describe detect digest disable download draw embed encode escape estimate evaluate explain explore extract extrapolate
fill find finish fit flatten flush fold format gather get grade group halve has hash interleave interpolate is join
judge keep lay list load make manipulate map mark match matches maximise measure mine name normalise note number open
pack parse perturb pick plan pool predict prepare pretrain print publish pull push quantise quarantine read recompute
redraw reduce refresh refuse register remove render repeat report rescore resolve retrieve round run save scale score
screen select set shorten show sort split start step store summarise take test time title track train transfer unpack
unwrap validate verify walk weigh wrap write
""".split()  # noqa: SIM905  # read as lines, not as 130 strings
# Nouns by custom: quantities and attacks by the names that formulas and papers have for them, commands by their words
# on the command line, folders, and the two ends of a program.
TERMS = """
autocast cdist cross_entropy distance effective_beta ers fgsm hardness hellinger_distance hellinger_regulariser
hellinger_term hesim interval kernel_distance kl margin_loss nes part_similarity pgd pixel_similarity published_step
query_hinge rc2f2 rlenet sha256 wasserstein
ablation bench card claims consequences defences judges lengths levels recipes reconstruct table
checkpoints_dir packed_dir raw_dir records_dir results_dir root runs_dir
main options preset
""".split()  # noqa: SIM905
# Modules whose functions have the name of what each computes, draws or builds, as in torch.nn.functional and pyplot.
MODULES_OF_NOUNS = (
    "course/exercises/",
    "data/augmentation.py",
    "data/corruptions.py",
    "data/synthetic/",
    "divergences/",
    "fewshot/encoders.py",
    "ranking/training/losses.py",
    "reports/pictures.py",
    "reports/ranking_figures.py",
)


def nodes_of(tree: ast.AST, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def decorators(function: ast.FunctionDef) -> set[str]:
    return {ast.unparse(d).rpartition(".")[2] for d in function.decorator_list}


def begins_with_a_preposition(function: ast.FunctionDef) -> bool:
    if decorators(function) & {"property", "cached_property"} or function.name in USUAL:
        return False
    first = function.name.strip("_").partition("_")[0]
    return first in PREPOSITIONS and not (first == "from" and "classmethod" in decorators(function))


def lacks_a_verb(function: ast.FunctionDef) -> bool:
    """Whether a public function is called like a thing. What a context manager opens is one."""
    is_public = not function.name.startswith("_") and "contextmanager" not in decorators(function)
    return is_public and function.name not in USUAL | {*TERMS} and function.name.partition("_")[0] not in VERBS


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that the module gives: variables, arguments, functions, classes, attributes that it sets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node.lineno


def public_functions(name: str, tree: ast.Module) -> list[ast.FunctionDef]:
    return [] if name.startswith(MODULES_OF_NOUNS) else [f for f in tree.body if isinstance(f, ast.FunctionDef)]


def spreads_a_literal(call: ast.Call) -> bool:
    return any(isinstance(a, ast.Starred) and isinstance(a.value, ast.Tuple | ast.List) for a in call.args)


def faults(name: str, tree: ast.Module) -> list[str]:
    functions = () if name.startswith(MODULES_OF_NOUNS) else nodes_of(tree, *FUNCTIONS)
    lines = [
        f"{name}:{f.lineno}: {f.name} begins with a preposition" for f in functions if begins_with_a_preposition(f)
    ]
    nouns = [f for f in public_functions(name, tree) if lacks_a_verb(f)]
    lines += [f"{name}:{f.lineno}: {f.name} begins with no word of VERBS" for f in nouns]
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


def test_every_exception_is_used():
    functions = [f for name, tree in TREES.items() for f in public_functions(name, tree)]
    names = {f.name for f in functions}
    assert not {*TERMS} - names
    assert not {*VERBS} - {name.partition("_")[0] for name in names}


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
        ("def add(): ...", False),
        ("def addition(): ...", True),
        ("def pgd(): ...", False),
        ("@contextmanager\ndef quiet(): ...", False),
        ("class A:\n @property\n def by_name(self): ...", False),
        ("class A:\n def by_name(self): ...", True),
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
