"""Every numeric option of every verb with every kind of senseless value; the list comes from the parser itself."""

import argparse

import pytest

from anrot_lib.cli import main
from anrot_lib.cli.options.fields import TYPES

from .conftest import RANKED, call, files

pytestmark = pytest.mark.slow

VALUES = ("nan", "inf", "-1", "0", "1e9", "8/0", "", "many", "1000000000", "0x10", "99999999999999999999", "½")
HUGE = "1000000000"

SMALL = ("--data", "small", "--size", "16", "--device", "cpu")
QUICK = (*SMALL, "--encoder", "tiny", "--episodes", "3")
DIGITS = ("--data", "digits", "--device", "cpu")
RECONSTRUCT = ("reconstruct", "--data", "many", "--size", "16", "--train-images", "64", "--epochs", "1")
BASES = {
    "run": ("run", *QUICK, "--tasks", "2", "--rows", "prototypes"),
    "train": ("train", *QUICK),
    "evaluate": ("evaluate", "net.pt", "--data", "small", "--device", "cpu", "--tasks", "2", "--columns", "clean"),
    "certify": ("certify", "net.pt", "--data", "small", "--device", "cpu", "--tasks", "2"),
    "consequences": ("consequences", "net.pt", "--data", "small", "--device", "cpu"),
    "levels": ("levels", *QUICK, "--tasks", "2", "--shots", "1"),
    "reconstruct": RECONSTRUCT,
    "prepare": ("prepare", "small", "--perturb", "noise", "--sigma", "0.1"),
    "bench": ("bench",),
    "retrieve train": ("retrieve", "train", "-C", RANKED, *DIGITS, "--epochs", "1", "--batch", "20"),
    "retrieve attack": (
        "retrieve",
        "attack",
        "--checkpoint",
        "embedder.pt",
        *DIGITS,
        "--queries",
        "4",
        "--few-shot",
        "2",
        "--shot",
        "1",
    ),
    "retrieve score": ("retrieve", "score"),
}
# What may be accepted, and why.
SEED = ("0", "-1", HUGE, "any whole number is a seed")
LENGTH = (HUGE, "a length of the work: --dry-run says how long it takes")
RATE = ("1e9", HUGE, "99999999999999999999", "a training that explodes stops by itself")
NO_ATTACK, NO_NOISE, NO_TERM = ("0", "no attack"), ("0", "no noise"), ("0", "without this term of the loss")
AT_MOST = (HUGE, "at most so many: all there are")
ACCEPTED = {
    **dict.fromkeys(("--seed", "--seeds"), SEED),
    **dict.fromkeys(("--episodes", "--epochs", "--repeats", "--eta", "--evaluate-every", "--attack-steps"), LENGTH),
    "--steps": LENGTH,
    "--pretrain-epochs": ("0", HUGE, "0: no classifier first; else a length"),
    "retrieve train --epochs": ("0", "0 keeps the net as it begins, whose checkpoint then stands in the way of others"),
    "--minutes": ("0", "1e9", HUGE, "99999999999999999999", "0: as far as one step goes; else a length"),
    "--learning-rate": RATE,
    "reconstruct --learning-rate": ("0", *RATE[:-1], "0 keeps the weights"),
    **dict.fromkeys(("--eps", "--train-eps"), NO_ATTACK),
    "prepare --eps": (),
    **dict.fromkeys(("consequences --episodes", "consequences --split-seeds"), ()),  # beside a net
    "certify --sigma": (),
    **dict.fromkeys(("--sigma", "--sigma-low"), NO_NOISE),
    **dict.fromkeys(
        ("--adversarial", "--noisy", "--hesim", "--trades", "--beta", "--betas", "--structure-weight"), NO_TERM
    ),
    "--weight-decay": ("0", "no decay"),
    **dict.fromkeys(("--averaging", "--label-smoothing"), ("0", "without this part of the recipe")),
    **dict.fromkeys(("--pretrain-steps", "--restarts"), LENGTH),
    "--numbers": ("0", "ten zeros are in their ranges"),
    "train --clean": ("0", "not trained on clean queries, but on the others of the mixture"),
    **dict.fromkeys(("--queries", "--limit-images"), AT_MOST),
}


def list_numeric_options():
    """(verb, option, how many values it takes) of every option that takes numbers."""
    for verb, words in BASES.items():
        parser = main.build_parser(words)
        for word in verb.split():
            (choices,) = (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
            parser = choices[word]
        for action in parser._actions:
            if action.type in TYPES.values():
                yield verb, action.option_strings[-1], action.nargs if isinstance(action.nargs, int) else 1


OPTIONS = list(list_numeric_options())


def test_the_options_are_all_there():
    assert len(OPTIONS) > 80 and {verb for verb, _, _ in OPTIONS} == set(BASES)


@pytest.mark.parametrize(("verb", "option", "count"), OPTIONS, ids=[f"{verb} {option}" for verb, option, _ in OPTIONS])
def test_a_senseless_number_is_one_sentence_before_any_work(verb, option, count, home, no_work):
    accepted = ACCEPTED.get(f"{verb} {option}", ACCEPTED.get(option, ()))[:-1]
    before, faults = files(home), []
    for value in VALUES:
        outcome = call(*BASES[verb], option, *[value] * count)
        if value in accepted:
            if outcome.code not in (0, "work"):
                faults.append((value, "listed as accepted", outcome.text[-200:]))
        elif not outcome.refused or files(home) != before:
            faults.append((value, outcome.code, outcome.text[-300:]))
        before = files(home)
    assert not faults


WORDS = {
    "preset": ("--preset", "huge"),
    "encoder": ("--encoder", "vgg"),
    "device": ("--device", "toaster"),
    "precision": ("--precision", "fp8"),
    "schedule": ("--schedule", "steep"),
    "mix": ("--mix", "blend"),
    "augmentation": ("--augment", "foo"),
    "split": ("--split", "thirds"),
    "bad images": ("--on-bad", "ignore"),
    "copies": ("--on-duplicates", "ignore"),
    "option": ("--no-such-option", "1"),
}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("what", WORDS)
def test_a_wrong_word_is_refused_in_the_run_and_in_the_dry_run(what, dry, home, no_work):
    before = files(home)
    data = ("--data", "support") if what == "split" else ()
    assert call(*BASES["run"], *WORDS[what], *data, *dry).refused and files(home) == before


@pytest.mark.parametrize(
    "words",
    [
        (*BASES["run"], "--augment", "foo"),
        (*RECONSTRUCT, "--epochs", "0"),
        (*RECONSTRUCT, "--minutes", "nan"),
        (*RECONSTRUCT, "--resamples", "0"),
        (*RECONSTRUCT, "--test-images", "1000000"),
        (*RECONSTRUCT, "--divergences", "foo"),
        (*BASES["certify"], "--head", "foo"),
        (*BASES["certify"], "--draws", "9"),
        (*BASES["certify"], "--noisy", "support"),
        (*BASES["certify"], "--against", "all"),
        (*BASES["levels"], "--variants", "foo"),
        (*BASES["levels"], "--shots", "0"),
        (*BASES["evaluate"], "--columns", "foo"),
        (*BASES["evaluate"], "--half-width", "inf"),
        (*BASES["retrieve train"], "--margin", "-1"),
        (*BASES["retrieve attack"], "--profile", "foo"),
    ],
    ids=lambda words: " ".join((words[0], *words[-2:])),
)
def test_a_dry_run_refuses_what_the_run_refuses(words, home, no_work):
    assert call(*words).refused
    assert call(*words, "--dry-run").refused


@pytest.mark.parametrize("k", range(10))
@pytest.mark.parametrize("value", ["nan", "inf", "1000", "-7"])
def test_a_score_is_of_ten_numbers_in_their_ranges(k, value, home):
    numbers = ["30", "60", "25", "70", "0.1", "1.2", "10", "20", "15", "5"]
    assert call("retrieve", "score", "--numbers", *numbers).code == 0
    numbers[k] = value
    assert call("retrieve", "score", "--numbers", *numbers).refused
