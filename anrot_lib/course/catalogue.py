"""The course: its notebooks in order, and the small trained nets that ship with it."""

import json
from dataclasses import dataclass
from pathlib import Path

from anrot_lib.core import checkpoints
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot import nets
from anrot_lib.fewshot.classifier import FewShotNet

NETS = Path(__file__).parent / "nets"


@dataclass(frozen=True)
class Notebook:
    """One notebook: its number, its name (the file is NN_name.ipynb) and the question that it answers.

    `ready` is False for one that is planned: its place in the table of contents is kept, its file does not exist yet.
    """

    number: int
    name: str
    question: str
    ready: bool = True

    @property
    def stem(self) -> str:
        return f"{self.number:02d}_{self.name}"

    @property
    def title(self) -> str:
        return self.name.replace("_", " ").capitalize()


# Adding a notebook: its source in notebooks/src, its exercises in course/exercises, and a line here.
NOTEBOOKS = (
    Notebook(0, "start_here", "What is robust few-shot learning, and what will you be able to do?"),
    Notebook(1, "loading_and_splits", "How do you load images so that no test class leaks into training?"),
    Notebook(2, "augmentation", "Which changes of an image keep its class, and what do they buy?"),
    Notebook(3, "adversarial_examples", "How little must an image change until a few-shot classifier fails?"),
    Notebook(4, "natural_noise", "What does noise do to a picture, and what to a prediction?"),
    Notebook(5, "encoder_and_attention", "What does the encoder see, and where does its attention look?"),
    Notebook(6, "hellinger_distance", "How far apart are two distributions, and which distance can be trained on?"),
    Notebook(7, "hesim_loss", "How does a contrastive loss pull classes apart, and when does it do nothing?"),
    Notebook(8, "training", "How do you train for clean, attacked and noisy images at once, and what does it cost?"),
    Notebook(9, "testing", "How good is the classifier really, and how sure can you be?"),
    Notebook(10, "reconstruction", "Which divergence makes the better autoencoder?"),
    Notebook(11, "multi_level_metrics", "Do pixels, parts and distributions see different things?"),
    Notebook(12, "robust_metric_learning", "How do you make a ranking robust?"),
    Notebook(13, "strong_attacks", "Which attacks does a claim of robustness have to survive?"),
    Notebook(14, "review", "Which published claims hold?"),
)


def list_ready() -> list[Notebook]:
    return [notebook for notebook in NOTEBOOKS if notebook.ready]


def read_net_index() -> dict[str, dict[str, str]]:
    """Name -> what is known of a net that ships with the course.

    sha256 of its file, the command that trains it, its image set, what it is about, its record below data/results, and
    the hash of the checkpoint that the record names: another format of the same net.
    """
    described: dict[str, dict[str, str]] = json.loads((NETS / "nets.json").read_text("utf-8"))
    return described


def open_net(name: str | Path = "mixture") -> FewShotNet:
    """A net of the course, or one of your own by the path of its checkpoint; in eval mode.

    "clean" was trained on clean images, "mixture" on clean, attacked and noisy ones: both on the embedded characters.
    "figures-clean" and "figures-mixture" are the same of the synthetic figures. `read_net_index` gives the commands;
    the files hold architecture, recipe and origin. UserError for an unknown name, or a file that is not as recorded.
    """
    known = read_net_index()
    if str(name) not in known:
        if Path(name).suffix in (".pt", checkpoints.SAFETENSORS):
            return nets.load_net(Path(name))[0]
        choice = f"choose one of {', '.join(known)}, or give the path of a .safetensors or .pt file"
        raise UserError(f"there is no net {str(name)!r}; {choice}")
    path = find_net(str(name))
    if checkpoints.sha256(path) != known[str(name)]["sha256"]:
        raise UserError(f"{path} is not the file that was recorded; restore it from the repository")
    return nets.load_net(path)[0]


def find_net(name: str) -> Path:
    """The file of a net of the course."""
    return NETS / f"{name}{checkpoints.SAFETENSORS}"
