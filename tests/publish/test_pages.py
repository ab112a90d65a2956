"""The pages say what the committed records say, their links lead somewhere, and the README stays short."""

import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from anrot_lib import settings
from anrot_lib.cli.main import build_parser
from anrot_lib.core import configs, paths
from anrot_lib.core.errors import UserError
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.experiments.setting import FROM
from anrot_lib.fewshot import row_names
from anrot_lib.publish import hero, marks, pages, rooms
from anrot_lib.ranking import recipe
from anrot_lib.ranking.attacks import names
from anrot_lib.ranking.score import ers
from anrot_lib.reconstruction.training import measure_progress
from anrot_lib.records import results
from anrot_lib.reports import lengths, levels, reconstruction
from tests.reports import test_tables

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CIFAR, PHOTOS = (f"{name}-32px-5way-5shot-laptop" for name in ("cifar-fs", "mini-imagenet"))
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))


@pytest.fixture
def committed(monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(ROOT / "data"))


def read(path):
    return (ROOT / path).read_text("utf-8")


def test_the_pages_say_what_the_records_say(committed):
    drawn = [mark["sort"] for path in pages.list_pages() for mark in marks.MARK.finditer(path.read_text("utf-8"))]
    assert drawn.count("table") >= 40 and drawn.count("number") >= 30
    assert pages.report(check=True) == 0, "out of date: run `anrot report`"


@pytest.mark.parametrize("path", ["README.md", "docs/results/cifar-fs.md"])
@pytest.mark.parametrize("pattern", [r"\d+\.\d ± \d+\.\d", r"(?<=PGD -->)\d+\.\d ± \d+\.\d"])
def test_a_changed_number_is_noticed(committed, path, pattern):
    """In a table, and in a sentence."""
    text = read(path)
    changed = re.sub(pattern, "99.9 ± 0.1", text, count=1)
    assert changed != text and marks.redraw(changed) == text


def test_a_mark_can_name_the_rows_of_a_table(committed):
    whole, some = marks.draw(CIFAR).splitlines(), marks.draw(f"rows {CIFAR} anrot,anrot-clean").splitlines()
    assert [line.split(" | ")[0] for line in some[2:4]] == ["| ANROT, trained clean", "| ANROT, trained on the mixture"]
    assert len(some) < len(whole) and some[4] == ""
    with pytest.raises(UserError, match="no row 'anrot-x'"):
        marks.draw(f"rows {CIFAR} anrot,anrot-x")


def test_every_page_is_listed_and_every_listed_page_is_there():
    listed = {page.path for page in pages.PAGES}
    assert {path.relative_to(ROOT).as_posix() for path in DOCUMENTS} == listed | {"CHANGELOG.md"}
    index = read("docs/results/README.md")
    assert all(f"]({path.name})" in index for path in RESULTS if path.name != "README.md")


def test_every_reference_record_is_on_a_page(committed):
    """No experiment is measured and then not shown."""
    shown = {
        word
        for path in DOCUMENTS
        for m in marks.MARK.finditer(path.read_text("utf-8"))
        for word in shlex.split(m["what"])
    }
    folder = ROOT / "data" / "results"
    elsewhere = {path.name for path in folder.glob(f"*-{FROM}*")}
    shown |= elsewhere if "cross-domain" in shown else set()  # the mark of this name draws them all
    shown |= {path.name for word in shown if word.endswith("-lengths") for path in lengths.list_folders(folder, word)}
    shown |= {f"bench/{word}" for word in shown}  # marks of times name the record alone
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder)
        assert {name.parent.as_posix(), name.with_suffix("").as_posix()} & shown, f"{name} is on no page"


def test_no_measured_number_is_typed():
    """What has a decimal point or a ± stands in a mark, in code, or is a number that the setting fixes."""
    fixed = {"0.1", "0.5"}  # sigma of the noise column, weight of Hesim
    for path in [ROOT / "README.md", *RESULTS]:
        text = marks.MARK.sub("", path.read_text("utf-8"))
        text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|ps?://\S+", "", text, flags=re.DOTALL)
        typed = {number for number in re.findall(r"\d+\.\d+", text) if number not in fixed}
        typed -= {"3.11", "3.13", "2.13", "2.14"} if path.name == "README.md" else set()  # versions
        assert not typed and not re.search(r"± ?\d", text), f"{path}: {typed}"


def test_tables_are_narrow_enough_to_read():
    for path in DOCUMENTS:
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("| ---"):
                assert line.count("|") - 1 <= 10, f"{path}: {line}"


def test_the_readme_is_short_and_has_what_people_look_for():
    text = read("README.md")
    assert len(text.splitlines()) <= 160
    for needed in ("make run", "make test", "make lab", "anrot prepare", "@article", "@inproceedings", "CITATION.cff"):
        assert needed in text
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.splitlines()) <= 8
    assert f"]({hero.FILE.as_posix()})" in text and (ROOT / hero.FILE).is_file()


@pytest.mark.slow
def test_the_readme_example_runs(tmp_path, monkeypatch, capsys):
    """On a folder of few classes, and with lengths that only show that it runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    drawn = synthetic(n_classes=32, per_class=20)
    for k, (pixels, label) in enumerate(zip(drawn.images, drawn.labels, strict=True)):
        place = tmp_path / "photos" / drawn.class_names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{k}.png")
    lengths = {"episodes": 4, "clean_tasks": 4, "attacked_tasks": 2, "attacked_query": 1, "surrogate_epochs": 1}
    smoke = configs.change(settings.PRESETS["smoke"], **lengths, train_query=3, clean_query=3, validation_tasks=2)
    monkeypatch.setitem(settings.PRESETS, "smoke", smoke)
    monkeypatch.delenv("ANROT_PRESET", raising=False)
    (example,) = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    for needed in ("clean", "FGSM 8/255 query", "noise 0.10", "prototypes (Euclid)", "ANROT, trained on the mixture"):
        assert needed in printed


def commands(path):
    """The lines `anrot ...` of a page's shell blocks; not those that a record holds: they may be of another version."""
    text = re.sub(r"<details>.*?</details>", "", path.read_text("utf-8"), flags=re.DOTALL)
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("anrot ")]


def test_every_command_is_understood():
    all_commands = [words for path in DOCUMENTS for words in commands(path)]
    assert len(all_commands) >= 18
    for words in all_commands:
        build_parser(words).parse_args(words)  # leaves with code 2 where it does not understand


def test_every_image_has_a_description():
    for path in DOCUMENTS:
        assert all(len(text) > 40 for text in re.findall(r"!\[([^\]]*)\]\(", path.read_text("utf-8"))), path


def test_every_name_of_the_glossary_is_in_the_library():
    rows = [line.split(" | ") for line in read("docs/glossary.md").splitlines() if line.startswith("| **")]
    assert 40 <= len(rows) <= 80 and all(len(row) == 3 for row in rows)
    for row in rows:
        for name in re.findall(r"`([a-z_.A-Z0-9]+)`", row[2]):
            assert resolves(f"anrot_lib.{name}"), f"{row[0]}: there is no {name}"


def resolves(name):
    """Whether a dotted name is a module, or an attribute or annotated field of what is found on the way."""
    module, _, rest = name.partition(".")
    thing = importlib.import_module(module)
    for part in rest.split("."):
        module = f"{module}.{part}"
        if hasattr(thing, part):
            thing = getattr(thing, part)
        elif part in getattr(thing, "__annotations__", {}):
            return True
        elif importlib.util.find_spec(module) is not None:
            thing = importlib.import_module(module)
        else:
            return False
    return True


def test_the_map_of_rooms_is_complete_and_imports_point_down():
    floors = rooms.read_floors()
    height = {room: len(floors) - k for k, floor in enumerate(floors) for room in floor}
    package = ROOT / "anrot_lib"
    assert set(height) - {"settings"} == {path.parent.name for path in package.glob("*/__init__.py")}
    imports = rooms.find_imports()
    assert all(height[other] < height[room] for room, others in imports.items() for other in others)
    assert len(imports["cli"]) > 5 and imports["core"] == set()


def test_arrows_that_a_longer_path_implies_are_left_out():
    imports = {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert rooms.reduce_imports(imports) == {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": {"c"}}


def ranking_record(committed_record, collapsed):
    """A score of no net, in the form in which scores are recorded."""
    name = "fashion:rc2f2ghmetsm:ptripletN"
    attacks = [str(attack) for attack in names.make_profile("rob28")]
    number = {"attack": attacks[0], "benign": 50.0, "attacked": 12.3, "half_width": 1.0, "seconds": 1.0}
    return {
        **{key: committed_record[key] for key in ("schema", "run")},
        "data": committed_record["data"] | {"name": "fashion"},
        "kind": "ranking",
        "row": "HM[S,LGA]",
        "name": name,
        "checkpoint": {"sha256": "0" * 64, "steps": 10, "of": 10},
        "protocol": {"attacks": attacks, "queries": 2, "seed": 0, "parity": "fixed", "profile": "rob28", "gallery": 99},
        "recipe": configs.to_dict(recipe.build_recipe(name)),
        "parameters": 1,
        "clean": {"R@1": 87.66, "chance": 10.0, "mean cosine": 0.1},
        "numbers": dict.fromkeys((*ers.NUMBERS, "GTM robrank"), number),
        "ers": {"value": 43.21, "half_width": 0.5, "bootstrap": [42.0, 44.0], "ceiling": 91.5, "collapsed": collapsed},
        "queries": [43.0, 43.4],
    }


def test_scores_of_rankings_are_drawn_from_their_records(tmp_path, monkeypatch):
    folder = ROOT / "data" / "results" / "omniglot-300-28px-5way-5shot-smoke"
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    with pytest.raises(UserError, match="there are no result records"):
        marks.draw("ranking ranking")
    for name, collapsed in (("one", False), ("two", True)):
        record = ranking_record(results.read(folder / "anrot.json"), collapsed)
        results.write(tmp_path / "results" / "ranking" / f"{name}.json", record)
    drawn = marks.draw("ranking ranking")
    rows = [line for line in drawn.splitlines() if line.startswith("| fashion")]
    assert len(rows) == 6, "two models in three tables: scores, and the attacks in two parts"
    assert all(row.count("12.3") == 5 for row in rows[2:4]) and all(row.count("12.3") == 6 for row in rows[4:])
    rows = rows[:2]
    assert all("| 87.7 ± 6.5 |" in row for row in rows)
    assert "43.2 ± 0.5 |" in rows[0] and "43.2 ± 0.5 collapsed" in rows[1] and "91.5" in rows[0]
    assert "77/255" in drawn and "all 99 test images" in drawn
    with pytest.raises(UserError, match="ranking NAME"):
        marks.draw("ranking")


def of(name, kind):
    return results.read_all(ROOT / "data" / "results" / name, kind)


def test_what_is_said_of_the_reconstructions_holds():
    """The paragraph below their table: order at equal beta, its price, and a smaller beta of Kullback-Leibler."""
    found: dict = {}
    records = of("mini-imagenet-32px-reconstruction-laptop", "reconstruction")
    still = [measure_progress([point["loss"] for point in record["training"]["history"]]) for record in records]
    assert len(records) == 18 and sum(share > 0.01 for share in still) > 9 and max(still) < 0.02
    pressure = reconstruction.write_verdict(records).splitlines()[2]
    assert "At equal pressure" in pressure and "the smallest distance is that of Kullback-Leibler" in pressure
    for record in records:
        numbers = (record["decoded"]["mean"]["frechet"]["value"], record["decoded"]["mean"]["squared_error"]["value"])
        by = found.setdefault(record["vae"]["beta"], {})
        by.setdefault(record["vae"]["divergence"], (*numbers, record["divergences"]["kl"]))
    whole = {beta: by for beta, by in found.items() if len(by) == 3}
    assert len(whole) >= 2
    for by in whole.values():
        assert min(by, key=lambda name: by[name][0]) == "hellinger2"
        assert by["hellinger2"][2] > 3 * by["kl"][2]
    hellinger, smaller = found[0.1]["hellinger2"], found[3 / 128]["kl"]
    assert smaller[:2] == pytest.approx(hellinger[:2], rel=0.03) and smaller[2] < 0.7 * hellinger[2]


def test_what_is_said_of_the_birds_holds():
    """Notebook 12: hardness manipulation raises the score of the ranking, and not the accuracy under attack."""
    records = {r["name"]: r for r in of("ranking/cub200_2010-84px", "ranking") if r["checkpoint"]["start"] != "scratch"}
    before, *defended = (records[f"cub200_2010:rres18{suffix}:ptripletN"] for suffix in ("", "ghmetsm", "ghmetsmi"))

    def attacked(record):
        (column,) = (c for name, c in record["few_shot"]["columns"].items() if name != "clean")
        return column["mean"] - column["half_width"], column["mean"] + column["half_width"]

    for record in defended:
        scores = record["ers"], before["ers"]
        assert scores[0]["value"] - scores[0]["half_width"] > scores[1]["value"] + scores[1]["half_width"]
        assert attacked(record)[0] < attacked(before)[1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_somewhere(document):
    text = document.read_text("utf-8")
    missing = [
        link for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) if not (document.parent / link).exists()
    ]
    assert not missing
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", text):
        headings = re.findall(r"^#+ (.*)$", (document.parent / link if link else document).read_text("utf-8"), re.M)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_the_pages_say_first_holds(committed):
    """The short lists above the tables: who is ahead, and on which side of chance."""
    accuracy = {
        row: {c: float(marks.draw(f"accuracy {CIFAR} {row} {c}", "number").split()[0]) for c in ("clean", "PGD")}
        for row in ("anrot", "anrot-clean", "fgsm-only")
    }
    assert accuracy["anrot"]["PGD"] > 20 > accuracy["anrot-clean"]["PGD"]
    photos = {row: marks.draw(f"accuracy {PHOTOS} {row} PGD", "number").split(" ± ") for row in accuracy}
    low, high = ({row: float(m) + sign * float(h) for row, (m, h) in photos.items()} for sign in (-1, 1))
    assert low["fgsm-only"] > 20 > high["anrot"] > low["anrot"] > high["anrot-clean"]
    blocks = [
        float(marks.draw(f'speed bench/levels-{net} "{level}, by blocks"', "number"))
        for net in ("conv64f", "resnet12")
        for level in ("part", "pixel")
    ]
    assert f"{max(blocks):.2f}" in read("docs/results/speed.md").split("```")[0] and min(blocks) > 1
    fashion = {r["name"]: r for r in of("ranking/fashion-28px", "ranking")}
    none, est, act, hm = (fashion[f"fashion:rc2f2{d}:ptripletN"] for d in ("", "d", "p", "ghmetsm"))
    assert none["ers"]["value"] < est["ers"]["value"] < hm["ers"]["value"] < act["ers"]["value"]
    assert max(est["clean"]["R@1"], act["clean"]["R@1"]) < hm["clean"]["R@1"] < none["clean"]["R@1"]


def test_what_is_said_of_levels_trained_together_holds():
    """Below the tables of levels: no gain on clean images, parts lose less under attack, and all are below chance."""
    records = of("cifar-fs-32px-5way-1shot-laptop-levels-trained", "accuracy")
    rows = levels.group_by_row(records)
    assert all(p > 0.05 for _, p in levels.compute_differences(rows).values())
    for column in levels.list_attack_columns(records[0]):
        found = levels.compute_differences(rows, column)
        assert all(p <= 0.05 and gain.mean > 0 for gain, p in found.values())
        assert all(100 * levels.average_over_seeds(own, column).mean() < 20 for own in rows.values())
    assert all(min(levels.get_shares(record).values()) > 0.2 for record in records), "every level is used"


def test_what_is_said_of_levels_on_one_encoder_holds():
    """Nearly nothing beside pixels at 32 px and at 84 px with one shot; about a point there with five shots."""
    best = {}
    for setting in (
        "cifar-fs-32px-5way-5shot",
        "cifar-fs-32px-5way-1shot",
        *(f"mini-imagenet-84px-5way-{k}shot" for k in (1, 5)),
    ):
        records = of(f"{setting}-laptop-levels", "accuracy")
        assert len(records) == 45
        found = levels.compute_differences(levels.group_by_row(records)).values()
        best[setting] = max((gain.mean for gain, p in found if p <= 0.05), default=0.0)
    assert 0.8 < best.pop("mini-imagenet-84px-5way-5shot") < 1.5
    assert max(best.values()) < 0.3


def test_a_set_and_a_tag_that_are_called_like_lengths_are_none(tmp_path):
    for name, is_study in {
        "my-lengths-32px-5way-5shot-smoke-2": False,
        "mine-32px-5way-5shot-smoke-lengths-2": True,
    }.items():
        for row in ("anrot", "robust-classes"):
            results.write(tmp_path / name / f"{row}.json", test_tables.record(row))
        assert ("lengths.png" in pages.choose_figures(tmp_path / name)) == is_study


def test_what_is_said_of_fab_holds():
    (record,) = of("omniglot-300-28px-5way-5shot-laptop-attacks", "judges")
    fab = [judged for judged in record["judges"] if judged["attack"].startswith("FAB")]
    assert [judged["judge_alone"] for judged in fab] == [0] and fab[0]["ours_alone"] > 0


def test_a_set_that_is_called_like_a_study_is_none(tmp_path):
    studies = {"my-recipes-32px-5way-5shot-smoke": False, "mine-32px-5way-5shot-smoke-recipes": True}
    for name, is_study in studies.items():
        for row in ("robust-classes", "robust-trades"):
            results.write(tmp_path / name / f"{row}.json", test_tables.record(row))
        assert ("recipes.png" in pages.choose_figures(tmp_path / name)) == is_study


@pytest.mark.filterwarnings("error")
def test_every_figure_of_a_record_has_room_for_what_it_shows(committed):
    """matplotlib only warns where axes vanish beside their legend."""
    folders = sorted({path.parent for path in paths.results_dir().rglob("*.json")})
    drawn = [draw() for folder in folders for draw in pages.choose_figures(folder).values()]
    for figure in drawn:
        figure.draw_without_rendering()
        whole = figure.get_tightbbox().padded(-0.05)  # inches
        assert whole.width <= figure.get_figwidth() and whole.height <= figure.get_figheight()
    assert len(drawn) > 20


def test_every_row_says_where_pgd_is_far_above_the_strong_attacks(committed):
    """In every table of README and pages that shows accuracies under PGD: from the counts, episode by episode."""
    marked = 0
    for path in pages.list_pages():
        for mark in marks.MARK.finditer(path.read_text("utf-8")):
            kind, _, rest = mark["what"].partition(" ")
            name = rest.split()[0] if kind in ("rows", "defences", "suites") else kind
            if mark["sort"] != "table" or not (ROOT / "data" / "results" / name).is_dir():
                continue
            lines = mark["old"].splitlines()
            for record in results.read_all(ROOT / "data" / "results" / name):
                columns = record["columns"]
                worst = [c for c in columns.values() if "suite" in c and c["threat"]["target"] == "query"]
                pgd = columns.get(worst[0]["threat"]["name"]) if worst else None
                gaps = []
                for column in worst if pgd else []:
                    n = min(len(pgd["correct"]), len(column["correct"]))
                    strong, all_of = sum(column["correct"][:n]), n * column["queries"]
                    assert pgd["queries"] == column["queries"], "the same queries of the same episodes"
                    gaps.append(100 * (sum(pgd["correct"][:n]) - strong) / all_of)
                title = row_names.title_method(record["row"])
                of_row = [line for line in lines if re.match(rf"\| {re.escape(title)}( \([^|]*\))* \|", line)]
                if max(gaps, default=0) > 3:
                    marked += len(of_row)
                    assert all("PGD overstates by" in line.split("|")[1] for line in of_row), (path.name, title)
    assert marked >= 8
