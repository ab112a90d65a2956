"""References are whole, and texts lead to them."""

import re
from pathlib import Path

import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.publish import citations

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]]*)\]\((https[^)\s]*)\)")


def list_links(text: str) -> dict[str, str]:
    return dict(LINK.findall(citations.attach_links(text)))


def test_every_reference_can_be_read_but_one_of_1943():
    """Bhattacharyya's paper is the only one of which no stable address is known."""
    found = citations.read_references()
    assert len(found) > 70 and {r.key for r in found if not r.address} == {"bhattacharyya1943"}
    assert all(r.address.startswith("https://") for r in found if r.address)
    assert len({r.address for r in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("PGD (Madry et al. 2018) is", "https://arxiv.org/abs/1706.06083"),
        ("Clopper and Pearson (1934)", "https://doi.org/10.1093/biomet/26.4.404"),
        ("(Croce & Hein 2020)", "https://arxiv.org/abs/2003.01690"),
        ("Salman et\nal. 2019", "https://arxiv.org/abs/1906.04584"),
        ("the recipe of Madry et al.: attack", "https://arxiv.org/abs/1706.06083"),
        ('Chen et al. 2021, "Meta-Baseline"', "https://arxiv.org/abs/2003.04390"),
        ("MAP@R, arXiv 2003.08505", "https://arxiv.org/abs/2003.08505"),
    ],
)
def test_a_citation_leads_to_its_publication(text, start):
    (address,) = list_links(text).values()
    assert address == start


@pytest.mark.parametrize(
    "text",
    [
        "`Madry et al. 2018` in code",
        "a formula $Madry et al. 2018$",
        "[Madry et al. 2018](https://example.org)",
        "two papers: Musgrave et al. 2020",  # of two publications: a link could be wrong
        "another year: Madry et al. 2019",
        "a stranger: Nobody et al. 2018",
    ],
)
def test_what_is_code_a_link_or_not_certain_stays(text):
    assert citations.attach_links(text) == text


def test_a_list_of_references_has_one_link_an_item():
    text = "Madry et al. say\n\n## References\n"
    text += "- A. Madry et al., Towards deep learning\n  models resistant to adversarial attacks, arXiv 1706.06083.\n"
    text += "- G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220.\n- J. Doe, arXiv 1234.56789.\n"
    linked = citations.attach_links(text)
    assert linked.count("](https://arxiv.org/abs/1706.06083)") == 2  # in the prose, and at the title
    assert "[Towards deep learning\n  models resistant to adversarial attacks](" in linked
    assert linked.count("](https://arxiv.org/abs/2509.11220)") == 1 and "[arXiv 1234.56789](" in linked
    assert LINK.sub(r"\1", linked) == text


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/src/*.py")), ids=lambda path: path.stem)
def test_every_reference_of_a_notebook_is_a_link(path):
    cells = path.read_text("utf-8").split("# %%")
    (cell,) = (cell for cell in cells if "\n# ## References" in cell)
    text = "\n".join(line[2:] for line in cell.partition("# ## References")[2].splitlines())
    items = re.split(r"(?m)^(?=- )", citations.attach_links(f"## References\n{text}"))[1:]
    assert items and all("](https://" in item or "Bhattacharyya" in item for item in items)


def test_names_in_docstrings_with_a_year_are_references():
    """The library cites nobody who is not in the bibliography."""
    unknown = set()
    for path in ROOT.glob("anrot_lib/**/*.py"):
        linked = citations.attach_links(path.read_text("utf-8").replace("`", "'"))
        unlinked = LINK.sub("", linked)
        unknown |= {" ".join(name.split()) for name in re.findall(r"[A-Z][a-z]+\s+et\s+al\.,?\s+\(?\d{4}", unlinked)}
    assert unknown <= {"Musgrave et al. 2020"}  # two of them; what stands there names arXiv, too


def test_the_page_lists_them_all():
    text = (ROOT / "docs" / "references.md").read_text("utf-8")
    assert all(f"[{r.title}]({r.address})" in text for r in citations.read_references() if r.address)


def test_a_broken_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(citations, "FILE", tmp_path / "references.bib")
    for text, said in {
        "%\n@article{one,\n  author = {A},\n}\n": "has no title",
        "%\n@article{one,\n  author = {A}, title = {B}\n": "cannot be read",
    }.items():
        citations.FILE.write_text(text, "utf-8")
        with pytest.raises(UserError, match=said):
            citations.read_references.__wrapped__()
