"""Tables and README marks say what the records say, and nothing else."""

import copy

import numpy as np
import pytest

from anrot_lib.attacks import gradient
from anrot_lib.core import paths
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import compare_paired, interval
from anrot_lib.fewshot.levels import combine
from anrot_lib.fewshot.levels.names import TITLES
from anrot_lib.fewshot.methods import list_methods
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.publish import marks, pages
from anrot_lib.records import results, schema, timing
from anrot_lib.records.describe import describe_threat
from anrot_lib.reports import sizes, speed, tables
from anrot_lib.settings import SMOKE, Protocol, Recipe

CLEAN = [60, 45, 75, 30, 50, 66]
SIZES = {"n_way": 5, "n_shot": 5, "n_query": 15, "n_tasks": 200, "seed": 0}
MANIFEST = {"hash": "9876543210" + "c" * 54, "image_set_hash": "a" * 64, "split": "test", **SIZES}
NAMES = ("clean", "FGSM 8/255 query", "PGD-20 8/255 query", "transfer FGSM 8/255 query", "noise 0.10 query")


def record(row, shift=0, **changes):
    """A whole accuracy record of six episodes; `shift` correct queries more in every episode of every column."""
    columns = {}
    for k, name in enumerate(NAMES):
        counts = np.array(CLEAN) - 5 * k + shift
        columns[name] = results.make_column(counts, 80, 1.0, **({"sigma": 0.1} if name.startswith("noise") else {}))
    return {
        "schema": schema.SCHEMA_VERSION,
        "kind": "accuracy",
        "row": row,
        "run": {"command": "anrot run", "commit": "c", "versions": {}, "device": "CPU, 2 threads"},
        "data": {
            "name": "cifar-fs",
            "sha256": "a" * 64,
            "split_hash": "0123456789" + "b" * 54,
            "size": 32,
            "images": 60_000,
            "classes": {"train": 64, "val": 16, "test": 20},
        },
        "protocol": to_dict(Protocol()),
        "recipe": to_dict(Recipe()),
        "budget": to_dict(SMOKE),
        "manifest": MANIFEST,
        "parameters": 1,
        "transductive": False,
        "training": {"seconds": 12.4, "seconds_per_step": 0.1 + 0.01 * shift},
        "columns": columns,
    } | changes


RECORDS = [
    record("anrot", 4),
    record("easyfsl:BDCSPN", 2, transductive=True),
    record("anrot-clean"),
    record("published"),
]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("anrot", "ANROT, trained on the mixture"),
        ("mml", "MML (pixels + parts + KL from the class)"),
        ("distribution-kl", "distribution by KL"),
        ("levels:pixel+part+wasserstein2", "pixels + parts + Wasserstein"),
        ("levels:pixel+hellinger@zscore", "pixels + Hellinger (zscore)"),
        ("easyfsl:BDCSPN", "easyfsl:BDCSPN"),
    ],
)
def test_rows_have_readable_names(row, said):
    assert title_method(row) == said


def test_every_level_and_method_has_a_title():
    assert set(combine.LEVELS) == set(TITLES)
    assert all(title_method(method.name) != method.name for method in list_methods())


# --- the main table ---


def test_the_cells_are_the_means_and_intervals_of_the_records():
    headings, rows = tables.make_table(RECORDS)
    assert headings == [
        "",
        "clean",
        "FGSM 8/255",
        "PGD-20 8/255",
        "transfer 8/255",
        "noise 0.1",
        "step cost",
        "training",
    ]
    for name, cell in zip(NAMES, rows[1][1:6], strict=True):
        stats = interval(results.compute_accuracies(RECORDS[2]["columns"][name]))
        assert cell == f"{stats.mean:.1f} ± {stats.half_width:.1f}"
    assert rows[1][1].startswith(f"{100 * np.mean(CLEAN) / 80:.1f} ±")
    assert rows[1][7] == "12 s"


def test_rows_come_in_the_order_of_the_registry_with_their_titles():
    _, rows = tables.make_table(RECORDS)
    assert [row[0] for row in rows] == [
        "as published",
        "ANROT, trained clean",
        "ANROT, trained on the mixture",
        "easyfsl:BDCSPN (transductive)",
    ]


def test_step_cost_is_in_clean_steps_of_the_same_run():
    _, rows = tables.make_table(RECORDS)
    assert [row[6] for row in rows] == ["1.00", "1.00", "1.40", "1.20"]
    assert tables.make_table(RECORDS[:1])[1][0][6] == "-", "without a clean row there is nothing to compare with"
    elsewhere = RECORDS[0] | {"run": RECORDS[0]["run"] | {"command": "anrot run --rows anrot"}}
    elsewhere |= {"training": elsewhere["training"] | {"cost_limit": 2.8889}}
    rows = tables.make_table([r if r["row"] != elsewhere["row"] else elsewhere for r in RECORDS])[1]
    assert [row[6] for row in rows] == ["1.00", "1.00", "(2.89)", "1.20"], "other loads: only what was counted holds"
    added = elsewhere | {"run": RECORDS[0]["run"] | {"also": [{"command": "anrot run", "commit": "b"}]}}
    assert tables.format_cost(added, [added, *RECORDS[1:]]) == "(2.89)", (
        "nor does a record say which of its commands trained"
    )
    for bare in (RECORDS[0] | {"training": {}}, RECORDS[2] | {"training": {}}):
        others = [r for r in RECORDS if r["row"] != bare["row"]]
        _, rows = tables.make_table([*others, bare])
        assert next(r for r in rows if r[0] == title_method(bare["row"]))[6:] == ["-", "-"]


def test_columns_that_were_not_run_are_dashes():
    bare = copy.deepcopy(RECORDS[2])
    del bare["columns"]["PGD-20 8/255 query"]
    _, rows = tables.make_table([bare])
    assert rows[0][3] == "-"
    assert "-" not in (rows[0][1], rows[0][2], rows[0][4])


def test_headings_follow_the_protocol():
    protocol = to_dict(Protocol(eps=2 / 255, steps=7, sigma=0.25))
    assert list(tables.list_main_columns(protocol).items()) == [
        ("clean", "clean"),
        ("FGSM 2/255", "FGSM 2/255 query"),
        ("PGD-7 2/255", "PGD-7 2/255 query"),
        ("transfer 2/255", "transfer FGSM 2/255 query"),
        ("noise 0.25", "noise 0.25 query"),
    ]


def test_the_table_asks_for_the_columns_that_the_pipeline_writes():
    from anrot_lib.experiments.columns import list_columns

    for protocol in (Protocol(), Protocol(eps=2 / 255, steps=7, sigma=0.2)):
        written = {column.name for column in list_columns(protocol, SMOKE)}
        assert set(tables.list_main_columns(to_dict(protocol)).values()) <= written


def test_the_caption_names_data_protocol_episodes_hashes_and_device():
    text = tables.write_caption(RECORDS[0])
    for part in (
        *("cifar-fs, 32 px, 5-way 5-shot, preset smoke", "200 clean episodes of 15 queries a class"),
        *("first 20 with 5", "encoder tiny", "split 0123456789,", "manifest 9876543210;", "CPU, 2 threads"),
    ):
        assert part in text


def test_the_caption_says_how_long_was_trained_where_the_record_does():
    trained = {"history": [{"step": 250, "clean": 0.4}, {"step": 500, "clean": 0.5}]}
    assert "encoder tiny, trained for 500 steps; split" in tables.write_caption(record("anrot", training=trained))
    assert "encoder tiny; split" in tables.write_caption(record("anrot", training={"checkpoint": "0"}))  # another's net


def test_the_caption_says_how_good_the_surrogate_is_or_why_there_is_no_column():
    (name,) = (name for name in RECORDS[0]["columns"] if name.startswith("transfer"))
    about = {
        "loss": "mse",
        "trained on": "base classes",
        "label": "own",
        "accuracy": 0.234,
        "images": 3840,
        "classes": 64,
    }
    told = record("anrot") | {
        "columns": RECORDS[0]["columns"] | {name: RECORDS[0]["columns"][name] | {"surrogate": about}}
    }
    words = "; the surrogate of the transfer attack names 23.4 % of 3,840 held-out images of its own 64 classes right"
    assert words in tables.write_caption(told)
    assert "surrogate" not in tables.write_caption(RECORDS[0])  # older records do not say it
    assert tables.write_caption(RECORDS[0] | {"left_out": {name: "too weak"}}).endswith(
        f"; no column {name!r}: too weak"
    )


def test_memory_is_named_where_all_records_say_it():
    said = [
        record(row, run=RECORDS[0]["run"] | {"peak_gib": gib}) for row, gib in (("anrot", 1.24), ("hela-vfa", 2.76))
    ]
    assert tables.describe_peak(said) == "; at most 2.8 GiB of memory"
    assert tables.describe_peak([*said, RECORDS[0]]) == ""


# --- paired differences ---


def test_differences_are_paired_on_the_same_episodes():
    headings, rows = tables.compute_differences(RECORDS, "anrot-clean")
    assert headings[0] == "difference to ANROT, trained clean"
    assert [row[0] for row in rows] == ["as published", "ANROT, trained on the mixture", "easyfsl:BDCSPN"]
    assert rows[1][1:] == ["+5.0 ± 0.0"] * 5  # 4 of 80 queries more in every episode
    assert rows[0][1] == "+0.0 ± 0.0"
    noisy = record("anrot")
    noisy["columns"]["clean"] = results.make_column(np.array(CLEAN) - [3, -3, 1, 0, 2, 0], 80, 1.0)
    found = compare_paired(*(results.compute_accuracies(r["columns"]["clean"]) for r in (RECORDS[2], noisy)))
    _, rows = tables.compute_differences([RECORDS[2], noisy], "anrot-clean")
    assert rows[0][1] == f"{found.mean:+.1f} ± {found.half_width:.1f}"
    assert rows[0][1].startswith("-0.6 ±")


def test_differences_of_list_columns_different_length_are_of_their_common_tasks():
    short = copy.deepcopy(RECORDS[0])
    short["columns"]["clean"] = results.make_column(np.array(short["columns"]["clean"]["correct"][:4]), 80, 1.0)
    found = tables.compute_differences([RECORDS[2], short], "anrot-clean")[1][0][1]
    pair = [results.compute_accuracies(r["columns"]["clean"])[:4] for r in (RECORDS[2], short)]
    assert found == "{0.mean:+.1f} ± {0.half_width:.1f}".format(compare_paired(*pair))
    few = copy.deepcopy(RECORDS[2])
    few["columns"]["clean"] = results.make_column(np.array(few["columns"]["clean"]["correct"][:4]), 80, 1.0)
    long = copy.deepcopy(RECORDS[0])
    counts = [*long["columns"]["clean"]["correct"][:4], *(0,) * 6]
    long["columns"]["clean"] = results.make_column(np.array(counts), 80, 1.0)
    assert tables.compute_differences([few, long], "anrot-clean")[1][0][1] == found


def test_differences_leave_out_other_episodes_and_missing_columns():
    other = record("anrot", manifest={"hash": "d" * 64, "n_tasks": 200})
    assert tables.compute_differences([RECORDS[2], other], "anrot-clean")[1] == []
    bare = copy.deepcopy(RECORDS[0])
    del bare["columns"]["clean"]
    assert tables.compute_differences([RECORDS[2], bare], "anrot-clean")[1][0][1] == "-"


def test_a_missing_reference_is_named():
    with pytest.raises(UserError, match=r"no record of 'prototypes'.*anrot, .*published"):
        tables.compute_differences(RECORDS, "prototypes")


# --- text ---


def test_text_is_aligned_and_markdown_is_a_table():
    headings, rows = ["", "clean", "x"], [["a", "1.0 ± 0.1", "2"], ["longer", "-", "33"]]
    assert tables.format_text(headings, rows).splitlines() == [
        "            clean   x",
        "---------------------",
        "a       1.0 ± 0.1   2",
        "longer          -  33",
    ]
    assert tables.format_markdown(headings, rows).splitlines() == [
        "|  | clean | x |",
        "| --- | ---: | ---: |",
        "| a | 1.0 ± 0.1 | 2 |",
        "| longer | - | 33 |",
    ]


TIMING = {
    "schema": schema.SCHEMA_VERSION,
    "kind": "timing",
    "what": "training step",
    "run": {"command": "anrot bench", "commit": "x", "versions": {}, "device": "CPU"},
    "settings": {"reference": "published"},
    "seconds": {
        "published": {"median": 1.0, "low": 0.9, "high": 1.25},
        "ours": {"median": 0.4, "low": 0.35, "high": 0.5},
    },
}


def test_timings_are_compared_with_their_reference():
    headings, rows = speed.make_table(TIMING)
    assert headings[0] == "training step"
    assert headings[3] == "times as fast as published"
    assert rows == [["published", "1000", "900 - 1250", "1.00"], ["ours", "400", "350 - 500", "2.50"]]
    alone, _ = speed.make_table(TIMING | {"settings": {}})
    assert alone == headings[:3], "what has no reference has no ratio"


def test_timings_are_compared_with_their_limits_and_with_references_of_their_own():
    settings = {"limits": {"published": ["ours", 2.0]}, "reference": {"ours": "published"}, "reference_title": "theirs"}
    headings, rows = speed.make_table(TIMING | {"settings": settings})
    assert headings[3:] == ["times as fast as theirs", "times its limit"]
    assert [row[3:] for row in rows] == [["-", "1.25"], ["2.50", "-"]]


def test_timings_say_how_much_memory_was_needed():
    memory = {timing.PEAK: {"ours": 12.4, "published": 70.6}}
    headings, rows = speed.make_table(TIMING | {"settings": TIMING["settings"] | memory})
    assert headings[4] == timing.PEAK and [row[4] for row in rows] == ["71", "12"]


# --- marks in Markdown files ---


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    for r in RECORDS:
        results.write(paths.results_dir() / "exp" / f"{r['row'].replace(':', '-')}.json", r)
    results.write(paths.results_dir() / "bench" / "step.json", TIMING)
    return tmp_path


TEXT = """# Title

<!-- table: exp -->
old numbers 99.9
<!-- end -->

between

<!-- table: differences exp anrot-clean -->
<!-- end -->
<!-- table: timing bench/step -->
<!-- end -->
after
"""


def test_marks_are_drawn_from_the_records(stored):
    file = stored / "x.md"
    file.write_text(TEXT, "utf-8")
    assert pages.refresh(file)
    text = file.read_text("utf-8")
    assert "99.9" not in text
    for drawn in (
        tables.format_markdown(*tables.make_table(RECORDS)),
        tables.write_caption(RECORDS[0]),
        tables.format_markdown(*tables.compute_differences(RECORDS, "anrot-clean")),
        tables.format_markdown(*speed.make_table(results.read(paths.results_dir() / "bench" / "step.json"))),
    ):
        assert drawn in text
    assert text.startswith("# Title\n\n<!-- table: exp -->\n| ")
    assert "\n<!-- end -->\n\nbetween\n\n<!-- table: differences exp anrot-clean -->\n| " in text
    assert text.endswith("\n<!-- end -->\nafter\n")


def test_drawing_twice_changes_nothing_until_a_record_does(stored):
    file = stored / "x.md"
    file.write_text(TEXT, "utf-8")
    pages.refresh(file)
    before = file.read_text("utf-8")
    assert not pages.refresh(file)
    assert file.read_text("utf-8") == before
    results.write(paths.results_dir() / "exp" / "anrot.json", record("anrot", 5))
    assert pages.refresh(file)
    assert "+6.2 ± 0.0" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", "no result records in .*nothing"),
        ("differences exp", "cannot draw the table 'differences exp'"),
        ("differences exp prototypes", "no record of 'prototypes'"),
        ("levels exp", "no record of pixels alone"),
        ("levels", "cannot draw the table 'levels'"),
        ("timing bench/gone", r"gone\.json is not a result record"),
        ("exp anrot", "cannot draw the table 'exp anrot'"),
        ("number: accuracy exp anrot", "cannot draw the number 'accuracy exp anrot'"),
        ("number: accuracy exp gone clean", "no record of 'gone' in exp"),
        ("number: accuracy exp anrot blue", "'blue' names 0 columns"),
    ],
)
def test_a_wrong_mark_is_an_error_and_leaves_the_file(stored, what, message):
    file = stored / "x.md"
    mark = what if what.startswith("number: ") else f"table: {what}"
    file.write_text(f"<!-- {mark} -->\nold\n<!-- end -->\n", "utf-8")
    with pytest.raises(UserError, match=message):
        pages.refresh(file)
    assert "old" in file.read_text("utf-8")


def test_a_file_without_marks_stays_as_it_is(stored):
    file = stored / "x.md"
    file.write_text("plain <!-- a comment --> text\n", "utf-8")
    assert not pages.refresh(file)


def test_report_checks_without_writing_and_draws(stored):
    checkout = stored / "checkout"
    (checkout / "docs" / "results").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no README\.md"):
        pages.report(checkout=checkout)
    (checkout / "README.md").write_text("nothing to draw\n", "utf-8")
    file = checkout / "docs" / "results" / "README.md"
    file.write_text(TEXT, "utf-8")
    assert pages.report(check=True, checkout=checkout) == 1
    assert file.read_text("utf-8") == TEXT
    assert pages.find_stale(checkout) == [file]
    assert pages.report(checkout=checkout) == 0
    assert "99.9" not in file.read_text("utf-8")
    assert pages.report(check=True, checkout=checkout) == 0


# What curves come to


def test_a_robustness_table_integrates_the_curves(tmp_path, monkeypatch):
    """eps 0, 8/255, 16/255, 0.1 at 80, 40, 20, 0 %: halved at 8/255, mean to 16/255 (60 + 30) / 2."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    points = {0.0: 64, 8 / 255: 32, 16 / 255: 16, 0.1: 0}
    columns = {
        f"curve PGD-10 {k} query": results.make_column(
            np.array([right] * 3), 80, 1.0, threat=describe_threat(gradient.pgd(eps, 10, eps / 4, 1, "query"))
        )
        for k, (eps, right) in enumerate(points.items())
    }
    both = {
        f"PGD-20 8/255 {kind}": results.make_column(np.array([n] * 3), 80, 1.0, objective="beaten queries")
        for kind, n in (("support", 16), ("both", 8))
    }
    made, plain = record("anrot"), record("prototypes")
    made["columns"] |= columns | both
    for one in (made, plain):
        one["columns"].pop("noise 0.10 query")
        results.write(tmp_path / "results" / "exp" / f"{one['row']}.json", one)
    text = marks.draw("robustness exp").splitlines()
    assert text[0].startswith(
        "|  | PGD-20 8/255 on support | PGD-20 8/255 on both | mean over eps to 16/255 | eps that halves |"
    )
    assert text[2] == "| ANROT, trained on the mixture | 20.0 ± 0.0 | 10.0 ± 0.0 | 45.0 | 8.0/255 | - | - |"
    assert text[3] == "", "a row with nothing to show is left out"
    whole = record("hela-vfa")
    whole["columns"] |= columns | both | {"clean, attacked tasks": results.make_column(np.array([64] * 6), 80, 1.0)}
    results.write(tmp_path / "results" / "exp" / "hela-vfa.json", whole)
    row = next(line for line in marks.draw("robustness exp").splitlines() if line.startswith("| HELA-VFA"))
    assert " - " not in row, "a row with everything to show is not"


def test_strong_attacks_stand_beside_pgd_and_say_where_it_overstates():
    weak, honest = record("anrot"), record("anrot-clean")
    for one, lost in ((weak, 8), (honest, 1)):
        counts = np.array(one["columns"]["PGD-20 8/255 query"]["correct"][:3]) - lost
        one["columns"]["AA-lite 8/255 query"] = results.make_column(counts, 80, 1.0, suite="aa-lite")
    headings, rows = tables.make_table([weak, honest])
    assert headings[3:5] == ["PGD-20 8/255", "AA-lite 8/255"]
    by_title = {row[0]: row for row in rows}
    assert "ANROT, trained on the mixture (PGD overstates by 10.0)" in by_title, "8 of 80 queries on the same episodes"
    assert by_title["ANROT, trained clean"][4] == tables.format_column(honest["columns"]["AA-lite 8/255 query"])
    assert "AA-lite" not in str(tables.make_table([record("anrot")])[0])


def test_a_caption_names_the_rows_that_were_pretrained():
    pretrained = record("clean-classes")
    pretrained["training"] = {**pretrained["training"], "pretraining_steps": 8000}
    said = sizes.describe_lengths([record("anrot"), pretrained])
    assert said == "; pre-trained for 8000 steps: base classes, trained clean"
    assert sizes.describe_lengths([pretrained, pretrained]) == "", "the caption says it"
    longer = {**record("robust-classes"), "training": {**pretrained["training"], "pretraining_steps": 11_000}}
    assert sizes.describe_lengths([pretrained, longer]) == "; pre-trained for 11000 steps: robust classes"
    assert sizes.describe_lengths([record("anrot")]) == ""


def test_a_caption_names_rows_of_another_encoder_or_length():
    """The caption is that of the first row: without this, nets of two encoders look like two methods."""
    first, other, short = record("anrot-clean"), record("anrot"), record("hela-vfa")
    for one, steps in ((first, 1500), (other, 1500), (short, 300)):
        one["training"] = one["training"] | {"history": [{"step": steps, "clean": 0.5}]}
    other["budget"] = other["budget"] | {"encoder": "conv4"}
    said = sizes.describe_lengths([first, other, short])
    conv = "; encoder conv4: ANROT, trained on the mixture"
    brief = "; trained for 300 steps: HELA-VFA (attention + Hellinger)"
    assert said == brief + conv
    assert sizes.describe_lengths([first, first]) == ""


@pytest.mark.parametrize(
    ("name", "value"), [("encoder", "conv4"), ("episodes", 30), ("pretrain_steps", 7), ("size", 84)]
)
def test_a_study_of_nets_of_several_sizes_is_refused(name, value):
    other = record("anrot")
    other["budget"] = other["budget"] | {name: value}
    sizes.check_one_size([record("anrot-clean"), record("hela-vfa")])
    with pytest.raises(UserError, match=f"'anrot-clean' and 'anrot' stand in one study and differ in {name}: .* --tag"):
        sizes.check_one_size([record("anrot-clean"), record("hela-vfa"), other])
