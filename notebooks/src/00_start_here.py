# %% [markdown]
# # Start here: what is robust few-shot learning, and what will you be able to do?
#
# Show a person five pictures of an animal that they have never seen, and they will name the next one. Few-shot
# classification asks the same of a network: new classes, a handful of examples, no further training. And a network can
# be right on clean pictures and wrong on pictures that look the same to us. This course builds a classifier from
# few examples, attacks it, trains it to withstand, and measures honestly how far that goes.
#
# **You will be able to**
# - say what way, shot, query, support and episode mean, and what chance level is,
# - draw an episode and classify it by hand,
# - tell three kinds of accuracy apart: clean, attacked, noisy,
# - find your way through the course, its sliders, its exercises and its command line.
#
# **Time**: 30 minutes of reading and exercises; running takes seconds at every preset.
# **Needs**: Python and a little PyTorch. Every notebook runs by itself.

# %% tags=["parameters"]
PRESET = None

# %%
import dataclasses

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display

from anrot_lib.attacks import episode, gradient
from anrot_lib.course import catalogue, lesson
from anrot_lib.course.exercises import check
from anrot_lib.data import noise
from anrot_lib.fewshot.heads.prototypes import Prototypes
from anrot_lib.reports import figures, pictures, tables

P = lesson.set_up("00", preset=PRESET, images="omniglot-300")

# %% [markdown]
# ## The course in one figure
#
# Two small nets come with the course. They are built alike, and neither was trained on the characters below. Each is
# shown five examples of each of five characters and names further ones. Then an **adversary** who knows the net changes
# every pixel, by at most $\varepsilon$ of the range from black to white, in ten small steps, each in the direction that
# raises the net's error most. This attack is called PGD; notebook 03 builds it.
#
# One net was trained on **clean** images, the other on a **mixture** of clean, attacked and noisy ones.

# %%
NETS = {"clean images": "clean", "the mixture": "mixture"}
EPS = [0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30]
exams = P.episodes(P.pick(4, 12, 12), way=5, shot=5, query=3)


def pgd(eps):
    return gradient.pgd(eps, steps=10, step=eps / 4, restarts=1, target="query")


def answers(net, query):
    """Whether the net names each query rightly: (episodes, queries)."""
    with torch.no_grad():
        logits = net.scores(dataclasses.replace(exams, query=query)).logits
    return logits.argmax(-1) == exams.labels


def attacked(net, eps):
    """The queries after the attack, and whether the net still names them rightly."""
    query = (
        episode.attack_episodes(net, exams, pgd(eps), P.generator("attack")).query
        if eps
        else exams.query
    )
    return query, answers(net, query)


under = {(name, eps): attacked(P.net(name), eps) for name in NETS.values() for eps in EPS}

# %% [markdown]
# To look at many images at once we lay them out on one sheet. `frames` gives each image a coloured frame.


# %%
def sheet(images, frames=None):
    """Images (rows, columns, C, h, w) as one picture, in frames of the given colours."""
    rows, columns, _, h, w = images.shape
    paper = torch.ones(rows, columns, 3, h + 6, w + 6)
    if frames is not None:
        paper[..., 1:-1, 1:-1] = frames[..., None, None]
    paper[..., 3:-3, 3:-3] = images
    return paper.permute(2, 0, 3, 1, 4).reshape(3, rows * (h + 6), columns * (w + 6))


RIGHT, WRONG = torch.tensor([0.0, 0.62, 0.45]), torch.tensor([0.84, 0.37, 0.0])
COLOURS = {
    "clean": figures.pick_colour("anrot-clean"),
    "mixture": figures.pick_colour("anrot"),
}


# %%
def draw_fall(eps):
    both = [under[name, eps] for name in NETS.values()]
    # some queries of the first exam
    query = torch.stack([query[0, ::2] for query, _ in both])
    frames = torch.where(
        torch.stack([right[0, ::2] for _, right in both])[..., None], RIGHT, WRONG
    )
    _, (left, curves) = plt.subplots(
        1, 2, figsize=(8.6, 2.5), width_ratios=(8, 3.4), layout="constrained"
    )
    pictures.show(
        left,
        sheet(query, frames),
        f"each pixel changed by at most {eps:g}; green: named rightly",
    )
    left.set(yticks=[17, 51], yticklabels=[f"trained on\n{name}" for name in NETS])
    for title, name in NETS.items():
        heights = [100 * under[name, k][1].float().mean().item() for k in EPS]
        curves.plot(EPS, heights, ".-", color=COLOURS[name], label=title)
        curves.plot(eps, heights[EPS.index(eps)], "o", color=COLOURS[name], markersize=8)
    curves.axhline(20, linestyle=":", color="black", linewidth=1, label="guessing")
    curves.set(
        xlabel="eps of PGD-10, pixel range [0, 1]",
        ylabel="named rightly, %",
        ylim=(0, 100),
    )
    curves.set_title(f"{exams.labels.numel()} queries", fontsize=9)
    curves.legend(fontsize=9, loc="upper right", title="trained on", title_fontsize=9)
    plt.show()


lesson.explore(draw_fall, {"eps": 0.10}, eps=EPS)

# %%
left = {key: right.float().mean().item() for key, (_, right) in under.items()}
assert min(left["clean", 0.0], left["mixture", 0.0]) > 0.6, (
    "both nets are good at clean images"
)
assert left["clean", 0.10] < 0.3 and left["mixture", 0.10] > left["clean", 0.10] + 0.2
assert max(left["clean", 0.30], left["mixture", 0.30]) < 0.4, "at 0.30 both have fallen"

# %% [markdown]
# A green frame means that the net is right, an orange one that it is wrong. Each row was attacked through its own net,
# so the two rows carry different changes. The characters stay as readable as they were. At the shown radius the net
# that was trained on clean images gives few right answers, and the one that was trained on the mixture is right about
# most queries. Move the slider up: at 0.30, the radius that the publication speaks of, both have fallen. Robustness is
# a matter of *how far*, and this course teaches how to get it and how to measure it without fooling oneself.
#
# ## The words
#
# An **episode** is one small exam. It has
#
# - $N$ classes, called **ways**, that the network was not trained on,
# - $M$ labelled images of each class, called **shots**. Together they are the **support set**, all that the network is
#   told about these classes,
# - some more images of the same classes, called **queries**. The network must say which of the $N$ classes each of them
#   shows; only the examiner knows.
#
# "5-way 5-shot" is an exam with five classes and five examples of each. Nothing is trained in it: an **encoder**,
# trained on other classes, turns images into numbers, and the classes are compared in these numbers.
#
# Somebody who guesses is right once in $N$ times. That is **chance level**, $1/N$, and every accuracy should be read
# beside it: 40 % is poor with two ways and remarkable with twenty.
#
# The images here are handwritten characters of many alphabets from the data set Omniglot, 20 people's hands for each
# character. They come with the library. Some classes are for training, some for choosing between trainings, the rest
# for exams:

# %%
print(
    "characters:",
    {split: len(classes) for split, classes in P.embedded.splits.items()},
    " images:",
    len(P.embedded),
)
exam = P.episodes(1, way=5, shot=5, query=3)
print(
    "support:",
    tuple(exam.support.shape),
    "= episodes, ways, shots, channels, height, width",
)
print(
    "queries:", tuple(exam.query.shape), "= episodes, queries of all ways together, ..."
)
print("labels: ", exam.labels[0].tolist())

# %%
fig, (left, right) = plt.subplots(
    1, 2, figsize=(6.4, 3.9), width_ratios=(5, 3), layout="constrained"
)
pictures.show(left, sheet(exam.support[0]), "support: five shots of each class")
pictures.show(
    right, sheet(exam.query[0].unflatten(0, (5, 3))), "queries: which class is it?"
)
plt.show()

# %% [markdown]
# One row is one class. On the left are the examples with known class, on the right the queries. In the figure the
# queries stand in the row of their class so that you can check; the network does not know the rows. Each image comes
# from another hand: strokes are longer, rounder, turned or moved, so pixels cannot simply be compared.
#
# ## An episode by hand
#
# All that drawing an episode needs is the class of each image. Choose the classes, then from each class as many images
# as there are shots and queries together. No image is drawn twice, so no query stands in the support set.


# %%
def draw_episode(labels, classes, way, shot, query, generator):
    """Row numbers of an episode: support (way, shot) and queries (way, query)."""
    rows = []
    for c in classes[torch.randperm(len(classes), generator=generator)[:way]]:
        own = (labels == c).nonzero().flatten()
        rows.append(own[torch.randperm(len(own), generator=generator)[: shot + query]])
    return torch.stack(rows).split([shot, query], dim=1)


# %%
labels = torch.as_tensor(P.embedded.labels)
classes = torch.tensor(P.embedded.splits["test"])
support, query = draw_episode(
    labels, classes, way=5, shot=5, query=15, generator=P.generator("by hand")
)
print("support rows:", tuple(support.shape), " query rows:", tuple(query.shape))
assert all(len(labels[row].unique()) == 1 for row in torch.cat([support, query], 1)), (
    "a row is of one class"
)
print("different classes:", len(labels[support[:, 0]].unique()))
print(
    "images in both:",
    len(set(support.flatten().tolist()) & set(query.flatten().tolist())),
)

# %% [markdown]
# ## The simplest classifier
#
# The encoder $f$ turns an image into a vector. The mean of the vectors of a class's shots is its **prototype** $c_k$,
# and a query $x$ gets the class of the nearest prototype:
#
# $$c_k = \frac{1}{M}\sum_{m=1}^{M} f(x_{k,m}) \qquad \hat y(x) = \operatorname{argmin}_k \lVert f(x) - c_k \rVert^2$$
#
# By hand, on the features of a trained net:

# %%
net = P.net("clean")
with torch.no_grad():
    support_maps = net.encode(P.embedded.batch(support).flatten(0, 1))
    query_maps = net.encode(P.embedded.batch(query).flatten(0, 1))
print(
    "a feature map per image:", tuple(query_maps.shape[1:]), "= channels, height, width"
)

# %%
features = query_maps.mean((-2, -1))  # average over the positions of the map
prototypes = support_maps.mean((-2, -1)).unflatten(0, (5, 5)).mean(1)
distances = (features[:, None] - prototypes[None]).square().sum(-1)
right = distances.argmin(1) == torch.arange(5).repeat_interleave(15)
assert right.float().mean() > 1 / 2, "far above chance"
print("distances:", tuple(distances.shape), "= queries, classes")

# %% [markdown]
# The library does the same in its head `Prototypes`. A **head** is the part of a classifier behind the encoder. Its
# answers are **logits**, scores that are larger for likelier classes: here the distances with a minus sign.

# %%
head = Prototypes(channels=64)
model = head.fit(support_maps[None], torch.arange(5).repeat_interleave(5)[None])
logits = head.score(model, query_maps[None]).logits[0].detach()
torch.testing.assert_close(-distances, logits, rtol=1e-4, atol=1e-4)
accuracy = (logits.argmax(1) == torch.arange(5).repeat_interleave(15)).float().mean()
assert accuracy == right.float().mean()
print(
    "logits:",
    tuple(logits.shape),
    "= queries, classes; equal to the library's, and so is every answer",
)

# %% [markdown]
# The classifier that this course is about, ANROT, has another head: it describes a class by a distribution instead of a
# point. Notebooks 05 and 06 explain it. One exam says little; an accuracy that is worth reporting is the mean over
# hundreds of exams with an interval (notebook 09).
#
# ## Clean, attacked, noisy
#
# Back to the two nets. We give both the same exams three times:
#
# - **clean**, as they are;
# - **attacked**: the pixels of a query $x$ move by at most $\varepsilon = 0.10$ in the direction that hurts most. One
#   such step is $x' = \mathrm{clip}\left(x + a\, \mathrm{sign}\, \nabla_x L\right)$, with $L$ the loss that training
#   minimises; PGD repeats it with small $a$ and never leaves the allowed box around $x$;
# - **noisy**: every pixel gets a random number, $x' = \mathrm{clip}(x + \sigma n)$ with $n$ standard normal and
#   $\sigma = 0.3$; notebook 04.
#
# Both units are those of the pixel range from 0 to 1, as everywhere in this course. First, the size of such a change:

# %%
EPS_HERE, SIGMA = P.radii.eps, P.radii.sigma
print(
    f"eps = {EPS_HERE:.2f} of the pixel range, "
    f"about {255 * EPS_HERE:.0f} of 255 grey levels; sigma = {SIGMA:g}"
)


def three_versions(name):
    """The queries clean, attacked and noisy, and for each whether the net is right."""
    noisy = noise.add_gaussian(exams.query, SIGMA, P.generator("noise"))
    return {
        "clean": under[name, 0.0],
        "attacked": under[name, EPS_HERE],
        "noisy": (noisy, answers(P.net(name), noisy)),
    }


seen = {name: three_versions(name) for name in NETS.values()}
assert (seen["clean"]["attacked"][0] - exams.query).abs().max() <= EPS_HERE + 1e-6, (
    "no pixel moves further than eps"
)

# %%
fig, axes = plt.subplots(1, 4, figsize=(7.4, 2.1), layout="constrained")
versions = [query[0, 0] for query, _ in seen["clean"].values()]
pictures.row(axes[:3], versions, list(seen["clean"]))
pictures.change(axes[3], versions[1] - versions[0], 5)
plt.show()

# %% [markdown]
# One query in three versions. The attacked one differs from the clean one by faint shades of grey; the last picture
# shows the change itself, amplified. It looks random and is not: it was computed for this net and this query. The noise
# is larger and plain to see.
#
# Now the exams. Move the slider from exam to exam, and from one net to the other.


# %%
def draw_exam(exam, trained_on):
    _, axes = plt.subplots(
        1, 4, figsize=(8, 2.9), width_ratios=(5, 3, 3, 3), layout="constrained"
    )
    pictures.show(axes[0], sheet(exams.support[exam]), "support")
    for place, (name, (query, right)) in zip(
        axes[1:], seen[trained_on].items(), strict=True
    ):
        frames = torch.where(right[exam][:, None], RIGHT, WRONG).unflatten(0, (5, 3))
        title = f"{name}: {int(right[exam].sum())} of {len(right[exam])} right"
        pictures.show(place, sheet(query[exam].unflatten(0, (5, 3)), frames), title)
    plt.show()


lesson.explore(
    draw_exam,
    {"trained_on": "clean"},
    exam=list(range(len(exams.query))),
    trained_on=NETS,
)

# %% [markdown]
# The net that was trained on clean images is good at clean queries; under the attack and under noise most of its
# answers turn wrong. Switch to the mixture: it is as good on clean queries and keeps most of its answers under either.
# Over all exams together:

# %%
share = {
    name: {v: 100 * right.float().mean().item() for v, (_, right) in vs.items()}
    for name, vs in seen.items()
}
fig, axes = plt.subplots(figsize=(5.2, 2.6), layout="constrained")
for k, (title, name) in enumerate(NETS.items()):
    places = [i + 0.4 * (k - 0.5) for i in range(3)]
    bars = axes.bar(
        places,
        share[name].values(),
        0.38,
        color=COLOURS[name],
        label=f"trained on {title}",
    )
    axes.bar_label(bars, fmt="%.0f", fontsize=9)
axes.axhline(20, linestyle=":", color="black", linewidth=1, label="guessing")
versions = ["clean", f"PGD-10, eps {EPS_HERE:.2f}", f"noise, sigma {SIGMA:g}"]
axes.set(xticks=range(3), xticklabels=versions, ylim=(0, 105), ylabel="named rightly, %")
axes.legend(fontsize=9, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()
assert min(share["mixture"][v] - share["clean"][v] for v in ("attacked", "noisy")) > 20

# %% [markdown]
# Two nets that look alike in a table of clean accuracies are different kinds of nets. Whether what is left under this
# attack would also be left under a stronger one is the question of notebooks 03 and 09; how to train such a net, and
# what it costs, is that of 08.
#
# ## Break it: take the support set away
#
# A few-shot classifier knows the classes only from the support set. Replace it by grey squares and ask again. The
# library's nets are used in two calls: `process_support_set` shows the examples, a call with queries returns logits.


# %%
def ask(support, names, query):
    """Class probabilities (queries, ways) in one exam; `names`: labels of the support."""
    with torch.no_grad():
        net.process_support_set(support, names)
        return net(query).softmax(1)


# %%
support = exam.support[0].flatten(0, 1)
names = exam.support_labels[0]
query = exam.query[0]
views = {
    "with its support set": support,
    "with grey squares": torch.full_like(support, 0.5),
}
fig, axes = plt.subplots(1, 2, figsize=(5, 3), layout="constrained")
for place, (title, shown) in zip(axes, views.items(), strict=True):
    pictures.heat(place, ask(shown, names, query), title, low=0, high=1)
    place.set(
        xticks=range(5),
        xticklabels="ABCDE",
        xlabel="answer",
        yticks=range(1, 15, 3),
        yticklabels="ABCDE",
    )
    place.set_aspect("auto")
axes[0].set_ylabel("class of the query")
plt.show()
spread = ask(views["with grey squares"], names, query) - 1 / 5
print(f"with grey squares every class gets {1 / 5 + spread.abs().max():.2f}")

# %% [markdown]
# Each row is a query, each column a class, bright is probable. With its support set most rows are brightest at the
# right class, along the diagonal. With grey squares all columns are equal: what the net knew of these classes stood in
# the support set, not in its weights. What happens to examples with wrong names is exercise 0.4.

# %% [markdown]
# ## Contents
#
# Drawn from the course's own list. What is planned has a place here and no link yet.


# %%
def entry(notebook):
    link = (
        f"[{notebook.title}]({notebook.stem}.ipynb)"
        if notebook.ready
        else f"{notebook.title} (planned)"
    )
    return f"| {notebook.number:02d} | {link} | {notebook.question} |"


lines = [
    "| | notebook | its question |",
    "| :--- | :--- | :--- |",
    *map(entry, catalogue.NOTEBOOKS),
]
display(Markdown("\n".join(lines)))

# %% [markdown]
# The notebooks follow the way of the data, from files to accuracies, but each runs alone. In a hurry? 03, 06 and 09
# hold the core: the attack, the distance, the measurement.

# %% [markdown]
# ## How to work with a notebook
#
# - **Run** it from top to bottom in JupyterLab. `make lab` opens it. It needs no internet and no graphics card.
# - **Sliders** and buttons stand above their figure when the notebook is live; the arrow keys move them, too. In a PDF
#   you see the first position. Nothing depends on a slider: no later cell reads where it stands.
# - **Exercises** are functions to write, or values to predict. Replace the `raise` or the `...`, run the cell, and the
#   check below answers. It looks at what your function does, not at how it is written. The dots say how hard: ●○○ easy,
#   ●●○ some thought, ●●● a challenge. Three hints and a solution are folded up below each; open one at a time.
# - Where an exercise stands in the middle of a notebook, the rest **goes on with your function** once it has passed,
#   and with the solution until then. So a notebook always runs to its end.
# - **Presets** change sizes and lengths, never a method. Write `PRESET = "laptop"` into the first code cell, or set the
#   environment variable `ANROT_PRESET`.
#
# | preset | images | net | meant for |
# | :--- | :--- | :--- | :--- |
# | smoke | the embedded characters or figures | tiny | a first look; numbers show a mechanism, they are no result |
# | laptop | small; real ones where prepared | the published encoder | real results on a processor |
# | paper | full size | the published encoder | reproduction on a graphics card, from the command line |
#
# This notebook uses the embedded characters and the two small nets at every preset. The net that saw the mixture is not
# magic: it was made by this command, which you can run yourself.

# %%
print(catalogue.read_net_index()["mixture"]["command"])

# %% [markdown]
# ## The whole pipeline from the command line
#
# ```sh
# anrot run                                   # train five models, attack them: minutes
# anrot run --data FOLDER --preset laptop     # the same on a folder of your own images
# anrot train --clean 1 --adversarial 1 --noisy 1 --out mine.pt
# anrot evaluate mine.pt                      # clean, attacked, noisy, with intervals
# anrot predict mine.pt --support EXAMPLES --query PHOTO.jpg
# ```
#
# `make run` is `anrot run` with everything installed first. Add `--dry-run` to hear how long something would take. Each
# run writes a **record**: numbers, settings, hashes of images, split and episodes. The tables in this course
# are drawn from such records.
#
# ## "As published"
#
# The method comes from the paper ANROT-HELANet, and its authors released code in fourteen steps. Where that code
# computes something else than its description says, we keep both. The corrected form is what you use. The other one can
# be seen under the name *as published*, which means: what the released code does when it is run. Whether the published
# numbers came from exactly that code is unknown, so a defect of the code proves nothing about a number. The defects are
# numbered D1 to D27; sections called "Break it" show them.
#
# | step | released file | what it does | here |
# | :--- | :--- | :--- | :--- |
# | 1 | data_loading | images from class folders, classes split | [01](01_loading_and_splits.ipynb) |
# | 2 | data_augmentation_and_dataloader | flips, turns, jitter, mixtures | [02](02_augmentation.ipynb) |
# | 3 | one_hot_encode | labels as 0-1 vectors | [01](01_loading_and_splits.ipynb): labels stay integers |
# | 4 | FGSM_adv_create | attacked images from a small helper network | [03](03_adversarial_examples.ipynb) |
# | 5 | natural_noise_create | Gaussian noise | [04](04_natural_noise.ipynb) |
# | 6 | overall_dataloader | clean, attacked and noisy images together | [08](08_training.ipynb) |
# | 7 | Attention, ResNet12 | the encoder | [05](05_encoder_and_attention.ipynb) |
# | 8 | Hellinger_dist | the distance | [06](06_hellinger_distance.ipynb) |
# | 9 | ANROT_HELANet | class means and scores | [06](06_hellinger_distance.ipynb) |
# | 10 | hyperparameters, task samplers | ways, shots, queries, episodes | [01](01_loading_and_splits.ipynb) |
# | 11 | Hesim, 13 files | the contrastive loss | [07](07_hesim_loss.ipynb) |
# | 12 | loss_functions | cross-entropy plus half of Hesim | [07](07_hesim_loss.ipynb), [08](08_training.ipynb) |
# | 13 | training | the loop over episodes | [08](08_training.ipynb) |
# | 14 | test_evaluation | accuracy on test episodes | [09](09_testing.ipynb) |
#
# Two further files, for reconstructed images, belong to notebook 10.

# %% [markdown]
# ## Exercises
#
# ### 0.1 How a check reacts (3 minutes, ●○○)
# Write chance level as a function of the number of ways. First see what the check says without an answer, and to a
# wrong one.

# %%
check("0.1")
check("0.1", lambda way: 1 / (way - 1))

# %% [markdown]
# Not "wrong" alone: it names the case, what it expected and what it got. Now you.


# %%
def chance(way):
    raise NotImplementedError


check("0.1", chance)

# %% [markdown]
# <!-- help 0.1 -->
#
# ### 0.2 Predict (2 minutes, ●○○)
# How many images does one 5-way 5-shot episode hold, with 15 queries of each class, support and queries together?

# %%
answer = ...
check("0.2", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# 100. Each class has 5 shots and 15 queries, so $5 \cdot (5 + 15)$. Only 25 of them come with a label.
# </details>
#
# ### 0.3 The nearest class mean (10 minutes, ●●○)
# Write the simplest classifier. `support` (images, channels) are features, `labels` (images,) their classes from 0 to
# way - 1 in any order, `query` (queries, channels) features to be named. Return the predicted classes, integers of
# shape (queries,).


# %%
def nearest_mean(support, labels, query):
    raise NotImplementedError


check("0.3", nearest_mean)

# %% [markdown]
# <!-- help 0.3 -->
#
# ### 0.4 Break it (5 minutes, ●●○)
# Give every support image the name of the next class, `(names + 1) % 5`, and ask the net with `ask`. Most of its
# answers are `"a"`: right all the same, because the images did not change; `"b"`: at chance, because the names make no
# sense; `"c"`: wrong, by exactly one class. Try it, then answer with the letter.

# %%
answer = ...
check("0.4", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `"c"`. Compare `ask(support, (names + 1) % 5, query).argmax(1)` with `exam.labels[0]`. The net finds the examples that
# look like the query and repeats the name they were given. Whoever can change the support set decides what the net
# says: support images are worth an attack too (notebook 03).
# </details>

# %% [markdown]
# ## Recorded results
#
# How the two nets of the course do on many more exams, from their records. FGSM is an attack of one step, PGD-20 one of
# twenty. The number after ± is half of the 95 % interval.

# %%
run = {r["row"]: r for r in P.records("omniglot-300-28px-5way-5shot-smoke-course")}
records = [run["anrot-clean"], run["anrot"]]
columns = tables.list_main_columns(records[0]["protocol"])
columns = {
    heading: name for heading, name in columns.items() if name in records[0]["columns"]
}
lines = [
    ["the mixture" if r["recipe"]["adversarial"] else "clean images only"]
    + [tables.format_column(r["columns"].get(name)) for name in columns.values()]
    for r in records
]
display(Markdown(tables.format_markdown(["trained on", *columns], lines)))

# %% [markdown]
# Read the columns from left to right: on clean images the two nets are near one another; under every change the mixture
# is far ahead.
#
# And what is claimed, beside what we measured on real images. The two columns are never mixed, and "not run" is an
# honest entry.

# %%
CLAIMS = [  # setting, paper says, our record
    ("mini-ImageNet, 84 px, 5-way 1-shot, clean", "69.4 ± 0.3", None),
    ("mini-ImageNet, 84 px, 5-way 5-shot, clean", "88.1 ± 0.4", None),
    (
        "mini-ImageNet, 32 px, 5-way 5-shot, clean",
        "no claim",
        "mini-imagenet-32px-5way-5shot-laptop",
    ),
    ("CIFAR-FS, 5-way 5-shot, clean", "90.6 ± 0.5", "cifar-fs-32px-5way-5shot-laptop"),
]
lines = []
for setting, claim, experiment in CLAIMS:
    record = (
        next((r for r in P.records(experiment) if r["row"] == "anrot"), None)
        if experiment
        else None
    )
    measured = tables.format_column(record["columns"]["clean"]) if record else "not run"
    status = "other setting, not comparable" if record else "not run"
    lines.append([setting, claim, measured, status])
display(
    Markdown(
        tables.format_markdown(["setting", "paper says", "we measured", "status"], lines)
    )
)

# %% [markdown]
# Ours is ANROT trained on the mixture. "Other setting" is meant literally: smaller images or fewer images a class, and
# a training far shorter than the published one. These numbers neither confirm nor refute a claim. For
# CIFAR-FS the claimed value stood in an earlier version of the README of the released code.
#
# ## Summary
# - An episode is an exam: $N$ new classes, $M$ labelled shots of each, queries to be named; guessing gives $1/N$.
# - Nothing is trained in an episode. The encoder comes from other classes, the classes come from the support set.
# - Clean accuracy says nothing about attacked accuracy. A change that the eye hardly notices can beat a good net.
# - Training on clean, attacked and noisy images helps. How much, at what cost, and against which attacks is to be
#   measured, not assumed.
# - "As published" means what the released code does; claims and measurements stand in separate columns.
#
# ## References
# - J. Snell, K. Swersky, R. Zemel, Prototypical networks for few-shot learning, NeurIPS 2017.
# - O. Vinyals et al., Matching networks for one shot learning, NeurIPS 2016.
# - I. Goodfellow, J. Shlens, C. Szegedy, Explaining and harnessing adversarial examples, ICLR 2015.
# - G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220, and its released code.
