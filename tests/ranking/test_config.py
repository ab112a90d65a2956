"""The grammar of names: every token, round trip, and one sentence for what is no name."""

import itertools
import subprocess
import sys

import pytest

from anrot_lib import ranking
from anrot_lib.core.errors import UserError
from anrot_lib.ranking import names
from anrot_lib.ranking.names import Hardness, Loss, parse
from anrot_lib.ranking.recipe import build_recipe

SEED_NAMES = [f"{d}:rres18ghmets{tail}:ptripletN" for d in ("cub", "cars", "sop") for tail in ("m", "mi")]
SUFFIXES = [
    "".join(parts)
    for parts in itertools.product(("", "g"), ("rh", "hm"), ("kl", "l2", "et"), "rmsdh", "rmsdh", ("", "i"))
]


def test_a_full_name():
    name = parse("cub:rres18ghmetsmi:ptripletN")
    assert (name.dataset, name.backbone) == ("cub", "rres18")
    assert name.hardness == Hardness(
        gradual=True, anchor=True, distance="et", source="s", destination="m", structure=True
    )
    assert name.loss == Loss(batch="p", miner="r", kind="triplet", barlow=False, metric="N")
    assert name.title == "HM[S,LGA]+ICS"


def test_neither_gradual_nor_structured():
    hard = parse("cub:rres18hmetrm:ptripletN").hardness
    assert (hard.gradual, hard.structure, hard.anchor) == (False, False, True)
    assert not parse("cub:rres18rhetrm:ptripletN").hardness.anchor


@pytest.mark.parametrize(("suffix", "title"), [("", "N/A[R]"), ("d", "EST[R]"), ("p", "ACT[R]"), ("e", "SES[R]")])
def test_plain_defenses(suffix, title):
    assert parse(f"cub:rres18{suffix}:ptripletN").title == title


def test_all_names_of_the_generator_come_back():
    assert len(SUFFIXES) == 600
    backbones = ("rc2f2", "rres18", "rres50")
    for backbone, suffix in itertools.product(backbones, SUFFIXES):
        dataset = "fashion" if backbone == "rc2f2" else "cub"
        text = f"{dataset}:{backbone}{suffix}:ptripletN"
        assert str(parse(text)) == text


def test_all_backbones_and_losses_come_back():
    losses = ["ptripletBTN", "ctripletE", "ttripletC", "pdmarginN", "pDcontrastN", "pstripletH", "pquadC", "pgliftE"]
    losses += [f"p{m}triplet{x}" for m in "msh" for x in "NEC"] + [
        "pdtripletN",
        "pdtripletC",
        "pdtripletE",
        "pDtripletN",
        "pnpairE",
        "pmsC",
        "psnrN",
    ]
    for backbone, loss in itertools.product(names.BACKBONES, losses):
        text = f"{'mnist' if backbone in names.BACKBONES_28 else 'own_birds'}:{backbone}:{loss}"
        assert str(parse(text)) == text


def test_the_six_commands_of_the_table_parse():
    assert [str(parse(name)) for name in SEED_NAMES] == SEED_NAMES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cub:rres18ghmetsmi", "dataset:model:loss"),
        ("cub:rres18:ptripletN:x", "dataset:model:loss"),
        ("cub::ptripletN", "dataset:model:loss"),
        ("../x:rres18:ptripletN", "dataset:model:loss"),
        ("cub:vgg16:ptripletN", "unknown backbone"),
        ("cub:cres18:ptripletN", "ranking models begin with r"),
        ("cub:rres18hmetsx:ptripletN", "unknown defense"),
        ("cub:rres18ghmets:ptripletN", "unknown defense"),
        ("cub:rres18t:ptripletN", "given up"),
        ("fashion:rc2f2fatamd:ptripletN", "given up"),
        ("cub:rres18:ptripletX", "unknown loss"),
        ("cub:rres18:pDtripletE", "not registered"),
        ("cub:rres18:pdtripletH", "not registered"),
        ("cub:rres18:pdmarginE", "not registered"),
        ("cub:rres18:pmsE", "not registered"),
        ("cub:rres18:cmtripletN", "not registered"),
        ("cub:rres18:ptripletBTC", "not registered"),
        ("cub:rres18hmetrm:ptripletE", "metrics N and H"),
        ("cub:rres18hmetrm:pcontrastN", "triplet loss"),
        ("cub:rres18p:pcontrastN", "triplet loss"),
        ("cub:rres18d:ctripletN", "begin the loss with p"),
        ("mnist:rres18ghmetsm:ptripletN", "28 px images"),
        ("cub:rc2f2:ptripletN", "224 px images"),
    ],
)
def test_what_is_no_name_is_refused_in_one_sentence(text, why):
    with pytest.raises(UserError, match=why) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "warned"), [("hmklrm", True), ("hml2rm", True), ("hmetrm", False), ("d", False)])
def test_alignments_that_never_trained_are_said(suffix, warned):
    assert (names.get_warning(parse(f"cub:rres18{suffix}:ptripletN")) is not None) == warned


def test_published_numbers():
    small, large = build_recipe("fashion:rc2f2ghmetsm:ptripletN"), build_recipe("sop:rres18ghmetsmi:ptripletN")
    assert (small.eps, small.step, small.eta, small.batch, small.epochs) == (77 / 255, 3 / 255, 32, 128, 8)
    assert (large.eps, large.step, large.eta, large.batch, large.epochs) == (8 / 255, 1 / 255, 8, 56, 75)
    assert (large.learning_rate, large.weight_decay, large.freeze_bn, large.structure_weight) == (
        1e-5,
        4e-4,
        True,
        0.05,
    )
    assert (large.size, large.stored) == (224, 256)
    assert build_recipe("cub:rres18ghmetsmi:ptripletN").structure_weight == 0.5
    assert build_recipe("cub:rres18:ctripletN").batch == 112
    assert build_recipe("cub:rres18:ttripletN").epochs == 50
    assert build_recipe("cub:rres18:ptripletE").margin == 1.0


def test_the_title_names_the_destination_that_is_aimed_at():
    name = "cub:rres18ghmetsmi:ptripletN"
    assert build_recipe(name).title == "HM[S,LGA]+ICS"
    assert build_recipe(name, destination="-0.1").title == "HM[S,-0.1]+ICS"
    assert build_recipe(name, destination="lga2").title == "HM[S,LGA2]+ICS"


def test_the_original_codes_numbers():
    assert build_recipe("cub:rres18hmetrm:ptripletN", parity="robrank").eta == 32
    assert build_recipe("fashion:rc2f2m:ptripletN", parity="robrank").eta == 7
    assert not build_recipe("cub:rres18d:ptripletN", parity="robrank").freeze_bn
    assert build_recipe("cub:rres18d:ptripletN").freeze_bn


def test_changes_are_checked():
    assert build_recipe("cub:rres18:ptripletN", size=112).stored == 128
    assert build_recipe("cub:rres18hmetsm:ptripletN", destination="-0.1").destination == "-0.1"
    for changes, why in [
        ({"eps": 2.0}, "k/255"),
        ({"eta": 0}, "eta must be at least 1"),
        ({"parity": "exact"}, "parity"),
        ({"destination": "0"}, "manipulates no hardness"),
        ({"stored": 100}, "stored must be at least 224"),
    ]:
        with pytest.raises(UserError, match=why):
            build_recipe("cub:rres18:ptripletN", **changes)
    with pytest.raises(UserError, match="unknown destination"):
        build_recipe("cub:rres18hmetsm:ptripletN", destination="3")
    with pytest.raises(UserError, match="takes 28 px"):
        build_recipe("fashion:rc2f2:ptripletN", size=32)


def test_recipes_are_read_without_torch():
    code = "import sys, anrot_lib.ranking.recipe, anrot_lib.reconstruction.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_rooms_face_offers_what_it_lists():
    names_of_face = ranking.__all__
    assert all(getattr(ranking, name).__name__ == name for name in names_of_face)
    assert set(names_of_face) <= set(dir(ranking))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        ranking.nothing  # noqa: B018
