"""The static site: pages, notebooks and an API reference as HTML with search, for a browser without a network.

Sphinx builds it with myst-nb and the theme Furo, by `docs/site/conf.py`. Notebooks are shown as they are committed and
never run. `gather` collects the pages that Sphinx reads; its warnings are errors.
"""

import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from anrot_lib.core import packages
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.publish import pages, reference, sources

ROOT = pages.CHECKOUT
SETTINGS = ROOT / "docs" / "site"
FRAMES = ROOT / "data" / "frames"  # of sliders; `make frames` writes them
MARK = ".anrot-site"  # a folder that holds it may be replaced
PACKAGES = ("sphinx", "myst_nb", "furo", "a11y_pygments", "latex2mathml")


def build(out: Path, rooms: Sequence[str] | None = None, frames: Path = FRAMES) -> Path:
    """Write the site to the folder `out`, which is made anew; returns its first page.

    rooms   of the library that the API reference describes; None: all.
    frames  folder with the frames of sliders; where there are none, figures stand still.

    UserError outside a checkout, when `out` holds something else than a site, when a package is missing, and when
    Sphinx warns of anything, a link that leads nowhere for example.
    """
    _check(out)
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()
    problems = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, docutils_namespace():
        source, kept = Path(folder, "source"), Path(folder, "doctrees")
        gather(source, rooms, frames)
        Sphinx(source, SETTINGS, out, kept, "html", status=None, warning=problems).build(force_all=True)
    if problems.getvalue():
        raise UserError(f"the site is not whole: {problems.getvalue().strip()}")
    if frames.is_dir():
        shutil.copytree(frames, out / sources.FRAMES)
    return out / "index.html"


def name_page(source: Path) -> str:
    """The file of the site that a page or notebook becomes: "docs/results/cifar-fs.html"; README.md is "index.html"."""
    path = source.relative_to(ROOT)
    return "index.html" if path.as_posix() == "README.md" else path.with_suffix(".html").as_posix()


def list_sources() -> list[Path]:
    """The pages and notebooks of the site, in the order of its contents."""
    listed = [path for page in pages.PAGES if (path := ROOT / page.path).is_file()]
    return listed + [ROOT / "notebooks" / f"{notebook.stem}.ipynb" for notebook in catalogue.list_ready()]


def gather(folder: Path, rooms: Sequence[str] | None = None, frames: Path = FRAMES) -> None:
    """Write to `folder` what Sphinx reads: pages, notebooks, the files that they show or link to, and the reference."""
    known = list_sources()
    for source in known:
        text = source.read_text("utf-8")
        for target in sources.find_targets(text):
            path = (source.parent / target).resolve()
            if path.is_file() and path.is_relative_to(ROOT) and path not in known:
                _make_room(copy := folder / path.relative_to(ROOT))
                shutil.copyfile(path, copy)
        place = folder / name_page(source)
        _make_room(place)
        if source.suffix == ".ipynb":
            place.with_suffix(".ipynb").write_text(sources.prepare_notebook(text, frames / source.stem), "utf-8")
        else:
            contents = sources.list_contents() if place.stem == "index" else ""
            place.with_suffix(".md").write_text(sources.prepare_page(text) + contents, "utf-8")
    reference.write(folder / "api", rooms)


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)


def _check(out: Path) -> None:
    if not (ROOT / "README.md").is_file():
        raise UserError("the site is made of a checkout's notebooks and README.md; run this in one")
    packages.check_packages("the site needs", PACKAGES, "site")
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]) and not (out / MARK).is_file():
        raise UserError(f"{out} exists and is no site of this kit; name an empty or a new folder")
