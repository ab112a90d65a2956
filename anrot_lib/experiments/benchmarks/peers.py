"""This kit beside the libraries that do the same work: training steps, episodes, PGD, reading of images, imports.

Every record times a peer, this kit and, where there is one, the limit of the work in turn. A peer is used as its own
documentation uses it: in fp32, one episode after another.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anrot_lib.attacks.episode import attack_episodes
from anrot_lib.attacks.judges import ADV_LIB, ART, PGD, STEPS, list_judges, make_pgd
from anrot_lib.core import randomness
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.episodes import EpisodeSampler
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.experiments.benchmarks import easyfsl_parts
from anrot_lib.experiments.benchmarks.easyfsl_parts import FewShotClassifier, FewShotDataset
from anrot_lib.experiments.benchmarks.limits import prepare_layers, prepare_passes
from anrot_lib.experiments.benchmarks.steps import lay_out_as_published, prepare_training_step
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet, create_net
from anrot_lib.fewshot.passes import count_images_per_pass
from anrot_lib.records.parts import TimingSettingsRecord
from anrot_lib.records.timing import interleave, scale_seconds, write_timing
from anrot_lib.settings import Recipe

CPU = torch.device("cpu")
WAY, SHOT, QUERY = 5, 5, 15


def measure(repeats: int | None = None) -> list[Path]:
    """All comparisons; their records in data/runs/bench."""
    comparisons = (time_steps, time_episodes, time_attacks, time_reading, time_imports)
    return [compare(repeats=repeats or 5) for compare in comparisons]


def time_steps(size: int = 84, repeats: int = 6) -> Path:
    """Training steps on a 5-way 5-shot episode of 10 queries a class; write data/runs/bench/peers-step-SIZEpx.json.

    All draw and load their episode and take an Adam step. "this encoder" is the network of this kit with its weights
    laid out as torch has them by default, and its gates written as usual. "convolutions alone" is forward and backward
    of the encoder's convolutions on tensors that are in memory, in channels_last and the precision named: what no step
    with this encoder can do without. "batch norms alone" is the same of its batch norms.
    """
    image_set = synthetic(n_classes=40, per_class=20, size=size)
    sampler = EpisodeSampler(image_set.labels, WAY, SHOT, 10, 10_000, rows=image_set.rows("train"))

    def build() -> FewShotNet:
        return create_net("resnet12_anrot", "prototypes", generator=randomness.make_generator(0, "init"))

    def step(recipe: Recipe, precision: str) -> Callable[[int], None]:
        return prepare_training_step(image_set, sampler, recipe, precision, CPU)

    def peer_step(model: FewShotClassifier) -> Callable[[int], None]:
        optimizer = torch.optim.Adam(model.parameters())

        def once(k: int) -> None:
            episode = sampler.draw(1, start=k).to_episode(image_set, CPU)
            optimizer.zero_grad()
            model.train().process_support_set(episode.support.flatten(0, -4).contiguous(), episode.support_labels[0])
            loss = nn.functional.cross_entropy(model(episode.query[0].contiguous()), episode.labels[0])
            torch.autograd.backward(loss)
            optimizer.step()

        return once

    prototypes = Recipe(method="prototypes", hesim=0.0)
    images, plain = WAY * (SHOT + 10), lay_out_as_published(build()).backbone
    fast, alone = "prototypes, bf16", "convolutions alone, bf16"
    seconds = interleave(
        {
            "easyfsl, its resnet12, fp32": peer_step(easyfsl_parts.PrototypicalNetworks(easyfsl_parts.resnet12())),
            "easyfsl, this encoder, fp32": peer_step(easyfsl_parts.PrototypicalNetworks(easyfsl_parts.Pooled(plain))),
            "prototypes, fp32": step(prototypes, "fp32"),
            fast: step(prototypes, "bf16"),
            "ANROT, bf16": step(Recipe(), "bf16"),
            "convolutions alone, fp32": prepare_layers(build().backbone, images, size, "fp32"),
            alone: prepare_layers(build().backbone, images, size, "bf16"),
            "batch norms alone, bf16": prepare_layers(build().backbone, images, size, "bf16", nn.BatchNorm2d),
        },
        repeats,
    )
    about: TimingSettingsRecord = {
        "reference": "easyfsl, this encoder, fp32",
        "repeats": repeats,
        "limits": {
            "prototypes, fp32": ("convolutions alone, fp32", 1.0),
            fast: (alone, 1.0),
            "ANROT, bf16": (alone, 1.0),
        },
        "peers": easyfsl_parts.find_versions("easyfsl"),
    }
    return write_timing(f"peers-step-{size}px", f"training step, resnet12_anrot, {size} px", about, seconds, CPU)


def time_episodes(
    size: int = 32, classes: int = 20, per_class: int = 600, episodes: int = 10_000, repeats: int = 3, timed: int = 100
) -> Path:
    """10,000 clean 5-way 5-shot episodes of 15 queries; write data/runs/bench/peers-episodes-SIZEpx.json.

    This kit does all of it: drawing, encoding of 12,000 images, scoring. easyfsl is timed on fewer episodes, counted
    for all: on images, which it encodes anew in each episode, and on cached features, whose encoding is not counted.
    The limit is one encoding pass over the images.
    """
    image_set = synthetic(n_classes=classes, per_class=per_class, size=size)
    net = create_net("resnet12_anrot", "prototypes", generator=randomness.make_generator(0, "init")).eval()
    every = np.arange(len(image_set.labels))
    features = evaluation.describe(net, image_set, every[:timed]).values
    cached = easyfsl_parts.FeaturesDataset(
        image_set.labels.tolist(),
        features[torch.arange(len(every)) % timed],
        [str(c) for c in range(classes)],
    )
    few = max(2, timed // 25)
    on_images = easyfsl_parts.WrapFewShotDataset(easyfsl_parts.InMemory(image_set))

    def ours(k: int) -> None:
        rows = EpisodeSampler(image_set.labels, WAY, SHOT, QUERY, episodes).draw()
        evaluation.count_clean(net, image_set, rows)

    def peer(data: FewShotDataset, model: easyfsl_parts.FewShotClassifier, tasks: int) -> Callable[[int], None]:
        def once(k: int) -> None:
            sampler = easyfsl_parts.make_task_sampler(data, WAY, SHOT, QUERY, tasks)
            loader = DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
            easyfsl_parts.evaluate(model, loader, "cpu", use_tqdm=False)

        return once

    names = "easyfsl on images", "easyfsl on cached features"
    seconds = interleave(
        {
            names[0]: peer(on_images, easyfsl_parts.PrototypicalNetworks(easyfsl_parts.Pooled(net.backbone)), few),
            names[1]: peer(cached, easyfsl_parts.PrototypicalNetworks(nn.Identity()), timed),
            "this kit, from images": ours,
            "one encoding pass": lambda k: evaluation.describe(net, image_set, every),
        },
        repeats,
    )
    for name, tasks in zip(names, (few, timed), strict=True):
        seconds[name] = scale_seconds(seconds[name], episodes / tasks)
    about: TimingSettingsRecord = {
        "reference": names[0],
        "repeats": repeats,
        "limits": {"this kit, from images": ("one encoding pass", 1.0)},
        "episodes timed": {names[0]: few, names[1]: timed},
        "peers": easyfsl_parts.find_versions("easyfsl"),
    }
    what = f"{episodes:,} episodes of {len(every):,} images, resnet12_anrot, {size} px"
    return write_timing(f"peers-episodes-{size}px", what, about, seconds, CPU)


def time_attacks(size: int = 32, episodes: int = 8, queries: int = 5, repeats: int = 5) -> Path:
    """PGD-20 on the queries of some 5-way 5-shot episodes; write data/runs/bench/peers-attacks-SIZEpx.json.

    No query leaves early, so that all do the same work. Libraries attack one episode after another; this kit all
    together. The limit is 20 forward and backward passes of all queries, and one forward of the support images.
    """
    image_set = synthetic(n_classes=40, per_class=20, size=size)
    net = create_net("resnet12_anrot", "prototypes", generator=randomness.make_generator(0, "init")).eval()
    rows = EpisodeSampler(image_set.labels, WAY, SHOT, queries, episodes, rows=image_set.rows("test")).draw()
    episode, threat = rows.to_episode(image_set, CPU), make_pgd(8 / 255)
    most = count_images_per_pass(size, CPU)

    def ours(k: int) -> None:
        attack_episodes(net, episode, threat, randomness.make_generator(k, "attack"), keep="last", max_images=most)

    def one_by_one(generate: Callable[[nn.Module, Tensor, Tensor], Tensor], k: int) -> None:
        for e in range(episodes):
            model = net.bind(episode.support[e].flatten(0, -4), episode.support_labels[e])
            generate(model, episode.query[e].flatten(0, -4), episode.labels[e])

    judges, _ = list_judges(8 / 255)
    peers = {judge.library: partial(one_by_one, judge.generate) for judge in judges if judge.attack == PGD}
    n = episodes * WAY * queries
    limit = f"{STEPS} passes of {n} queries"
    seconds = interleave({**peers, "this kit": ours, limit: prepare_passes(net.backbone, n, size, STEPS)}, repeats)
    about: TimingSettingsRecord = {
        "reference": "this kit",
        "repeats": repeats,
        "limits": dict.fromkeys((*peers, "this kit"), (limit, 1.0)),
        "peers": easyfsl_parts.find_versions(ART, ADV_LIB),
    }
    what = f"PGD-{STEPS} on {episodes} episodes of {WAY * queries} queries, resnet12_anrot, {size} px"
    return write_timing(f"peers-attacks-{size}px", what, about, seconds, CPU)


def time_reading(size: int = 84, images: int = 600, repeats: int = 5) -> Path:
    """Pixels of all images as floats, packed and as JPEG files; write data/runs/bench/peers-reading-SIZEpx.json.

    Both are opened anew each time; the file system has both in memory.
    """
    image_set = synthetic(n_classes=20, per_class=images // 20, size=size)
    with tempfile.TemporaryDirectory() as folder:
        from PIL import Image
        from torchvision.datasets import ImageFolder
        from torchvision.transforms import ToTensor

        for k, (pixels, label) in enumerate(zip(image_set.images, image_set.labels, strict=True)):
            path = Path(folder, "images", f"{label:02}", f"{k:04}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(pixels)).save(path, quality=90)
        image_sets.save(image_set, Path(folder, "packed"))

        def read_packed(k: int) -> None:
            opened = image_sets.load(Path(folder, "packed"))
            for block in np.array_split(np.arange(images), max(1, images // 256)):
                opened.batch(block)

        def read_folder(k: int) -> None:
            for _ in DataLoader(ImageFolder(f"{folder}/images", ToTensor()), batch_size=256):
                pass

        seconds = interleave({"torchvision's ImageFolder": read_folder, "this kit, packed": read_packed}, repeats)
    about: TimingSettingsRecord = {
        "reference": "torchvision's ImageFolder",
        "repeats": repeats,
        "peers": easyfsl_parts.find_versions("torchvision"),
    }
    return write_timing(f"peers-reading-{size}px", f"reading {images} images of {size} px", about, seconds, CPU)


def time_imports(repeats: int = 5) -> Path:
    """A fresh Python that imports a library and ends; write data/runs/bench/peers-imports.json.

    `import anrot_lib` loads nothing before a name is used, so that using one is timed, too.
    """
    load = "from anrot_lib.core.torchvision_compat import load_torchvision as load; load(); "
    lines = {
        "nothing": "pass",
        "torch": "import torch",
        "anrot_lib": "import anrot_lib",
        "anrot_lib.evaluate": "from anrot_lib import evaluate",
        "easyfsl.methods": f"{load}import easyfsl.methods",
        "pytorch_metric_learning.losses": f"{load}import pytorch_metric_learning.losses",
    }

    def start(line: str, k: int) -> None:
        subprocess.run([sys.executable, "-c", line], check=True, env=os.environ)

    seconds = interleave({name: partial(start, line) for name, line in lines.items()}, repeats)
    about: TimingSettingsRecord = {
        "reference": "torch",
        "repeats": repeats,
        "peers": easyfsl_parts.find_versions("easyfsl", "pytorch-metric-learning"),
    }
    return write_timing("peers-imports", "a fresh Python that imports it", about, seconds, CPU)
