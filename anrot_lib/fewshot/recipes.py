"""The recipes of three studies: parts of the robust recipe, ways to train against attacks, the ablation of ANROT."""

from dataclasses import dataclass, replace
from typing import Any

from anrot_lib.settings import Recipe

# A first stage that is the training of a ranking model: a defense and a loss of the grammar of `ranking.names` follow.
RANKING = "ranking:"
ROBUST = Recipe(
    method="cosine",
    clean=0.4,
    adversarial=0.6,
    attack="n-fgsm",
    hesim=0.0,
    label_smoothing=0.1,
    optimizer="sgd",
    learning_rate=0.2,
    schedule="one-cycle",
    weight_decay=5e-4,
    averaging=0.995,
    augment=("flip", "crop"),
    pretrain=True,
    episodic=0.0,
)
# Episodes of clean and attacked queries, after the classes, at a smaller rate.
_EPISODES: dict[str, Any] = {
    "method": "anrot",
    "hesim": 0.5,
    "episodic": 0.2,
    "learning_rate": 0.02,
    "pretrain_rate": ROBUST.learning_rate,
}
_PARTS: list[tuple[str, str, dict[str, Any]]] = [
    ("robust-fgsm-rs", "FGSM-RS in place of N-FGSM", {"attack": "fgsm-rs"}),
    ("robust-pgd-3", "PGD-3 in place of N-FGSM", {"attack_steps": 3}),
    ("robust-trades", "TRADES, weight 6", {"trades": 6.0}),
    ("robust-attack-eval", "attack with batch norm in eval mode", {"attack_eval": True}),
    ("robust-all-attacked", "robust classes, all images attacked", {"clean": 0.0, "adversarial": 1.0}),
    ("robust-half-attacked", "half of the images attacked", {"clean": 0.5, "adversarial": 0.5}),
    ("robust-noisy", "clean, attacked and noisy images 1:1:1", {"clean": 1.0, "adversarial": 1.0, "noisy": 1.0}),
    ("robust-no-average", "without averaged weights", {"averaging": 0.0}),
    ("robust-no-crops", "without shifted crops", {"augment": ("flip",)}),
    ("robust-cutmix", "with CutMix", {"mix": "cutmix"}),
    ("robust-no-smoothing", "without label smoothing", {"label_smoothing": 0.0}),
    ("robust-no-decay", "without weight decay", {"weight_decay": 0.0}),
    ("robust-cosine-rate", "cosine rate without warm-up", {"schedule": "cosine"}),
    ("robust-adamw", "AdamW, rate 0.003", {"optimizer": "adamw", "learning_rate": 3e-3, "weight_decay": 0.05}),
    ("robust-anrot-head", "robust classes, Gaussian head", {"method": "anrot"}),
    ("robust-mirror", "features averaged with the mirror image's", {"method": "cosine-mirror"}),
    ("robust-then-anrot", "robust classes, then ANROT episodes", _EPISODES),
]
_ATTACKS: list[tuple[str, str, dict[str, Any]]] = [
    ("defence-fgsm-rs", "ANROT, FGSM-RS queries", {}),
    ("defence-n-fgsm", "ANROT, N-FGSM queries", {"attack": "n-fgsm"}),
    ("defence-pgd-7", "ANROT, PGD-7 queries", {"attack_steps": 7}),
    ("defence-trades", "ANROT, TRADES of weight 6", {"trades": 6.0}),
]

# The encoder learns to rank: hardness manipulation HM[S,LGA] of triplets, by as many steps as in `defence-pgd-7`.
HARDNESS = Recipe(
    method="cosine",
    clean=0.0,
    adversarial=1.0,
    attack_steps=7,
    hesim=0.0,
    pretrain=True,
    pretrain_as=f"{RANKING}ghmetsm:ptripletN",
    episodic=0.0,
)

# (name, title, recipe) of each variant: ROBUST with one part changed; clean and attacked queries 1:1.
ROBUST_VARIANTS = [(name, title, replace(ROBUST, **changes)) for name, title, changes in _PARTS]
DEFENCES = [(name, title, Recipe(clean=1.0, adversarial=1.0, **changes)) for name, title, changes in _ATTACKS]


@dataclass(frozen=True)
class Variant:
    """ANROT with one part changed.

    reference  the variant that it is compared with; "" for the whole system, which is compared with none.
    head       the method whose head it has; its recipe names the variant itself where that has a loss of its own.
    """

    name: str
    title: str
    recipe: Recipe
    reference: str
    head: str


WHOLE, CLEAN_ALONE = "ablation-whole", "ablation-clean"
# Every encoder of a seed comes from one pre-training, by clean episodes; only other gates make another encoder.
_WHOLE = Recipe(adversarial=1.0, noisy=1.0, attention=True, pretrain=True, pretrain_as="prototypes")
_CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("no-attention", "without attention gates (an encoder of its own)", {"attention": False}),
    ("hellinger", "Hellinger distance", {"method": "hela-vfa"}),
    ("kl", "Kullback-Leibler", {"method": "gaussian-kl"}),
    ("wasserstein2", "Wasserstein", {"method": "gaussian-wasserstein2"}),
    ("euclid", "prototypes, Euclid", {"method": "prototypes"}),
    ("cosine", "prototypes, cosine", {"method": "cosine"}),
    ("variational", "variational head", {"method": "variational"}),
    ("no-hesim", "without Hesim", {"hesim": 0.0}),
    ("hesim-2", "Hesim of weight 2", {"hesim": 2.0}),
    ("no-attacked", "without attacked queries", {"adversarial": 0.0}),
    ("attacked-3", "attacked queries of share 3", {"adversarial": 3.0}),
    ("no-noisy", "without noisy queries", {"noisy": 0.0}),
    ("noisy-3", "noisy queries of share 3", {"noisy": 3.0}),
    ("two-views", "two views of clean queries", {"two_views": True}),
    ("mixup", "MixUp of clean queries", {"mix": "mixup"}),
    ("cutmix", "CutMix of clean queries", {"mix": "cutmix"}),
    ("augment", "mirrored and shifted images", {"augment": ("flip", "crop")}),
]
# The same of ANROT trained clean, for what the release does and for the distance of HELA-VFA.
_CLEAN = replace(_WHOLE, adversarial=0.0, noisy=0.0)
CONSTANT_HESIM = f"{CLEAN_ALONE}-constant-hesim"
_CLEAN_CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("no-hesim", "clean, without Hesim", {"hesim": 0.0}),
    ("constant-hesim", "clean, the released, constant Hesim", {"method": CONSTANT_HESIM}),
    ("hellinger", "clean, Hellinger distance", {"method": "hela-vfa"}),
    ("hela-vfa", "clean, Hellinger distance, without Hesim", {"method": "hela-vfa", "hesim": 0.0}),
]


def _vary(base: Recipe, reference: str, name: str, title: str, changes: dict[str, Any]) -> Variant:
    recipe = replace(base, **changes)
    return Variant(name, title, recipe, reference, "anrot" if recipe.method == name else recipe.method)


# The whole, then one change each; the clean one is a change of the whole, and the whole of its own changes.
ABLATION = (
    Variant(WHOLE, "ANROT, the whole", _WHOLE, "", "anrot"),
    *(_vary(_WHOLE, WHOLE, f"ablation-{name}", title, changes) for name, title, changes in _CHANGES),
    Variant(CLEAN_ALONE, "clean queries alone", _CLEAN, WHOLE, "anrot"),
    *(_vary(_CLEAN, CLEAN_ALONE, f"{CLEAN_ALONE}-{name}", title, changes) for name, title, changes in _CLEAN_CHANGES),
)
