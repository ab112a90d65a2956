"""From a recipe to a record: columns, journal, records that are finished already, episodes for a precision."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from anrot_lib.attacks.threat import TARGETS
from anrot_lib.attacks.transfer import Quality, measure_surrogate, split_base
from anrot_lib.core import checkpoints, paths
from anrot_lib.core.configs import change, make_key, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.data import corruptions
from anrot_lib.experiments import columns, testing
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments import setting as experiment
from anrot_lib.experiments.columns import list_columns
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.surrogate import train_surrogate
from anrot_lib.fewshot import corrupted, evaluation, nets, pretraining, training
from anrot_lib.fewshot.methods import get_method, list_rows
from anrot_lib.records import results
from anrot_lib.settings import SMOKE, Protocol, Recipe
from tests.helpers import Killed, never, silent

PROTOCOL = Protocol(way=5, shot=1, steps=3, curve_eps=(0.0, 8 / 255), curve_sigma=(0.0, 0.1, 0.3))
RECIPE = Recipe(method="prototypes", hesim=0.0)


@pytest.fixture
def setting(small_set, small_budget, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    folder = experiment.choose_folder(small_set, PROTOCOL, small_budget)
    return Setting(small_set, PROTOCOL, small_budget, torch.device("cpu"), "fp32", silent, folder)


@pytest.fixture
def counted(monkeypatch):
    """A list of (column, first task) that grows with every part that is really computed."""
    seen = []
    real = testing._count_correct

    def counts(evaluator, rows, column, seed, start, *rest):
        seen.append((column.name, start))
        return real(evaluator, rows, column, seed, start, *rest)

    monkeypatch.setattr(testing, "_count_correct", counts)
    return seen


def kill_after(monkeypatch, parts):
    """The next evaluation dies before it computes one part more."""
    real, left = testing._count_correct, [parts]

    def counts(*rest):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(*rest)

    monkeypatch.setattr(testing, "_count_correct", counts)
    return real


# Rows and columns


def test_the_rows_differ_in_what_their_names_say():
    rows = list_rows()
    assert list(rows) == ["prototypes", "published", "hela-vfa", "anrot-clean", "anrot"]
    assert replace(rows["anrot"], adversarial=0.0, noisy=0.0) == rows["anrot-clean"]
    assert (rows["anrot"].clean, rows["anrot"].adversarial, rows["anrot"].noisy) == (1, 1, 1)
    for name in ("prototypes", "published", "hela-vfa"):
        assert replace(rows["anrot-clean"], method=name, hesim=0.0) == rows[name]


def test_rows_are_checked_and_other_methods_train_clean():
    good = ["anrot", "easyfsl:SimpleShot", "mml", "mml-2022", "levels:pixel+part@zscore"]
    assert pipeline.check_rows(good) == good
    with pytest.raises(UserError, match=r"unknown method 'anrto'; choose one of prototypes, .*easyfsl:NAME"):
        pipeline.check_rows(["anrot", "anrto"])
    with pytest.raises(UserError, match="unknown level 'pixels'; choose from pixel, part"):
        pipeline.check_rows(["levels:pixels+part"])
    assert get_method("anrot").recipe == list_rows()["anrot"]
    assert get_method("cosine").recipe == Recipe(method="cosine", hesim=0.0)


def test_the_columns_of_a_record():
    columns = {c.name: c for c in list_columns(Protocol(), SMOKE)}
    assert len(columns) == len(list_columns(Protocol(), SMOKE)), "a name stands twice"
    assert (columns["clean"].tasks, columns["clean"].query) == (200, 15)
    attacked = ("clean, attacked tasks", "FGSM 8/255 query", "PGD-20 8/255 query", "transfer FGSM 8/255 query")
    assert {(columns[n].tasks, columns[n].query) for n in (*attacked, "noise 0.10 query")} == {(20, 5)}
    strong = columns["PGD-20 8/255 query"].threat
    assert (strong.eps, strong.step, strong.steps, strong.start) == (8 / 255, 2 / 255, 20, "random")
    assert {columns[f"PGD-20 8/255 {t}"].threat.target for t in ("support", "both")} == {"support", "both"}
    assert [n for n in columns if n.startswith("noise")] == [f"noise {k / 100:.2f} query" for k in range(5, 31, 5)]
    assert sorted(c.threat.eps for n, c in columns.items() if n.startswith("curve")) == sorted(Protocol().curve_eps)
    curves = [c.threat for n, c in columns.items() if n.startswith("curve")]
    assert {(t.steps, t.step / t.eps) for t in curves if t.eps} == {(10, 0.25)}
    assert columns["transfer FGSM 8/255 query"].threat == columns["FGSM 8/255 query"].threat
    assert columns["transfer FGSM 8/255 query"].surrogate and columns["FGSM 8/255 query"].threat.start == "clean"


def test_the_protocols_sigma_has_a_column_of_its_own():
    names = [c.name for c in list_columns(Protocol(sigma=0.12), SMOKE, clean_tasks=321)]
    assert "noise 0.12 query" in names and "noise 0.10 query" in names
    assert list_columns(Protocol(), SMOKE, clean_tasks=321)[0].tasks == 321


def test_equal_settings_have_equal_keys():
    assert make_key({"a": 1, "b": 2}) == make_key({"b": 2, "a": 1}) != make_key({"a": 1, "b": 3})
    assert make_key("a" * 200, 1) != make_key("a" * 200, 2)


def test_results_of_different_settings_do_not_meet(small_set, small_budget, anrot_home):
    def folder(**changes):
        arguments = {"image_set": small_set, "protocol": PROTOCOL, "budget": small_budget} | changes
        return experiment.choose_folder(**arguments)

    assert folder() == paths.runs_dir() / "synthetic-16px-5way-1shot-smoke"
    others = [folder(protocol=replace(PROTOCOL, shot=5)), folder(protocol=replace(PROTOCOL, way=4)), folder(tag="b")]
    assert len({folder(), *others, folder(budget=change(small_budget, preset="laptop"))}) == 5


# Manifest


def test_the_first_tasks_are_the_same_whatever_their_number(setting):
    short, long = (experiment.make_manifest(setting, n) for n in (5, 50))
    assert len(long.rows) == 50 and (long.rows[:5].query == short.rows.query[:5]).all()
    assert short.hash != long.hash and set(long.rows.classes.ravel()) <= set(setting.image_set.splits["test"])
    assert experiment.make_manifest(setting).n_tasks == max(setting.budget.clean_tasks, setting.budget.attacked_tasks)
    other = replace(setting, protocol=replace(PROTOCOL, seed=1))
    assert not (experiment.make_manifest(other, 5).rows.query == short.rows.query[:5]).all()


def test_the_number_of_episodes_follows_from_the_precision(setting, small_net):
    rows = experiment.make_manifest(setting, 200).rows
    sd = 100 * (evaluation.count_clean(small_net, setting.image_set, rows) / rows.query[0].size).std(ddof=1)
    assert experiment.plan_tasks(setting, small_net, 0.5) == int(np.ceil((1.96 * sd / 0.5) ** 2)) > 400
    assert experiment.plan_tasks(setting, small_net, 30.0) == 200
    for points in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match=r"half-width is at least 0\.01 points"):
            experiment.plan_tasks(setting, small_net, points)


# Evaluation


def test_a_row_has_every_column_and_they_are_what_evaluation_says(setting, small_net, counted):
    manifest = experiment.make_manifest(setting)
    columns = testing.evaluate_row(setting, "anrot", small_net, manifest, "key")
    asked = list_columns(PROTOCOL, setting.budget)
    assert list(columns) == [c.name for c in asked]
    for c in asked:
        found = columns[c.name]
        assert (len(found["correct"]), found["queries"]) == (c.tasks, 5 * c.query)
        assert found["mean"] == pytest.approx(100 * np.mean(found["correct"]) / found["queries"], abs=1e-4)
    rows, seed = manifest.rows[:4].with_queries(2), PROTOCOL.seed
    noisy = evaluation.count_changed(small_net, setting.image_set, rows, evaluation.make_noise_change(0.3, seed))
    assert columns["noise 0.30 query"]["correct"] == noisy.tolist() and columns["noise 0.30 query"]["sigma"] == 0.3
    clean = evaluation.count_clean(small_net, setting.image_set, rows).tolist()
    assert columns["clean, attacked tasks"]["correct"] == clean
    assert columns["clean"]["correct"] == plain(small_net, setting, manifest)
    for name in ("FGSM 8/255 query", "PGD-3 8/255 query", "PGD-3 8/255 support", "PGD-3 8/255 both"):
        threat = next(c.threat for c in asked if c.name == name)
        assert columns[name]["threat"]["name"] == threat.name
        part = rows[: len(columns[name]["correct"])]
        assert columns[name]["correct"] == attacked(small_net, setting, part, threat)
        assert sum(columns[name]["correct"]) < sum(clean[: len(part)])
    assert columns["curve PGD-10 0 query"]["correct"] == clean[:2], "a radius of 0 is no attack"


def plain(net, setting, manifest):
    return evaluation.count_clean(net, setting.image_set, manifest.rows).tolist()


def attacked(net, setting, rows, threat):
    return evaluation.count_attacked(net, setting.image_set, rows, threat, PROTOCOL.seed).tolist()


def test_attacked_columns_go_in_parts_that_name_their_first_task(setting, small_net, counted, monkeypatch):
    monkeypatch.setattr(testing, "TASKS_PER_PART", 3)
    streams, real = [], evaluation.count_attacked

    def count_attacked(*arguments):
        streams.append(arguments[6])
        return real(*arguments)

    monkeypatch.setattr(evaluation, "count_attacked", count_attacked)
    some = replace(setting, columns=("FGSM", "clean"))
    columns = testing.evaluate_row(some, "anrot", small_net, experiment.make_manifest(setting), "key")
    assert counted == [("clean", 0), ("FGSM 8/255 query", 0), ("FGSM 8/255 query", 3)]
    assert streams == [0, 3], "the random starts of a part are its own"
    assert list(columns) == ["clean", "FGSM 8/255 query"] and len(columns["FGSM 8/255 query"]["correct"]) == 4


def test_a_killed_evaluation_goes_on_and_ends_the_same(setting, small_net, counted, monkeypatch):
    manifest = experiment.make_manifest(setting)
    whole = testing.evaluate_row(setting, "whole", small_net, manifest, "key")
    everything = list(counted)
    counted.clear()
    real = kill_after(monkeypatch, 5)
    with pytest.raises(Killed):
        testing.evaluate_row(setting, "killed", small_net, manifest, "key")
    with open(setting.work / "killed-evaluation.jsonl", "a") as journal:
        journal.write('{"key": "cut sh')  # the kill came in the middle of a line
    monkeypatch.setattr(testing, "_count_correct", real)
    resumed = testing.evaluate_row(setting, "killed", small_net, manifest, "key")
    assert counted == everything, "a part was lost or asked for twice"
    assert {n: c["correct"] for n, c in resumed.items()} == {n: c["correct"] for n, c in whole.items()}


def test_the_journal_of_another_net_or_manifest_is_not_taken(setting, small_net, counted):
    some = replace(setting, columns=("clean",))
    manifest = experiment.make_manifest(setting)
    for key, tasks in (
        ("one", manifest),
        ("two", manifest),
        ("two", experiment.make_manifest(setting, 14)),
        ("two", 0),
    ):
        tasks = tasks or experiment.make_manifest(setting, 14)
        testing.evaluate_row(some, "anrot", small_net, tasks, key)
    assert counted == [("clean", 0)] * 3


# Records


def test_a_row_is_recorded_once(setting, counted, monkeypatch):
    path = pipeline.run_row(setting, "prototypes", RECIPE)
    record, before = results.read(path), path.read_bytes()
    assert record["row"] == "prototypes" and path == setting.folder / "prototypes.json"
    assert record["recipe"] == to_dict(RECIPE) and record["protocol"] == to_dict(PROTOCOL)
    assert record["budget"] == to_dict(setting.budget)
    assert record["manifest"]["hash"] == experiment.make_manifest(setting).hash
    assert record["data"]["split_hash"] == setting.image_set.split_hash
    assert [point["step"] for point in record["training"]["history"]] == [3, 6, 8]
    net, method, about = nets.load_net(setting.work / "prototypes.pt")
    assert record["training"]["checkpoint"] == checkpoints.sha256(setting.work / "prototypes.pt")
    assert (method, about["size"], about["row"]) == ("prototypes", 16, "prototypes")
    assert record["columns"]["clean"]["correct"] == plain(net, setting, experiment.make_manifest(setting))
    assert not list(setting.work.glob("*.jsonl")), "the journal has done its work"
    counted.clear()
    monkeypatch.setattr(training, "compute_episode_loss", never)
    assert pipeline.run_row(setting, "prototypes", RECIPE) == path
    assert counted == [] and path.read_bytes() == before


def test_rows_of_a_wanted_precision_share_their_episodes(setting, monkeypatch):
    """As many as the row that needs most, so that their differences are paired."""
    recipes = {"prototypes": RECIPE, "cosine": replace(RECIPE, method="cosine")}
    need = {"euclid": 14, "cosine": 17}
    monkeypatch.setattr(pipeline, "plan_tasks", lambda setting, net, half_width: need[net.head.metric])
    files = pipeline.run_rows(replace(setting, columns=("clean",)), recipes, 1.0)
    manifests = [results.read(path)["manifest"] for path in files]
    assert [m["n_tasks"] for m in manifests] == [17, 17] and manifests[0]["hash"] == manifests[1]["hash"]
    assert [len(results.read(path)["columns"]["clean"]["correct"]) for path in files] == [17, 17]


@pytest.mark.parametrize("method", ["mml", "mml-wasserstein2", "levels:pixel+part"])
def test_multi_level_rows_train_and_record_the_share_of_each_level(setting, method):
    row = method.replace(":", "-")
    record = results.read(pipeline.run_row(replace(setting, columns=("clean",)), row, Recipe(method=method, hesim=0.0)))
    for point in record["training"]["history"]:
        assert {"pixel", "part"} <= set(point["shares"])
        assert sum(point["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert record["training"]["history"][0]["shares"] != record["training"]["history"][-1]["shares"]


def test_a_kill_in_the_evaluation_of_a_run_keeps_net_and_journal(setting, counted, monkeypatch):
    real = kill_after(monkeypatch, 4)
    with pytest.raises(Killed):
        pipeline.run_row(setting, "prototypes", RECIPE)
    assert len(counted) == 4
    monkeypatch.setattr(testing, "_count_correct", real)
    monkeypatch.setattr(training, "compute_episode_loss", never)
    pipeline.run_row(setting, "prototypes", RECIPE)
    assert len(counted) == len(set(counted)) == len(list_columns(PROTOCOL, setting.budget))


def test_what_is_asked_beyond_a_record_is_tested_again(setting, counted):
    some = replace(setting, columns=("clean",))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    assert list(results.read(path)["columns"]) == ["clean"]
    for changed in (
        replace(setting, columns=("clean", "noise")),
        replace(some, protocol=replace(PROTOCOL, seed=1)),
        replace(some, budget=change(setting.budget, attacked_query=3)),
    ):
        counted.clear()
        pipeline.run_row(changed, "prototypes", RECIPE)
        assert counted
    assert results.read(path)["budget"]["attacked_query"] == 3


def test_columns_of_the_former_attacks_on_support_sets_are_measured_again(setting, counted):
    name = f"PGD-{PROTOCOL.steps} 8/255 both"
    some = replace(setting, columns=("clean", name))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    record = results.read(path)
    assert record["columns"][name].pop("objective") == "beaten queries"
    results.write(path, record)
    counted.clear()
    pipeline.run_row(some, "prototypes", RECIPE)
    assert {column for column, _ in counted} == {name}
    assert "objective" in results.read(path)["columns"][name]


def test_worst_cases_of_other_adaptive_steps_are_measured_again(setting, counted, caplog):
    some = replace(setting, columns=("clean",), suites=("aa-lite",), targets=("query", "support"))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    record = results.read(path)
    rules = {"AA-lite 8/255 query": "hasty", "AA-lite 8/255 support": "adaptive"}
    assert {name: record["columns"][name].get("rule") for name in rules} == rules
    worst = record["columns"]["AA-lite 8/255 query"]
    asked = worst["queries"] * len(worst["correct"])
    assert sum(worst["beaten"].values()) == asked - sum(worst["correct"]) and len(worst["beaten"]) == 7
    assert "beaten" not in record["columns"]["AA-lite 8/255 support"]
    for name, rule in rules.items():
        counted.clear()
        pipeline.run_row(some, "prototypes", RECIPE)
        assert not counted, "they are those of today"
        for former in ({}, {"rule": "adaptive" if rule == "hasty" else "hasty"}):
            changed = {key: value for key, value in record["columns"][name].items() if key != "rule"} | former
            results.write(path, {**record, "columns": record["columns"] | {name: changed}})
            counted.clear()
            pipeline.run_row(some, "prototypes", RECIPE)
            assert {column for column, _ in counted} == {name}
            assert results.read(path)["columns"][name]["rule"] == rule
    results.write(path, {**record, "columns": record["columns"] | {name: changed}})
    caplog.clear()
    pipeline.run_row(replace(some, columns=("clean", "FGSM"), suites=()), "prototypes", RECIPE)
    assert name not in results.read(path)["columns"]
    assert [message for message in caplog.messages if f"{name!r} left the record of prototypes" in message]


def test_a_worst_case_that_leaves_more_than_a_part_of_it_is_measured_again(setting, counted):
    some = replace(setting, columns=("clean", "PGD-3"), suites=("aa-lite",), targets=("support",))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    record, name = results.read(path), "AA-lite 8/255 support"
    right = record["columns"][name]["correct"]
    record["columns"][name]["correct"] = [
        right[0],
        record["columns"]["PGD-3 8/255 support"]["correct"][1] + 1,
        *right[2:],
    ]
    results.write(path, record)
    counted.clear()
    pipeline.run_row(some, "prototypes", RECIPE)
    assert {column for column, _ in counted} == {name} and results.read(path)["columns"][name]["correct"] == right


def test_a_column_that_does_not_say_which_queries_are_right_is_measured_again_where_it_is_asked_for(setting, counted):
    some = replace(setting, columns=("clean", "PGD-3"))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    record, name = results.read(path), "PGD-3 8/255 query"
    for column in record["columns"].values():
        for key in ("answers", "open_half_width"):
            column.pop(key, None)
    results.write(path, record)
    counted.clear()
    pipeline.run_row(replace(some, columns=(name,)), "prototypes", RECIPE)
    assert {column for column, _ in counted} == {name}
    columns = results.read(path)["columns"]
    assert "answers" in columns[name] and "answers" not in columns["clean"], "nobody asked for it"


def test_a_net_that_is_taken_up_again_keeps_its_file(setting):
    """A release that knows one more field of a recipe would write another file, and no record would be of its net."""
    *_, path = pipeline.train_row(setting, "prototypes", RECIPE)
    content = checkpoints.load(path)
    del content["about"]["recipe"]["pretrain_as"]
    for spoilt in (None, "state", "recipe"):
        kept = content if spoilt != "recipe" else {**content, "about": content["about"] | {"recipe": {"clean": 0.5}}}
        if spoilt == "state":
            kept = {**content, "state": {name: value + 1 for name, value in content["state"].items()}}
        checkpoints.save(path, kept)
        before = path.read_bytes()
        _, trained, _ = pipeline.train_row(setting, "prototypes", RECIPE)
        assert (path.read_bytes() == before) == (spoilt is None)
        assert trained["checkpoint"] == checkpoints.sha256(path)


def test_a_record_of_another_split_recipe_or_net_is_never_overwritten(setting, counted, monkeypatch):
    some = replace(setting, columns=("clean",))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    net, trained, _ = pipeline.train_row(some, "other", RECIPE)
    before = path.read_bytes()
    turned = {**setting.image_set.splits, "train": setting.image_set.splits["train"][:-1]}
    monkeypatch.setattr(pipeline, "train_row", never)  # refused before hours of training
    for changed, recipe, named in (
        (replace(some, image_set=replace(setting.image_set, splits=turned)), RECIPE, "split"),
        (some, replace(RECIPE, learning_rate=0.5), "learning_rate"),
    ):
        with pytest.raises(UserError, match=rf"of another training \(different {named}\); give another --tag"):
            pipeline.run_row(changed, "prototypes", recipe)
    other = {**trained, "checkpoint": "0" * 64}
    with pytest.raises(UserError, match="is the record of another net"):
        pipeline.finish_row(some, "prototypes", RECIPE, net, other, experiment.make_manifest(some))
    assert path.read_bytes() == before


def test_too_few_test_images_are_told_before_training(setting, monkeypatch):
    monkeypatch.setattr(pipeline, "train_row", never)
    greedy = replace(setting, budget=change(setting.budget, clean_query=24))
    with pytest.raises(UserError, match="24 images, but 1 shots and 24 queries need 25"):
        pipeline.run_row(greedy, "anrot", Recipe())


def test_a_row_with_pretraining_pretrains_once_for_all_rows(setting, monkeypatch):
    recipe = replace(RECIPE, pretrain=True)
    _, about, _ = pipeline.train_row(setting, "prototypes", recipe)
    assert about["pretraining_seconds"] > 0 and len(list(setting.work.glob("pretraining-*.pt"))) == 1
    monkeypatch.setattr(pretraining.augmentation, "flip", never)
    _, second, _ = pipeline.train_row(setting, "anrot", replace(recipe, method="anrot"))
    assert second["pretraining_seconds"] == about["pretraining_seconds"]
    _, plain_row, _ = pipeline.train_row(setting, "plain", RECIPE)
    assert plain_row["pretraining_seconds"] == 0
    assert plain_row["history"] != about["history"]


def test_the_surrogate_is_trained_once_a_setting(setting, small_net, monkeypatch):
    evaluator = evaluation.Evaluator(small_net, setting.image_set, "cpu", partial(train_surrogate, setting))
    first = evaluator.get_surrogate()
    assert evaluator.get_surrogate() is first and not first.training
    monkeypatch.setattr(torch.optim.Adam, "step", never)
    read = train_surrogate(setting)  # the next net and the next command read it from disk
    assert read is not first and all(torch.equal(v, read.state_dict()[k]) for k, v in first.state_dict().items())


def test_a_transfer_column_says_how_good_its_surrogate_is(setting, small_net):
    some = replace(setting, columns=("transfer",))
    (column,) = testing.evaluate_row(some, "anrot", small_net, experiment.make_manifest(setting), "key").values()
    quality = measure_surrogate(train_surrogate(setting), setting.image_set)
    about = column["surrogate"]
    assert (about["accuracy"], about["images"], about["classes"]) == (round(quality.accuracy, 4), *quality[1:])
    assert quality.images == len(split_base(setting.image_set)[1]) and quality.classes == 15


def test_a_surrogate_near_chance_gives_a_sentence_and_no_column(setting, monkeypatch):
    some, measured = replace(setting, columns=("clean", "transfer")), []

    def measure(surrogate, image_set):
        measured.append(surrogate)
        return Quality(0.12, 25, 10)

    monkeypatch.setattr(columns, "measure_surrogate", measure)
    record = results.read(pipeline.run_row(some, "prototypes", RECIPE))
    assert list(record["columns"]) == ["clean"]
    assert record["left_out"] == {
        "transfer FGSM 8/255 query": "the surrogate names 12.0 % of 25 held-out images of its own 10 classes right, "
        "chance 10.0 %: its attack would be little more than random signs"
    }
    pipeline.run_row(some, "prototypes", RECIPE)
    assert len(measured) == 1, "asked again for a column that says nothing"


def test_other_columns_are_added_to_a_record_and_take_none_away(setting, counted):
    recipe = replace(RECIPE, method="anrot")
    first = replace(setting, columns=("clean", "noise"))
    path = pipeline.run_row(first, "anrot", recipe)
    before = results.read(path)["columns"]
    counted.clear()
    pipeline.run_row(replace(setting, columns=("clean", "FGSM")), "anrot", recipe)
    after = results.read(path)["columns"]
    assert {name for name, _ in counted} == set(after) - set(before) == {"FGSM 8/255 query"}
    assert all(after[name] == before[name] for name in before)
    run = results.read(path)["run"]
    assert run["also"] == [{key: run[key] for key in ("command", "commit")}], "who measured the others"
    text = path.read_text()
    net, about, _ = pipeline.train_row(first, "anrot", recipe)
    pipeline.finish_row(first, "anrot", recipe, net, about, experiment.make_manifest(first))
    assert path.read_text() == text, "nothing was missing"


def test_no_two_sigmas_share_a_column():
    protocol = Protocol(sigma=0.104)
    names = {c.name: c.sigma for c in list_columns(protocol, SMOKE) if c.sigma}
    assert names["noise 0.104 query"] == 0.104 and names["noise 0.10 query"] == 0.1
    assert len(names) == len({*protocol.curve_sigma, 0.104} - {0.0})


def test_every_seed_and_split_has_a_surrogate_of_its_own(setting):
    image_set = setting.image_set
    turned = replace(image_set, splits=dict(zip(image_set.splits, [*image_set.splits.values()][::-1], strict=True)))
    others = [replace(setting, protocol=replace(PROTOCOL, seed=1)), replace(setting, image_set=turned)]
    for some in (setting, *others):
        train_surrogate(some)
    assert len(list(setting.work.glob("surrogate-*.pt"))) == 3


def test_the_noise_of_a_column_follows_the_seed_of_the_protocol(setting, small_net, monkeypatch):
    seeds, real = [], testing.make_noise_change

    def make_noise_change(sigma, seed):
        seeds.append((sigma, seed))
        return real(sigma, seed)

    monkeypatch.setattr(testing, "make_noise_change", make_noise_change)
    some = replace(setting, protocol=replace(PROTOCOL, seed=3), columns=("noise 0.10",))
    testing.evaluate_row(some, "anrot", small_net, experiment.make_manifest(some), "key")
    assert seeds == [(0.1, 3)]


def test_a_net_can_be_tested_with_other_shots_than_it_was_trained_with(setting):
    other = replace(setting, protocol=replace(PROTOCOL, shot=3), folder=setting.folder.with_name("three-shots"))
    some, other = (replace(s, columns=("clean",)) for s in (setting, other))
    first = pipeline.run_row(some, "prototypes", RECIPE)
    second = pipeline.run_row(some, "prototypes", RECIPE, tested_in=other)
    a, b = (results.read(path, "accuracy") for path in (first, second))
    assert second.parent.name == "three-shots" and b["manifest"]["n_shot"] == 3
    assert a["training"]["checkpoint"] == b["training"]["checkpoint"], "the same net"
    assert b["training"]["shot"] == 1 and "shot" not in a["training"]
    assert b["columns"]["clean"]["mean"] > a["columns"]["clean"]["mean"]


def test_a_study_tests_on_validation_classes_and_says_so(setting, small_set):
    study = replace(setting, split="val", columns=("clean",))
    path = pipeline.run_row(study, "prototypes", RECIPE)
    record = results.read(path, "accuracy")
    manifest = experiment.make_manifest(study)
    assert record["manifest"]["split"] == "val" and record["manifest"]["hash"] == manifest.hash
    assert set(np.unique(small_set.labels[manifest.rows.query])) <= set(small_set.splits["val"])
    assert manifest.hash != experiment.make_manifest(setting).hash


def test_records_of_before_the_new_parts_of_recipes_are_still_those_of_their_net(setting):
    some = replace(setting, columns=("clean",))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    record = results.read(path, "accuracy")
    for name in ("attack", "optimizer", "averaging", "episodic", "heads"):
        del record["recipe"][name]
    results.write(path, record)
    before = path.read_bytes()
    assert pipeline.run_row(some, "prototypes", RECIPE) == path and path.read_bytes() == before
    with pytest.raises(UserError, match=r"the record of another training \(different averaging\)"):
        pipeline.run_row(some, "prototypes", replace(RECIPE, averaging=0.5))


def test_strong_attacks_are_columns_of_their_own(setting):
    some = replace(setting, columns=("clean", "PGD-3"), suites=("aa-lite",), targets=("query", "support", "both"))
    path = pipeline.run_row(some, "prototypes", RECIPE)
    columns = results.read(path, "accuracy")["columns"]
    for target in ("query", "support", "both"):
        worst, pgd = columns[f"AA-lite 8/255 {target}"], columns[f"PGD-3 8/255 {target}"]
        assert worst["suite"] == "aa-lite" and worst["threat"]["target"] == target
        assert worst["rule"] == ("adaptive" if target == "support" else "hasty")
        n = len(worst["correct"])
        assert sum(worst["correct"]) <= sum(pgd["correct"][:n])
    before = path.read_bytes()
    assert pipeline.run_row(some, "prototypes", RECIPE) == path and path.read_bytes() == before, "kept"


def test_corruptions_are_one_column_for_each_target(setting, monkeypatch):
    kinds = {kind: corruptions.STRENGTHS[kind] for kind in ("gaussian noise", "fog")}
    monkeypatch.setattr(corrupted, "STRENGTHS", kinds)
    some = replace(setting, columns=("clean",), corrupted=TARGETS)
    columns = results.read(pipeline.run_row(some, "prototypes", RECIPE), "accuracy")["columns"]
    for target in ("query", "support", "both"):
        column = columns[f"corruptions {target}"]
        assert column["changed"] == target and set(column["kinds"]) == set(kinds)
        assert all(len(means) == 5 for means in column["kinds"].values())
        assert column["mean"] == pytest.approx(np.mean(list(column["kinds"].values())), abs=0.01)
        assert column["queries"] == 2 * 5 * 5 * setting.budget.attacked_query
    assert columns["corruptions query"]["mean"] < columns["clean"]["mean"]
    rows = experiment.make_manifest(some).rows[:2].with_queries(2)
    net = nets.load_net(some.work / "prototypes.pt")[0]
    change = corrupted.make_corruption_change("fog", 3, some.protocol.seed)
    alone = evaluation.count_changed(net, some.image_set, rows, change, "query")
    counted = corrupted.count_corrupted(evaluation.Evaluator(net, some.image_set), rows, some.protocol.seed)
    assert counted["fog"][2].tolist() == alone.tolist()


def test_a_transductive_row_has_no_worst_case_of_single_queries(setting):
    some = replace(setting, columns=("clean",), suites=("aa-lite",), targets=("query", "support"))
    record = results.read(pipeline.run_row(some, "published", Recipe(method="published", hesim=0.0)), "accuracy")
    assert set(record["columns"]) == {"clean", "AA-lite 8/255 support"}
    assert record["left_out"] == {"AA-lite 8/255 query": pipeline.NO_WORST_CASE}
