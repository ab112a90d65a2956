"""The surrogate of the transfer attack, once for all nets of a setting."""

from functools import partial
from pathlib import Path

from anrot_lib.attacks.transfer import HELD_OUT_EVERY, Surrogate, split_base, train_on_base
from anrot_lib.core import checkpoints, randomness
from anrot_lib.core.configs import make_key
from anrot_lib.experiments.setting import Setting


def train_surrogate(setting: Setting) -> Surrogate:
    """The small CNN of the transfer attack, trained once on the base classes and kept on disk for all nets.

    A training that was killed goes on with the next epoch.
    """
    epochs, image_set, path = setting.budget.surrogate_epochs, setting.image_set, _find_place(setting)
    state = checkpoints.load(path) if path.is_file() else None
    train = partial(
        train_on_base,
        image_set,
        randomness.make_generator(setting.protocol.seed, "surrogate"),
        epochs=epochs,
        device=setting.device,
        precision=setting.precision,
        state=state,
        keep=partial(checkpoints.save, path),
    )
    if state is not None and state.get("epochs") == epochs:
        return train()  # it was trained before: only its weights are read
    with setting.progress("train surrogate", epochs * len(split_base(image_set)[0])) as bar:
        return train(progress=bar)


def _find_place(setting: Setting) -> Path:
    seed, epochs, image_set = setting.protocol.seed, setting.budget.surrogate_epochs, setting.image_set
    key = make_key(image_set.sha256, image_set.split_hash, seed, epochs, setting.precision, HELD_OUT_EVERY)
    return setting.work / f"surrogate-{key}.pt"


def has_surrogate(setting: Setting) -> bool:
    """Whether its training has begun, so that little of it is left."""
    return _find_place(setting).is_file()
