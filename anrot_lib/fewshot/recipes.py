"""The recipes of two studies: parts of the robust recipe, and ways to train against attacks."""

from dataclasses import replace
from typing import Any

from anrot_lib.settings import Recipe

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

# (name, title, recipe) of each variant: ROBUST with one part changed; clean and attacked queries 1:1.
ROBUST_VARIANTS = [(name, title, replace(ROBUST, **changes)) for name, title, changes in _PARTS]
DEFENCES = [(name, title, Recipe(clean=1.0, adversarial=1.0, **changes)) for name, title, changes in _ATTACKS]
