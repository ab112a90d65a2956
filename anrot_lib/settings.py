"""What a run is: Protocol (the question), Recipe (the method), Budget (sizes and lengths). All three are stored.

The presets SMOKE, LAPTOP and PAPER are budgets: sizes, encoder and lengths change, never an algorithm or a loss weight.
"""

import os
from dataclasses import dataclass
from typing import Annotated

from anrot_lib.core.configs import change, check_at_least, check_at_most, check_types, from_dict, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.options import PIXELS, Option

PRECISIONS = ("auto", "fp32", "bf16")
NORMS, SUITES, MATRIX = ("linf", "l2"), ("aa-lite", "aa"), "matrix"  # suites of strong attacks
SCHEDULES, MIXES = ("cosine", "constant", "one-cycle"), ("mixup", "cutmix")
OPTIMIZERS, ATTACKS = ("adamw", "sgd"), ("fgsm-rs", "n-fgsm")
MOST_TASKS = 1_000_000  # their rows take a gigabyte
MOST_TOGETHER = 65_536  # episodes or images in a step
GREATEST_WEIGHT = 1e6  # of a term of the loss
CHARACTERS, FIGURES = "omniglot-300", "synthetic"  # what the image sets of the kit are called
EMBEDDED = (CHARACTERS, FIGURES)  # no prepared set has one of these names
SIZES = {CHARACTERS: 28}  # sides of the images of embedded sets that are not drawn in the size that is asked for


@dataclass(frozen=True)
class Protocol:
    """How accuracy is measured. eps, step and sigma are in units of the pixel range."""

    way: Annotated[int, Option("classes in an episode")] = 5
    shot: Annotated[int, Option("support images of each class")] = 5
    seed: int = 0
    eps: Annotated[float, Option("radius of the attacks; PGD takes steps of a quarter of it", metavar=PIXELS)] = 8 / 255
    step: float = 2 / 255
    steps: Annotated[int, Option("steps of PGD")] = 20
    restarts: Annotated[int, Option("runs of PGD and of each strong attack, from other random points")] = 1
    norm: Annotated[str, Option("length of a change that eps bounds", choices=NORMS)] = "linf"
    sigma: Annotated[float, Option("standard deviation of the noise, in units of the pixel range")] = 0.1
    curve_eps: tuple[float, ...] = (*(k / 255 for k in (0, 1, 2, 4, 8, 16)), 0.10, 0.20, 0.30)
    curve_sigma: tuple[float, ...] = (0.0, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30)

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, way=2, shot=1, eps=0, step=0, steps=1, restarts=1, sigma=0)
        if self.norm not in NORMS:
            raise UserError(f"unknown norm {self.norm!r}; choose one of {', '.join(NORMS)}")
        if self.eps > 1 and self.norm == "linf":
            raise UserError(f"eps is in units of the pixel range [0, 1], got {self.eps:g}; write k/255")
        if self.sigma > 1:
            raise UserError(f"sigma is in units of the pixel range [0, 1], got {self.sigma:g}")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Shares are the weights of the clean, adversarial and noisy versions of an episode's queries in the loss; they
    are divided by their sum, and a version of share 0 is never computed. Adversarial queries are white-box,
    through encoder, aggregation and divergence: of one step (`attack`), or of PGD for attack_steps > 1.
    sigma is drawn uniformly from [sigma_low, sigma_high] per image.

    With `pretrain` the encoder first learns to classify the training classes, or what the method `pretrain_as` trains
    on, or to rank, if that begins with "ranking:". Shares of classification are parts of a batch, each image in one
    version. `episodic` is the part of the budget's episodes that follows; 0 leaves them out, and the head stays as it
    was drawn. `heads` are tried in its place on the validation classes, when all training is over.
    """

    method: str = "anrot"
    clean: Annotated[float, Option("weight of the clean queries in the loss")] = 1.0
    adversarial: Annotated[float, Option("weight of the adversarial queries in the loss")] = 0.0
    noisy: Annotated[float, Option("weight of the noisy queries in the loss")] = 0.0
    eps: Annotated[float, Option("radius of the training attack", metavar=PIXELS, flags=("--train-eps",))] = 8 / 255
    attack_steps: Annotated[int, Option("steps of the training attack: 1 is that of --attack, more is PGD")] = 1
    attack: Annotated[
        str,
        Option(
            "training attack of one step: FGSM from a random point of the ball, or from noise of twice eps (N-FGSM)",
            choices=ATTACKS,
        ),
    ] = "fgsm-rs"
    attack_eval: Annotated[bool, Option("find adversarial images with batch norm in eval mode")] = False
    trades: Annotated[
        float, Option("weight of the divergence between clean and attacked predictions, in place of the attacked loss")
    ] = 0.0
    sigma_low: Annotated[float, Option("least standard deviation of the training noise")] = 0.1
    sigma_high: Annotated[float, Option("greatest standard deviation of the training noise")] = 0.1
    hesim: Annotated[float, Option("weight of the Hesim loss")] = 0.5
    temperature: float = 0.1
    label_smoothing: Annotated[float, Option("part of the target that is spread over all classes")] = 0.0
    optimizer: Annotated[str, Option("what moves the weights", choices=OPTIMIZERS)] = "adamw"
    learning_rate: Annotated[float, Option("largest learning rate")] = 1e-3
    schedule: Annotated[
        str, Option("course of the learning rate; one-cycle rises and falls in straight lines", choices=SCHEDULES)
    ] = "cosine"
    weight_decay: Annotated[float, Option("decay of the weights of convolutions and linear layers")] = 0.0
    averaging: Annotated[float, Option("test the running average of the weights, with this memory; 0: none")] = 0.0
    clip: float = 10.0
    augment: Annotated[
        tuple[str, ...], Option("augmentations of the training images: flip, crop, rotate90, color_jitter, blur")
    ] = ()
    two_views: Annotated[bool, Option("add a jittered and blurred view beside each clean query")] = False
    mix: Annotated[str | None, Option("mix pairs of clean queries", choices=MIXES)] = None
    attention: Annotated[bool | None, Option("switch the attention gates of the encoder on or off")] = None
    seed: int = 0
    pretrain: Annotated[bool, Option("train the encoder as a classifier of the training classes first")] = False
    pretrain_rate: Annotated[float | None, Option("largest learning rate of that (default: --learning-rate)")] = None
    pretrain_as: str | None = None
    episodic: Annotated[float, Option("part of the budget's episodes to train on; 0 with --pretrain: none")] = 1.0
    heads: Annotated[
        tuple[str, ...], Option("methods whose heads are tried after training, on the validation classes")
    ] = ()

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, eps=0, attack_steps=1, hesim=0, temperature=1e-6, learning_rate=1e-12, clip=0)
        check_at_least(self, trades=0, label_smoothing=0, weight_decay=0, averaging=0, episodic=0)
        check_at_most(self, hesim=GREATEST_WEIGHT, trades=GREATEST_WEIGHT, weight_decay=GREATEST_WEIGHT, episodic=1)
        self._check_parts()
        shares = (self.clean, self.adversarial, self.noisy)
        if not (min(shares) >= 0 and 0 < sum(shares) <= GREATEST_WEIGHT):
            raise UserError(f"shares must be at least 0 and not all 0, got clean, adversarial, noisy = {shares}")
        if not 0 <= self.sigma_low <= self.sigma_high:
            raise UserError(f"sigma must satisfy 0 <= low <= high, got {self.sigma_low} and {self.sigma_high}")
        if self.sigma_high > 1:
            raise UserError(f"sigma is in units of the pixel range [0, 1], got {self.sigma_high:g}")
        if not 0 <= self.eps <= 1:
            raise UserError(f"eps is in units of the pixel range [0, 1], got {self.eps:g}; write k/255")
        kinds = {"mix": (None, *MIXES), "schedule": SCHEDULES, "optimizer": OPTIMIZERS, "attack": ATTACKS}
        for field, allowed in kinds.items():
            if getattr(self, field) not in allowed:
                words = ", ".join(word for word in allowed if word)
                raise UserError(f"unknown {field} {getattr(self, field)!r}; choose one of {words}")

    def _check_parts(self) -> None:
        """UserError for parts that do not go together, or would have no effect."""
        for field in ("label_smoothing", "averaging"):
            if getattr(self, field) >= 1:
                raise UserError(f"{field.replace('_', ' ')} must be below 1, got {getattr(self, field):g}")
        if self.episodic == 0 and not self.pretrain:
            raise UserError("without episodes (episodic 0) and without pretrain nothing would be trained")
        if self.pretrain_rate is not None:
            check_at_least(self, pretrain_rate=1e-12)
        if not self.pretrain and (self.pretrain_rate, self.pretrain_as) != (None, None):
            raise UserError("pretrain rate and pretrain as say how the encoder is pre-trained; add pretrain")
        if self.pretrain_rate is not None and self.pretrain_as is not None:
            raise UserError("the rate of pre-training is that of the method of pretrain as; leave out pretrain rate")
        if self.trades and not (self.clean and self.adversarial):
            raise UserError("trades compares clean and attacked predictions; it needs both shares above 0")
        if self.trades and (self.mix or self.two_views):
            raise UserError("trades compares images with attacked copies; it goes with neither mix nor two views")


@dataclass(frozen=True)
class Budget:
    """Sizes and lengths. `precision` is that of training; accuracies are always computed in fp32."""

    preset: str
    size: Annotated[int, Option("side of the images in pixels")]
    encoder: Annotated[str, Option("resnet12_anrot, resnet12, conv4, conv64f or tiny")]
    episodes: Annotated[int, Option("length of the training in episodes")]
    train_query: int
    pretrain_steps: Annotated[int, Option("length of pre-training in steps")]
    validate_every: int
    validation_tasks: int
    clean_tasks: Annotated[int, Option("test episodes without an attack")]
    clean_query: int
    attacked_tasks: Annotated[int, Option("test episodes under attack")]
    attacked_query: int
    curve_tasks: int
    precision: Annotated[
        str,
        Option("arithmetic of training; auto is bf16 where the hardware has it", choices=PRECISIONS),
    ] = "auto"
    episodes_per_step: Annotated[int, Option("episodes in a step of training")] = 1
    surrogate_epochs: int = 10
    classes: int = 100  # of the synthetic figures, as is the next
    per_class: int = 60
    pretrain_batch: Annotated[int, Option("images in a step of pre-training")] = 64
    groups: Annotated[
        int, Option("parts of a training step, each with batch-norm statistics of its own; processes share them")
    ] = 1

    def __post_init__(self) -> None:
        check_types(self)
        lengths = {"episodes_per_step": 1, "validate_every": 1, "pretrain_steps": 1, "pretrain_batch": 2, "groups": 1}
        check_at_least(self, size=1, episodes=1, **lengths)
        check_at_most(self, episodes_per_step=MOST_TOGETHER, pretrain_batch=MOST_TOGETHER)
        check_at_least(self, attacked_tasks=2, curve_tasks=2, clean_tasks=2)  # an interval needs two episodes
        check_at_most(self, attacked_tasks=MOST_TASKS, clean_tasks=MOST_TASKS)
        for what, together in (("episodes", self.episodes_per_step), ("images", self.pretrain_batch)):
            if together % self.groups:
                raise UserError(f"a step of {together} {what} cannot be cut into {self.groups} equal groups")


@dataclass(frozen=True)
class Radii:
    """How far images of a set are changed, in units of the pixel range; the defaults are those of colour photographs.

    eps, sigma                   of the attacks and of the noise in tests.
    train_eps, sigma_low, _high  of the attack and of the noise in training.
    curve_eps, curve_sigma       of the curves over the size of an attack and over the strength of noise.

    An attack must leave what a person sees: 8/255 is much on a smooth drawing, and nothing on ink on white paper.
    """

    eps: float = Protocol.eps
    sigma: float = Protocol.sigma
    train_eps: float = Recipe.eps
    sigma_low: float = Recipe.sigma_low
    sigma_high: float = Recipe.sigma_high
    curve_eps: tuple[float, ...] = Protocol.curve_eps
    curve_sigma: tuple[float, ...] = Protocol.curve_sigma

    def make_protocol(self, **changes: int | float) -> Protocol:
        """The protocol of such images with `changes`; PGD takes steps of a quarter of eps."""
        usual = {"eps": self.eps, "sigma": self.sigma, "curve_eps": self.curve_eps, "curve_sigma": self.curve_sigma}
        wanted = {**usual, "step": changes.get("eps", self.eps) / 4, **changes}
        return change(Protocol(), **wanted)

    def adapt(self, recipe: Recipe) -> Recipe:
        """A recipe with the strengths of training on such images, in place of those that it leaves at the default."""
        strengths = {"eps": self.train_eps, "sigma_low": self.sigma_low, "sigma_high": self.sigma_high}
        return change(recipe, **{k: v for k, v in strengths.items() if getattr(recipe, k) == getattr(Recipe, k)})


RADII = {
    CHARACTERS: Radii(
        eps=0.10, sigma=0.3, train_eps=0.20, sigma_high=0.3, curve_eps=(0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
    ),
    FIGURES: Radii(eps=2 / 255, train_eps=4 / 255, curve_eps=tuple(k / 255 for k in (0, 1, 2, 4, 8, 16))),
}


def get_radii(data: str) -> Radii:
    """The radii of an image set by its name; those of colour photographs for a set that is not known."""
    return RADII.get(data, Radii())


SMOKE = Budget(
    preset="smoke",
    size=32,
    encoder="tiny",
    episodes=450,
    train_query=10,
    pretrain_steps=100,
    validate_every=150,
    validation_tasks=50,
    clean_tasks=200,
    clean_query=15,
    attacked_tasks=20,
    attacked_query=5,
    curve_tasks=8,
    surrogate_epochs=2,
    precision="fp32",
)
LAPTOP = Budget(
    preset="laptop",
    size=32,
    encoder="resnet12_anrot",
    episodes=1500,
    train_query=10,
    pretrain_steps=8000,
    validate_every=250,
    validation_tasks=100,
    clean_tasks=1000,
    clean_query=15,
    attacked_tasks=200,
    attacked_query=5,
    curve_tasks=20,
    per_class=200,
)
PAPER = Budget(
    preset="paper",
    size=84,
    encoder="resnet12_anrot",
    episodes=80_000,
    train_query=10,
    episodes_per_step=4,
    pretrain_steps=40_000,
    validate_every=1000,
    validation_tasks=600,
    clean_tasks=10_000,
    clean_query=15,
    attacked_tasks=600,
    attacked_query=15,
    curve_tasks=600,
    per_class=600,
)
PRESETS = {budget.preset: budget for budget in (SMOKE, LAPTOP, PAPER)}


def preset(name: str | None = None, **changes: int | str) -> Budget:
    """The budget of a name, of `$ANROT_PRESET` for None, of smoke if that is unset; `changes` replace its fields.

    UserError for an unknown name or field.
    """
    name = name or os.environ.get("ANROT_PRESET") or "smoke"
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name] if not changes else from_dict(Budget, to_dict(PRESETS[name]) | changes)
