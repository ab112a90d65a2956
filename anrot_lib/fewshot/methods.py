"""The registry of methods: what tables, figures, the command line's help and `create_net` know of each.

It loads no torch: a method's head is imported when it is built, so that `anrot --help` stays quick.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as change_fields
from functools import partial
from typing import TYPE_CHECKING

from anrot_lib.core import palette
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot import builders, recipes
from anrot_lib.fewshot.levels.names import MEASURES, PREFIX, title_levels
from anrot_lib.settings import Recipe

if TYPE_CHECKING:
    from anrot_lib.fewshot.heads.contract import Head
    from anrot_lib.fewshot.hesim import MetricLoss

EASYFSL = "easyfsl:"
RECIPES = "recipes"  # the study of what each part of the robust recipe is worth
DEFENCES = "defences"  # the study of ways to train against attacks
ABLATION = "ablation"  # the study of what each part of ANROT is worth
LENGTHS = "lengths"  # the study of which recipe reaches an accuracy first


@dataclass(frozen=True)
class Method:
    """A row of a table: a head and the recipe that trains it.

    name         what `--method`, `--rows` and records call it.
    build        number of channels of the feature maps -> head.
    recipe       how it is trained. `recipe.method` names the head, which several methods may share.
    title        its name in tables and figures.
    colour       its colour in figures, "#RRGGBB"; None takes one that is free.
    publication  where it is published; "" for a variant of this project.
    in_table     whether `anrot run` trains and tests it when no rows are named.
    studies      the studies that it belongs to, such as RECIPES.
    listed       whether help texts name it; a variant that was made for a study is named in that study's help.
    metric_loss  a loss in Hesim's place, of (embeddings (B, D), labels (B,)); None for Hesim itself.
    """

    name: str
    build: "Callable[[int], Head]"
    recipe: Recipe
    title: str
    colour: str | None = None
    publication: str = ""
    in_table: bool = False
    metric_loss: "MetricLoss | None" = None
    studies: tuple[str, ...] = ()
    listed: bool = True


_METHODS: dict[str, Method] = {}


def get_method(name: str) -> Method:
    """The method of a name: a registered one, easyfsl:NAME, or levels:NAME+NAME[@FUSION].

    The last two, which `build` checks, train clean and without Hesim. UserError for an unknown name.
    """
    if name in _METHODS:
        return _METHODS[name]
    clean = Recipe(method=name, hesim=0.0)
    if name.startswith(PREFIX):
        spec = name.removeprefix(PREFIX)
        return Method(name, lambda channels: builders.build_levels(spec, channels), clean, title_levels(spec))
    if name.startswith(EASYFSL):
        return Method(name, lambda channels: builders.build_easyfsl(name.removeprefix(EASYFSL), channels), clean, name)
    raise UserError(
        f"unknown method {name!r}; choose one of {', '.join(_METHODS)}, or {EASYFSL}NAME, or {PREFIX}NAME+NAME"
    )


def is_registered(name: str) -> bool:
    return name in _METHODS


def build_head(name: str, channels: int) -> "Head":
    """The head of a method for feature maps of that many channels. UserError for an unknown name."""
    return get_method(name).build(channels)


def list_methods() -> tuple[Method, ...]:
    """All registered methods, in the order of tables."""
    return tuple(_METHODS.values())


def list_heads() -> tuple[str, ...]:
    """The names of all different heads: methods that train a head of their own name."""
    return tuple(method.name for method in _METHODS.values() if method.recipe.method == method.name)


def list_rows() -> dict[str, Recipe]:
    """Name -> recipe of the main table's rows, from the plainest to the whole."""
    return {method.name: method.recipe for method in _METHODS.values() if method.in_table}


def list_variants(study: str) -> dict[str, Recipe]:
    """Name -> recipe of the methods of a study; the first is what the others are compared with."""
    return {method.name: method.recipe for method in _METHODS.values() if study in method.studies}


def describe_names() -> str:
    """The names of all methods in one line, for the help of a command."""
    names = ", ".join(name for name, method in _METHODS.items() if method.listed)
    return f"{names}, {EASYFSL}NAME, {PREFIX}NAME+NAME, {PREFIX}NAME+NAME@FUSION"


def register_method(
    name: str,
    head: "str | Callable[[int], Head]",
    *,
    recipe: Recipe | None = None,
    metric_loss: "MetricLoss | None" = None,
    title: str | None = None,
    colour: str | None = None,
    publication: str = "",
    replace: bool = False,
) -> Method:
    """Make a method of your own known by a name, wherever methods are named in this process.

    head         a `Head` class, a function of the number of channels that returns a head, or the name of a method
                 whose head and recipe are taken.
    recipe       how it is trained; None takes the named method's, else clean training without Hesim. Its field
                 `method` is set to `name`.
    metric_loss  a loss in Hesim's place, beside the cross-entropy and weighted by `recipe.hesim`: a function, or any
                 loss of pytorch-metric-learning without weights, of (embeddings (B, D), labels (B,)).
    title        its name in tables and figures; None takes `name`.
    colour       "#RRGGBB" in figures; None takes a free one.

    A checkpoint of it can be read once it is registered again. The head is tried on random feature maps first.
    UserError for a name that is taken (unless `replace`), a head that does not keep the contract, or one whose scores
    of a query depend on the other queries without declaring it.
    """
    from anrot_lib.fewshot.heads.trial import check_head  # it loads torch

    if not name or not set(name).isdisjoint(": +@/\\"):
        raise UserError(f"the name of a method is a word without : + @ / \\ and spaces, got {name!r}")
    if is_registered(name) and not replace:
        raise UserError(f"there is a method {name!r} already; take another name, or pass replace=True")
    if isinstance(head, str):
        build, default = get_method(head).build, get_method(head).recipe
    else:
        build, default = head, Recipe(hesim=0.0)
    check_head(name, build)
    recipe = change_fields(recipe or default, method=name)
    return _add(Method(name, build, recipe, title or name, colour, publication, metric_loss=metric_loss))


def _add(method: Method) -> Method:
    _METHODS[method.name] = method
    return method


# The rows of the main table, from the plainest to the whole. They differ in what their names say and in nothing else.
ANROT, ANROT_HEAD = "ANROT-HELANet, arXiv 2509.11220", partial(builders.build_gaussian, "bhattacharyya")
for _method in (
    Method(
        "prototypes",
        partial(builders.build_prototypes, "euclid"),
        Recipe(method="prototypes", hesim=0.0),
        "prototypes (Euclid)",
        colour=palette.BLUE,
        publication="Prototypical networks, arXiv 1703.05175",
        in_table=True,
    ),
    Method(
        "published",
        builders.build_published,
        Recipe(method="published", hesim=0.0),  # its own Hesim is a constant: anrot_lib.audit
        "as published",
        colour=palette.GREY,
        publication=ANROT,
        in_table=True,
    ),
    Method(
        "hela-vfa",
        partial(builders.build_gaussian, "hellinger"),
        Recipe(method="hela-vfa", hesim=0.0),
        "HELA-VFA (attention + Hellinger)",
        colour=palette.BROWN,
        publication="HELA-VFA, WACV 2024",
        in_table=True,
    ),
    Method(
        "anrot-clean",
        ANROT_HEAD,
        Recipe(method="anrot"),
        "ANROT, trained clean",
        colour=palette.SKY,
        publication=ANROT,
        in_table=True,
        studies=(DEFENCES,),
    ),
    Method(
        "anrot",
        ANROT_HEAD,
        Recipe(method="anrot", clean=1.0, adversarial=1.0, noisy=1.0),
        "ANROT, trained on the mixture",
        colour=palette.ORANGE,
        publication=ANROT,
        in_table=True,
        studies=(DEFENCES, LENGTHS),
    ),
):
    _add(_method)

# Recipes beside the main table, for the trade-off over the shares of clean, adversarial and noisy queries.
for _name, _shares, _title, _colour, _studies in (
    ("clean-and-noise", (1.0, 0.0, 1.0), "ANROT, clean and noisy queries 1:1", None, (DEFENCES,)),
    ("shares-2-1-1", (2.0, 1.0, 1.0), "ANROT, clean, attacked, noisy 2:1:1", None, ()),
    ("shares-1-2-1", (1.0, 2.0, 1.0), "ANROT, clean, attacked, noisy 1:2:1", None, ()),
    ("fgsm-only", (0.0, 1.0, 0.0), "ANROT, trained on FGSM queries alone", palette.PINK, ()),
):
    _clean, _adversarial, _noisy = _shares
    _recipe = Recipe(clean=_clean, adversarial=_adversarial, noisy=_noisy)
    _add(Method(_name, ANROT_HEAD, _recipe, _title, _colour, studies=_studies))

# Clean and attacked queries 1:1, by other attacks and another loss.
for _name, _title, _recipe in recipes.DEFENCES:
    _add(Method(_name, ANROT_HEAD, _recipe, _title, studies=(DEFENCES,), listed=False))

# A robust classifier of the base classes makes the encoder, without episodes or before them.
_CLASSES = "Subramanya & Pirsiavash, arXiv 2204.05432"
_COSINE = partial(builders.build_prototypes, "cosine")
_HEADS: "dict[str, Callable[[int], Head]]" = {"anrot": ANROT_HEAD, "cosine": _COSINE}
_HEADS["cosine-mirror"] = builders.build_mirrored
_UNATTACKED = change_fields(recipes.ROBUST, clean=1.0, adversarial=0.0)
_MIRROR = change_fields(recipes.ROBUST, method="cosine-mirror", clean=0.0, adversarial=1.0)
_BELONGS = {"robust-classes": (RECIPES, DEFENCES, LENGTHS)}
_CLASSIFIERS: list[tuple[str, Recipe, str, str, str]] = [
    ("robust-classes", recipes.ROBUST, "robust classes", palette.INDIGO, _CLASSES),
    ("clean-classes", _UNATTACKED, "base classes, trained clean", palette.VIOLET, ""),
    ("robust-attacked-mirror", _MIRROR, "robust classes, all attacked, mirrored features", palette.WINE, _CLASSES),
]
for _name, _recipe, _title, _colour, _publication in _CLASSIFIERS:
    _belongs = _BELONGS.get(_name, (LENGTHS,))
    _add(Method(_name, _HEADS[_recipe.method], _recipe, _title, _colour, _publication, studies=_belongs))
_add(
    Method(
        "defence-hardness",
        _COSINE,
        recipes.HARDNESS,
        "hardness manipulation of triplets",
        publication="Zhou & Patel, arXiv 2203.01439",
        studies=(DEFENCES,),
        listed=False,
    )
)

# The same with one part changed: what is each worth?
for _name, _title, _recipe in recipes.ROBUST_VARIANTS:
    _add(Method(_name, _HEADS[_recipe.method], _recipe, _title, studies=(RECIPES,), listed=False))

# Other heads, trained clean without Hesim.
_MML = "MML, arXiv 2103.11383"
_OTHERS: "list[tuple[str, Callable[[int], Head], str, str]]" = [
    ("dn4", builders.build_dn4, "DN4 (pixels, 3 nearest)", "DN4, arXiv 1903.12290"),
    ("adm", partial(builders.build_levels, "pixel+kl"), "ADM (pixels + KL)", "ADM, arXiv 2002.00153"),
    ("mml", partial(builders.build_levels, "pixel+part+kl-reverse"), "MML (pixels + parts + KL from the class)", _MML),
    (
        "mml-wasserstein2",
        partial(builders.build_levels, "pixel+part+wasserstein2"),
        "MML (pixels + parts + Wasserstein)",
        _MML,
    ),
    ("mml-hellinger", partial(builders.build_levels, "pixel+part+hellinger"), "MML (pixels + parts + Hellinger)", ""),
    ("mml-2022", builders.build_crops, "MML of 2022 (pixels + crops + global)", "the later MML, of 2022"),
    ("part", partial(builders.build_levels, "part"), "parts", ""),
    ("cosine", partial(builders.build_prototypes, "cosine"), "prototypes (cosine)", ""),
    ("cosine-mirror", builders.build_mirrored, "prototypes (cosine, with mirror images)", ""),
    ("median-cosine", partial(builders.build_shots, "cosine", "median"), "median over shots (cosine)", ""),
    ("median-cosine-mirror", builders.build_mirrored_shots, "median over shots (cosine, with mirror images)", ""),
    ("trimmed-cosine", partial(builders.build_shots, "cosine", "trimmed"), "trimmed mean over shots (cosine)", ""),
    ("median-gaussian", partial(builders.build_shots, "gaussian", "median"), "median over shots (Gaussians)", ""),
    ("variational", builders.build_variational, "variational, our reading", ""),
    ("joint-hellinger", partial(builders.build_gaussian, "joint-hellinger"), "ANROT by joint Hellinger", ""),
    ("gaussian-kl", partial(builders.build_gaussian, "kl"), "ANROT by KL", ""),
    ("gaussian-wasserstein2", partial(builders.build_gaussian, "wasserstein2"), "ANROT by Wasserstein", ""),
    *(
        (f"distribution-{name}", partial(builders.build_levels, name), f"distribution by {title}", "")
        for name, title in MEASURES.items()
    ),
]
for _name, _build, _title, _publication in _OTHERS:
    _add(Method(_name, _build, Recipe(method=_name, hesim=0.0), _title, publication=_publication))

# ANROT with one part changed. The constant Hesim of the release is a loss in Hesim's place.
_LOSSES: "dict[str, MetricLoss]" = {recipes.CONSTANT_HESIM: builders.compute_released_hesim}
for _variant in recipes.ABLATION:
    _method = Method(_variant.name, get_method(_variant.head).build, _variant.recipe, _variant.title, listed=False)
    _add(change_fields(_method, metric_loss=_LOSSES.get(_variant.name), studies=(ABLATION,)))
