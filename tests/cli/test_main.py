"""The command line, end to end: what it writes, what it refuses in one sentence, what it leaves alone."""

import functools
import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from anrot_lib.cli import main
from anrot_lib.cli.commands.arguments import read_budget, read_protocol, read_recipe
from anrot_lib.core import checkpoints, paths
from anrot_lib.core.configs import change, to_dict
from anrot_lib.data import corruptions
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.image_set import build_image_set
from anrot_lib.data.leakage.seen import describe_class, set_origin
from anrot_lib.experiments import rows
from anrot_lib.experiments.benchmarks import levels, ranking
from anrot_lib.experiments.benchmarks import steps as benchmark
from anrot_lib.fewshot import corrupted, evaluation, nets, training
from anrot_lib.records import results
from anrot_lib.reports import tables
from anrot_lib.settings import LAPTOP, SMOKE, Protocol, Recipe, get_radii

ACTIONS = ("train", "attack", "score", "table")
VERBS = (
    "run",
    "train",
    "evaluate",
    "predict",
    "card",
    "rescore",
    "certify",
    "judges",
    "prepare",
    "recipes",
    "lengths",
    "defences",
    "ablation",
    "levels",
    "reconstruct",
    "retrieve",
    "verify",
    "claims",
    "recompute",
    "consequences",
    "report",
    "bench",
    "course",
)
SMALL = ("--data", "small", "--size", "16", "--device", "cpu")
SHORT = (*SMALL, "--encoder", "tiny", "--episodes", "3")  # a training
QUICK = (*SMALL, "--tasks", "2")  # a test
TINY = (*SHORT, "--tasks", "2")  # both


@pytest.fixture
def home(tmp_path, monkeypatch, small_set, small_training):
    """A data root with the small set prepared as "small", and the small net as net.pt beside it."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANROT_PRESET", raising=False)
    image_sets.save(replace(small_set, name="small"), paths.packed_dir() / "small")
    about = {"row": "anrot-clean", "recipe": to_dict(Recipe()), "training": {"seconds": 1.0}}
    nets.save_net(tmp_path / "net.pt", small_training.net, "anrot", size=16, **about)
    return tmp_path


@pytest.fixture
def anrot(home, capsys):
    """Call a command: its exit code, and what it printed."""

    def call(*words):
        capsys.readouterr()
        code = main.main([str(word) for word in words])
        return SimpleNamespace(code=code, **capsys.readouterr()._asdict())

    return call


def refused(done, said):
    """Exit code 2, one sentence on stderr that says this, no traceback."""
    sentences = [line for line in done.err.splitlines() if line.startswith("anrot: ")]
    assert done.code == 2 and len(sentences) == 1 and done.err.rstrip().endswith(sentences[0])
    assert "Traceback" not in done.err and re.search(said, sentences[0]), sentences[0]


def files(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and ".verified" not in p.parts}


def photo(colour, seed):
    grain = np.random.default_rng(seed).normal(0, 12, (24, 20, 3))
    return Image.fromarray((np.asarray(colour) + grain).clip(0, 255).astype(np.uint8))


# Nets under test on what they know


def test_a_net_is_refused_on_classes_that_trained_it_and_marked_where_that_is_asked_for(anrot, home, small_set):
    """The same images with test and training classes exchanged, as a second random split of a folder may have them."""
    splits = {**small_set.splits, "train": small_set.splits["test"], "test": small_set.splits["train"][:5]}
    image_sets.save(replace(small_set, name="turned", splits=splits), paths.packed_dir() / "turned")
    words = ("evaluate", home / "net.pt", "--data", "turned", "--columns", "clean", "--tasks", "2")
    refused(anrot(*words), "trained on 5 of the 5 test classes")
    assert not list(home.rglob("anrot-clean.json"))
    done = anrot(*words, "--allow-seen")
    assert done.code == 0 and done.out.count("SEEN CLASSES") == 2 and "NO FEW-SHOT ACCURACY: 5 test classes" in done.out
    (path,) = home.rglob("anrot-clean.json")
    record = results.read(path)
    assert record["seen"] == {"trained_classes": 5, "selected_classes": 0, "images": 120}
    assert record["training"]["origin"]["split_hash"] == small_set.split_hash


def test_a_net_that_does_not_say_what_it_was_trained_on_is_marked(anrot, home):
    net, method, about = nets.load_net(home / "net.pt")
    set_origin(net.backbone, None)
    nets.save_net(home / "stranger.pt", net, method, **about)
    words = (
        "evaluate",
        home / "stranger.pt",
        "--data",
        "small",
        "--columns",
        "clean",
        "--tasks",
        "2",
        "--tag",
        "stranger",
    )
    done = anrot(*words)
    assert done.code == 0 and "nobody knows whether the net was trained on these classes" in done.out
    (path,) = home.rglob("*-stranger/*.json")
    record = results.read(path, "accuracy")
    assert record["unknown_origin"] is True and tables.title_row(record).endswith(" (ORIGIN UNKNOWN)")


def test_a_net_is_tested_on_the_classes_of_another_set_that_it_has_not_seen(anrot, home, small_set):
    """Two of its training classes are among the test classes of the other set, with other images; a third is close."""
    known, third = small_set.split_names["train"][:2], small_set.split_names["train"][2]
    names = [*known, f"small {third}", *(f"new {k}" for k in range(len(small_set.class_names) - 3))]
    images = 255 - small_set.images
    splits = {"train": range(7, 20), "val": range(20, 25), "test": range(7)}
    image_sets.save(build_image_set("others", images, small_set.labels, names, splits), paths.packed_dir() / "others")
    words = ("evaluate", home / "net.pt", "--data", "others", "--columns", "clean", "--tasks", "2")
    refused(anrot(*words), r"trained on 2 of the 7 test classes .*leave the seen ones out \(--unseen\)")
    done = anrot(*words, "--unseen", "--tag", "again")
    assert done.code == 0, done.err
    assert f"without the test classes that the net has seen: {', '.join(sorted(known))}" in done.out
    assert f"others without {', '.join(sorted(known))}, which the net has seen, 16 px" in done.out
    (path,) = home.rglob("anrot-clean.json")
    record = results.read(path)
    assert path.parent.name == f"others-16px-5way-5shot-smoke-from-{small_set.name}-again"
    assert record["data"]["classes"]["test"] == 5 and record["data"]["without"] == sorted(known)
    assert "seen" not in record
    assert record["close"][0].startswith(f"{describe_class(f'small {third}')} ({describe_class(third)}")
    assert f"{tables.CLOSE}: {record['close'][0]}" in done.out


def test_a_net_of_another_size_is_tested_with_a_note_and_in_the_caption(anrot, home, small_set):
    doubled = small_set.images.repeat(2, 1).repeat(2, 2)
    larger = build_image_set("larger", doubled, small_set.labels, small_set.class_names, small_set.splits)
    image_sets.save(larger, paths.packed_dir() / "larger")
    words = ("evaluate", home / "net.pt", "--data", "larger", "--columns", "clean", "--tasks", "2", "--size", "32")
    done = anrot(*words)
    assert done.code == 0 and "note: the net was trained on images of 16 px, and is tested on 32 px" in done.out
    assert "trained on images of 16 px" in done.out.split("episodes\n", 1)[1], "the caption says it, too"


def test_a_net_is_tested_on_the_images_that_it_comes_from_unless_others_are_named(anrot, home, small_net, small_set):
    set_origin(small_net.backbone, replace(small_net.origin, data="small"))
    nets.save_net(home / "mine.safetensors", small_net, "anrot", size=16)
    words = ("evaluate", home / "mine.safetensors", "--columns", "clean", "--tasks", "2", "--device", "cpu")
    done = anrot(*words)
    assert done.code == 0 and done.out.startswith("small: 600 images of 16 px"), done.err
    refused(anrot(*words, "--data", "synthetic"), "knows the test classes of 'synthetic'")
    (record,) = [results.read(path) for path in home.rglob("mine.json")]
    assert record["training"]["checkpoint"] == checkpoints.sha256(home / "mine.safetensors")


def test_a_broken_net_is_one_sentence_and_the_good_record_stays(anrot, home):
    words = ("evaluate", home / "net.pt", "--data", "small", "--columns", "clean", "FGSM", "--tasks", "2")
    assert anrot(*words).code == 0
    (path,) = home.rglob("anrot-clean.json")
    before = path.read_bytes()
    content = torch.load(home / "net.pt", weights_only=True)
    next(iter(content["state"].values())).fill_(float("nan"))
    checkpoints.save(home / "net.pt", content)
    refused(anrot(*words), "are not finite")
    assert path.read_bytes() == before


# Help


@pytest.mark.parametrize("words", [*((verb,) for verb in VERBS), *(("retrieve", action) for action in ACTIONS)])
def test_every_verb_has_a_help_with_its_options_their_defaults_and_an_example(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main([*words, "--help"])
    text, name = capsys.readouterr().out, " ".join(words)
    assert stop.value.code == 0 and text.startswith(f"usage: anrot {name}")
    example = text.split("example:\n")[1].split()
    assert example[: 1 + len(words)] == ["anrot", *words]
    main.build_parser(example[1:]).parse_args(example[1:])
    titles = re.findall(r"^([a-z][^\n]*):\n  \S", text, re.MULTILINE)
    assert len(titles) == len(set(titles)) > 1 and (len(titles) > 3 or text.count("\n  -") < 12), "options are grouped"
    assert "==SUPPRESS==" not in text and "None" not in text


@pytest.mark.parametrize(
    ("words", "option", "default"),
    [
        (("run",), "--way", "5"),
        (("run",), "--eps", "8/255"),
        (("run",), "--episodes", "smoke 450, laptop 1500, paper 80000"),
        (("run",), "--adversarial", "that of the method"),
        (("evaluate",), "--size", "that of the net"),
        (("reconstruct",), "--learning-rate", "0.002"),
        (("levels",), "--encoder", "conv64f"),
        (("retrieve", "train"), "--eta", "28 px 32, 224 px 8"),
    ],
)
def test_the_help_shows_where_a_default_comes_from(words, option, default, capsys):
    with pytest.raises(SystemExit):
        main.main([*words, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"{option} (?:(?! -).)*\(default: {re.escape(default)}\)", text), text


def test_the_help_names_every_verb_and_where_to_start(capsys):
    with pytest.raises(SystemExit):
        main.main(["--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^    {verb}\s", text, re.MULTILINE) for verb in VERBS) and "Start with: anrot run" in text


def test_help_answers_without_loading_torch():
    code = "import sys, anrot_lib.cli.main as c; c.build_parser(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    words = [*VERBS, *ACTIONS]  # so that all of them get their options
    assert subprocess.run([sys.executable, "-c", code, *words]).returncode == 0


# From words to settings


def parsed(*words):
    return main.build_parser(words).parse_args(words)


def test_options_reach_the_recipe():
    words = "--clean 2 --adversarial 3 --noisy 0 --train-eps 4/255 --attack-steps 7 --sigma-low 0.1 --sigma-high 0.3"
    more = (
        "--hesim 0 --learning-rate 0.01 --schedule constant --augment flip blur --two-views --mix mixup --no-attention"
    )
    stages = (
        "--pretrain --pretrain-rate 0.3 --episodic 0.5 --heads cosine --optimizer sgd --weight-decay 5e-4 "
        "--averaging 0.9 --label-smoothing 0.1 --attack n-fgsm --attack-eval"
    )
    arguments = parsed("train", *words.split(), *more.split(), *stages.split(), "--seed", "5")
    expected = Recipe(
        clean=2.0,
        adversarial=3.0,
        noisy=0.0,
        eps=4 / 255,
        attack_steps=7,
        sigma_low=0.1,
        sigma_high=0.3,
        hesim=0.0,
        learning_rate=0.01,
        schedule="constant",
        augment=("flip", "blur"),
        two_views=True,
        mix="mixup",
        attention=False,
        pretrain=True,
        pretrain_rate=0.3,
        episodic=0.5,
        heads=("cosine",),
        optimizer="sgd",
        weight_decay=5e-4,
        averaging=0.9,
        label_smoothing=0.1,
        attack="n-fgsm",
        attack_eval=True,
        seed=5,
    )
    assert read_recipe(arguments, Recipe()) == expected


def test_what_is_not_said_stays_as_it_is():
    mixture = Recipe(adversarial=1.0, noisy=1.0, attention=True)
    assert read_recipe(parsed("run", "--data", "mine"), mixture) == mixture
    assert read_protocol(parsed("run", "--data", "mine")) == Protocol()


def test_the_image_set_gives_radii_and_size_where_the_command_line_does_not():
    letters = get_radii("omniglot-300")
    for words in (("run",), ("train",), ("levels",), ("run", "--data", "omniglot-300")):
        arguments = parsed(*words)
        assert read_protocol(arguments) == letters.make_protocol()
        assert read_budget(arguments) == change(SMOKE, size=28), "the default set, at its size"
        assert read_recipe(arguments, Recipe()) == Recipe(eps=0.20, sigma_high=0.3)
    words = "--train-eps 8/255 --sigma-high 0.1 --eps 8/255 --sigma 0.1 --size 16"
    arguments = parsed("run", *words.split())
    assert read_recipe(arguments, Recipe()) == Recipe()
    assert read_protocol(arguments) == replace(letters.make_protocol(), eps=8 / 255, step=2 / 255, sigma=0.1)
    assert read_budget(arguments).size == 16
    assert read_protocol(parsed("run", "--data", "synthetic")).eps == 2 / 255
    assert read_budget(parsed("run", "--data", "synthetic")) == SMOKE
    assert read_budget(parsed("evaluate", "net.pt"), size=32).size == 28, "not that of a net of other images"


def test_options_reach_budget_and_protocol(monkeypatch):
    words = "--data mine --size 16 --encoder conv4 --episodes 20 --tasks 8 --precision bf16 --eps 4/255"
    arguments = parsed("run", *words.split())
    budget = read_budget(arguments)
    expected = {"size": 16, "encoder": "conv4", "episodes": 20, "attacked_tasks": 8, "curve_tasks": SMOKE.curve_tasks}
    assert budget == change(SMOKE, **expected, precision="bf16", validate_every=20)
    assert read_budget(parsed("run", "--tasks", "100")).curve_tasks == SMOKE.curve_tasks
    assert read_protocol(arguments) == replace(Protocol(), eps=4 / 255, step=1 / 255)
    monkeypatch.setenv("ANROT_PRESET", "laptop")
    assert read_budget(parsed("run", "--data", "mine")) == LAPTOP
    assert read_budget(parsed("run", "--data", "mine", "--preset", "smoke")) == SMOKE


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), ("0.05", 0.05), ("1/4", 0.25), ("0", 0.0)])
def test_eps_is_a_number_or_a_fraction(text, value):
    assert read_protocol(parsed("run", "--eps", text)).eps == value


@pytest.mark.parametrize("text", ["8/0", "eight", "8//255", ""])
def test_what_is_neither_is_refused(text, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed("run", "--eps", text)
    assert stop.value.code == 2 and "neither a number nor a fraction such as 8/255" in capsys.readouterr().err


# What is refused


@pytest.mark.parametrize("verb", ["run", "train", "levels", "reconstruct"])
def test_a_set_without_validation_classes(verb, anrot, small_set):
    splits = {name: classes for name, classes in small_set.splits.items() if name != "val"}
    image_sets.save(replace(small_set, name="halves", splits=splits), paths.packed_dir() / "halves")
    refused(anrot(verb, "--data", "halves", "--size", "16"), "'halves' has no val classes; prepare it with --split")


MISTAKES = {
    "preset": (("run", "--preset", "huge"), r"unknown preset 'huge'; choose one of smoke, laptop, paper"),
    "row": (("run", *TINY, "--rows", "anrto"), r"unknown method 'anrto'; choose one of prototypes, .*easyfsl:NAME"),
    "method": (("train", *SHORT, "--method", "anrto"), r"unknown method 'anrto'; choose one of prototypes"),
    "easyfsl": (("train", *SHORT, "--method", "easyfsl:No"), r"easyfsl has no method 'No'; choose one of .*SimpleShot"),
    "encoder": (("train", *SMALL, "--encoder", "vgg"), r"unknown encoder 'vgg'; choose one of resnet12_anrot"),
    "data": (("run", "--data", "nowhere"), r"--data nowhere: no such folder, and no prepared set .*\['small'\]"),
    "size": (("run", "--data", "small"), r"'small' holds images of 16 px, the run wants 32; add --size 16"),
    "size of a checkpoint": (("evaluate", "net.pt", "--data", "small", "--size", "32"), r"16 px, the run wants 32"),
    "no checkpoint": (("evaluate", "no.pt", *QUICK), r"there is no checkpoint .*no\.pt; train one first"),
    "cut checkpoint": (("evaluate", "cut.pt", *QUICK), r"cut\.pt is not a readable checkpoint .*cut short"),
    "text as checkpoint": (("evaluate", "text.pt", *QUICK), r"text\.pt is not a readable checkpoint"),
    "foreign checkpoint": (("evaluate", "foreign.pt", *QUICK), r"foreign\.pt is not a checkpoint of this kit"),
    "predict": (("predict", "no.pt", "--support", ".", "--query", "."), r"there is no checkpoint .*no\.pt"),
    "share": (("train", *SHORT, "--clean", "-1"), r"shares must be at least 0 and not all 0, got .*-1"),
    "out in a file": (
        ("train", *SHORT, "--out", "net.pt/mine.pt"),
        r"net\.pt/mine\.pt cannot be written: \S*net\.pt is no folder",
    ),
    "no share": (("train", *SHORT, "--method", "cosine", "--clean", "0"), r"shares must be at least 0 and not all 0"),
    "endless share": (("train", *SHORT, "--clean", "inf"), r"shares must be at least 0"),
    "eps": (("run", *TINY, "--eps", "8"), r"eps is in units of the pixel range \[0, 1\], got 8; write k/255"),
    "eps of evaluate": (("evaluate", "net.pt", *QUICK, "--eps", "8"), r"got 8; write k/255"),
    "train eps": (("train", *SHORT, "--train-eps", "8"), r"got 8; write k/255"),
    "sigma": (("evaluate", "net.pt", *QUICK, "--sigma", "-0.1"), r"sigma must be at least 0, got -0.1"),
    "train sigma": (
        ("train", *SHORT, "--sigma-low", "0.3", "--sigma-high", "0.1"),
        r"0 <= low <= high, got 0.3 and 0.1",
    ),
    "attack steps": (("train", *SHORT, "--attack-steps", "0"), r"attack steps must be at least 1, got 0"),
    "learning rate": (("train", *SHORT, "--learning-rate", "nan"), r"learning rate must be at least 1e-12, got nan"),
    "augmentation": (("train", *SHORT, "--augment", "flop"), r"unknown augmentation 'flop'; choose from flip"),
    "one way": (("train", *SHORT, "--way", "1"), r"way must be at least 2, got 1"),
    "too many ways": (
        ("train", *SHORT, "--way", "17"),
        r"17-way episodes need at least 17 classes of the split 'train', found \d+ \('\d+-",
    ),
    "training images": (
        ("train", *SHORT, "--shot", "15"),
        r"class '\d+-.+' of the split 'train' has 24 images, but 15 shots and 10 queries need 25",
    ),
    "test images": (("run", *TINY, "--shot", "12"), r"24 images, but 12 shots and 15 queries need 27"),
    "episodes": (("train", *SHORT, "--episodes", "0"), r"episodes must be at least 1, got 0"),
    "tasks": (("run", *TINY, "--tasks", "1"), r"attacked tasks must be at least 2, got 1"),
    "columns": (
        ("run", *TINY, "--columns", "PDG-20"),
        r"unknown column 'PDG-20'; choose from FGSM, PGD-20, clean, curve",
    ),
    "half width": (("evaluate", "net.pt", *QUICK, "--half-width", "0"), r"half-width is at least 0\.01 points, got 0"),
    "device": (("train", *SHORT, "--device", "tpux"), r"unknown device 'tpux'; use auto, cpu or cuda"),
    "out": (("train", *SHORT, "--out", "folder"), r"--out .*folder is a folder; name a file, such as .*net\.pt"),
    "out, a photo": (("train", *SHORT, "--out", "photo.jpg"), r"--out photo\.jpg is a file that is not a net"),
    "repeats": (("bench", "--repeats", "0"), r"repeats must be at least 1, got 0"),
    "few-shot episodes": (("retrieve", "attack", "--few-shot", "0"), r"few shot must be at least 2, got 0"),
    "tag of a ranking model": (("retrieve", "attack", "--tag", "../../x"), r"--tag is one word of letters"),
    "ranking out, a photo": (
        ("retrieve", "train", "-C", "fashion:rc2f2:ptripletN", "--out", "photo.jpg"),
        r"--out photo\.jpg is a file that is not a net, and is not overwritten; name another",
    ),
    "half width, before training": (("run", *TINY, "--half-width", "0"), r"half-width is at least 0\.01 points, got 0"),
    "tag": (
        ("train", *SHORT, "--tag", "../up"),
        r"--tag is one word of letters, digits, dots and dashes, got '\.\./up'",
    ),
    "perturb dry": (
        ("prepare", "small", "--perturb", "noise", "--sigma", "0.1", "--dry-run"),
        r"--dry-run does not go",
    ),
    "prepare nothing": (("prepare",), r"give the folder of images to prepare"),
    "prepare nowhere": (("prepare", "nowhere"), r"nowhere"),
    "perturb nothing": (("prepare", "--perturb", "noise"), r"name the prepared set to perturb"),
    "perturb an unknown set": (("prepare", "huge", "--perturb", "noise", "--sigma", "0.1"), r"huge"),
    "noise without sigma": (("prepare", "small", "--perturb", "noise"), r"--perturb noise needs --sigma"),
    "fgsm without eps": (("prepare", "small", "--perturb", "fgsm"), r"--perturb fgsm needs --eps"),
    "fgsm without net": (("prepare", "small", "--perturb", "fgsm", "--eps", "8/255"), r"give it by --checkpoint"),
    "fgsm of eps 8": (("prepare", "small", "--perturb", "fgsm", "--eps", "8"), r"got 8; write k/255"),
}


@pytest.mark.parametrize(
    ("what", "dry"),
    [(what, ()) for what in MISTAKES]
    + [(w, ("--dry-run",)) for w, (words, _) in MISTAKES.items() if words[0] in ("run", "train", "evaluate")],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(what, dry, anrot, home, monkeypatch):
    words, said = MISTAKES[what]
    monkeypatch.chdir(home)
    (home / "cut.pt").write_bytes((home / "net.pt").read_bytes()[:-5000])
    (home / "text.pt").write_text("These are my holidays.\n")
    torch.save({"weights": torch.ones(2)}, home / "foreign.pt")
    (home / "folder").mkdir()
    photo((90, 60, 30), 0).save(home / "photo.jpg")
    before = files(home)
    refused(anrot(*words, *dry), said)
    assert files(home) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(anrot):
    refused(anrot("train", *SHORT, "--device", "cuda"), "no CUDA device is available here; use --device cpu")


def test_an_interruption_says_how_to_go_on(anrot, monkeypatch):
    from anrot_lib.cli.commands import fewshot

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fewshot, "run", interrupted)
    done = anrot("run")
    assert done.code == 130 and "the same command continues" in done.err and "Traceback" not in done.err


def write_split_folders(folder, classes):
    """folder/SPLIT/CLASS/*.png, 3 pictures a class."""
    for part, names in classes.items():
        for at, name in enumerate(names):
            (folder / part / name).mkdir(parents=True)
            for k in range(3):
                pixels = np.random.default_rng([len(part), at, k]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{k}.png")
    return folder


def test_an_overlapping_split_of_folders_is_refused(anrot, home):
    classes = {"train": ["ant", "bee", "cat"], "val": ["dog", "elk"], "test": ["fox", "bee"]}
    folder = write_split_folders(home / "zoo", classes)
    before = files(home)
    refused(anrot("run", *TINY[2:], "--data", folder, "--split", "folders"), r"train and test share 1 class \(bee\)")
    refused(anrot("prepare", folder, "--size", "16"), r"\bbee\b")
    assert files(home) == before


def test_an_overlapping_split_of_a_prepared_set_is_refused(anrot, home, small_set):
    path = home / "home" / "packed" / "small" / "set.json"
    description = json.loads(path.read_text("utf-8"))
    stolen = description["splits"]["test"][0]
    description["splits"]["train"].append(stolen)
    path.write_text(json.dumps(description), "utf-8")
    refused(anrot("run", *TINY), re.escape(small_set.class_names[stolen]))


# Dry runs


@pytest.mark.parametrize(
    "words",
    [
        ("run", *TINY),
        ("run", "--preset", "smoke", *TINY, "--rows", "anrot", "prototypes"),
        ("train", *SHORT, "--method", "cosine"),
        ("train", *SHORT, "--method", "cosine", "--out", "mine.pt"),
        ("evaluate", "net.pt", *QUICK),
    ],
    ids=lambda words: words[0],
)
def test_a_dry_run_says_what_it_would_do_and_writes_nothing(words, anrot, home, monkeypatch):
    monkeypatch.chdir(home)
    before = files(home)
    done = anrot(*words, "--dry-run")
    assert done.code == 0 and files(home) == before
    if words[0] == "evaluate":
        said = r"would test on 200 episodes for about [\d.]+ min, [\d.]+ GiB of memory, and write \S*anrot-c"
        assert re.search(said, done.out)
    else:
        assert re.search(r"together about [\d.]+ min, [\d.]+ GiB of memory", done.out)
    if "--out" in words:
        assert "the net would go to mine.pt" in done.out
    for row in {"anrot", "prototypes", "cosine"} & set(words):
        found = re.search(rf"^{row} +training about [\d.]+ min(, testing about)?", done.out, re.MULTILINE)
        assert bool(found[1]) == (words[0] == "run"), "training alone tests nothing"


def minutes(text, of):
    return float(re.search(rf"^{of}.* ([\d.]+) min", text, re.MULTILINE)[1])


def test_a_dry_run_counts_the_columns_that_are_asked_for(anrot):
    words = ("run", *TINY, "--rows", "anrot", "--tasks", "4000", "--dry-run")
    everything, clean = anrot(*words).out, anrot(*words, "--columns", "clean").out
    assert "surrogate of the transfer attack" in everything and "surrogate" not in clean
    assert minutes(everything, "anrot") > 3 * minutes(clean, "anrot")


def test_a_dry_run_counts_the_pre_training(anrot):
    done = anrot("run", *TINY, "--rows", "prototypes", "--pretrain", "--dry-run")
    assert re.search(r"^pre-training about [\d.]+ min$", done.out, re.MULTILINE)


def test_a_dry_run_of_prepare_looks_at_a_folder_and_of_run_prepares_none(anrot, home, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 20, 3), np.uint8)
    for k, image in enumerate(pixels):
        path = tmp_path / "shop" / f"class {k % 6}" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    before = files(home)
    done = anrot("prepare", tmp_path / "shop", "--size", "16", "--dry-run")
    assert done.code == 0 and files(home) == before
    assert re.search(
        r"24 images of 16 px: about 0\.\d+ min, of which 0\.\d+ min to look for copies; 0\.00 GiB on disk", done.out
    )
    done = anrot("run", "--data", tmp_path / "shop", "--size", "16", "--dry-run")
    assert done.code == 2 and files(home) == before
    assert re.search(
        r"is not prepared yet, and --dry-run writes nothing; first: anrot prepare \S*shop --size", done.err
    )
    done = anrot("prepare", "--download", "omniglot", "--dry-run")
    assert done.code == 2 and "downloads nothing" in done.err


# A full disk


SMALL_FILES = """
import resource, signal, sys
from anrot_lib.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_checkpoint_that_finds_the_disk_full_is_one_sentence(home):
    """The operating system itself refuses the write of the first checkpoint."""
    command = [sys.executable, "-c", SMALL_FILES, "train", *SHORT, "--method", "prototypes", "--tag", "full"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("anrot: the disk is full; what was there before stands")
    assert "Traceback" not in done.stderr and not [path for path in files(home) if ".tmp" in str(path)]


def test_a_path_that_cannot_be_written_is_one_sentence(anrot, home, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("no folder")
    done = anrot("train", *SHORT, "--method", "prototypes", "--out", tmp_path / "a file" / "net.pt")
    assert done.code == 2 and re.search(r"anrot: --out .*a file.* cannot be written", done.err.strip().splitlines()[-1])
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "a file"))
    done = anrot("train", "--episodes", "3", "--method", "prototypes")
    assert done.code == 2 and "Not a directory" in done.err


def test_other_errors_are_not_hidden(home, monkeypatch):
    from anrot_lib.cli.commands import fewshot

    def broken(arguments):
        raise RuntimeError("a fault of the kit")

    monkeypatch.setattr(fewshot, "run", broken)
    with pytest.raises(RuntimeError, match="a fault of the kit"):
        main.main(["run"])


# Whole commands


def test_train_evaluate_and_a_half_width(anrot, home, small_set):
    done = anrot("train", *SHORT, "--method", "cosine", "--noisy", "1", "--seed", "3", "--out", home / "my" / "net.pt")
    assert done.code == 0 and re.search(r"clean [\d.]+ %, noisy [\d.]+ % on the validation classes", done.out)
    assert re.search(r"net of step 3 written to \S*net\.pt after \d+ s of training", done.out)
    _, method, about = nets.load_net(home / "my" / "net.pt")
    assert method == "cosine" and about["recipe"] == to_dict(Recipe(method="cosine", hesim=0.0, noisy=1.0, seed=3))
    (at_selection,) = (p for p in about["training"]["history"] if p["step"] == about["training"]["best_step"])
    assert f"clean {100 * at_selection['clean']:.1f} %, noisy {100 * at_selection['noisy']:.1f} %" in done.out

    options = ("--data", "small", "--columns", "clean", "--tasks", "2")  # the size is the checkpoint's
    numbers = {}
    for half_width in ((), ("--half-width", "3"), ("--half-width", "0.4")):
        done = anrot("evaluate", home / "my" / "net.pt", *options, *half_width)
        assert done.code == 0, done.err
        (path,) = (home / "home" / "runs").rglob("*.json")
        record = results.read(path)
        assert list(record["columns"]) == ["clean"] and record["budget"]["encoder"] == "tiny"
        numbers[half_width] = record["columns"]["clean"]
    assert [len(c["correct"]) for c in numbers.values()][:2] == [200, 200]
    assert len(numbers["--half-width", "0.4"]["correct"]) > 250
    assert numbers["--half-width", "0.4"]["half_width"] < 0.45 < numbers["--half-width", "3"]["half_width"] < 3
    assert record["recipe"]["method"] == "cosine" and record["row"].startswith("cosine-")


def test_the_printed_accuracy_is_of_the_net_that_is_written(anrot, home, monkeypatch):
    """The net is that of the best step, which need not be the last, nor the first."""
    history = [{"step": step, "clean": clean} for step, clean in ((1, 0.25), (2, 0.75), (3, 0.5))]
    about = {"history": history, "alarms": [], "best_step": 2, "seconds": 1.0}
    monkeypatch.setattr(rows, "train_row", lambda *_: (None, about, home / "net.pt"))
    done = anrot("train", *SHORT, "--method", "cosine")
    assert done.code == 0 and "clean 75.0 % on the validation classes" in done.out and "net of step 2" in done.out


@pytest.mark.parametrize("words", [("\x1b[31mrun",), ("train", "--\x1b[31mred"), ("train", "--seed", "\x1b[31m")])
def test_what_was_typed_does_not_command_the_terminal(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main.main(words)
    printed = capsys.readouterr().err
    assert stopped.value.code == 2 and "\\x1b[31m" in printed and "\x1b" not in printed


def test_the_name_of_a_strangers_row_does_not_command_the_terminal(anrot, home):
    content = torch.load(home / "net.pt", weights_only=True)
    content.pop("format")
    content["about"]["row"] = "\x1b[31mrow\nanrot: done"
    checkpoints.save(home / "other.pt", content)
    done = anrot("evaluate", home / "other.pt", *QUICK, "--data", "small", "--columns", "clean")
    assert done.code == 0 and "\\x1b[31mrow\\nanrot: done" in done.out and "\x1b" not in done.out + done.err


def test_a_net_at_chance_on_the_test_classes_is_said_to_be(anrot, home):
    fog = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), np.uint8)  # there is nothing to tell apart
    parts = {"train": range(5), "val": range(5, 10), "test": range(10, 15)}
    image_set = build_image_set("fog", fog, np.arange(300) % 15, [f"fog{k}" for k in range(15)], parts)
    image_sets.save(image_set, paths.packed_dir() / "fog")
    for data in ("small", "fog"):
        done = anrot("evaluate", home / "net.pt", *QUICK, "--data", data, "--columns", "clean")
        assert done.code == 0, done.err
        assert ("not above chance" in done.out) == (data == "fog")
    assert "episodes of test classes, where guessing has 20.0 %" in done.out


def test_a_run_writes_records_and_a_figure_and_is_not_repeated(anrot, home, monkeypatch):
    words = ("run", *TINY, "--shot", "1", "--rows", "prototypes", "easyfsl:SimpleShot", "--hesim", "0", "--tag", "one")
    done = anrot(*words)
    assert done.code == 0, done.err
    folder = home / "home" / "runs" / "small-16px-5way-1shot-smoke-one"
    assert sorted(p.name for p in folder.iterdir()) == [
        "easyfsl-SimpleShot.json",
        "prototypes.json",
        "robustness.png",
    ]
    for title in ("prototypes (Euclid)", "easyfsl:SimpleShot"):
        (line,) = [line for line in done.out.splitlines() if line.startswith(title)]
        assert len(re.findall(r"± |[<>] \d", line)) == 5
    assert (folder / "robustness.png").read_bytes().startswith(b"\x89PNG")
    records = results.read_all(folder)
    assert {r["row"] for r in records} == {"prototypes", "easyfsl:SimpleShot"}
    assert len({r["manifest"]["hash"] for r in records}) == 1, "paired on the same episodes"
    before = files(folder)
    for module, name in ((training, "compute_episode_loss"), (evaluation, "describe"), (evaluation, "count_attacked")):
        monkeypatch.setattr(module, name, None)
    again = anrot(*words)
    assert again.code == 0 and files(folder) == before
    assert [line for line in again.out.splitlines() if "±" in line] == [
        line for line in done.out.splitlines() if "±" in line
    ]


def test_records_go_to_the_runs_and_to_the_results_only_as_a_reference(anrot, home):
    words = ("run", *TINY, "--rows", "prototypes", "--columns", "clean")
    assert anrot(*words).code == 0 and not (home / "home" / "results").exists()
    done = anrot(*words, "--reference")
    name = "small-16px-5way-5shot-smoke"
    first, second = (results.read(home / "home" / place / name / "prototypes.json") for place in ("runs", "results"))
    assert done.code == 0 and first["columns"]["clean"]["correct"] == second["columns"]["clean"]["correct"]


@pytest.mark.parametrize("method", [pytest.param("mml", marks=pytest.mark.slow), "dn4", "adm"])
def test_a_multi_level_net_is_trained_and_evaluated(method, anrot, home):
    out = home / "my" / "levels.pt"
    done = anrot("train", *SHORT, "--method", method, "--hesim", "0", "--out", out)
    assert done.code == 0, done.err
    assert ("share of the logits: pixel" in done.out) == (method != "dn4"), "of several levels"
    done = anrot("evaluate", out, "--data", "small", "--columns", "clean", "PGD-20", "--tasks", "2")
    assert done.code == 0, done.err
    (record,) = results.read_all(home / "home" / "runs" / "small-16px-5way-5shot-smoke")
    assert record["recipe"]["method"] == method
    assert {"clean", "PGD-20 8/255 query", "PGD-20 8/255 support", "PGD-20 8/255 both"} <= set(record["columns"])


@pytest.mark.slow
def test_a_run_with_reconstruction_does_both(anrot, home):
    words = ("--rows", "prototypes", "--columns", "clean", "--preset", "smoke", "--tag", "both", "--reconstruct")
    done = anrot("run", "--data", "synthetic", *TINY[2:], *words)
    assert done.code == 0, done.err
    folders = {
        path.name: results.read_all(path, kind)
        for kind in ("accuracy", "reconstruction")
        for path in (home / "home" / "runs").iterdir()
        if results.read_all(path, kind)
    }
    assert set(folders) == {"synthetic-16px-5way-5shot-smoke-both", "synthetic-16px-reconstruction-smoke-both"}
    assert {r["vae"]["divergence"] for r in folders["synthetic-16px-reconstruction-smoke-both"]} == {
        *("kl", "wasserstein2", "hellinger2")
    }


def test_another_recipe_under_the_same_name_is_refused(anrot):
    words = ("train", *SHORT, "--method", "prototypes")
    run = ("run", *TINY, "--rows", "prototypes", "--columns", "clean")
    assert anrot(*run).code == 0
    refused(anrot(*run, "--learning-rate", "0.01"), r"another training \(different learning_rate\); give another --tag")
    assert anrot(*run, "--learning-rate", "0.01", "--tag", "b").code == 0
    assert anrot(*words).code == anrot(*words, "--learning-rate", "0.01").code == 0, "train names its checkpoints"


@pytest.mark.slow
def test_the_whole_table_from_the_embedded_set(anrot, home):
    done = anrot("run", "--data", "synthetic", *TINY[2:], "--shot", "1")
    assert done.code == 0, done.err
    folder = home / "home" / "runs" / "synthetic-16px-5way-1shot-smoke"
    records = {r["row"]: r for r in results.read_all(folder)}
    assert set(records) == {"prototypes", "published", "hela-vfa", "anrot-clean", "anrot"}
    assert records["anrot"]["training"]["cost_limit"] > 2 > records["anrot-clean"]["training"]["cost_limit"] == 1
    assert [r for r in records if records[r]["transductive"]] == ["published"]
    assert (folder / "robustness.png").is_file() and "100 classes" not in done.err


@pytest.mark.slow
def test_bench_times_the_variants_side_by_side(anrot, home):
    done = anrot("bench", "--size", "16", "--repeats", "1")
    assert done.code == 0 and done.out.count("times as fast") == 1
    record = results.read(home / "home" / "runs" / "bench" / "step-16px.json")
    assert set(record["seconds"]) >= {"published way, fp32", "clean step, fp32", "robust step, fp32"}
    assert all(0 < s["low"] <= s["median"] <= s["high"] for s in record["seconds"].values())


@pytest.mark.slow
def test_bench_times_an_autoencoder_and_the_distance_beside_their_limits(anrot, home, monkeypatch):
    few = functools.partial(benchmark.time_frechet_distance, images=400, timed=100)
    monkeypatch.setattr(benchmark, "time_frechet_distance", few)
    done = anrot("bench", "reconstruction", "--size", "16", "--repeats", "1")
    assert done.code == 0 and "in memory, fp32" in done.out and "encoder alone" in done.out
    record = results.read(home / "home" / "runs" / "bench" / "reconstruction.json")
    assert {"training step, fp32", "usual bias, fp32"} <= set(record["seconds"])
    record = results.read(home / "home" / "runs" / "bench" / "distance-16px.json")
    assert set(record["seconds"]) == {"encoder alone", "features", "distance, 256 features", "distance, 2048 features"}
    assert record["settings"]["images counted"] == 400


def test_bench_times_levels_beside_the_dense_way(anrot, home, monkeypatch):
    monkeypatch.setattr(levels, "SIZES", {"small 8x5x5": (8, 5)})
    monkeypatch.setattr(levels, "measure_peak_memory", lambda *what: 1.0)  # which starts processes; tested by itself
    done = anrot("bench", "levels", "--repeats", "1")
    assert done.code == 0 and "part, dense" in done.out
    record = results.read(home / "home" / "runs" / "bench" / "levels-small.json")
    assert {"pixel, by blocks", "pixel, dense", "pixel+part+kl-reverse, by blocks"} <= set(record["seconds"])


@pytest.mark.slow
def test_bench_times_ranking_beside_the_passes_it_cannot_do_without(anrot, home, monkeypatch):
    for name, few in (
        ("time_training_steps", {"images": 400, "eta": 2}),
        ("time_attacks", {"images": 200, "queries": 4}),
    ):
        monkeypatch.setattr(ranking, name, functools.partial(getattr(ranking, name), **few))
    done = anrot("bench", "ranking", "--repeats", "1")
    assert done.code == 0 and "nine attacks" in done.out
    steps = results.read(home / "home" / "runs" / "bench" / "ranking-steps.json")
    assert set(steps["seconds"]) == {"2 + 1 passes", *ranking.STEPS}
    attacks = results.read(home / "home" / "runs" / "bench" / "ranking-attacks.json")
    assert set(attacks["seconds"]) == {f"{9 * 32} passes", "nine attacks"}


COLOURS = {"brick": (200, 60, 40), "grass": (60, 180, 70), "sea": (40, 80, 200)}


def test_predict_names_photos(anrot, home):
    for at, (name, colour) in enumerate(COLOURS.items()):
        (home / "support" / name).mkdir(parents=True)
        for k in range(at + 1):  # 1, 2 and 3 shots
            photo(colour, 10 * at + k).save(home / "support" / name / f"{k}.png")
        (home / "query").mkdir(exist_ok=True)
        photo(colour, 100 + at).save(home / "query" / f"{name}.png")
    words = ("predict", home / "net.pt", "--support", home / "support", "--query", home / "query")
    done = anrot(*words, "--json")
    found = json.loads(done.out)
    assert done.code == 0 and [p["file"] for p in found] == [f"{name}.png" for name in COLOURS]
    for p in found:
        assert sum(p["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert next(iter(p["probabilities"])) == p["file"].removesuffix(".png")
    text = anrot(*words).out.splitlines()
    shares = [f"{name} {100 * share:.1f} %" for name, share in found[0]["probabilities"].items()]
    assert len(text) == 3 and text[0] == f"brick.png: {', '.join(shares)}"
    (home / "support" / "empty").mkdir()
    refused(anrot(*words), "'empty'.*holds no photos")


def test_prepare_then_train_on_it(anrot, home, small_set):
    folder = home / "my photos"
    for c in range(20):
        (folder / f"class {c}").mkdir(parents=True)
        for k, row in enumerate(np.flatnonzero(small_set.labels == c)[:20]):
            Image.fromarray(small_set.images[row]).save(folder / f"class {c}" / f"{k}.png")
    done = anrot("prepare", folder, "--size", "16", "--split", "random", "--name", "shop")
    assert done.code == 0 and "400 images of 16 px, 20 classes: train" in done.out
    assert "use it with: --data shop --size 16" in done.out
    packed = image_sets.load(paths.packed_dir() / "shop", verify=True)
    assert len(packed) == 400 and f"sha256 {packed.sha256}" in done.out and f"split  {packed.split_hash}" in done.out
    words = ("train", "--size", "16", "--encoder", "tiny", "--episodes", "2", "--way", "3", "--shot", "1")
    done = anrot(*words, "--data", "shop", "--out", home / "a.pt")
    assert done.code == 0, done.err
    direct = anrot(*words, "--data", folder, "--split", "random", "--out", home / "b.pt")
    assert direct.code == 0, direct.err
    first, second = (checkpoints.load(home / f)["state"] for f in ("a.pt", "b.pt"))
    assert all(torch.equal(first[k], second[k]) for k in first), "the folder itself, prepared on the way"


@pytest.mark.parametrize("kind", ["noise", "fgsm", "transfer"])
def test_a_perturbed_copy_of_a_set(kind, anrot, home, small_set, small_training):
    strength = ("--sigma", "0.1") if kind == "noise" else ("--eps", "8/255", "--checkpoint", home / "net.pt")
    done = anrot("prepare", "small", "--perturb", kind, *strength, "--seed", "4")
    assert done.code == 0 and f"600 images written as 'small-{kind}'" in done.out
    copy = image_sets.load(paths.packed_dir() / f"small-{kind}", verify=True)
    moved = np.abs(copy.images.astype(int) - small_set.images) / 255
    assert copy.sha256 in done.out and copy.splits == small_set.splits and (copy.labels == small_set.labels).all()
    about = copy.provenance
    assert about["source_sha256"] == small_set.sha256 and about["perturbation"]["seed"] == 4
    if kind == "noise":
        assert 0.05 < moved.mean() < 0.1 and about["perturbation"]["parameters"] == {"sigma": 0.1}
        return
    assert 0.01 < moved.mean() <= moved.max() <= 8.5 / 255
    assert about["perturbation"]["parameters"]["threat"]["name"] == "FGSM 8/255 query"
    if kind == "fgsm":
        clean, attacked = right_answers(small_training.net, small_set, [small_set.images, copy.images])
        assert attacked < clean - 0.1 * len(small_set)


@torch.no_grad()
def right_answers(net, image_set, versions):
    """Images of each version that a net names rightly, its class models resting on the clean first five of a class."""
    classes, labels = range(len(image_set.class_names)), torch.from_numpy(image_set.labels)
    rows = np.concatenate([np.flatnonzero(image_set.labels == c)[:5] for c in classes])
    bound = net.bind(image_set.batch(rows), labels[rows])
    versions = [torch.from_numpy(np.array(v)).permute(0, 3, 1, 2) / 255 for v in versions]
    return [int((bound(images).argmax(-1) == labels).sum()) for images in versions]


def test_a_class_in_two_splits_is_found_in_whatever_case(anrot, home, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 20, 20, 3), np.uint8)
    for k, image in enumerate(pixels):
        split, name = (("train", "Dog"), ("train", "cat"), ("val", "dog"), ("val", "cow"), ("test", "hen"))[k % 5]
        path = tmp_path / "farm" / split / name / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    done = anrot("prepare", tmp_path / "farm", "--size", "16", "--split", "folders")
    assert done.code == 2 and re.search(r"train and val share 1 class \(Dog\)", done.err)


def test_seeds_and_shots_make_a_record_each(anrot):
    words = "--episodes 2 --tasks 2 --columns clean --rows prototypes --seeds 0 1 --test-shots 2".split()  # noqa: SIM905
    done = anrot("run", *SMALL, *words)
    assert done.code == 0 and "prototypes (Euclid), seed 1" in done.out
    files = {(path.parent.name.split("-")[3], path.stem) for path in paths.runs_dir().rglob("*.json")}
    assert files == {(f"{shot}shot", row) for shot in (5, 2) for row in ("prototypes", "prototypes-seed1")}
    assert "trained for 2 steps with 5 support images a class" in done.out


def test_the_study_of_recipes_ends_in_a_table_and_a_figure(anrot):
    words = ("--pretrain-steps", "2", "--pretrain-batch", "8", "--tasks", "2", "--variants")
    words += ("robust-classes", "robust-then-anrot")
    done = anrot("recipes", *SMALL, *words)
    assert done.code == 0 and "robust classes, then ANROT episodes" in done.out and "no test" in done.out
    (figure,) = paths.runs_dir().rglob("recipes.png")
    assert figure.stat().st_size > 10_000
    refused(anrot("recipes", *SMALL, "--variants", "nonsense"), "unknown variant 'nonsense'; choose from robust")


def test_time_to_accuracy_trains_every_length_anew_and_goes_on_where_it_stopped(anrot):
    words = ("--pretrain-batch", "8", "--tasks", "2", "--variants", "anrot", "robust-classes", "--lengths")
    done = anrot("lengths", *SMALL, *words, "2", "4")
    assert done.code == 0 and "minutes to reach" in done.out and "no test" in done.out
    files = {path.parent.name.rpartition("-")[2]: path for path in paths.runs_dir().rglob("robust-classes.json")}
    assert set(files) == {"2", "4"} and len(list(paths.runs_dir().rglob("*.json"))) == 4
    steps = {length: results.read(path)["training"]["pretraining_steps"] for length, path in files.items()}
    assert steps == {"2": 2, "4": 4}, "no length goes on from another"
    before = {path: path.read_bytes() for path in paths.runs_dir().rglob("*.json")}
    more = anrot("lengths", *SMALL, *words, "3", "2")
    assert more.code == 0 and all(path.read_bytes() == text for path, text in before.items())
    (figure,) = paths.runs_dir().rglob("lengths.png")
    assert figure.parent.name.endswith("-lengths-4"), "with the longest of all, not of those asked for"
    refused(anrot("lengths", *SMALL, "--lengths", "0"), "episodes")


def test_the_study_of_defences_ends_in_a_table_and_a_figure(anrot, monkeypatch):
    monkeypatch.setattr(corrupted, "STRENGTHS", {"fog": corruptions.STRENGTHS["fog"]})
    words = ("--episodes", "2", "--tasks", "2", "--variants", "anrot-clean", "defence-fgsm-rs")
    done = anrot("defences", *SMALL, *words)
    assert done.code == 0 and "ANROT, FGSM-RS queries" in done.out and "calibration error" in done.out
    (figure,) = paths.runs_dir().rglob("defences.png")
    assert figure.stat().st_size > 10_000
    refused(anrot("defences", *SMALL, "--variants", "nonsense"), "unknown variant 'nonsense'; choose from anrot-clean")


def test_the_ablation_tries_on_validation_classes_and_tests_the_same_nets(anrot, monkeypatch):
    words = ("--pretrain-steps", "2", "--pretrain-batch", "8", "--episodes", "2", "--tasks", "2", "--seeds", "0", "1")
    words += ("--variants", "ablation-whole", "ablation-no-hesim")
    done = anrot("ablation", *SMALL, *words)
    assert done.code == 0 and "without Hesim" in done.out and "classes of the split val" in done.out
    (figure,) = paths.runs_dir().rglob("ablation.png")
    assert figure.stat().st_size > 10_000 and figure.parent.name.endswith("-ablation-val")
    monkeypatch.setattr(training, "compute_episode_loss", None)
    done = anrot("ablation", *SMALL, *words, "--classes", "test")
    assert done.code == 0 and "no test" not in done.out and "over 2 seeds" in done.out
    tried, tested = (
        {r["row"]: r for r in results.read_all(paths.runs_dir() / f"small-16px-5way-5shot-smoke-ablation{word}")}
        for word in ("-val", "")
    )
    assert len(tried) == 4 and tried.keys() == tested.keys()
    assert all(tried[row]["training"] == tested[row]["training"] for row in tried)
    refused(anrot("ablation", *SMALL, "--variants", "nonsense"), "unknown variant 'nonsense'; choose from ablation-w")


def test_a_head_that_does_not_exist_is_refused_before_training(anrot):
    for more in ((), ("--dry-run",)):
        refused(anrot("train", *SMALL, "--heads", "cosinus", *more), "unknown method 'cosinus'")


@pytest.mark.parametrize(("preset", "episodes"), [("smoke", 4), pytest.param("paper", 16, marks=pytest.mark.slow)])
def test_a_run_in_slices_ends_in_the_same_record(anrot, preset, episodes):
    sizes = (
        "--preset",
        preset,
        "--encoder",
        "tiny",
        "--precision",
        "fp32",
        "--episodes",
        str(episodes),
        "--tasks",
        "2",
    )
    words = ("run", *SMALL, *sizes, "--columns", "clean", "FGSM", "--rows", "anrot-clean")
    codes = []
    while not codes or codes[-1] == 3:
        codes.append(anrot(*words, "--tag", "slices", "--minutes", "0").code)
    assert codes[-1] == 0 and len(codes) == 1 + 4 + 2, "after each of 4 steps and of 2 columns"
    assert "the same command continues" in anrot(*words, "--tag", "other", "--minutes", "0").out
    assert anrot(*words, "--tag", "whole").code == 0
    sliced, whole = (
        results.read_all(paths.runs_dir() / f"small-16px-5way-5shot-{preset}-{tag}")[0] for tag in ("slices", "whole")
    )
    assert sliced["training"]["history"] == whole["training"]["history"]
    counts = [{name: column["correct"] for name, column in r["columns"].items()} for r in (sliced, whole)]
    assert counts[0] == counts[1]
    refused(anrot(*words, "--minutes", "nan"), "--minutes must be a number of at least 0")


def test_consequences_of_a_net(anrot, home):
    assert anrot("train", *SHORT, "--out", home / "mine.pt").code == 0
    done = anrot(
        "consequences", home / "mine.pt", "--data", "small", "--tasks", "4", "--noisy-tasks", "2", "--sigma", "0.3"
    )
    assert done.code == 0 and "training augmentation in the test" in done.out and "clipped at 255" in done.out
    (file,) = paths.runs_dir().rglob("small-*-consequences/*.json")
    assert len(results.read(file, "accuracy")["columns"]["clean"]["correct"]) == 4


def test_consequences_without_a_net_are_those_of_the_split(anrot):
    words = ("--way", "2", "--shot", "1", "--tasks", "4", "--episodes", "2", "--split-seeds", "0", "3")
    done = anrot("consequences", *SMALL, "--encoder", "tiny", *words)
    assert done.code == 0 and "difference: ± 95 % interval over nets" in done.out, done.err
    folders = {path.parent.name.partition("smoke-")[2] for path in paths.runs_dir().rglob("split-*.json")}
    assert folders == {"consequences-split", "consequences-split-released"}
    (figure,) = paths.runs_dir().rglob("leaky-split.png")
    assert figure.stat().st_size > 10_000
    refused(anrot("consequences", "mine.pt", "--split-seeds", "0"), "leave out the net")
    refused(anrot("consequences", "mine.pt", "--episodes", "5"), "leave out the net")


def test_a_card_is_made_of_a_net(anrot, home):
    assert anrot("train", *SHORT, "--out", home / "mine.pt").code == 0
    done = anrot("card", home / "mine.pt", "--data", "small", "--steps", "2", "--shot", "1")
    assert done.code == 0 and "no gradient at" in done.out and "the card is" in done.out
    (file,) = paths.runs_dir().rglob("*-card.json")
    assert results.read(file, "card")["tasks"] == SMOKE.curve_tasks and file.with_suffix(".png").is_file()


def test_certificates_are_made_of_a_net(anrot, home):
    words = ("certify", home / "net.pt", *QUICK, "--sigma", "0.05", "--first-draws", "5", "--draws", "20")
    dry = anrot(*words, "--dry-run")
    assert dry.code == 0 and "noise: at most about" in dry.out and "poison: at most about" in dry.out
    assert not list(paths.runs_dir().rglob("*.json"))
    done = anrot(*words)
    assert done.code == 0 and "broken within" in done.out and "certified and broken" in done.out
    files = [file.name for file in sorted(paths.runs_dir().rglob("*.json"))]
    assert files == ["anrot-clean-poisoning-median-gaussian.json", "anrot-clean-smoothing-query-0.05.json"]
    assert len(list(paths.runs_dir().rglob("certificates.png"))) == 1
    other = anrot(*words, "--against", "noise", "--noisy", "both")
    assert other.code == 0 and "support and query" in other.out and "certified and broken" not in other.out
    for more, reason in (
        (("--sigma", "0"), "sigma must be at least"),
        (("--draws", "5"), "take at least 10"),
        (("--head", "anrot"), "only a head that takes a median over shots"),
        (("--head", "medium"), "unknown method 'medium'"),
        (("--draws", "21", "--against", "noise"), "is a record of another smoothing"),
    ):
        refused(anrot(*words, *more), reason)
    refused(anrot(*words, "--head", "anrot", "--dry-run"), "only a head that takes a median over shots")
