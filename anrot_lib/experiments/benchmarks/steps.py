"""A training step side by side: the published model's way, ours in fp32, ours in bf16, and the robust step.

The variants are interleaved and the median is taken, because wall clock on shared cores misleads. What is stored
are seconds; claims about speed are ratios within one record.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.core import devices, randomness
from anrot_lib.core.trees import map_tree
from anrot_lib.data.episodes import EpisodeSampler
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.fewshot import episode_loss, evaluation
from anrot_lib.fewshot.attention import Attention
from anrot_lib.fewshot.classifier import FewShotNet, create_net
from anrot_lib.fewshot.descriptions import Descriptions
from anrot_lib.reconstruction import frechet, training
from anrot_lib.reconstruction.autoencoders import TransposedConv, Vae, compute_terms
from anrot_lib.reconstruction.extractors import quantise, wrap_encoder
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.records.parts import TimingSettingsRecord
from anrot_lib.records.timing import interleave, scale_seconds, write_timing
from anrot_lib.settings import Recipe


class PlainAttention(nn.Module):
    """The gates as they are usually written, with the weights of `Attention`: `amax` and its costly gradient."""

    def __init__(self, attention: Attention):
        super().__init__()
        self.channel, self.spatial = attention.channel, attention.spatial

    def forward(self, x: Tensor) -> Tensor:
        average, maximum = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        squeeze, expand = self.channel.squeeze, self.channel.expand
        x = torch.sigmoid(expand(squeeze(average).relu()) + expand(squeeze(maximum).relu())) * x
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return torch.sigmoid(self.spatial.conv(pooled)) * x


def lay_out_as_published(net: FewShotNet) -> FewShotNet:
    """The same net laid out the published way: contiguous tensors, gates as they are usually written."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Attention):
                setattr(module, name, PlainAttention(child))
    for parameter in net.parameters():
        parameter.data = parameter.data.contiguous()
    return net


def prepare_training_step(
    image_set: ImageSet, sampler: EpisodeSampler, recipe: Recipe, precision: str, device: torch.device
) -> Callable[[int], None]:
    """A training step of resnet12_anrot on the episode of a number: drawing, loading, loss, gradients, Adam."""
    net = create_net("resnet12_anrot", recipe.method, generator=randomness.make_generator(0, "init")).to(device)
    optimizer, hesim = torch.optim.Adam(net.parameters(), fused=True), episode_loss.build_hesim(recipe, net.head)

    def once(k: int) -> None:
        episode = sampler.draw(1, start=k).to_episode(image_set, device)
        optimizer.zero_grad(set_to_none=True)
        with devices.autocast(device, precision):
            loss = episode_loss.compute_episode_loss(
                net.train(), episode, recipe, hesim, lambda name: randomness.make_generator(0, f"{name}/{k}")
            )
        torch.autograd.backward(loss)
        optimizer.step()

    return once


def time_training_step(size: int = 32, repeats: int = 12, device: str = "cpu") -> Path:
    """Time training steps of resnet12_anrot (5-way 5-shot, 10 queries) and write data/results/bench/step-SIZEpx.json.

    "published way": fp32, contiguous, support and queries encoded one after the other, published head; the others
    are `episode_loss.compute_episode_loss` as `train` calls it. Each step includes drawing, loading and the optimiser.
    """
    image_set = synthetic(n_classes=40, per_class=20, size=size)
    sampler = EpisodeSampler(image_set.labels, 5, 5, 10, 10_000, rows=image_set.rows("train"))
    where = torch.device(device)

    def step(recipe: Recipe, precision: str) -> Callable[[int], None]:
        return prepare_training_step(image_set, sampler, recipe, precision, where)

    net = create_net("resnet12_anrot", "published", generator=randomness.make_generator(0, "init")).to(where)
    net = lay_out_as_published(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def take_published_step(k: int) -> None:
        episode = sampler.draw(1, start=k).to_episode(image_set, where)
        optimizer.zero_grad(set_to_none=True)
        support, query = (net.backbone(x.flatten(0, -4)) for x in (episode.support, episode.query))
        model = net.head.fit(support[None], episode.support_labels)
        loss = nn.functional.cross_entropy(net.head.score(model, query[None]).logits[0], episode.labels[0])
        torch.autograd.backward(loss)
        optimizer.step()

    clean, robust = Recipe(), Recipe(clean=1.0, adversarial=1.0, noisy=1.0)
    variants = {
        "published way, fp32": take_published_step,
        "clean step, fp32": step(clean, "fp32"),
        "clean step, bf16": step(clean, "bf16"),
        "robust step, fp32": step(robust, "fp32"),
        "robust step, bf16": step(robust, "bf16"),
    }
    seconds = interleave(variants, repeats)
    limit = round(episode_loss.compute_cost_limit(robust, 25, 50), 4)
    limits = {f"robust step, {p}": (f"clean step, {p}", limit) for p in ("fp32", "bf16")}
    return write_timing(
        f"step-{size}px",
        f"training step, resnet12_anrot, {size} px",
        {"reference": "published way, fp32", "repeats": repeats, "limits": limits},
        seconds,
        where,
    )


def time_clean_episodes(size: int = 84, images: int = 600, episodes: int = 10_000, repeats: int = 3) -> Path:
    """Time 10,000 clean 5-way 5-shot episodes of 15 queries on a test split of mini-ImageNet's shape.

    20 classes of 600 images are encoded once; the pass is timed on `images` of them and counted for all 12,000. The
    episodes are drawn, gathered and scored in full. Writes data/results/bench/episodes-SIZEpx.json.
    """
    per_class, classes = 600, 20
    pixels = synthetic(n_classes=classes, per_class=images // classes, size=size)
    net = create_net("resnet12_anrot", "anrot", generator=randomness.make_generator(0, "init")).eval()
    described = evaluation.describe(net, pixels, np.arange(images))
    tiled = Descriptions(
        np.arange(per_class * classes), map_tree(lambda t: t.repeat(per_class * classes // images, 1), described.values)
    )
    labels = np.repeat(np.arange(classes), per_class)
    rows = EpisodeSampler(labels, 5, 5, 15, episodes).draw()
    scale = per_class * classes / images
    seconds = interleave(
        {
            "one encoding pass": lambda k: evaluation.describe(net, pixels, np.arange(images)),
            "drawing the episodes": lambda k: EpisodeSampler(labels, 5, 5, 15, episodes).draw(),
            "scoring the episodes": lambda k: evaluation.count_correct(net, rows, tiled, tiled),
        },
        repeats,
    )
    seconds["one encoding pass"] = scale_seconds(seconds["one encoding pass"], scale)
    return write_timing(
        f"episodes-{size}px",
        f"{episodes} clean episodes, resnet12_anrot, {size} px",
        {"reference": "one encoding pass", "repeats": repeats, "images timed": images, "images counted": 12_000},
        seconds,
        torch.device("cpu"),
    )


def add_inner_bias(net: Vae) -> Vae:
    """The same autoencoder with the bias inside its transposed convolutions, as it is usually written."""
    for k, layer in enumerate(net.decoder):
        if isinstance(layer, TransposedConv):
            plain = nn.ConvTranspose2d(layer.in_channels, layer.out_channels, 1)
            for name in ("kernel_size", "stride", "padding", "output_padding", "weight", "bias"):
                setattr(plain, name, getattr(layer, name))
            net.decoder[k] = plain
    return net


def time_reconstruction_step(
    size: int = 32, repeats: int = 8, batch: int = 128, model: str = "published", device: str = "cpu"
) -> Path:
    """Time training steps of the autoencoder; write data/results/bench/reconstruction.json.

    "training step" is all of a step of `reconstruction.training.train`: drawing, loading, bound, gradients, optimiser.
    "in memory" is forward and backward on random tensors alone, its limit. "usual bias" is the training step with the
    bias inside the transposed convolutions. Both precisions, if "auto" is bf16 here.
    """
    image_set = synthetic(n_classes=40, per_class=20, size=size)
    where = torch.device(device)
    recipe = VaeRecipe(model=model, batch=batch, train_images=len(image_set.rows("train")), validation_images=2)
    rng = randomness.make_generator(0, "reconstruction")
    images = torch.rand(batch, 3, size, size, generator=rng).to(where)

    def prepare_in_memory(precision: str) -> Callable[[int], None]:
        net = Vae(model, size, 3, randomness.make_generator(0, "init")).to(where)

        def once(k: int) -> None:
            net.zero_grad(set_to_none=True)
            with devices.autocast(where, precision):
                decoded, posterior = net(images, rng)
            torch.autograd.backward(
                compute_terms(images, decoded, posterior, recipe.divergence).loss(recipe.beta).mean()
            )

        return once

    def step(precision: str, usual: bool = False) -> Callable[[int], object]:
        run = training.VaeTraining(image_set, recipe, where, precision)
        if usual:
            add_inner_bias(run.net)
        return lambda repeat: run.advance()

    variants: dict[str, Callable[[int], object]] = {}
    for precision in sorted({"fp32", devices.resolve_precision("auto", where)}, reverse=True):
        variants |= {
            f"training step, {precision}": step(precision),
            f"in memory, {precision}": prepare_in_memory(precision),
            f"usual bias, {precision}": step(precision, usual=True),
        }
    about: TimingSettingsRecord = {
        "reference": "training step, fp32",
        "repeats": repeats,
        "batch": batch,
        "model": model,
    }
    what = f"autoencoder {model}, {size} px, batch {batch}"
    return write_timing("reconstruction", what, about, interleave(variants, repeats), where)


def time_frechet_distance(size: int = 32, repeats: int = 8, images: int = 10_000, timed: int = 1_000) -> Path:
    """Time a Frechet distance by resnet12_anrot over 10,000 images; write data/results/bench/distance-SIZEpx.json.

    "features" is what the distance takes: bytes to floats, encoder, mean over positions, batch by batch. Its limit is
    the encoder alone on floats in memory. Both are timed on `timed` images and counted for all, the distance of the
    features of 2 x 10,000 images in full: with the encoder's own number of features and with Inception's 2,048.
    """
    net = create_net("resnet12_anrot", "prototypes", generator=randomness.make_generator(0, "init")).eval()
    extractor = wrap_encoder(net.backbone, "resnet12_anrot")
    rng = randomness.make_generator(0, "distance")
    floats = torch.rand(timed, 3, size, size, generator=rng).contiguous(memory_format=torch.channels_last)
    pixels = quantise(floats)
    sets = {d: torch.randn(2, images, d, generator=rng) for d in (extractor.num_features, 2048)}

    @torch.no_grad()
    def encoder_alone(k: int) -> None:
        for batch in torch.split(floats, training.IMAGES_PER_PASS):
            extractor.net(batch)

    extraction = {
        "encoder alone": encoder_alone,
        "features": lambda k: frechet.extract_features(extractor, torch.split(pixels, training.IMAGES_PER_PASS)),
    }

    def compute_distance(features: Tensor, repeat: int) -> float:
        return frechet.distance(features[0], features[1])

    distances = {f"distance, {d} features": partial(compute_distance, both) for d, both in sets.items()}
    seconds = interleave({**extraction, **distances}, repeats)
    scale = images / timed
    seconds |= {name: scale_seconds(seconds[name], scale) for name in extraction}
    about: TimingSettingsRecord = {
        "reference": "encoder alone",
        "repeats": repeats,
        "images timed": timed,
        "images counted": images,
    }
    what = f"Fréchet distance of {images:,} images, {size} px"
    return write_timing(f"distance-{size}px", what, about, seconds, torch.device("cpu"))
