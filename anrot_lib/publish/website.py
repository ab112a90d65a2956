"""The static site: all pages, notebooks and an API reference as HTML that reads offline, light and dark.

Notebooks are rendered by nbconvert, formulas become MathML (latex2mathml), the reference is made by pdoc. Nothing on a
page is fetched from anywhere: no script, no font, no style sheet.
"""

import html
import pkgutil
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import anrot_lib
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.publish import pages

ROOT = pages.CHECKOUT
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --line: #d0d7de; --soft: #f6f8fa; --link: #0550ae;
  --code: #1f2328; --word: #a0311d; --text: #0a5c36; --note: #57606a; --number: #6639ba; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --line: #30363d; --soft: #161b22;
  --link: #79c0ff; --code: #e6edf3; --word: #ff9b8a; --text: #7ee787; --note: #9aa4ae; --number: #d2a8ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 system-ui, sans-serif; }
a { color: var(--link); } a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); }
.page { display: grid; grid-template-columns: 15rem minmax(0, 50rem); gap: 2.5rem; margin: 0 auto; max-width: 70rem;
  padding: 0 1rem; }
nav { align-self: start; border-right: 1px solid var(--line); font-size: .9rem; max-height: 100vh; overflow-y: auto;
  padding: 1.5rem 1rem 1.5rem 0; position: sticky; top: 0; }
nav ul { list-style: none; margin: 0 0 1rem; padding: 0; } nav li { margin: .25rem 0; }
nav [aria-current] { font-weight: 700; color: var(--ink); text-decoration: none; }
main { padding: 1.5rem 0 4rem; } h1 { line-height: 1.25; } h2 { margin-top: 2.2rem; }
img { max-width: 100%; background: #ffffff; border-radius: 4px; padding: 4px; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; padding: .7rem;
  font: 13.5px/1.45 ui-monospace, monospace; color: var(--code); }
:not(pre) > code { background: var(--soft); border-radius: 4px; padding: .1em .3em; font-size: .9em; }
.jp-OutputArea pre, .output pre { border-style: dashed; background: none; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .92rem; }
td, th { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; white-space: normal; min-width: 14rem; }
.prompt, .jp-InputPrompt, .jp-OutputPrompt, .anchor-link { display: none; }
.k, .kn, .kc, .ow { color: var(--word); } .s1, .s2, .sd, .sa, .si { color: var(--text); }
.c1 { color: var(--note); font-style: italic; } .mi, .mf { color: var(--number); }
details { border-left: 3px solid var(--line); padding-left: 1rem; } blockquote { border-left: 3px solid var(--line);
  margin-left: 0; padding-left: 1rem; } math[display="block"] { overflow-x: auto; margin: 1rem 0; }
@media (max-width: 50rem) { .page { display: block; } nav { border: 0; max-height: none; position: static; }
  nav ul { columns: 2; } }
"""


REFERENCE_STYLE = """
@media (prefers-color-scheme: dark) { :root { --pdoc-background: #0d1117; --text: #e6edf3; --muted: #9aa4ae;
  --link: #79c0ff; --link-hover: #a5d6ff; --code: #161b22; --active: #30363d; --accent: #21262d; --accent2: #30363d; } }
"""


def build(out: Path) -> Path:
    """Write the site to the folder `out`, which is made anew; returns its first page.

    UserError outside a checkout, when `out` holds something else than a site, or when a package is missing.
    """
    _check(out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / ".anrot-site").touch()
    (out / "style.css").write_text(STYLE, "utf-8")
    for page in pages.PAGES:
        source = ROOT / page.path
        _write(out, name_page(source), page.title, _link(out, source, render_markdown(source.read_text("utf-8"))))
    for notebook in catalogue.list_ready():
        source = ROOT / "notebooks" / f"{notebook.stem}.ipynb"
        _write(out, name_page(source), notebook.title, _link(out, source, _render_notebook(source)))
    _write_reference(out / "api")
    return out / "index.html"


def name_page(source: Path) -> str:
    """The file of the site that a page or notebook becomes: "results-cifar-fs.html" of docs/results/cifar-fs.md."""
    parts = source.relative_to(ROOT).with_suffix("").parts
    parts = tuple(part for part in parts if part not in ("docs", "notebooks", "README"))
    return f"{'-'.join(parts).lower() or 'index'}.html"


def _check(out: Path) -> None:
    if not (ROOT / "README.md").is_file():
        raise UserError("the site is made of a checkout's notebooks and README.md; run this in one")
    if missing := [name for name in ("pdoc", "latex2mathml", "nbconvert") if find_spec(name) is None]:
        raise UserError(f"the site needs {' and '.join(missing)}: pip install 'anrot-lib[site]'")
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]) and not (out / ".anrot-site").is_file():
        raise UserError(f"{out} exists and is no site of this kit; name an empty or a new folder")


def render_markdown(text: str) -> str:
    """Markdown with formulas in $...$ and $$...$$ as HTML with MathML."""
    from latex2mathml.converter import convert
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return convert(body, display="block")

        def inline_math(self, body: str) -> str:
            return convert(body)

        def block_html(self, body: str) -> str:  # <details> must stay open around the Markdown inside it
            return body + "\n"

    renderer = Renderer(escape=False, allow_harmful_protocols=False)
    page = MarkdownWithMath(renderer=renderer).render(text)
    # anchors of headings as repositories show them, in lower case, so that one link suits both
    return re.sub(r'(<h\d id="|href="#)([^"]*)', lambda anchor: anchor[1] + anchor[2].lower(), page)


def _link(out: Path, source: Path, text: str) -> str:
    """Let links to pages and notebooks lead to their pages of the site, and copy other files that `text` refers to."""
    known = [ROOT / page.path for page in pages.PAGES]
    known += [ROOT / "notebooks" / f"{notebook.stem}.ipynb" for notebook in catalogue.list_ready()]

    def replace(link: re.Match[str]) -> str:
        target = (source.parent / link["path"]).resolve()
        if target in known:
            name = name_page(target)
        elif target.is_file() and target.is_relative_to(ROOT):
            name = f"files/{'-'.join(target.relative_to(ROOT).parts)}"
            (out / "files").mkdir(exist_ok=True)
            shutil.copyfile(target, out / name)
        else:
            return link[0]
        return f'{link["kind"]}="{name}{(link["anchor"] or "").lower()}"'

    return re.sub(r'(?P<kind>href|src)="(?P<path>[^":#]+)(?P<anchor>#[^"]*)?"', replace, text)


def _render_notebook(path: Path) -> str:
    import nbformat
    from nbconvert.exporters import HTMLExporter

    # nbformat and nbconvert carry no types
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    exporter = HTMLExporter(template_name="basic")  # type: ignore[no-untyped-call]
    exporter.register_filter("markdown2html", render_markdown)  # type: ignore[no-untyped-call]
    body, _ = exporter.from_notebook_node(book)
    return str(body)


def list_documented() -> list[str]:
    """Every module of the library by name, without the exercises: a face lists names, so its modules are named here."""
    modules = pkgutil.walk_packages(anrot_lib.__path__, "anrot_lib.")
    left_out = ("anrot_lib.course.exercises", "anrot_lib.__main__")
    return ["anrot_lib", *(module.name for module in modules if not module.name.startswith(left_out))]


def _write_reference(folder: Path) -> None:
    """The API reference by pdoc; the module with the published code's re-statement is in it, too."""
    import pdoc
    import pdoc.render

    with tempfile.TemporaryDirectory() as templates:
        Path(templates, "custom.css").write_text(REFERENCE_STYLE, "utf-8")
        pdoc.render.configure(
            docformat="google",
            math=False,
            search=True,
            show_source=False,
            footer_text="anrot_lib",
            template_directory=Path(templates),
        )
        pdoc.pdoc(*list_documented(), output_directory=folder)


def _navigation(current: str) -> str:
    texts = [(name_page(ROOT / page.path), page.title) for page in pages.PAGES]
    texts.append(("api/index.html", "API reference"))
    notebooks = [(f"{n.stem}.html", f"{n.number:02d} {n.title}") for n in catalogue.list_ready()]

    def items(entries: list[tuple[str, str]]) -> str:
        here = ' aria-current="page"'
        return "".join(f'<li><a href="{p}"{here if p == current else ""}>{t}</a></li>' for p, t in entries)

    return f'<nav aria-label="Pages"><ul>{items(texts)}</ul><ul>{items(notebooks)}</ul></nav>'


def _write(out: Path, name: str, title: str, body: str) -> None:
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="style.css"></head>\n<body><div class="page">{_navigation(name)}'
        f"<main>{body}</main></div></body></html>\n"
    )
    (out / name).write_text(page, "utf-8")
