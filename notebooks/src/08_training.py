# %% [markdown]
# # Training: how do you train for clean, attacked and noisy images at once, and what does it cost?
#
# A net that has only seen clean photographs is lost when pixels change a little. The remedy is old and plain: show it
# the changed images while it learns. This notebook builds one training step, says which problem it solves, trains two
# nets before your eyes of which one becomes robust within a minute, and looks at what robustness costs in time and in
# accuracy, and at what each part of a recipe buys.
#
# **You will be able to**
# - write the loss of a robust training step, and derive it from a min-max problem,
# - count what a robust step costs before you run it,
# - resume a training so exactly that nobody can tell it was stopped,
# - notice when a training against a weak attack has learnt to beat only that attack.
#
# **Time**: 75 minutes of reading and exercises. Running takes less than a minute at smoke and ten to fifteen minutes at
# laptop on two cores, for two real trainings with their tests; paper is longer, meant for a GPU and not timed. The
# full-length trainings of a table are hours of work for the command `anrot run`, not for a notebook.
# **Needs**: 03 and 04 explain the attack and the noise, 06 and 07 the distance and Hesim.

# %% tags=["parameters"]
PRESET = None

# %%
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from anrot_lib.attacks import gradient
from anrot_lib.core import checkpoints, configs, devices, paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.resumable import run_resumable
from anrot_lib.core.statistics import compare_paired, interval
from anrot_lib.course import check, lesson
from anrot_lib.data import noise
from anrot_lib.fewshot import episode_loss, evaluation, nets, row_names, training
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.reports import figures, pictures, price, recipes, tables
from anrot_lib.settings import SMOKE, Protocol, Recipe, get_radii

P = lesson.set_up("08", preset=PRESET, images="omniglot-300")

# %% [markdown]
# ## One step
#
# Training is episodic, like testing: five classes (ways), five example images of each (the **support** set), and ten
# images of each to classify (the **queries**). The support set stays as it is. The queries come in three versions:
#
# - **clean**, as they are,
# - **adversarial**: moved within eps a pixel so that the loss rises. One step of FGSM from a random start, through
#   the encoder, the class Gaussians and the distance of the net as it is at this very step,
# - **noisy**: Gaussian noise with a sigma drawn for each image.
#
# eps and sigma depend on the images; the library keeps those of its sets (`get_radii`). On characters training takes a
# larger eps than the test will, for a net learns to hold a little less far than it was attacked.
#
# The loss is a weighted sum of cross-entropies (CE), plus Hesim over the embeddings of all versions together, so that
# an image is drawn towards the noisy and attacked images of its class:
#
# $$L = \sum_v \frac{a_v}{\sum_u a_u}\, CE_v + 0.5 \cdot \text{Hesim}, \qquad
# v \in \{\text{clean, adversarial, noisy}\}$$
#
# The weights $a_v$ are the **shares** of the mixture, written 1:1:1 or 1:0:0. A `Recipe` holds them, with everything
# else that defines a method; a `Budget` holds sizes and lengths.

# %%
radii = get_radii(P.data)
recipe = radii.adapt(Recipe(clean=1, adversarial=1, noisy=1))
print(
    "shares:",
    {name: round(share, 3) for name, share in episode_loss.list_shares(recipe).items()},
)
threat = episode_loss.make_threat(recipe)
print(
    f"attack: {threat.name}, "
    f"{threat.steps} step of {threat.step:.3g} from a {threat.start} start"
)
print(
    f"noise: sigma {recipe.sigma_low:g} to {recipe.sigma_high:g}; in tests eps "
    f"{radii.eps:.3g}, sigma {radii.sigma:g}"
)

# %%
episode = P.episodes(1, way=5, shot=5, query=10, split="train", image_set=P.image_set)
net = create_net(
    P.budget.encoder, "anrot", episode.query.shape[2], generator=P.generator("weights")
).train()
versions = episode_loss.make_query_versions(net, episode, recipe, P.generator)
print({name: tuple(images.shape[1:3]) for name, images in versions.items()})
moved = (versions["adversarial"] - versions["clean"]).abs().max()
print(f"largest change of a pixel by the attack: {moved:.3f}")

# %%
fig, axes = plt.subplots(3, 6, figsize=(6.6, 3.4), layout="constrained")
for line, (name, images) in zip(axes, versions.items(), strict=True):
    pictures.row(line, images[0, ::9][:6])
    line[0].set_ylabel(name)
plt.show()

# %% [markdown]
# Three versions of the same queries. All are easily read. For the net in training the last two are harder than the
# first, in different ways: noise is random, the attack is aimed.
#
# Now the loss of the step in our own words. All images go through the encoder in **one pass**: it is faster than four,
# and batch norm then averages over clean and changed images alike. Since the shares are equal, the weighted sum is the
# mean over all queries.


# %%
def my_step_loss(net, episode, recipe, hesim):
    attacked = episode_loss.make_adversarial_queries(
        net, episode, recipe, P.generator("attack")
    )
    generator = P.generator("noise")
    sigma = noise.draw_sigma(
        episode.query, recipe.sigma_low, recipe.sigma_high, generator
    )
    noisy = noise.add_gaussian(episode.query, sigma, generator)
    support = episode.support.flatten(1, 2)
    maps = net.encode(torch.cat([support, episode.query, attacked, noisy], 1))
    model = net.head.fit(maps[:, : support.shape[1]], episode.support_labels)
    scores = net.head.score(model, maps[:, support.shape[1] :])
    labels = episode.labels.repeat(1, 3)[0]
    entropy = F.cross_entropy(scores.logits[0], labels)
    return entropy + recipe.hesim * hesim(
        episode_loss.flatten_embeddings(scores.embeddings), labels
    )


# %%
hesim = episode_loss.build_hesim(recipe, net.head)
mine = my_step_loss(net, episode, recipe, hesim)
library = episode_loss.compute_episode_loss(net, episode, recipe, hesim, P.generator)
torch.testing.assert_close(mine, library)
print("shape:", tuple(mine.shape), "= one number, equal to the library's")

# %% [markdown]
# ## Which problem this step solves: min-max
#
# A robust net should be right at *every* point of the ball around an image. So what should be small is the loss at the
# worst of them, averaged over images:
#
# $$\min_\theta\; E_{(x, y)} \Big[\max_{\lVert d \rVert_\infty \le \varepsilon} \ell(\theta, x + d, y)\Big]$$
#
# **The inner maximum** is what an attack looks for. **The outer minimum** needs the gradient of the maximum with
# respect to $\theta$. Danskin's theorem says what it is: if $d^*$ attains the maximum, and alone, it is
# $\nabla_\theta\, \ell(\theta, x + d^*, y)$ *with $d^*$ held fixed*. Moving $d^*$ along with $\theta$ would change the
# loss to second order only, for $d^*$ was the best place already. Hence the recipe of Madry et al.: attack the images
# with the net as it is, then take an ordinary training step on the attacked images, without differentiating through the
# attack. PGD finds good $d$ at the price of one pass a step. But the $d$ need not be the very best one; it must be good
# *on average over training*.
#
# **Why one step can be enough.** If the loss is nearly a plane over the ball, the best $d$ is $\varepsilon$ times the
# sign of the gradient, which is FGSM; and training on attacked images is what keeps it near a plane. From the clean
# image alone the net would learn to bend the loss at that one point (**catastrophic overfitting**, below). A random
# start (Wong et al.) asks for flatness all over the ball; N-FGSM (de Jorge et al.) starts from noise of up to
# $2\varepsilon$ and does not project, so its points lie in a ball three times as wide and the plane has to reach
# further. Both cost one step.
#
# How much of the maximum does one step find? We ask the course's two nets.

# %%
asked, eps = P.episodes(4, query=5), P.radii.eps
x = asked.query.flatten(0, 1)
y = asked.labels.flatten()
of = torch.arange(4).repeat_interleave(25)
anywhere = (
    x + eps * (2 * torch.rand(x.shape, generator=P.generator("point")) - 1)
).clamp(0, 1)
SEARCHES = {
    "FGSM": gradient.fgsm(eps, "query"),
    "PGD-20": gradient.pgd(eps, 20, eps / 4, 1, "query"),
}


# %%
def find_losses(name):
    """Mean loss: of the images, of random points of the ball, where each search ends."""
    model = P.net(name).bind(asked.support.flatten(1, 2), asked.support_labels)
    with torch.no_grad():
        found = {
            n: F.cross_entropy(model(p, of), y)
            for n, p in (("the image", x), ("a random point", anywhere))
        }
    for search, threat in SEARCHES.items():
        found[search] = gradient.attack(
            model, x, y, threat, P.generator("search"), of, keep="best"
        ).loss.mean()
    return {place: f"{loss:.1f}" for place, loss in found.items()}


# %%
losses = {name: find_losses(name) for name in ("clean", "mixture")}
lines = [[f"trained: {name}", *found.values()] for name, found in losses.items()]
display(
    Markdown(
        tables.format_markdown([f"loss within eps {eps:g}", *losses["clean"]], lines)
    )
)

# %% [markdown]
# A random point of the ball costs next to nothing: the maximum has to be searched for. One step finds a good part of
# what twenty find, and a larger part of it for the net that was trained on the mixture, whose loss is flatter. Its
# maximum is also far lower. That is what the outer minimisation has achieved.
#
# ## What it costs
#
# Count passes of one image through the encoder. A training pass is 3: forward, backward to the input, backward to the
# weights. A step of the attack is 2, because it needs no gradient of the weights. The attack also encodes the support
# set once, forward only. With $S$ support images, $Q$ queries, $V$ versions and $k$ attack steps, the cost in clean
# steps is at least
#
# $$\frac{3 (S + V Q) + S + 2 k Q}{3 (S + Q)}$$

# %%
COSTS = {
    "1:0:0": Recipe(),
    "1:0:1": Recipe(noisy=1),
    "1:1:1": recipe,
    "1:1:1, PGD-3": replace(recipe, attack_steps=3),
}
for name, other in COSTS.items():
    cost = episode_loss.compute_cost_limit(other, n_support=25, n_query=50)
    print(f"{name:13s} costs at least {cost:.2f} clean steps")

# %%
PARTS = ("support set", "clean", "noisy", "adversarial", "attack")
PAINTS = ("#767676", "#0072B2", "#009E73", "#D55E00", "#773311")


# %%
def draw_cost(shots, queries, attack_steps):
    s, q = 5 * shots, 5 * queries
    passes = (3 * s, 3 * q, 3 * q, 3 * q, s + 2 * attack_steps * q)
    _, axes = plt.subplots(figsize=(6.4, 1.9), layout="constrained")
    at = 0.0
    for name, colour, value in zip(
        PARTS, PAINTS, np.array(passes) / (3 * (s + q)), strict=True
    ):
        axes.barh([1], [value], left=at, color=colour, label=name)
        at += value
    axes.barh([0], [1], color="#BBBBBB")
    axes.set(
        yticks=[0, 1],
        yticklabels=["clean step", f"mixture: {at:.2f}"],
        xlabel="clean steps",
        xlim=(0, 10),
    )
    axes.legend(fontsize=9, ncols=5, loc="upper right", bbox_to_anchor=(1, 1.3))
    plt.show()


# %%
lesson.explore(
    draw_cost,
    {"shots": 5, "queries": 10},
    shots=[1, 5],
    queries=[5, 10, 15],
    attack_steps=[1, 3, 7, 10],
)

# %% [markdown]
# With one step the attack costs no more than one version of the queries; the versions themselves are the larger part.
# With seven or ten attack steps the attack outweighs everything else. This is why FGSM is tempting, and the alarm
# further below tells
# when it is not enough. What a step took on a real machine, side by side, stands in
# [docs/results/speed.md](../docs/results/speed.md).

# %% [markdown]
# ## Two trainings, live
#
# Same episodes, same initial weights, same number of steps: once clean, once on the mixture. Training draws episodes
# from the training classes and takes Adam steps with a rate that falls along a cosine; at intervals it asks the
# **validation** classes and keeps the net that does best there. We look over its shoulder: while it runs, each net is
# tested on validation episodes clean, and under PGD-10 with the eps of the test. Nothing of that flows back.

# %%
steps = P.pick(200, 400, 2000)
budget = replace(P.budget, episodes=steps, validate_every=steps // 2, episodes_per_step=1)
budget = replace(
    budget, train_query=P.pick(5, 10, 10), validation_tasks=P.pick(10, 60, 60)
)
protocol, device = radii.make_protocol(way=5, shot=5), devices.resolve_device("auto")
precision = devices.resolve_precision(budget.precision, device)
scratch = TemporaryDirectory()
folder = P.pick(
    Path(scratch.name),
    paths.checkpoints_dir() / "notebook-08",
    paths.checkpoints_dir() / "notebook-08",
)
COLOURS = {
    "clean": figures.pick_colour("anrot-clean"),
    "mixture": figures.pick_colour("anrot"),
}
RECIPES = {
    "clean": radii.adapt(Recipe(learning_rate=3e-3)),
    "mixture": replace(recipe, learning_rate=3e-3),
}
watched = P.manifest(P.pick(8, 40, 40), query=5, split="val", image_set=P.image_set).rows
PROBE = gradient.pgd(protocol.eps, 10, protocol.eps / 4, restarts=1, target="query")
print(
    "steps:",
    steps,
    " watched every",
    steps // 5,
    f" under PGD-10 with eps {protocol.eps:.3g}",
)


# %%
def run(name):
    """Train a recipe, or go on: the training, and (step, clean, PGD-10) of each look."""
    checkpoint = folder / f"{name}-{P.budget.preset}.pt"
    job = training.FewShotTraining(
        P.image_set, RECIPES[name], budget, protocol, device, precision
    )
    bar, looks = iter(lesson.track(range(steps), name)), []

    def progress(step, n_steps, numbers):
        next(bar, None)
        if step == 1 or step % (steps // 5) == 0:
            net = job.net.eval()
            counts = evaluation.count_clean(net, P.image_set, watched, device)
            robust = evaluation.count_attacked(
                net, P.image_set, watched, PROBE, 0, device
            )
            looks.append((step, *(100 * found.mean() / 25 for found in (counts, robust))))

    run_resumable(job, checkpoint, progress)
    checkpoint.unlink()
    return job.finish(), looks


# %%
runs = {name: run(name) for name in RECIPES}
print(
    {
        name: f"{len(found.history)} validations, {len(looks)} looks"
        for name, (found, looks) in runs.items()
    }
)

# %%
fig, axes = plt.subplots(figsize=(5.6, 3), layout="constrained")
for name, (_, looks) in runs.items():
    at, clean, robust = zip(*looks, strict=True)
    axes.plot(
        at, clean, "-o", markersize=3, color=COLOURS[name], label=f"{name}: clean images"
    )
    axes.plot(
        at, robust, ":o", markersize=3, color=COLOURS[name], label=f"{name}: under PGD-10"
    )
    axes.annotate(
        f"{robust[-1]:.0f} %",
        (at[-1], robust[-1]),
        xytext=(5, -3),
        textcoords="offset points",
    )
axes.axhline(20, color="black", linewidth=1, alpha=0.4)
axes.set(
    xlabel="training step",
    ylabel="validation accuracy, %",
    ylim=(0, 100),
    xlim=(0, 1.1 * steps),
)
axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.05, 1))
plt.show()
last = {name: looks[-1][2] for name, (_, looks) in runs.items()}
assert not P.smoke or last["mixture"] > max(45, last["clean"] + 20), (
    "robust within a minute"
)

# %% [markdown]
# Solid lines: clean images; dotted ones: the same images under attack. The thin line is chance, 20 %. On clean images
# both nets learn quickly and end near one another. Under attack they part: the clean training learns features that an
# adversary can turn around, and stays low; the training on the mixture becomes robust within a few dozen steps. Nothing
# was added to the net, and the images are the same. It was only shown the worst case as well.
#
# Now test both nets on the same test episodes, with classes that neither training nor selection has seen, and under a
# longer attack.

# %%
tasks = P.manifest(P.pick(8, 60, 200), query=5, image_set=P.image_set).rows
strong = gradient.pgd(
    protocol.eps, protocol.steps, protocol.step, restarts=1, target="query"
)
ATTACKS = {"FGSM": gradient.fgsm(protocol.eps, target="query"), "PGD-20": strong}


def accuracies(net):
    """Accuracy of every episode, clean, attacked and noisy, by name."""
    judge = evaluation.Evaluator(net, P.image_set, device)
    counts = {"clean": judge.count_clean(tasks)}
    counts |= {
        name: judge.count_attacked(tasks, threat, 0) for name, threat in ATTACKS.items()
    }
    change = evaluation.make_noise_change(protocol.sigma, seed=0)
    counts[f"noise {protocol.sigma:g}"] = judge.count_changed(tasks, change)
    return {name: found / 25 for name, found in counts.items()}


# %%
found = {name: accuracies(trained.net) for name, (trained, _) in runs.items()}
assert all((values["FGSM"] <= values["clean"]).all() for values in found.values()), (
    "an attack never helps"
)
_, axes = plt.subplots(figsize=(6.6, 3), layout="constrained")
stats = {n: {c: interval(v) for c, v in columns.items()} for n, columns in found.items()}
shown = {
    n: {c: (s.mean, s.half_width) for c, s in columns.items()}
    for n, columns in stats.items()
}
figures.draw_bars(axes, shown, COLOURS, chance=20)
plt.show()

# %% [markdown]
# Bars are means over episodes, whiskers 95 % intervals. Compare two bars only if the whiskers let you: with few
# episodes they are wide. Under attack and under noise they leave no doubt.

# %% [markdown]
# ## The mixture's shares
#
# What if we leave the noise out, or train on attacked images alone? One training takes a while, so the slider shows
# trainings that were run before: CIFAR-FS, the larger encoder, 1,500 steps, all with the same recipe but for the
# shares. A new record of other shares appears in the slider by itself.

# %%
SHARES = ("clean", "adversarial", "noisy")
records = P.records("cifar-fs-32px-5way-5shot-laptop")
mixed = next(r for r in records if r["row"] == "anrot")


def but_for_shares(record):
    recipe = configs.add_defaults(Recipe, record["recipe"])
    return {k: v for k, v in recipe.items() if k not in SHARES}


by_shares = {
    ":".join(f"{r['recipe'][v]:g}" for v in SHARES): r
    for r in records
    if but_for_shares(r) == but_for_shares(mixed)
    and r["manifest"]["hash"] == mixed["manifest"]["hash"]
}
wanted = {
    h: c
    for h, c in tables.list_main_columns(mixed["protocol"]).items()
    if not h.startswith("transfer")
}
print("recorded, on the same test episodes:", ", ".join(by_shares))


# %%
def draw_shares(shares, beside):
    groups, colours = {}, {}
    for name in dict.fromkeys((shares, beside)):
        columns = {
            heading: by_shares[name]["columns"][column]
            for heading, column in wanted.items()
        }
        groups[name] = {
            heading: (c["mean"], c["half_width"]) for heading, c in columns.items()
        }
        colours[name] = figures.pick_colour(by_shares[name]["row"])
    _, axes = plt.subplots(figsize=(6.8, 3), layout="constrained")
    figures.draw_bars(axes, groups, colours, chance=20)
    axes.set_title("CIFAR-FS; shares clean : adversarial : noisy", fontsize=9)
    plt.show()


lesson.explore(
    draw_shares,
    {"shares": "1:1:1", "beside": "1:0:0"},
    shares=list(by_shares),
    beside=list(by_shares),
)

# %% [markdown]
# Clean training (1:0:0) has next to nothing left under either attack, below chance, and leads the even mixture on clean
# images by a small margin; noise beside the clean queries (1:0:1) costs nothing there and hardly helps under attack.
# Attacked queries alone (0:1:0) keep most under attack and least on clean images. The even mixture (1:1:1) keeps most
# of its accuracy under noise and stays above chance under PGD with 20 steps, an attack stronger than the one it was
# trained on. The intervals are about test episodes; each recipe was trained once, so a difference of a point or two
# between recipes may be the luck of one training.
#
# The clean column stands on more episodes than the others, so compare within a column.

# %% [markdown]
# ## When the cheap attack is not enough
#
# FGSM takes one large step along the sign of the gradient. That is the best step if the loss is a plane over the
# eps-ball. A net in training can make use of this: it bends the loss so that the one big step lands where the loss is
# small again, while smaller steps still find it large. Accuracy under FGSM shoots up, accuracy under PGD, which takes
# several steps, falls to nothing. It is called **catastrophic overfitting**, and it can happen within a few dozen
# steps. A random start makes it rarer, N-FGSM rarer still: the step no longer begins where the net expects it.
#
# So validation runs a second, stronger attack (PGD-7) on some episodes and compares. The alarm sounds if PGD accuracy
# is at least ten points below its best so far while FGSM accuracy is no lower than it was then. Here it is on four
# **constructed** histories:

# %%
from anrot_lib.fewshot.validation import ALARM_DROP, describe_overfitting

CONSTRUCTED = {
    "healthy": ([0.24, 0.31, 0.36, 0.40, 0.42], [0.22, 0.28, 0.33, 0.36, 0.38]),
    "overfits to FGSM": ([0.24, 0.31, 0.38, 0.72, 0.90], [0.22, 0.28, 0.33, 0.12, 0.01]),
    "a small dip": ([0.24, 0.31, 0.36, 0.38, 0.40], [0.22, 0.28, 0.33, 0.28, 0.34]),
    "both fall": ([0.24, 0.31, 0.36, 0.22, 0.20], [0.22, 0.28, 0.33, 0.18, 0.15]),
}
histories = {
    name: [
        {"step": 100 * (k + 1), "fgsm": f, "adversarial": p}
        for k, (f, p) in enumerate(zip(*lines, strict=True))
    ]
    for name, lines in CONSTRUCTED.items()
}
print(describe_overfitting(histories["overfits to FGSM"][:4]))
print("a drop of PGD accuracy that counts, in points:", round(100 * ALARM_DROP))

# %%
fig, axes = plt.subplots(1, 4, figsize=(8.6, 2.4), sharey=True, layout="constrained")
for place, (name, points) in zip(axes, histories.items(), strict=True):
    steps_of = [h["step"] for h in points]
    alarms = [describe_overfitting(points[:k]) for k in range(1, 6)]
    for key, line, colour, label in (
        ("fgsm", "-.o", "#CC79A7", "FGSM"),
        ("adversarial", ":s", "#D55E00", "PGD-7"),
    ):
        place.plot(
            steps_of,
            [100 * h[key] for h in points],
            line,
            color=colour,
            markersize=4,
            label=label,
        )
    for step in (s for s, alarm in zip(steps_of, alarms, strict=True) if alarm):
        place.axvline(step, color="black", linewidth=1)
    place.set(
        xlabel="step",
        ylim=(0, 100),
        title=f"{name}: {len(list(filter(None, alarms)))} alarms",
    )
axes[0].set_ylabel("validation accuracy, %")
axes[0].legend(fontsize=9, loc="upper left")
plt.show()

# %% [markdown]
# In the second picture the lines part: one rises, the other falls, and the alarm marks the moment. A healthy run shows
# two lines side by side, FGSM slightly above. If both fall, something else is wrong, often the learning rate, and the
# alarm keeps quiet. The cure for real overfitting is more attack steps or a smaller eps.
#
# Did our mixture overfit? The first cell counts the alarms of the recorded training on 1:1:1. The second shows those
# of the training in this notebook; it is not compared in tests, because an alarm hangs on a few predictions, and those
# on the processor.

# %%
print(
    "alarms in the recorded training on 1:1:1:",
    len(by_shares["1:1:1"]["training"]["alarms"]),
)

# %% tags=["nbval-ignore-output"]
print(
    *runs["mixture"][0].alarms or ["no alarm in the training of this notebook"], sep="\n"
)

# %% [markdown]
# ## What each part of a recipe buys
#
# Episodes on a mixture are one recipe. Another one trains the encoder as a plain classifier of all training classes at
# once, attacked, and compares classes in its features afterwards. It comes in parts, each a field of `Recipe`, and each
# with a promise that somebody made for it:
#
# - **classes instead of episodes** (`pretrain`): every image of a batch is told from all training classes, not from
#   four others; more to learn from each attacked image,
# - **a clean part of the batch** (`clean` beside `adversarial`): clean accuracy, at a price under attack,
# - **N-FGSM** in place of FGSM from a random start or of PGD (`attack`, `attack_steps`): one step that does not overfit
#   to itself, at a third of the price of three,
# - **averaged weights** (`averaging`): smoother solutions, which are often more robust,
# - **weight decay, label smoothing, shifted crops, CutMix**: against overfitting, which is worse under attack,
# - **SGD with a one-cycle rate** in place of AdamW or a cosine: more progress in a short training,
# - **TRADES** (`trades`): attacked predictions are drawn to the clean ones instead of to the label,
# - **a head afterwards** (`heads`, `episodic`): ANROT's Gaussians on the robust encoder, as they are or after a short
#   training in episodes.
#
# Promises are no measurements. The study `anrot recipes` changes one part at a time, from one seed schedule, and tests
# on **validation** classes, since it is there to choose by. Its table shows every variant that was recorded, also those
# that did not help.

# %%
STUDY = "cifar-fs-32px-5way-5shot-laptop-recipes"
tried = P.records(STUDY)
if tried:
    display(
        Markdown(
            tables.format_markdown(*recipes.make_table(tried))
            + "\n\n"
            + recipes.write_caption(tried)
        )
    )
    display(recipes.draw(tried))
else:
    print(
        f"There is no record of this study here ({STUDY}). It takes hours on two cores; "
        "this command makes it:"
    )
    print("anrot recipes --data cifar-fs --preset laptop")

# %% [markdown]
# Where the table is there, read it by its differences: each is taken on the same episodes as the unchanged recipe, with
# an interval, and only a star survives the correction for so many comparisons. A part without a star has not been shown
# to buy anything *here*, at this size and length. A part with a minus under attack and a plus on clean images is a
# trade, not a gain.
#
# ## Does robustness cost clean accuracy?
#
# Often, but not always. The next table asks pairs of records: the same recipe trained clean and trained robustly,
# compared on the same clean test episodes. A difference below 0 is the price of robustness; what it buys stands at the
# right, the accuracies of both under attack.

# %%
PAIRS = [
    ("omniglot-300-28px-5way-5shot-smoke", "anrot-clean", "anrot"),
    ("synthetic-32px-5way-5shot-smoke-course", "figures-clean", "figures-mixture"),
    ("cifar-fs-32px-5way-5shot-laptop", "clean-classes", "robust-classes"),
    ("mini-imagenet-32px-5way-5shot-laptop", "clean-classes", "robust-classes"),
]
PAIRS += [
    (f"{data}-32px-5way-5shot-laptop", "anrot-clean", "anrot")
    for data in ("cifar-fs", "fc100", "mini-imagenet")
]
pairs = [(P.records(experiment), *rows) for experiment, *rows in PAIRS]
display(Markdown(tables.format_markdown(*price.make_table(pairs))))

# %% [markdown]
# On handwritten characters and drawn figures the mixture costs nothing, it even helps; on photographs it helps once and
# costs twice. Why? One explanation can be tested here. Noise and attacks are also an **augmentation**: a net that would
# otherwise learn its few training classes too closely is held back. Then the net trained clean should lose more on the
# way from its training classes to new ones than the mixture does.


# %%
def measure_gap(name, images):
    """Clean accuracy (mean, half-width) on training classes and on new ones."""
    gap = {}
    for split in ("train", "test"):
        judge = evaluation.Evaluator(
            P.net(name), images, device, allow_seen=True, split=split
        )
        found = interval(
            judge.count_clean(
                P.manifest(60, query=10, split=split, image_set=images).rows
            )
            / 50
        )
        gap["training classes" if split == "train" else "new classes"] = (
            found.mean,
            found.half_width,
        )
    return gap


# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True, layout="constrained")
for place, images, prefix in (
    (axes[0], P.characters, ""),
    (axes[1], P.figures, "figures-"),
):
    figures.draw_bars(
        place, {name: measure_gap(prefix + name, images) for name in COLOURS}, COLOURS
    )
    place.set(title=f"{images.name}, clean images", ylim=(60, 103))
axes[0].get_legend().remove()
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# (The axis begins at 60.) On **figures** the net that was trained clean loses several points from training classes to
# new ones, the net of the mixture fewer: the augmentation is a part of the answer. On **characters** neither loses
# much, and the mixture leads on its *training* classes already. There it has simply learnt more: both trainings had as
# many steps, but a step of the mixture shows every query three times and costs about three clean ones. Who compares at
# equal cost has to train the clean net longer.
#
# On **photographs** the gap is not measured here. Two explanations of the loss on CIFAR-FS and mini-ImageNet are
# plausible and no more than that: fine texture tells photographed classes apart, and a net that must not react to small
# changes cannot use it; and an encoder of this size, trained this shortly, has not room and time for both tasks. The
# gain on FC100, whose new classes are farther from the training classes, would fit the augmentation. To decide, one
# needs the figure above for photographs, and encoders of several sizes.

# %% [markdown]
# ## Stop and resume
#
# A training of hours will be interrupted. A **checkpoint** holds the weights, the optimizer's state, the step, the
# history, and the best net so far. It does not hold the state of random generators: all random numbers of step $k$ come
# from streams named after $k$, so step $k$ is the same whether or not the computer was switched off before it.
#
# We train six small steps twice: once in one go, once killed after step 3. Checkpoints are written at each validation,
# every two steps.

# %%
small = replace(SMOKE, episodes=6, validate_every=2, validation_tasks=2, train_query=2)


def kill(step, n_steps, numbers):
    if step == 3:
        raise KeyboardInterrupt


def train_small(name, recipe=recipe, progress=None):
    """Train in one go or in parts; returns what the checkpoint holds at the end."""
    path = Path(scratch.name) / f"{name}.pt"
    training.train(P.embedded, recipe, small, Protocol(shot=1), path, progress=progress)
    return checkpoints.load(path)


# %%
straight = train_small("straight")
try:
    train_small("killed", progress=kill)
except KeyboardInterrupt:
    print(
        "killed; the checkpoint is of step",
        checkpoints.load(Path(scratch.name) / "killed.pt")["step"],
    )
resumed = train_small("killed")
print("resumed up to step", resumed["step"])
same = [
    torch.equal(tensor, resumed["weights"][name])
    for name, tensor in straight["weights"].items()
]
assert all(same) and straight["history"] == resumed["history"]
print("tensors:", len(same), " equal to the last bit:", sum(same))

# %% [markdown]
# Step 3 was done twice, with the same result. This holds on a CPU with the same number of threads; a GPU adds
# numbers in an order of its own. A checkpoint also knows what it belongs to. With another recipe it refuses:

# %%
try:
    train_small("killed", replace(recipe, hesim=0.0))
except UserError as error:
    print("refused:", str(error).split("(")[1].split(")")[0])

# %% [markdown]
# ## Your own net
#
# A trained net is a small file: architecture, weights, and what is to be known about it. Write one, and give its path
# wherever this course says `P.net("mixture")`: all figures then show your net.

# %%
path = Path(scratch.name) / "mine.pt"
nets.save_net(path, runs["mixture"][0].net, "anrot", note="trained in notebook 08")
own = P.net(path)
kept = runs["mixture"][0].net.cpu().state_dict()
assert all(torch.equal(t, kept[name]) for name, t in own.state_dict().items()), (
    "loaded as it was saved"
)
print("file:", path.name, " tensors:", len(kept))

# %% [markdown]
# The same from a terminal, at full length, on images that you have prepared:
#
# ```sh
# anrot train --data mine --preset laptop --clean 1 --adversarial 1 --noisy 1 --out mine.pt
# ```
#
# Then `P.net("mine.pt")` in any notebook. `--dry-run` says before how long it will take.

# %% [markdown]
# ## Break it: training as published (D4, D5, D17)
#
# **D4.** The published code puts the clean, the adversarial and the noisy set into one loader, in this form:

# %%
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

sets = [TensorDataset(images[0], episode.labels[0]) for images in versions.values()]
loader = DataLoader(sets, batch_size=64)
print("images:", sum(map(len, sets)), " batches of 64:", len(loader))
try:
    next(iter(loader))
except TypeError as error:
    print("TypeError:", str(error).split(";")[0])

# %% [markdown]
# The list itself is taken for a data set with three items. Its length looks harmless; asked for a batch, it fails. The
# error does not come up as long as nobody iterates. Joined properly, the loader gives batches:

# %%
joined = DataLoader(ConcatDataset(sets), batch_size=64)
images, labels = next(iter(joined))
print("batches:", len(joined), " first one:", tuple(images.shape), tuple(labels.shape))

# %% [markdown]
# **D5.** The published training loop iterates over another loader, that of the clean images. So what it trains is the
# recipe 1:0:0. In our terms, these are the versions of the queries that its step sees, and this is how the outcome
# differs:

# %%
print(
    "as published, a step sees:",
    list(episode_loss.make_query_versions(net, episode, Recipe(), P.generator)),
)

# %% [markdown]
# The published loop follows the clean recipe. How that one falls, and when the mixture does, stands in the figures of
# the live training above, and over all radii in notebooks 03 and 09. Whether the published numbers came from exactly
# this loop is not known.
#
# **D17.** The published loop runs 80,000 episodes at a constant rate, without a seed, without validation and without a
# checkpoint, once. Each of these can be looked at. First the seed:

# %%
again, other = train_small("again"), train_small("other", replace(recipe, seed=1))
for name, found in (("same seed", again), ("another seed", other)):
    differ = sum(
        not torch.equal(tensor, found["weights"][n])
        for n, tensor in straight["weights"].items()
    )
    print(f"{name}: {differ} of {len(straight['weights'])} tensors differ")

# %% [markdown]
# Without a seed every run is "another seed", and nobody can repeat it, its author included. Next the schedule: some
# rows were recorded with a constant rate and with the cosine, on the same test episodes.

# %%
constant = {r["row"]: r for r in P.records("cifar-fs-32px-5way-5shot-laptop-constant")}
lines = []
for record in records:
    other = constant.get(record["row"])
    if other and other["manifest"]["hash"] == record["manifest"]["hash"]:
        gain = compare_paired(
            *(r["columns"]["clean"]["correct"] / np.float64(75) for r in (other, record))
        )
        lines.append(
            [
                row_names.title_method(record["row"]),
                f"{gain.mean:+.1f} ± {gain.half_width:.1f}",
            ]
        )
display(
    Markdown(
        tables.format_markdown(
            ["cosine instead of a constant rate", "clean accuracy, points"], lines
        )
    )
)

# %% [markdown]
# An interval without 0 in it is a difference that the test episodes can tell.
#
# ## Exercises
#
# ### 8.1 Predict (5 minutes, ●○○)
# Replace FGSM by PGD with 7 steps. 25 support images, 50 queries, shares 1:1:1: how many clean steps does a step cost
# at least? Give two digits after the point.

# %%
answer = ...
check("8.1", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# 5.56. Training passes: $3 \cdot (25 + 150) = 525$. The attack: $25 + 2 \cdot 7 \cdot 50 = 725$. A clean step:
# $3 \cdot 75 = 225$. The slider of the section "What it costs" shows it too.
# </details>
#
# ### 8.2 The learning rate (5 minutes, ●○○)
# Write the rate of step `step` (from 0) out of `n_steps`: it falls from `full` to 0 along half a cosine wave, and is
# half of `full` in the middle. Return a number.


# %%
def cosine_rate(full, step, n_steps):
    raise NotImplementedError


check("8.2", cosine_rate)

# %% [markdown]
# <!-- help 8.2 -->
#
# ### 8.3 The alarm (15 minutes, ●●○)
# `fgsm` and `pgd` are lists of validation accuracies in [0, 1], oldest first. Return `True` if the last PGD accuracy is
# at least `drop` below the best earlier one while the last FGSM accuracy is no lower than at that best moment.


# %%
def overfits(fgsm, pgd, drop):
    raise NotImplementedError


check("8.3", overfits)

# %% [markdown]
# <!-- help 8.3 -->
#
# ### 8.4 A step on the mixture (20 minutes, ●●●)
# Take one training step. `attack(model, images, labels)` gives the attacked images; it may leave gradients in the
# model. Noisy images are the images plus `sigma` times the normal numbers `n`, clipped to [0, 1]. `shares` are three
# numbers, clean, adversarial, noisy: the loss is the mean of the three cross-entropies with these weights. Let the
# `optimizer` make one step, and return the loss.


# %%
def mixture_step(model, optimizer, images, labels, attack, n, sigma, shares):
    raise NotImplementedError


check("8.4", mixture_step)

# %% [markdown]
# <!-- help 8.4 -->
#
# ### 8.5 One step from noise (12 minutes, ●●○)
# Write the attack of N-FGSM. `images` are in [0, 1], `u` is uniform noise in [-1, 1] of the same shape, `gradient(x)`
# the gradient of the loss at `x`. Start from the images plus $2\varepsilon u$, clipped to [0, 1]; take one step of
# length eps along the sign of the gradient *there*; clip to [0, 1] again. There is no projection back into the ball.


# %%
def n_fgsm(images, u, gradient, eps):
    raise NotImplementedError


check("8.5", n_fgsm)

# %% [markdown]
# <!-- help 8.5 -->

# %% [markdown]
# ## Recorded results
#
# All recorded shares on CIFAR-FS, 5-way 5-shot. The paper claims robustness up to eps = 0.30 (FGSM) and sigma = 0.30,
# but its repository holds no table of robust accuracies. The last column says what a training step costs in clean ones;
# in brackets, counted in passes of the encoder.

# %%
headings = [
    "shares",
    "paper says",
    *(f"{h}, we measured" for h in wanted),
    "clean steps a step",
]
lines = []
for name, record in by_shares.items():
    values = [
        tables.format_column(record["columns"].get(column)) for column in wanted.values()
    ]
    lines.append(
        [name, "no table", *values, tables.format_cost(record, list(by_shares.values()))]
    )
display(Markdown(tables.format_markdown(headings, lines)))
print(tables.write_caption(mixed))

# %% [markdown]
# Per cent, 95 % intervals over episodes, one training each. "Clean steps a step" is the measured time of a training
# step in steps of 1:0:0; in brackets stands the count of the section above, which is a lower bound.
#
# ## Summary
# - A robust step shows the same queries clean, attacked and noisy, in one encoder pass, with shares as weights of the
#   loss.
# - Its cost can be counted: with FGSM the even mixture costs about three clean steps, with PGD-7 more than five.
# - The step solves a min-max problem: an attack for the inner maximum, held fixed while the outer step is taken.
# - On easy images a minute of it is enough to see a robust net. On photographs robustness is bought with clean
#   accuracy; shares and the other parts of a recipe set the price.
# - A weak attack in training needs a stronger one in validation, or overfitting to it goes unseen.
# - Seeds, a schedule, validation, checkpoints: each is a few lines, and each decides whether a number can be repeated.
#
# ## References
# - I. Goodfellow et al., Explaining and Harnessing Adversarial Examples, arXiv 1412.6572.
# - A. Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, arXiv 1706.06083.
# - E. Wong et al., Fast is better than free: Revisiting adversarial training, arXiv 2001.03994.
# - P. de Jorge et al., Make some noise: Reliable and efficient single-step adversarial training, arXiv 2202.01181.
# - H. Zhang et al., Theoretically principled trade-off between robustness and accuracy (TRADES), arXiv 1901.08573.
# - J. M. Danskin, The theory of max-min, with applications, SIAM Journal on Applied Mathematics 1966.
# - M. Goldblum et al., Adversarially Robust Few-Shot Learning: A Meta-Learning Approach, arXiv 1910.00982.
# - G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220.
