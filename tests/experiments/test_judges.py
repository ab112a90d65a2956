"""Our attacks beside judges: judges of known strength, and the libraries themselves on a few episodes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anrot_lib.attacks import judges
from anrot_lib.attacks.judges import ADV_LIB, APGD, ART, BOUNDARY, PGD, SQUARE, TARGETED, Judge
from anrot_lib.core.errors import UserError
from anrot_lib.experiments import judges as experiment
from anrot_lib.experiments.setting import Setting, choose_folder, make_manifest
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.records import results
from anrot_lib.settings import Protocol
from tests.helpers import rng, silent

EPS = 4 / 255
PROTOCOL = Protocol(way=5, shot=5, eps=EPS, step=EPS / 4)


@pytest.fixture
def setting(small_set, small_budget, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    budget = replace(small_budget, attacked_tasks=6)
    folder = choose_folder(small_set, PROTOCOL, budget)
    return Setting(small_set, PROTOCOL, budget, torch.device("cpu"), "fp32", silent, folder)


def run(setting, net):
    path = experiment.run_judges(setting, "anrot", net, "a" * 64, make_manifest(setting))
    assert path.name == "anrot-judges.json"
    return results.read(path, "judges")


def ask(monkeypatch, *listed, missing=None):
    monkeypatch.setattr(experiment, "list_judges", lambda eps: (list(listed), missing or {}))


def test_a_judge_that_changes_nothing_leaves_the_clean_accuracy(setting, small_net, monkeypatch):
    ask(monkeypatch, Judge(PGD, "idle", lambda model, images, labels: images), missing={"other": "not installed"})
    record = run(setting, small_net)
    (judged,) = record["judges"]
    rows = make_manifest(setting).rows[:6].with_queries(1)
    clean = evaluation.Evaluator(small_net, setting.image_set).count_clean(rows).tolist()
    assert judged["judge"]["correct"] == record["columns"]["clean"]["correct"] == clean
    beaten = sum(clean) - sum(judged["ours"]["correct"])
    assert judged["ours_alone"] == beaten > 0 and judged["judge_alone"] == 0
    assert judged["difference"]["value"] == pytest.approx(100 * beaten / 30, abs=1e-3)
    assert judged["version"] == "unknown" and record["missing"] == {"other": "not installed"}


def test_a_judge_that_beats_every_query_is_said_to_be_stronger(setting, small_net, monkeypatch):
    def cheat(model, images, labels):
        """Another class's query in the place of each: no ball, a judge of the judge."""
        assert (model(images).argmax(-1) == labels).all(), "queries that are wrong as they are are not sent"
        others = torch.zeros_like(images)
        others[:] = images.roll(1, 0)
        return others

    ask(monkeypatch, Judge(APGD, "cheat", cheat))
    (judged,) = run(setting, small_net)["judges"]
    assert judged["difference"]["value"] < 0 and judged["judge_alone"] > 0


def test_a_killed_comparison_goes_on_with_the_next_part(setting, small_net, monkeypatch):
    """Parts of two episodes; the judge dies once in its second part, and nothing is attacked twice."""
    monkeypatch.setattr(experiment, "count_images_per_pass", lambda size, device: 10)
    asked, ours = [], []

    def generate(model, images, labels):
        asked.append(len(images))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return images

    def attack(net, episode, name, eps, generator, limit):
        ours.append(len(episode.labels))
        return episode.labels > 0

    ask(monkeypatch, Judge(PGD, "mortal", generate))
    monkeypatch.setattr(experiment, "attack_as_judged", attack)
    with pytest.raises(KeyboardInterrupt):
        run(setting, small_net)
    assert not list(setting.folder.glob("*.json")) and len(list(setting.work.glob("*.jsonl"))) == 1
    record = run(setting, small_net)
    (judged,) = record["judges"]
    assert ours == [2, 2, 2] and len(asked) == 4
    assert judged["ours"]["correct"] == [4] * 6 and judged["judge"]["correct"] == record["columns"]["clean"]["correct"]
    assert record["seconds"] >= judged["ours"]["seconds"] + judged["judge"]["seconds"] - 0.02
    assert not list(setting.work.glob("*.jsonl"))


def test_the_bar_counts_what_the_attacks_take(setting, small_net, monkeypatch):
    seen = []

    class Bar:
        def __init__(self, title, total):
            self.total = total

        def __enter__(self):
            return lambda done, numbers: seen.append((done, self.total))

        def __exit__(self, *args):
            return None

    ask(monkeypatch, Judge(SQUARE, ART, lambda model, images, labels: images))
    run(replace(setting, progress=Bar), small_net)
    assert seen[0][0] == 0 and seen[-1][0] == seen[-1][1] == 5 * 6 * (300 + 900)
    assert judges.count_passes(TARGETED, 5) == 4 * judges.count_passes(APGD, 5, ADV_LIB) == 240
    assert judges.count_passes(BOUNDARY, 5, ADV_LIB) == 1600 and judges.count_passes(BOUNDARY, 5) == 1500


def test_the_count_under_pgd_is_that_of_the_evaluation(setting, small_net, monkeypatch):
    ask(monkeypatch, Judge(PGD, "idle", lambda model, images, labels: images))
    record = run(setting, small_net)
    rows = make_manifest(setting).rows[:6].with_queries(1)
    counts = evaluation.Evaluator(small_net, setting.image_set).count_attacked(rows, judges.make_pgd(EPS), 0)
    assert abs(sum(record["judges"][0]["ours"]["correct"]) - counts.sum()) <= 2, "another random start, no more"


def test_what_cannot_be_judged_is_refused(setting, small_net, monkeypatch):
    ask(monkeypatch, missing={ART: "not installed", ADV_LIB: "not installed, either"})
    with pytest.raises(UserError, match="no judge: adversarial-robustness-toolbox: not installed; adv-lib: not inst"):
        run(setting, small_net)
    ask(monkeypatch, Judge(PGD, "idle", lambda model, images, labels: images))
    with pytest.raises(UserError, match="in the norm linf, not l2"):
        run(replace(setting, protocol=replace(PROTOCOL, norm="l2")), small_net)
    with pytest.raises(UserError, match="depend on the other queries"):
        run(setting, create_net("tiny", "published", generator=rng()).eval())


def test_an_unknown_attack_is_refused(small_set, small_net, setting):
    episode = make_manifest(setting).rows[:1].with_queries(1).to_episode(small_set)
    with pytest.raises(UserError, match="unknown attack 'PGD-7'; choose from PGD-20, APGD-CE-20"):
        judges.attack_as_judged(small_net, episode, "PGD-7", EPS, rng())


@pytest.mark.parametrize(
    ("library", "module", "attacks"),
    [(ART, "art", (PGD, APGD, SQUARE)), (ADV_LIB, "adv_lib", (PGD, APGD, TARGETED, BOUNDARY))],
)
def test_the_libraries_beat_what_ours_beat(setting, small_net, library, module, attacks):
    """On 30 queries each: the same but for a few, and all in the ball."""
    pytest.importorskip(module, reason=f"{library} is not installed")
    listed, missing = judges.list_judges(EPS)
    asked = {judge.attack: judge for judge in listed if judge.library == library}
    assert tuple(asked) == attacks and library not in missing
    episode = make_manifest(setting).rows[:6].with_queries(1).to_episode(setting.image_set)
    clean = experiment.classify(small_net, episode, episode.query)
    for attack, judge in asked.items():
        points = []

        def generate(model, images, labels, judge=judge, points=points):
            points.append((judge.generate(model, images, labels), images))
            return points[-1][0]

        theirs = experiment.attack_by_judge(small_net, episode, clean, replace(judge, generate=generate), EPS, 0)
        ours = judges.attack_as_judged(small_net, episode, attack, EPS, rng()).numpy()
        assert all((moved - images).abs().max() <= EPS + 1e-6 for moved, images in points)
        assert np.abs(theirs.astype(int) - ours).sum() <= (8 if attack == SQUARE else 2), attack
        assert not (theirs & ~clean.numpy()).any() and theirs.sum() < clean.sum()


def test_a_library_that_is_not_there_is_said_and_not_asked(monkeypatch):
    def refuse(eps):
        raise UserError("not installed: pip install it")

    monkeypatch.setattr(judges, "list_art_judges", refuse)
    monkeypatch.setattr(judges, "list_adv_lib_judges", lambda eps: [])
    assert judges.list_judges(EPS) == ([], {ART: "not installed: pip install it"})


def test_each_attack_is_that_part_of_the_short_suite(small_net, setting, monkeypatch):
    asked = []

    def attack(net, episode, attacks, generator, max_images):
        asked.append([(one.name, one.threat.eps) for one in attacks])
        return SimpleNamespace(right=episode.labels == 0)

    monkeypatch.setattr(judges, "attack_queries_by_suite", attack)
    episode = make_manifest(setting).rows[:1].with_queries(1).to_episode(setting.image_set)
    for name in (APGD, TARGETED, SQUARE, BOUNDARY):
        assert judges.attack_as_judged(small_net, episode, name, EPS, rng()).sum() == 1
    targeted = [(f"APGD-DLR-20 target {k}", EPS) for k in (1, 2, 3, 4)]
    long = [("APGD-CE-100", EPS), *((f"APGD-DLR-100 target {k}", EPS) for k in (1, 2, 3, 4))]
    assert asked == [[("APGD-CE-20", EPS)], targeted, [("Square-300", EPS)], long]


def test_a_record_of_judges_is_kept_and_none_is_lost(setting, small_net, monkeypatch):
    ask(monkeypatch, Judge(PGD, "idle", lambda model, images, labels: images))
    run(setting, small_net)
    (path,) = setting.folder.glob("*.json")
    before = path.read_bytes()
    run(setting, small_net)
    with pytest.raises(UserError, match="a record of another net"):
        experiment.run_judges(setting, "anrot", small_net, "b" * 64, make_manifest(setting))
    ask(monkeypatch, Judge(PGD, "other", lambda model, images, labels: images))
    with pytest.raises(UserError, match="a record of another set of judges"):
        run(setting, small_net)
    ask(monkeypatch, *(Judge(attack, "idle", lambda model, images, labels: images) for attack in (PGD, APGD)))
    with pytest.raises(UserError, match="a record of another set of judges"):
        run(setting, small_net)
    assert path.read_bytes() == before
