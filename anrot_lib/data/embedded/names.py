"""The image sets of the kit by name."""

from anrot_lib.core.errors import UserError
from anrot_lib.data.embedded.characters import load_characters
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.settings import CHARACTERS, EMBEDDED, FIGURES


def open_embedded(name: str = CHARACTERS) -> ImageSet:
    """An image set of the kit, with its split; nothing is downloaded or written.

    "omniglot-300" is a cut of Omniglot (Lake et al. 2015): 300 handwritten characters of 38 alphabets, 20 images of
    28 px each, black on white, no alphabet in two splits. "synthetic" are 100 classes of 60 drawn figures, 32 px, RGB;
    `anrot_lib.data.synthetic.figures.synthetic` draws other numbers and sizes. UserError for another name.
    """
    if name == CHARACTERS:
        return load_characters()
    if name == FIGURES:
        return synthetic()
    raise UserError(f"no image set of the kit is named {name!r}; choose {' or '.join(EMBEDDED)}")
