"""The embedded real images: 300 characters of 38 alphabets, cut from Omniglot.

`omniglot-300.npz` holds three levels of grey, `omniglot-300.json` source, licence, alphabets and hashes.
`cut_characters` makes the set from a prepared Omniglot, `save_characters` the two files from the set.
"""

import io
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import ImageSet, build_image_set
from anrot_lib.settings import CHARACTERS

FOLDER = Path(__file__).parent
SIZE, DRAWERS = 28, 20
# Ink, the edge of a stroke, paper: the three levels of grey that are nearest to the pixels of these characters in the
# mean square, and the limits half-way between them. Black and white alone would not do: strokes of full contrast all
# along are harder to attack than those of the source.
LEVELS, LIMITS = (24, 139, 255), (82, 197)
# Alphabet -> how many of its characters, from the first on; none is in two splits. Training takes whole alphabets of
# Omniglot's background set. Validation takes four characters of twelve others of that set, and tests take three of
# every alphabet of the evaluation set, so that no accuracy hangs on the look of one script.
ALPHABETS = {
    "train": {
        "Armenian": 41,
        "Hebrew": 22,
        "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
        "Japanese_(katakana)": 47,
        "Korean": 40,
        "Latin": 26,
    },
    "val": dict.fromkeys(
        (
            "Alphabet_of_the_Magi",
            "Anglo-Saxon_Futhorc",
            "Balinese",
            "Bengali",
            "Burmese_(Myanmar)",
            "Futurama",
            "Grantha",
            "Gujarati",
            "Mkhedruli_(Georgian)",
            "N_Ko",
            "Tagalog",
            "Tifinagh",
        ),
        4,
    ),
    "test": dict.fromkeys(
        (
            "Angelic",
            "Atemayar_Qelisayer",
            "Atlantean",
            "Aurek-Besh",
            "Avesta",
            "Ge_ez",
            "Glagolitic",
            "Gurmukhi",
            "Kannada",
            "Keble",
            "Malayalam",
            "Manipuri",
            "Mongolian",
            "Old_Church_Slavonic_(Cyrillic)",
            "Oriya",
            "Sylheti",
            "Syriac_(Serto)",
            "Tengwar",
            "Tibetan",
            "ULOG",
        ),
        3,
    ),
}
SOURCE = {
    "source": "https://github.com/brendenlake/omniglot",
    "publication": "Lake, Salakhutdinov & Tenenbaum, Science 350 (2015), 1332-1338",
    "licence": "MIT, see LICENSE-omniglot.txt",
    "characters": "6 whole alphabets of the background set, 4 each of 12 others, 3 each of the evaluation set's 20",
    "cut": "all 20 drawers, 28 x 28 pixels, each at the nearest of the levels of grey 24, 139 and 255",
}


def load_characters() -> ImageSet:
    """The embedded set, checked: uint8 (6000, 28, 28, 1), ink on white, 192 / 48 / 60 train, val and test classes.

    Class names are "alphabet/character01"; the label level "alphabet" is that of each image. Images of a class stand
    in the order of their drawers. UserError if the files are not those that were recorded.
    """
    broken = f"the files of {CHARACTERS} in {FOLDER} are not those that were recorded; install anrot_lib again"
    try:
        about: dict[str, Any] = json.loads((FOLDER / f"{CHARACTERS}.json").read_text("utf-8"))
        with np.load(FOLDER / f"{CHARACTERS}.npz", allow_pickle=False) as stored:
            levels = stored["levels"]
        made = _build(np.array(LEVELS, np.uint8)[levels].reshape(-1, SIZE, SIZE, 1), about["provenance"])
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, lzma.LZMAError) as error:
        raise UserError(broken) from error
    if (made.sha256, made.split_hash) != (about["sha256"], about["split_hash"]):
        raise UserError(broken)
    return made


def cut_characters(omniglot: ImageSet) -> ImageSet:
    """The set as it ships, from the whole Omniglot, prepared at 28 px: `prepare(folder, size=28)`.

    omniglot  has classes "alphabet/character", 20 images each in the order of the drawers, 28 px, one channel.

    Another resizing of the same drawings gives a few other pixels, and so another hash. UserError for a set that lacks
    one of the characters, or has images of another size.
    """
    if omniglot.images.shape[1:] != (SIZE, SIZE, 1):
        raise UserError(f"the cut is made of images of {SIZE} px and one channel; prepare Omniglot with --size {SIZE}")
    rows = []
    for name in list_classes():
        if name not in omniglot.class_names:
            raise UserError(f"the set {omniglot.name!r} has no class {name!r}; prepare the whole Omniglot")
        members = np.flatnonzero(omniglot.labels == omniglot.class_names.index(name))
        if len(members) != DRAWERS:
            raise UserError(f"class {name!r} has {len(members)} images, Omniglot has {DRAWERS} of each character")
        rows.append(members)
    pixels = np.asarray(omniglot.images[np.concatenate(rows)])
    return _build(np.array(LEVELS, np.uint8)[np.digitize(pixels, LIMITS)], SOURCE)


def save_characters(characters: ImageSet, folder: Path) -> None:
    """Write the two files of a cut. Equal sets give equal files: numpy's own .npz would be larger by a quarter."""
    levels = io.BytesIO()
    np.save(levels, np.digitize(characters.images, LIMITS).astype(np.uint8).reshape(len(characters), -1))
    target = paths.write_atomically(folder / f"{CHARACTERS}.npz")
    with target as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(zipfile.ZipInfo("levels.npy"), levels.getvalue(), zipfile.ZIP_LZMA)
    about = {
        "sha256": characters.sha256,
        "split_hash": characters.split_hash,
        "alphabets": ALPHABETS,
        "provenance": characters.provenance,
    }
    paths.write_json(folder / f"{CHARACTERS}.json", about)


def list_classes() -> list[str]:
    """The names of the 300 classes, sorted."""
    counts = {name: n for group in ALPHABETS.values() for name, n in group.items()}
    return sorted(f"{name}/character{k:02d}" for name, n in counts.items() for k in range(1, n + 1))


def _build(images: np.ndarray, provenance: dict[str, Any]) -> ImageSet:
    names = list_classes()
    alphabet_of = [name.split("/")[0] for name in names]
    alphabets = sorted(set(alphabet_of))
    return build_image_set(
        CHARACTERS,
        images,
        np.repeat(np.arange(len(names)), DRAWERS),
        names,
        {part: [c for c, name in enumerate(alphabet_of) if name in group] for part, group in ALPHABETS.items()},
        levels={"alphabet": np.repeat([alphabets.index(name) for name in alphabet_of], DRAWERS)},
        level_names={"alphabet": alphabets},
        files=[f"{name}/{drawer:02d}" for name in names for drawer in range(1, DRAWERS + 1)],
        provenance=provenance,
    )
