"""The repository as a stranger gets it: what it declares, what the wheel carries, what no file names."""

import ast
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import anrot_lib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "anrot_lib"
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Where the name that is imported is not the name that is installed.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "art": "adversarial-robustness-toolbox"}
# What may import the packages of an extra, inside functions; everything else has the library's dependencies alone.
USES_EXTRA = {
    "attacks/external.py": "judges",
    "attacks/judges.py": "judges",
    "core/ranks.py": "ranks",
    "course/checklist.py": "course",
    "course/copies.py": "course",
    "course/displays.py": "course",
    "course/lesson.py": "course",
    "publish/formulas.py": "course",
    "publish/print_form.py": "course",
    "publish/slides.py": "course",
    "publish/website.py": "site",
}
UNIX_ONLY = ["resource", "fcntl", "pwd", "grp", "termios"]
JUPYTER = ["IPython", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_core", "jupyterlab", "jupytext"]
JUPYTER += ["nbclient", "nbconvert", "nbformat", "nbval", "traitlets", "matplotlib_inline", "latex2mathml"]
JUPYTER += ["myst_nb", "furo", "art", "ot", "sphinx_revealjs"]

MACHINE_PATH = re.compile(r"(?<![\w.$}])/(work|root)/|(?<![\w.])/(home|Users)/[a-z]\w*/")
REGISTRY_HOST = re.compile(r"\b(pypi\.org|pythonhosted\.org|npmjs\.org|debian\.org|crates\.io)\b")


def run(*command: str | Path, **options) -> str:
    """Standard output of a command that must succeed; its errors are shown where it does not."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def package_files() -> set[str]:
    """Every file that belongs to the package, as a path from the root."""
    files = (f for f in PACKAGE.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    return {f.relative_to(ROOT).as_posix() for f in files}


def project_files() -> list[Path]:
    """Every file that git tracks or would track."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(lines: list[str]) -> set[str]:
    names = (re.match(r"[\w.-]+", line) for line in lines if not line.startswith("#"))
    return {normalised(name[0]) for name in names if name}


def imported_names(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_one_version():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert declared["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "anrot_lib.core.version.__version__"
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    changes = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert citation[1] == changes[1] == anrot_lib.__version__


def test_every_import_is_declared_where_it_is_used():
    undeclared = {}
    for file in PACKAGE.rglob("*.py"):
        extra = USES_EXTRA.get(file.relative_to(PACKAGE).as_posix())
        declared = requirement_names(PROJECT["dependencies"] + EXTRAS.get(extra, []))
        used = imported_names(file) - set(sys.stdlib_module_names) - {"anrot_lib"}
        if missing := {normalised(DISTRIBUTIONS.get(name, name)) for name in used} - declared:
            undeclared[file.name] = missing
    assert not undeclared


def test_every_dependency_of_the_library_is_imported():
    used = set().union(*(imported_names(file) for file in PACKAGE.rglob("*.py")))
    used = {normalised(DISTRIBUTIONS.get(name, name)) for name in used}
    # torchmetrics builds the Inception net from torch-fidelity.
    assert requirement_names(PROJECT["dependencies"]) - used == {"torch-fidelity"}


def test_requirements_list_the_library_and_the_course():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["dependencies"] + EXTRAS["course"]


def test_environment_gives_the_oldest_python_and_the_same_installation_as_make():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    python, pip, delegated = environment["dependencies"]
    assert python.replace("=", ">=") == f"python{PROJECT['requires-python']}" and pip == "pip"
    extras = re.search(r"^EXTRAS := (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.M)[1]
    assert delegated == {"pip": ["-c requirements-lock.txt", f"-e .[{extras}]"]}
    assert set(extras.split(",")) == set(EXTRAS)


def test_readme_states_the_versions_that_are_declared_and_tried():
    declared = {Requirement(line).name: str(Requirement(line).specifier) for line in PROJECT["dependencies"]}
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    tried = re.findall(r"(Python|torch) ([\d.]+) or later, tried on ([\d.]+) and ([\d.]+)", readme)
    (python, *pythons), (torch, *torches) = ((f">={oldest}", *versions) for _, oldest, *versions in tried)
    assert (python, torch) == (PROJECT["requires-python"], declared["torch"])
    prefix = "Programming Language :: Python :: 3."
    assert [f"{prefix}{version.removeprefix('3.')}" for version in pythons] == [
        line for line in PROJECT["classifiers"] if line.startswith(prefix)
    ]
    lock = (ROOT / "requirements-lock.txt").read_text("utf-8")
    assert torches[0] == torch.removeprefix(">=") and f"\ntorch=={torches[0]}." in lock


def test_lock_pins_every_direct_requirement_and_nothing_of_one_platform():
    lock = [li for li in (ROOT / "requirements-lock.txt").read_text("utf-8").splitlines() if li]
    pins = [line for line in lock if not line.startswith("#")]
    # No local version tag, no path, no address.
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    pinned = requirement_names(pins)
    assert not {name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))}
    wanted = requirement_names(PROJECT["dependencies"]).union(*map(requirement_names, EXTRAS.values()))
    assert wanted - {"setuptools"} <= pinned  # setuptools comes with Python or with torch


def test_lock_suits_the_oldest_python_that_is_declared():
    """Also its first release: Debian 12 has 3.11.2, and some packages ask for a later 3.11."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    lock = (ROOT / "requirements-lock.txt").read_text("utf-8").splitlines()
    pins = (Requirement(line) for line in lock if line and not line.startswith("#"))
    unfit = []
    for pin in pins:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            package = importlib.metadata.metadata(pin.name)
            wants = package.get("Requires-Python") or ""
            if pin.specifier.contains(package["Version"]) and oldest not in SpecifierSet(wants):
                unfit.append(f"{pin} needs Python {wants}")
    assert not unfit, unfit


def test_no_machine_path_or_registry_host_in_any_file():
    found = []
    for file in project_files():
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # pictures and arrays
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cd @work@main", True),
        ("x = '@root@a'", True),
        ("see @home@ann@notes", True),
        ("data@work@a", False),
        ("net@root@weight", False),
    ],
)
def test_machine_paths_are_told_from_other_paths(line: str, expected: bool):
    assert bool(MACHINE_PATH.search(line.replace("@", "/"))) == expected


def test_import_is_light(record_property):
    """The bare package brings no plotting, torchvision or notebooks, all verbs no plotting and no notebooks.

    Seconds are only recorded.
    """
    heavy = ["matplotlib", "IPython", "jupyterlab", "ipywidgets", "nbformat", "jsonschema"]
    for module, banned in (("anrot_lib", [*heavy, "torchvision", "scipy"]), ("anrot_lib.cli.commands.fewshot", heavy)):
        code = (
            f"import json, sys, time; import torch; start = time.perf_counter(); import {module};"
            "print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))"
        )
        seconds, modules = json.loads(run(sys.executable, "-c", code, cwd=ROOT))
        record_property(f"import_seconds_of_{module}_beyond_torch", seconds)
        assert not [name for name in banned if name in modules]


@pytest.mark.parametrize("missing", [UNIX_ONLY, JUPYTER], ids=["as on Windows", "without any extra"])
def test_all_modules_load_where_modules_are_missing(missing: list[str]):
    names = [path.relative_to(ROOT).with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))]
    modules = [".".join(n for n in parts if n != "__init__") for parts in names if parts[-1] != "__main__"]
    code = (
        f"import sys, importlib; sys.modules.update(dict.fromkeys({missing}));"
        f"[importlib.import_module(name) for name in {modules}];"
        "from anrot_lib.core import devices; devices.read_memory_status = lambda name: None;"
        "print(devices.measure_peak_memory())"
    )
    printed = run(sys.executable, "-c", code, cwd=ROOT).strip()
    assert (printed == "None") == ("resource" in missing) and len(modules) > 100


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel built from it: no network, nothing in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    shutil.copytree(PACKAGE, source / "anrot_lib", ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    return out


@pytest.fixture(scope="module")
def stranger(built: Path, tmp_path_factory: pytest.TempPathFactory):
    """Runs a program of a fresh environment with the wheel, in a folder away from the checkout."""
    home = tmp_path_factory.mktemp("stranger")
    venv.create(home / "env", with_pip=False, symlinks=os.name != "nt")
    scripts = home / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # A plain line in a .pth file: our site-packages lend the dependencies, not the editable checkout.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    env = {k: v for k, v in os.environ.items() if k not in ("ANROT_HOME", "PYTHONPATH")}
    env |= {"HOME": str(home), "XDG_DATA_HOME": str(home / "share"), "LOCALAPPDATA": str(home)}

    def call(program: str, *arguments: str) -> str:
        return run(scripts / program, *arguments, cwd=home, env=env)

    return call


@pytest.mark.slow
def test_wheel_carries_the_whole_package_and_nothing_else(built: Path):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n for n in names if ".dist-info/" not in n} == package_files()
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert len(list(built.glob("*.tar.gz"))) == 1


@pytest.mark.slow
def test_wheel_works_away_from_the_checkout(stranger):
    code = (
        "import json, anrot_lib, importlib.metadata as m; from anrot_lib.core import paths;"
        "print(json.dumps([anrot_lib.__file__, str(paths.root()), m.version('anrot-lib')]))"
    )
    file, root, version = json.loads(stranger("python", "-c", code))
    assert not Path(file).is_relative_to(ROOT)
    assert "anrot" in Path(root).name.lower() and not Path(root).is_relative_to(ROOT)
    assert version == anrot_lib.__version__


@pytest.mark.slow
def test_wheel_reads_its_package_data(stranger):
    code = (
        "import json; from anrot_lib.data import splits;"
        "print(json.dumps({name: len(splits.load_standard(name)['train']) for name in splits.NAMES}))"
    )
    classes = json.loads(stranger("python", "-c", code))
    assert classes["cifar-fs"] == classes["mini-imagenet"] == 64
    assert all(classes.values())


@pytest.mark.slow
def test_wheel_runs_the_pipeline(stranger):
    """Two rows, shortened, on the embedded images; records lie below the user's home; the course's nets are there."""
    words = "run --rows prototypes anrot --episodes 6 --tasks 4 --columns clean FGSM noise --tag wheel"
    said = stranger("anrot", *words.split())
    assert "ANROT, trained on the mixture" in said and "prototypes (Euclid)" in said
    code = (
        "from anrot_lib.core import paths; from anrot_lib.records import results;"
        "from anrot_lib.course import catalogue; catalogue.open_net('mixture');"
        "print(len(results.read_all(next(paths.runs_dir().glob('*-wheel')))))"
    )
    assert stranger("python", "-c", code).split()[-1] == "2"


@pytest.mark.slow
def test_wheel_has_both_ways_to_the_command_line(stranger):
    by_module = stranger("python", "-m", "anrot_lib", "--help")
    by_script = stranger("anrot", "--help")
    assert by_script == by_module
    assert all(verb in by_module for verb in ("run", "prepare", "train", "evaluate", "predict"))


def test_console_script_is_declared():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="anrot")
    assert script.value == "anrot_lib.cli.main:main"


@pytest.mark.slow
def test_wheel_asks_for_no_jupyter_and_needs_none(built: Path, stranger):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode("utf-8").splitlines()
    wanted = [Requirement(line.removeprefix("Requires-Dist: ")) for line in lines if line.startswith("Requires-Dist: ")]
    assert {w.name for w in wanted if not w.marker} == {Requirement(line).name for line in PROJECT["dependencies"]}
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({JUPYTER})); import anrot_lib.core.devices;"
        "from anrot_lib.cli.main import main; main(['--help'])"
    )
    assert "prepare" in stranger("python", "-c", code)
