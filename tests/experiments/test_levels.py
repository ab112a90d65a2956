"""The experiment on levels: variants, equal episodes, records, kills, and the table and verdict drawn from them."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.cli import main
from anrot_lib.core import checkpoints
from anrot_lib.core.configs import change, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import Ranks
from anrot_lib.data import image_set
from anrot_lib.experiments import levels, testing
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments import setting as experiment
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot import training as fewshot_training
from anrot_lib.fewshot.classifier import FewShotNet, fold_net
from anrot_lib.fewshot.levels import combine
from anrot_lib.fewshot.levels.head import MultiLevelHead
from anrot_lib.publish import marks, pages
from anrot_lib.records import results, schema
from anrot_lib.reports import levels as level_report
from anrot_lib.settings import Protocol
from tests.helpers import Killed, never, silent

SOME = ["pixel", "part", "kl", "pixel+part"]
PROTOCOL = Protocol(way=5, shot=2, steps=2)


@pytest.fixture(scope="module")
def studied(small_set, small_budget, tmp_path_factory):
    """(setting, records) of some variants on a tiny encoder; nothing may change them."""
    home = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANROT_HOME", str(home))
        budget = change(small_budget, encoder="tiny", episodes=20, attacked_query=2, attacked_tasks=4)
        folder = experiment.choose_folder(small_set, PROTOCOL, budget, "levels")
        setting = Setting(small_set, PROTOCOL, budget, torch.device("cpu"), "fp32", silent, folder)
        yield setting, levels.run(setting, 0, SOME)


@pytest.fixture
def study(studied, monkeypatch):
    setting, records = studied
    monkeypatch.setenv("ANROT_HOME", str(setting.folder.parents[1]))
    return setting, records


@pytest.fixture
def records(study):
    return study[1]


# --- variants ---


def test_fifteen_variants_each_with_at_most_one_distribution():
    assert len(levels.VARIANTS) == len(set(levels.VARIANTS)) == 15
    for variant in levels.VARIANTS:
        names = variant.split("+")
        assert set(names) <= set(levels.LEVELS)
        assert sum(name in levels.DISTRIBUTIONS for name in names) <= 1
        combine.build(variant, 4)
    every = {(a, b, c) for a in (0, 1) for b in (0, 1) for c in (None, *levels.DISTRIBUTIONS)} - {(0, 0, None)}
    assert len(every) == 15


def test_variants_are_checked_and_pixels_are_always_among_them():
    assert levels.check_variants(["pixel+part", "part"]) == ["pixel", "part", "pixel+part"]
    with pytest.raises(UserError, match="unknown variant 'part\\+pixel'; choose from pixel, part"):
        levels.check_variants(["part+pixel"])


def test_presets_change_lengths_only_and_attacks_go_from_weak_to_strong():
    for preset in ("smoke", "laptop", "paper"):
        budget = levels.make_budget(preset)
        assert (budget.encoder, budget.preset) == ("conv64f", preset)
        assert set(levels.LENGTHS[preset]) <= {
            *("episodes", "validation_tasks", "clean_tasks", "attacked_tasks", "attacked_query"),
        }
    names = [column.name for column in levels.list_attacks(Protocol(), budget)]
    assert names == ["PGD-10 1/255 query", "PGD-10 2/255 query", "FGSM 8/255 query", "PGD-20 8/255 query"]


# --- records ---


def test_all_variants_saw_the_same_encoder_and_episodes(records):
    assert [r["row"] for r in records] == [f"levels:{name}" for name in SOME]
    assert len({r["manifest"]["hash"] for r in records}) == len({r["training"]["checkpoint"] for r in records}) == 1
    for r in records:
        assert list(r["columns"]) == sorted(["clean", "clean, attacked tasks", *level_report.list_attack_columns(r)]), (
            "and every column"
        )
        assert r["recipe"]["method"] == "dn4" and r["recipe"]["hesim"] == 0
        shares, weights = r["training"]["fusion"]["shares"], r["training"]["fusion"]["weights"]
        assert set(shares) == set(weights) == set(r["row"].removeprefix("levels:").split("+"))
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4) and min(weights.values()) > 0
        few = np.array(r["columns"]["clean, attacked tasks"]["correct"])
        assert all((np.array(r["columns"][a]["correct"]) <= few).all() for a in level_report.list_attack_columns(r))


def test_counts_are_those_of_a_net_with_that_head(study, records):
    """The long way: the variant as a head of a net that goes through the images again."""
    setting, _ = study
    manifest = experiment.make_manifest(setting)
    net, trained, _ = pipeline.train_row(setting, "encoder-seed-0", levels.make_recipe(0))
    net = fold_net(net)
    episodes = levels.make_manifests(setting, manifest)
    validation = dict(levels.measure_levels(setting, net, episodes["val"], ["pixel", "part"]))
    labels = levels.make_query_labels(episodes["val"])
    head = levels.fit_head("pixel+part", net.backbone.out_channels, validation, labels)
    whole = FewShotNet(net.backbone, head).eval()
    record = records[SOME.index("pixel+part")]
    assert record["training"]["checkpoint"] == trained["checkpoint"]
    found = evaluation.count_clean(whole, setting.image_set, manifest.rows)
    assert found.tolist() == record["columns"]["clean"]["correct"]
    few = manifest.rows[: setting.budget.attacked_tasks].with_queries(setting.budget.attacked_query)
    found = evaluation.count_clean(whole, setting.image_set, few)
    assert found.tolist() == record["columns"]["clean, attacked tasks"]["correct"]
    scale = head.fusion.log_scale.exp()
    weights = dict(zip(head.levels, (scale * head.fusion.weights).tolist(), strict=True))
    assert record["training"]["fusion"]["weights"] == pytest.approx(weights, rel=1e-3)


def test_fusions_are_fitted_to_episodes_of_the_validation_classes(study, records):
    setting, _ = study
    manifests = levels.make_manifests(setting, experiment.make_manifest(setting))
    for split, manifest in manifests.items():
        used = np.concatenate([manifest.rows.support.ravel(), manifest.rows.query.ravel()])
        assert set(setting.image_set.labels[used]) == set(setting.image_set.splits[split])
    kept = {
        name: checkpoints.load(setting.work / f"levels-seed-0-val-{name}.pt")["divergences"]
        for name in ("pixel", "part")
    }
    head = levels.fit_head("pixel+part", 32, kept, levels.make_query_labels(manifests["val"]))
    (record,) = (r for r in records if r["row"] == "levels:pixel+part")
    fitted = dict(zip(head.levels, (head.fusion.weights * head.fusion.log_scale.exp()).tolist(), strict=True))
    assert record["training"]["fusion"]["weights"] == pytest.approx(fitted, rel=1e-4)


def test_the_pixel_variant_is_the_trained_net_itself(study, records):
    """Fitting a scale changes no prediction."""
    setting, _ = study
    net, _, _ = pipeline.train_row(setting, "encoder-seed-0", levels.make_recipe(0))
    found = evaluation.count_clean(fold_net(net), setting.image_set, experiment.make_manifest(setting).rows)
    assert found.tolist() == records[0]["columns"]["clean"]["correct"]


def test_finished_variants_are_kept_and_a_new_one_reuses_the_levels(study, monkeypatch):
    setting, records = study
    file = levels.get_study_file(setting)
    before = file.read_bytes()
    monkeypatch.setattr(levels, "test", never)
    assert levels.run(setting, 0, SOME) == records and file.read_bytes() == before
    monkeypatch.undo()
    monkeypatch.setenv("ANROT_HOME", str(setting.folder.parents[1]))
    seen, real = [], levels.measure_levels
    monkeypatch.setattr(levels, "measure_levels", lambda *a: seen.append(a[3]) or real(*a))
    more = levels.run(setting, 0, [*SOME, "pixel+kl"])
    assert seen == [[], []], "every level was measured before"
    assert more[:-1] == records and more[-1]["row"] == "levels:pixel+kl"
    assert list(results.read_rows(file)) == sorted(f"{variant}-seed-0" for variant in [*SOME, "pixel+kl"])
    file.write_bytes(before)


def test_a_variant_of_another_split_recipe_or_net_is_never_overwritten(study, monkeypatch):
    setting, _ = study
    file = levels.get_study_file(setting)
    before = file.read_bytes()
    turned = {**setting.image_set.splits, "train": setting.image_set.splits["train"][:-1]}
    other = replace(setting, image_set=replace(setting.image_set, splits=turned))
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"\(different split\); give another --tag"):
        patch.setattr(pipeline, "train_row", never)  # refused before hours of training
        levels.run(other, 0, SOME)
    train_row = pipeline.train_row

    def train_anew(*words):
        net, trained, path = train_row(*words)
        return net, {**trained, "checkpoint": "0" * 64}, path

    monkeypatch.setattr(pipeline, "train_row", train_anew)
    with pytest.raises(UserError, match=r"pixel-seed-0 in .*study\.json is the record of another net"):
        levels.run(setting, 0, SOME)
    assert file.read_bytes() == before


def test_a_kill_loses_a_level_or_a_part_of_a_column(studied, monkeypatch, tmp_path):
    setting, _ = studied
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    setting = replace(setting, folder=tmp_path / "results" / setting.folder.name)
    real, left = testing._count_correct, [6]  # the attacks of one variant and a half

    def counts(*rest):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(*rest)

    monkeypatch.setattr(testing, "_count_correct", counts)
    with pytest.raises(Killed):
        levels.run(setting, 0, ["pixel", "part"])
    assert [path.name for path in setting.folder.iterdir()] == ["study.json"]
    assert list(results.read_rows(levels.get_study_file(setting))) == ["pixel-seed-0"]
    left[0] = 2
    again = levels.run(setting, 0, ["pixel", "part"])
    for a, b in zip(again, studied[1][:2], strict=True):
        assert {n: c["correct"] for n, c in a["columns"].items()} == {n: c["correct"] for n, c in b["columns"].items()}
    assert not list(setting.work.glob("*.jsonl"))


def test_an_encoder_that_one_process_trained_is_tested_by_several(study, monkeypatch):
    setting, records = study
    several = replace(setting, ranks=Ranks(0, 2))
    monkeypatch.setattr(Ranks, "wait", lambda self: None)
    monkeypatch.setattr(fewshot_training.FewShotTraining, "advance", never)
    assert levels.load_encoder(several, 0)[1]["checkpoint"] == records[0]["training"]["checkpoint"]
    with pytest.raises(UserError, match="2 processes cannot share the 1 groups of a training step; give --groups 2"):
        levels.load_encoder(several, 1)


# --- table and verdict ---


def make_manifest(episodes):
    sizes = {"n_way": 5, "n_shot": 5, "n_query": 15, "n_tasks": episodes, "seed": 0}
    return {"hash": "d" * 64, "image_set_hash": "a" * 64, "split": "test", **sizes}


def made(variant, clean, weak, seed=0, shares=None, episodes=40):
    """A record with given accuracies in per cent, and some spread over episodes."""
    budget = change(levels.make_budget("smoke"), attacked_tasks=episodes)
    rng = np.random.default_rng(seed + len(variant))
    names = variant.split("+")

    def column(mean, queries):
        counts = np.clip(np.round(queries * mean / 100 + rng.normal(0, 1, episodes)), 0, queries)
        return results.make_column(counts.astype(int), queries, 1.0)

    found = {"clean": column(clean, 75), "clean, attacked tasks": column(clean, 25)}
    attacks = [c.name for c in levels.list_attacks(Protocol(), budget)]
    found |= {name: column(weak if k == 0 else 0, 25) for k, name in enumerate(attacks)}
    hashes = {"sha256": "a" * 64, "split_hash": "b" * 64}
    return {
        "schema": schema.SCHEMA_VERSION,
        "kind": "accuracy",
        "row": f"levels:{variant}",
        "run": {"command": "anrot levels", "commit": "c", "versions": {}, "device": "CPU, 1 threads"},
        "data": {"name": "some", "size": 32, "images": 600, "classes": {"train": 64}, **hashes},
        "protocol": to_dict(Protocol()),
        "recipe": to_dict(levels.make_recipe(seed)),
        "budget": to_dict(budget),
        "manifest": make_manifest(episodes),
        "parameters": 1,
        "transductive": False,
        "training": {
            "fusion": {
                "mode": "shared_bn",
                "weights": dict.fromkeys(names, 1.0),
                "shares": shares or dict.fromkeys(names, 1 / len(names)),
            }
        },
        "columns": found,
    }


MADE = [
    made("pixel+part", 75, 60, shares={"pixel": 0.8, "part": 0.2}),
    made("pixel", 70, 56),
    made("part", 50, 10),
    made("kl", 70, 56),
]


def test_made_records_are_records():
    assert all(schema.validate(r) for r in MADE) and level_report.is_study(MADE)
    assert not level_report.is_study([]) and not level_report.is_study([{"training": {}}])


def test_the_table_is_drawn_from_the_records():
    headings, rows = level_report.make_table(MADE)
    assert [row[0] for row in rows] == ["pixels", "parts", "KL", "pixels + parts"]
    assert headings[:5] == ["levels", "clean", "minus pixels", "p (Holm)", "share of each level, %"]
    assert headings[5:] == ["PGD-10 1/255", "PGD-10 2/255", "FGSM 8/255", "PGD-20 8/255"]
    assert rows[0][2:5] == ["-", "-", "100"] and rows[3][4] == "80 : 20"
    assert rows[1][3] == "< 0.001" and float(rows[1][2].split()[0]) == pytest.approx(-20, abs=1)
    assert all(len(row) == len(headings) for row in rows)
    by_hand = np.mean(results.compute_accuracies(MADE[1]["columns"]["clean"])) * 100
    assert rows[0][1].startswith(f"{by_hand:.1f} ")


def test_holm_counts_all_comparisons_of_the_table():
    rows = level_report.group_by_row(MADE)
    found = level_report.compute_differences(rows)
    few = level_report.compute_differences({name: rows[name] for name in ("levels:pixel", "levels:kl")})
    assert list(found) == ["levels:part", "levels:kl", "levels:pixel+part"]
    assert found["levels:kl"][0].mean == few["levels:kl"][0].mean and found["levels:kl"][1] >= few["levels:kl"][1]


def test_the_verdict_names_the_best_and_what_breaks_first():
    said = level_report.write_verdict(MADE)
    assert said.startswith("Of 3 other combinations 1 are better than pixels alone and 1 worse (Holm, 5 %)")
    assert "the best is pixels + parts, +5." in said or "the best is pixels + parts, +4." in said
    assert "Each attacked alone under PGD-10 1/255, the first to break is parts: it keeps 2" in said
    equal = [made("pixel", 70, 40), made("kl", 70, 40)]
    said = level_report.write_verdict(equal)
    assert "0 are better" in said and "the best is" not in said
    assert "no single level can be said to break first" in said


def test_what_breaks_first_keeps_the_smallest_part_of_its_own_clean_accuracy():
    """Pixels keep 45 of 80, parts 38 of 45: pixels break first, though more of them is left."""
    said = level_report.write_verdict([made("pixel", 80, 45), made("part", 45, 38), made("kl", 70, 50)])
    assert "the first to break is pixels: it keeps 5" in said and "the least in 100 % of resampled" in said
    few = level_report.write_verdict([made("pixel", 80, 45, episodes=2), made("part", 45, 38, episodes=2)])
    assert "no single level can be said to break first" in few, "two episodes say nothing"


def test_a_row_is_compared_with_pixels_of_its_own_seeds():
    pixels = [made("pixel", 70, 50), made("pixel", 40, 30, seed=1)]
    alone = level_report.compute_differences(level_report.group_by_row([pixels[0], made("kl", 65, 50)]))["levels:kl"][0]
    records = [*pixels, made("kl", 65, 50)]
    assert level_report.compute_differences(level_report.group_by_row(records))["levels:kl"][0].mean == alone.mean < 0
    assert "seeds 0, 1 (KL 0)" in level_report.write_caption(records)
    assert "the best is" not in level_report.write_verdict(records)
    never = level_report.make_table([pixels[0], made("kl", 65, 50, seed=1)])[1]
    assert never[1][2:4] == ["-", "-"], "no seed in common"
    other = made("kl", 65, 50)
    records = [r | {"training": r["training"] | {"checkpoint": c}} for r, c in ((pixels[0], "a"), (other, "b"))]
    with pytest.raises(UserError, match="different encoders"):
        level_report.group_by_row(records)


def test_the_caption_says_which_pixels_and_how_was_trained():
    assert "clean episodes, seed 0; fusion" in level_report.write_caption(MADE)
    assert "pixels by their 3 nearest neighbours, KL from query to class" in level_report.write_caption(MADE)
    robust = trained("levels:pixel", 70)
    assert "clean episodes" in level_report.write_caption([robust]).split("; ")[1]
    robust["recipe"] = robust["recipe"] | {"clean": 0.0, "adversarial": 1.0}
    said = level_report.write_caption([robust])
    assert "pixels by their nearest neighbour;" in said and "clean episodes" not in said.split("; ")[1]


def test_several_seeds_are_averaged_episode_by_episode():
    both = [*MADE, *(made(r["row"].removeprefix("levels:"), 60, 50, seed=1) for r in MADE)]
    rows = level_report.group_by_row(both)
    values = level_report.average_over_seeds(rows["levels:pixel"], "clean")
    each = [results.compute_accuracies(r["columns"]["clean"]) for r in rows["levels:pixel"]]
    assert len(each) == 2
    np.testing.assert_allclose(values, np.mean(each, 0))
    assert "seeds 0, 1" in level_report.write_caption(both)


def trained(row: str, right: float, shares: dict | None = None) -> dict:
    """A record of a net that was trained with a row's levels from the start."""
    record = made("pixel", right, right)
    *_, fgsm, pgd = level_report.list_attack_columns(record)
    point = {"step": 10, "clean": 0.5} | ({"shares": shares} if shares else {})
    columns = {name: record["columns"][name] for name in ("clean", fgsm, pgd)}
    return record | {"row": row, "training": {"history": [point]}, "columns": columns}


def test_nets_trained_with_several_levels_are_compared_alike():
    shares = {"pixel": 0.5, "part": 0.2, "kl-reverse": 0.3}
    records = [trained("mml", 75, shares), trained("dn4", 60), trained("levels:pixel", 70)]
    assert level_report.is_of_levels(records) and not level_report.is_study(records)
    assert not level_report.is_of_levels(records[:2])
    headings, rows = level_report.make_table(records)
    assert headings == [
        *("trained with", "clean", "minus pixels", "p (Holm)", "share of each level, %", "FGSM 8/255", "PGD-20 8/255")
    ]
    assert [row[0].split()[0] for row in rows] == ["pixels", "DN4", "MML"] and rows[2][4] == "50 : 20 : 30"
    assert rows[0][2:5] == ["-", "-", "100"] and rows[1][3] == "< 0.001" and rows[2][2].startswith("+")
    said = level_report.write_markdown(records)
    assert "Of 2 other trainings 1 are better than pixels alone and 1 worse (Holm, 5 %); the best is MML" in said
    assert "trained with each row for" in said
    assert said.endswith(
        "Under PGD-20 8/255, of 2 other trainings 0 are better than pixels alone and 0 worse (Holm, 5 %)."
    )


def test_records_that_cannot_be_compared_are_refused():
    other = copy.deepcopy(MADE[0])
    other["manifest"]["hash"] = "e" * 64
    with pytest.raises(UserError, match="different episodes"):
        level_report.make_table([*MADE[1:], other])
    with pytest.raises(UserError, match="no record of pixels alone"):
        level_report.make_table([MADE[0]])


def test_a_mark_draws_table_caption_and_verdict(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    folder = tmp_path / "results" / "exp"
    for r in MADE:
        results.write(folder / f"{r['row'].removeprefix('levels:')}-seed-0.json", r)
    text = marks.draw("levels exp")
    assert text == level_report.write_markdown(results.read_all(folder))
    assert text.startswith("| levels | clean |") and text.endswith(level_report.write_verdict(MADE))
    assert pages.choose_figures(folder) == {}, "15 curves are no picture"


# --- the verb ---


def words(*more):
    lengths = ("--episodes", "4", "--tasks", "4", "--attacked-tasks", "2", "--shots", "1")
    return ["levels", "--data", "small", "--size", "16", "--encoder", "tiny", "--device", "cpu", *lengths, *more]


@pytest.fixture
def home(tmp_path, monkeypatch, small_set):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    monkeypatch.delenv("ANROT_PRESET", raising=False)
    image_set.save(replace(small_set, name="small"), tmp_path / "packed" / "small")
    return tmp_path


def test_the_verb_prints_a_table_and_a_verdict(home, capsys):
    assert main.main(words("--variants", "pixel+part", "--tag", "try", "--seeds", "0", "0")) == 0
    said = capsys.readouterr().out
    assert "pixels + parts" in said and "Of 1 other combinations" in said and "on 1 encoder(s)" in said
    folder = home / "runs" / "small-16px-5way-1shot-smoke-levels-try"
    assert [p.name for p in folder.iterdir()] == ["study.json"]
    assert list(results.read_rows(folder / "study.json")) == ["pixel+part-seed-0", "pixel-seed-0"]


def test_the_verb_stops_after_its_minutes_and_says_what_training_noticed(home, capsys, monkeypatch):
    assert main.main(words("--variants", "part", "--tag", "slices", "--minutes", "0")) == 3
    assert "the time of --minutes is over" in capsys.readouterr().out
    monkeypatch.setattr(fewshot_training, "describe_chance", lambda *_: "the net is not above chance")
    assert main.main(words("--variants", "part", "--tag", "slices")) == 0
    assert capsys.readouterr().out.count("the net is not above chance") == 1


def test_a_dry_run_says_how_long_and_writes_nothing(home, capsys):
    assert main.main(words("--variants", "part", "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "together about" in said and "training" in said
    assert not (home / "runs").exists() and not (home / "checkpoints").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--variants", "pixels"), "unknown variant 'pixels'"),
        (("--shots", "0"), "shot must be at least 1"),
        (("--eps", "8"), "write k/255"),
        (("--attacked-tasks", "1"), "attacked tasks must be at least 2"),
        (("--preset", "tiny"), "unknown preset"),
    ],
)
def test_mistakes_end_in_one_sentence(home, capsys, more, message):
    assert main.main(words(*more)) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said


def test_levels_of_the_study_are_levels_of_the_library():
    head = MultiLevelHead(8, {name: make() for name, make in levels.LEVELS.items()})
    assert set(head.levels) == {"pixel", "part", *levels.DISTRIBUTIONS}


# --- numbers that are not finite ---


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", ["weights", "divergences"])
def test_what_is_not_finite_is_refused_and_the_records_stay(study, what, value, tmp_path, monkeypatch):
    setting, _ = study
    shutil.copytree(setting.folder.parents[1], tmp_path / "home")
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    setting = replace(setting, folder=tmp_path / "home" / "runs" / setting.folder.name)
    file = levels.get_study_file(setting)
    before = file.read_bytes()
    name = "encoder-seed-0-training.pt" if what == "weights" else "levels-seed-0-test-kl.pt"
    path = setting.work / name
    content = checkpoints.load(path)
    tensor = next(iter(content["state"].values())) if what == "weights" else content["divergences"]
    tensor[(0,) * tensor.ndim] = value
    checkpoints.save(path, content)
    with pytest.raises(UserError, match=r"not finite|NotFinite"):
        levels.run(setting, 0, [*SOME, "pixel+kl"])
    assert file.read_bytes() == before
