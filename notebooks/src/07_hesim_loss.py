# %% [markdown]
# # Hesim: how does a contrastive loss pull classes apart, and when does it do nothing?
#
# Cross-entropy asks of a query only that it is nearest to its own class. It does not ask that images of a class lie
# close together, nor that they come from a clean image or a noisy one. A **contrastive loss** asks exactly this: it
# compares images with images. ANROT-HELANet adds one, named Hesim, to its training. It works on an overlap of
# distributions, and such an overlap can die in many dimensions; a slip in the masks can kill the loss altogether.
#
# **You will be able to**
# - write a contrastive loss with masks and a log-sum-exp, and say what each of its parts is for,
# - say what the temperature does to the push on near and on far negatives,
# - recognise a loss that is a constant: by its value, and by its gradient,
# - use the miners of an existing library with a distance of your own.
#
# **Time**: 55 minutes of reading and exercises; running takes seconds at every preset.
# **Needs**: 06 explains the Bhattacharyya distance; everything else is here.

# %% tags=["parameters"]
PRESET = None

# %%
import math

import matplotlib.pyplot as plt
import torch

from anrot_lib.course import check, lesson
from anrot_lib.course.exercises import use_answer
from anrot_lib.fewshot.hesim import BhattacharyyaCoefficient, Hesim, flatten_gaussians
from anrot_lib.reports import figures, pictures

P = lesson.set_up("07", preset=PRESET)

# %% [markdown]
# ## Pull and push
#
# An **embedding** is what the encoder makes of an image: here the Gaussian of its features. Take one image as the
# **anchor**. Other images of its class are its **positives**, all images of other classes its **negatives**. With a
# similarity $s$, the loss of an anchor $i$ and one of its positives $p$ is
#
# $$\ell(i, p) = -\ln \frac{e^{s_{ip}/T}}{e^{s_{ip}/T} + \sum_{n} e^{s_{in}/T}}$$
#
# where $n$ runs over all negatives of $i$. This is cross-entropy for the question "which of these is of the anchor's
# class?". The loss of a batch is the mean over all positive pairs. It is known as NT-Xent; $T$ is the **temperature**.
#
# Hesim takes for $s$ the Bhattacharyya coefficient, the overlap of two Gaussians. Over $C$ channels it is
#
# $$s = \exp(-D_B / C) \in [0, 1]$$
#
# with the Bhattacharyya distance $D_B$ summed over the channels. Dividing by $C$ first matters a great deal; we come
# back to it. First the loss itself. Two things are easy to get wrong in code:
#
# - **The mask.** The pairs that do not belong into the sum must be taken out *before* the exponential, by giving them
#   the value $-\infty$, because $e^{-\infty}$ is 0.
# - **The exponential.** $e^{1/0.01}$ is too large for float32. `logsumexp` and `logaddexp` subtract the largest
#   exponent first, so nothing overflows.
#
# ### 7.1 Hesim (20 minutes, ●●●)
# Write the loss of a batch: `similarity` (B, B), symmetric, `labels` (B,). Return the mean of $\ell(i, p)$ over **all
# positive pairs**, in both directions; an image is no positive of itself. It must stay finite at small temperatures.


# %%
def hesim(similarity, labels, temperature):
    raise NotImplementedError


check("7.1", hesim)

# %% [markdown]
# <!-- help 7.1 -->
#
# From here on the notebook uses your loss if it has passed, and the solution if not.
#
# The library's `Hesim` takes embeddings instead: for Gaussians rows of `[mean, variance]`. We compare the two on 25
# images of five classes, as the trained net of this course sees them.

# %%
my_hesim = use_answer("7.1", hesim)
net, episode = P.net("mixture"), P.episodes(1, way=5, shot=5, query=5)
labels = episode.labels[0]
with torch.no_grad():
    gaussians = net.head.describe(net.encode(episode.query[0]))
embeddings = flatten_gaussians(gaussians)
print("images, [mean, variance]:", tuple(embeddings.shape), " labels:", labels.tolist())

# %%
overlap = BhattacharyyaCoefficient()
similarity = overlap(embeddings, embeddings)
for temperature in (1.0, 0.1, 0.01):
    mine = my_hesim(similarity, labels, temperature)
    library = Hesim(temperature)(embeddings, labels)
    torch.testing.assert_close(mine, library)
    print(
        f"T = {temperature}: difference to the library's loss "
        f"{abs(mine - library).item():.4f}"
    )

# %% [markdown]
# The loss has nothing to do with Gaussians: only the similarity has. Put in cosine similarity, and it must be the
# `NTXentLoss` of pytorch-metric-learning, an independent implementation.

# %%
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import NTXentLoss

vectors = torch.randn(25, 16, generator=P.generator("vectors"))
ours = Hesim(0.1, distance=CosineSimilarity())(vectors, labels)
theirs = NTXentLoss(0.1, distance=CosineSimilarity())(vectors, labels)
torch.testing.assert_close(ours, theirs)
print(f"with cosine similarity: {ours:.3f}   NTXentLoss: {theirs:.3f}")

# %% [markdown]
# What does the loss reward? Below are the similarities of all 25 images, ordered by class, A to E: once through an
# encoder with random weights, once through the trained one.

# %%
from anrot_lib.fewshot.classifier import create_net

untrained = create_net(
    "tiny", "anrot", attention=True, generator=P.generator("weights")
).eval()
with torch.no_grad():
    first = flatten_gaussians(untrained.head.describe(untrained.encode(episode.query[0])))
before, after = Hesim(0.1)(first, labels), Hesim(0.1)(embeddings, labels)
assert after < before, "the loss is smaller after training"

# %%
fig, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
for place, rows, name in zip(
    axes, (first, embeddings), ("random weights", "trained"), strict=True
):
    pictures.heat(
        place, overlap(rows, rows), f"{name}, loss {Hesim(0.1)(rows, labels):.2f}"
    )
    place.set(
        xticks=range(2, 25, 5),
        xticklabels="ABCDE",
        yticks=range(2, 25, 5),
        yticklabels="ABCDE",
    )
plt.show()

# %% [markdown]
# Bright means similar; each panel has its own scale. After training the blocks on the diagonal stand out more: images
# of a class overlap more with each other than with the rest. The classes are test classes, which the encoder has never
# seen. The loss counts how well the blocks stand out.

# %% [markdown]
# ## What pulls on what
#
# The loss of a pair can be read as a tug of war. Its derivatives by the similarities are
#
# $$\frac{\partial \ell}{\partial s_{in}} = \frac{1}{T}\,w_n \qquad
# \frac{\partial \ell}{\partial s_{ip}} = -\frac{1}{T} \sum_n w_n \qquad
# w_n = \frac{e^{s_{in}/T}}{e^{s_{ip}/T} + \sum_m e^{s_{im}/T}}$$
#
# All negatives push with weights $w_n$, and the positive is pulled with their sum. A pair that is solved, with $s_{ip}$
# far above all $s_{in}$, has weights near 0 and leaves the others alone. The temperature decides who pushes:

# %%
negatives, positive = torch.tensor([0.8, 0.7, 0.6, 0.4, 0.2, 0.1]), torch.tensor([0.75])
fig, axes = plt.subplots(figsize=(5.6, 2.7), layout="constrained")
for k, (temperature, colour) in enumerate(
    [(1.0, "#3D9BD8"), (0.3, "#009E73"), (0.1, "#773311"), (0.03, "#D55E00")]
):
    weights = (torch.cat([positive, negatives]) / temperature).softmax(0)[1:]
    places = torch.arange(6) + 0.2 * (k - 1.5)
    axes.bar(places, weights, 0.18, color=colour, label=f"T = {temperature:g}")
axes.set(xticks=range(6), xticklabels=[f"{s:g}" for s in negatives.tolist()])
axes.set(
    xlabel="similarity of the negative to the anchor (positive: 0.75)",
    ylabel="weight of its push",
)
axes.legend(fontsize=9)
plt.show()

# %% [markdown]
# At $T = 1$ all six negatives push about equally, although one is nearer than the positive and one is far away. At
# $T = 0.03$ practically only the nearest one pushes. A high temperature spreads the effort over pairs that are solved;
# a low one listens to the hardest pair alone, which may be a mislabelled image.
#
# Now move everything yourself. Twelve points in the plane are the means of Gaussians with variance 1, four in each of
# three classes. `gap` is the distance of the class centres from the middle, `spread` the width of a class.

# %%
CLASSES = ("#0072B2", "#773311", "#009E73")
kinds = torch.arange(3).repeat_interleave(4)
angles = 2 * math.pi * torch.arange(3) / 3 + math.pi / 2
directions = torch.stack([angles.cos(), angles.sin()], 1)[kinds]
offsets = torch.randn(12, 2, generator=P.generator("plane"))


def plane(means):
    """Rows [mean, variance] for points in the plane, all variances 1."""
    return torch.cat([means, torch.ones_like(means)], 1)


# %%
def forces(means, temperature):
    """The loss, its arrow -gradient at every point, its slope in every similarity."""
    means = means.clone().requires_grad_()
    similarity = overlap(plane(means), plane(means))
    loss = my_hesim(similarity, kinds, temperature)
    gradient, pulls = torch.autograd.grad(loss, (means, similarity))
    return loss.item(), -gradient, pulls


# %%
def scatter(axes, means, title):
    axes.scatter(*means.T, s=36, c=[CLASSES[k] for k in kinds], zorder=3)
    axes.set(xlim=(-5.5, 5.5), ylim=(-5, 6), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)


def draw_plane(temperature, gap, spread):
    means = gap * directions + spread * offsets
    loss, arrows, pulls = forces(means, temperature)
    _, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.6))
    scatter(left, means, "green pulls, orange pushes on the ringed anchor")
    left.scatter(*means[0], s=120, facecolors="none", edgecolors="black", zorder=4)
    strongest = pulls[0].abs().max().clamp_min(1e-4)
    for other in range(1, 12):
        colour = pictures.RIGHT if kinds[other] == 0 else pictures.WRONG
        width = 4 * (pulls[0, other].abs() / strongest).item()
        left.plot(*torch.stack([means[0], means[other]]).T, color=colour, linewidth=width)
    longest = arrows.norm(dim=1).max().item()
    scatter(right, means, f"loss {loss:.3f}, longest gradient {longest:.4f}")
    shown = 2 * arrows / max(longest, 1e-3)
    right.quiver(*means.T, *shown.T, angles="xy", scale_units="xy", scale=1, width=0.007)
    plt.show()


# %%
lesson.explore(
    draw_plane,
    {"temperature": 0.1, "gap": 2.0, "spread": 1.0},
    temperature=[0.03, 0.1, 0.3, 1.0],
    gap=[0.0, 0.5, 1.0, 2.0, 3.0],
    spread=[0.2, 0.5, 1.0],
)

# %% [markdown]
# Left: the thicker a line, the more that pair weighs for the anchor. Right: where every point would move. The longest
# arrow is drawn two units long; its true size is in the title. The classes drift apart and each contracts. Points
# between two classes have the longest arrows.
#
# Try three things. Lower the temperature to 0.03: the lines become few, the nearest negatives take over. Move `gap` to
# 3 with a small spread: the loss and the arrows go towards 0, the classes are far enough apart. Set `gap` to 0
# with a small spread: the three classes lie on top of each other, and the loss is near $\ln(1 + 8) = 2.2$, because each
# of the eight negatives is about as similar as the positive.
#
# Following the arrows is gradient descent. Here it is for 150 steps, on the points themselves:

# %%
means = torch.nn.Parameter(0.7 * directions + 1.2 * offsets)
optimizer, snapshots = torch.optim.Adam([means], lr=0.08), {}
for step in range(151):
    loss = my_hesim(overlap(plane(means), plane(means)), kinds, 0.1)
    if step in (0, 30, 150):
        snapshots[step] = (means.detach().clone(), loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
values = [value for _, value in snapshots.values()]
assert values[0] > values[1] > values[2] < 0.1

# %%
fig, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
for place, (step, (where, value)) in zip(axes, snapshots.items(), strict=True):
    scatter(place, where, f"step {step}, loss {value:.2f}")
plt.show()

# %% [markdown]
# From a mixed heap to three separate classes. No class centre was ever computed: pairs alone did it. In training the
# points cannot move freely; the arrows go on into the weights of the encoder.

# %% [markdown]
# ## Which pairs? Miners
#
# A batch of 25 images has 100 positive pairs, counted in both directions, and 500 negative ones. A **miner** chooses
# among them, usually the hard ones. Because `Hesim` stands on the base classes of pytorch-metric-learning, all of its
# miners work, given the same similarity.

# %%
from pytorch_metric_learning import miners

same, itself = labels[:, None] == labels[None], torch.eye(25, dtype=torch.bool)
print(
    "positive pairs:", int((same & ~itself).sum()), " negative pairs:", int((~same).sum())
)
choices = {
    "all pairs": None,
    "hardest pair of each anchor": miners.BatchHardMiner(distance=overlap),
    "multi-similarity, margin 0.02": miners.MultiSimilarityMiner(0.02, distance=overlap),
    "multi-similarity, margin 0.1": miners.MultiSimilarityMiner(0.1, distance=overlap),
    "pairs beyond 0.9": miners.PairMarginMiner(0.9, 0.9, distance=overlap),
}

# %%
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

kept = {}
for name, miner in choices.items():
    found = (
        lmu.get_all_pairs_indices(labels) if miner is None else miner(embeddings, labels)
    )
    anchor, positive, anchor_of_negative, negative = lmu.convert_to_pairs(found, labels)
    picture = torch.zeros(25, 25)
    picture[anchor, positive] = 1
    picture[anchor_of_negative, negative] = -1
    kept[name] = (picture, Hesim(0.1)(embeddings, labels, found).item())
for name, (picture, _) in list(kept.items())[:2]:
    counts = [(picture == sign).sum(1).unique().tolist() for sign in (1, -1)]
    print(f"{name}: positives of an anchor {counts[0]}, negatives {counts[1]}")

# %%
from matplotlib.colors import ListedColormap

POLES = ListedColormap([pictures.WRONG, "#EEEEEE", pictures.RIGHT])


def draw_miner(miner):
    picture, loss = kept[miner]
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained")
    pictures.heat(left, similarity, "similarity")
    right.imshow(picture, cmap=POLES, vmin=-1, vmax=1, interpolation="nearest")
    right.set_title(
        f"kept pairs: {int((picture > 0).sum())} positive, "
        f"{int((picture < 0).sum())} negative",
        fontsize=9,
    )
    for place in (left, right):
        place.set(
            xticks=range(2, 25, 5),
            xticklabels="ABCDE",
            yticks=range(2, 25, 5),
            yticklabels="ABCDE",
        )
    fig.suptitle(f"{miner}: loss {loss:.2f}", fontsize=9)
    plt.show()


lesson.explore(draw_miner, {"miner": "multi-similarity, margin 0.02"}, miner=list(kept))

# %% [markdown]
# Green squares are kept positives, orange ones kept negatives; a row is an anchor. Compare a row on the right with the
# same row on the left. The multi-similarity miner keeps a negative if it is nearly as similar as the anchor's least
# similar positive, and drops the rest: a wider margin keeps more. Losses under different miners are means over
# different pairs, so do not compare their values. The course trains without a miner: 50 queries in three versions, 150
# embeddings a step, give enough pairs.

# %% [markdown]
# ## When it does nothing: the overlap of all dimensions
#
# Why $\exp(-D_B / C)$ and not the overlap itself, $\exp(-D_B)$? $D_B$ adds up over channels. With 256 of them it is
# soon above 100, and $e^{-104}$ is 0 in float32. Then all similarities between different images are 0, and with 20
# negatives the loss is
#
# $$-\ln \frac{e^0}{e^0 + 20\, e^0} = \ln(1 + 20) = 3.0445$$
#
# whatever the images are. Test both forms on the same 25 Gaussians of 256 channels, where images of one class are
# nearer to each other than to the rest.

# %%
g = P.generator("many channels")
centres = 3 * torch.randn(5, 256, generator=g)
wide = torch.cat(
    [centres[labels] + 2.5 * torch.randn(25, 256, generator=g), torch.ones(25, 256)], 1
)
for name, divided in (("exp(-D_B / C)", True), ("exp(-D_B)", False)):
    rows = wide.clone().requires_grad_()
    loss = Hesim(0.1, distance=BhattacharyyaCoefficient(per_dimension=divided))(
        rows, labels
    )
    gradient = torch.autograd.grad(loss, rows)[0]
    assert divided == bool((loss - math.log(21)).abs() > 0.1) == bool(gradient.any())
    print(
        f"{name:14s} loss {loss:.3f}   numbers of the gradient that are not 0: "
        f"{int((gradient != 0).sum()):,}"
    )
print(f"ln(1 + 20)     loss {math.log(21):.3f}")


# %% [markdown]
# The first form sees the classes. The second is a constant: no gradient, no learning, and no error message either.
# When does it happen? The next figure takes the first channels of the same 25 Gaussians, more and more of them.
# The trained net with its 64 channels, asked first, is on the edge already: what is left of the overlap between classes
# is next to nothing.

# %%
joint = BhattacharyyaCoefficient(per_dimension=False)(embeddings, embeddings)
assert joint[~same].median() < 1e-3 and similarity[~same].median() > 0.5


# %%
def loss_and_gradient(dims, divided):
    rows = torch.cat([wide[:, :dims], wide[:, 256 : 256 + dims]], 1).requires_grad_()
    loss = Hesim(0.1, distance=BhattacharyyaCoefficient(per_dimension=divided))(
        rows, labels
    )
    return loss.item(), torch.autograd.grad(loss, rows)[0][:, :dims].norm().item()


# %%
counts = [2, 4, 8, 16, 32, 64, 128, 256]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.7), layout="constrained")
for name, divided, colour in (
    ("exp(-D_B / C)", True, "#0072B2"),
    ("exp(-D_B)", False, "#D55E00"),
):
    found = [loss_and_gradient(dims, divided) for dims in counts]
    axes[0].plot(
        counts,
        [loss for loss, _ in found],
        marker="o",
        markersize=3,
        color=colour,
        label=name,
    )
    axes[1].plot(
        counts,
        [max(size, 1e-12) for _, size in found],
        marker="o",
        markersize=3,
        color=colour,
    )
axes[0].axhline(
    math.log(21), color="black", linestyle=":", linewidth=1, label="ln(1 + 20)"
)
axes[0].set(xscale="log", xlabel="channels C", ylabel="loss", ylim=(0, None))
axes[1].set(
    xscale="log",
    yscale="log",
    xlabel="channels C",
    ylabel="length of the gradient",
    ylim=(1e-12, 10),
)
axes[0].legend(fontsize=9)
plt.show()

# %% [markdown]
# With two or four channels both forms have a gradient. Then the joint overlap runs into the dotted line and its
# gradient falls off a cliff (zeros are drawn at the lower edge). The averaged form keeps its gradient, and its loss
# falls, because more channels are more evidence about the classes.

# %% [markdown]
# ## Break it: the published Hesim (D15, D16)
#
# The published code arrives at the same dead end by another way. It differs in two points.
#
# **D16.** It works on the score matrix, queries by classes, and not on embeddings. Scores are negative distances; each
# row is divided by its length, and rows are compared by cosine. All scores are negative, so all rows point into the
# same corner; at the start of a training, when every class gets about the same score, they are practically one
# direction:

# %%
near_start = -(10 + 0.1 * torch.rand(25, 5, generator=P.generator("near start")))
rows = torch.nn.functional.normalize(near_start, dim=1)
print(f"smallest cosine of two rows, whatever their classes: {(rows @ rows.T).min():.4f}")

# %% [markdown]
# **D15.** Pairs that do not belong into the sum get the most negative number of float32, about $-3.4 \cdot 10^{38}$.
# Only after that, a square root of the absolute value is taken. Follow one such number:

# %%
lowest = torch.tensor(torch.finfo(torch.float32).min)
root = lowest.abs().sqrt()
print(
    f"masked: {lowest:.1e}   root of its magnitude: {root:.1e}   "
    f"exponential: {root.exp()}"
)
ratio = torch.tensor(5.0) / root.exp()
floor = torch.finfo(torch.float32).tiny
print(
    f"positive / (positive + sum) = {ratio:.0f}   "
    f"-log(0 + smallest normal number) = {-math.log(floor):.4f}"
)
print(f"126 ln 2 = {126 * math.log(2):.4f}")

# %% [markdown]
# "Ignore this pair" has become "this pair is infinitely similar". Every ratio is 0, and only the small constant that
# guards the logarithm is left: $-\ln 2^{-126} = 126 \ln 2$. The value does not depend on the scores, so it cannot have
# a gradient. Let us see it for three kinds of scores: random, all equal, and perfect.

# %%
from anrot_lib.fewshot.heads import published

random_scores = -torch.rand(25, 5, generator=P.generator("scores"))
equal_scores, perfect_scores = torch.full((25, 5), -1.0), torch.eye(5)[labels] - 1
kinds_of_scores = {
    "random": random_scores,
    "uniform": equal_scores,
    "perfect": perfect_scores,
}
for name, scores in kinds_of_scores.items():
    scores = scores.clone().requires_grad_()
    loss = published.hesim(scores, labels)
    gradient = torch.autograd.grad(loss, scores)[0]
    print(
        f"{name:8s} as published: {loss:.4f}   largest gradient: {gradient.abs().max():g}"
    )

# %% [markdown]
# Perfect scores are not better than random ones. The published loop ends with the remark that the loss starts at 45.
# Cross-entropy over five classes starts at $\ln 5$, and half of the constant is added:

# %%
print(f"ln 5 + 0.5 x 126 ln 2 = {math.log(5) + 0.5 * 126 * math.log(2):.3f}")

# %% [markdown]
# This is the value that the remark names. With any other input the picture is the same. Below, scores move from
# random to perfect; our loss takes them as logits of a softmax, whose overlap is the similarity.

# %%
steps = torch.linspace(0, 1, 21)
paths = [(1 - a) * random_scores + a * 8 * perfect_scores for a in steps]
flat = [published.hesim(scores, labels).item() for scores in paths]
falling = [Hesim(0.1, kind="simplex")(scores, labels).item() for scores in paths]
assert len(set(flat)) == 1 and falling[0] > falling[10] > falling[20]

# %%
fig, axes = plt.subplots(figsize=(4.8, 2.8), layout="constrained")
axes.plot(steps, flat, color=figures.pick_colour("published"), label="as published")
axes.plot(
    steps,
    falling,
    color=figures.pick_colour("anrot"),
    label="masks before the exponential",
)
axes.set(
    xlabel="from random (0) to perfect scores (1)",
    ylabel="loss",
    yscale="log",
    ylim=(1e-3, 300),
)
axes.legend(fontsize=9)
plt.show()

# %% [markdown]
# The grey line is flat, the other one falls. With the constant in it, a loss curve looks normal: cross-entropy on top
# still falls. What gives it away is the gradient. The gradient of cross-entropy, with and without the published term:

# %%
scores = random_scores.clone().requires_grad_()
plain = torch.nn.functional.cross_entropy(scores, labels)
with_term = plain + 0.5 * published.hesim(scores, labels)
one, other = (
    torch.autograd.grad(loss, scores, retain_graph=True)[0] for loss in (plain, with_term)
)
print(
    f"the term adds {with_term - plain:.3f}, and of {one.numel()} gradients it changes "
    f"{int((one != other).sum())}"
)

# %% [markdown]
# They are equal to the last bit, so a training with the term and one without end at the same weights. A good habit: for
# every term of a loss, check once that its gradient is not 0. Whether the published numbers came from exactly this code
# is not known.
#
# ## Exercises
#
# 7.1 stands above, where it is needed.
#
# ### 7.2 Predict (3 minutes, ●○○)
# A batch has four classes of three images. All similarities are equal. What is the loss, to two digits?

# %%
answer = ...
check("7.2", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# $\ln 10 = 2.30$. Every pair's sum holds one positive and $3 \cdot 3 = 9$ negatives, all with the same exponential. The
# temperature and the common similarity cancel. A loss that stays at $\ln(1 + \text{negatives})$ sees no difference
# between images.
# </details>
#
# ### 7.3 How hard does it push? (15 minutes, ●●○)
# Return the derivative of the loss of one pair by each of its negatives' similarities, shape (n,). The formula stands
# above the bars of the section "What pulls on what"; do not use autograd.


# %%
def pushes(positive, negatives, temperature):
    raise NotImplementedError


check("7.3", pushes)

# %% [markdown]
# <!-- help 7.3 -->
#
# ### 7.4 Break it (3 minutes, ●○○)
# You train with cross-entropy plus the published Hesim, and raise its weight from 0.5 to 500. What happens to the
# trained net? `"a"`: nothing at all. `"b"`: the classes move farther apart. `"c"`: training diverges.

# %%
answer = ...
check("7.4", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `"a"`. The number that is printed grows, the gradient of the term is 0 with any weight, and so the weights of the net
# are the same.
# </details>

# %% [markdown]
# ## Recorded results
#
# What does Hesim buy? The rows below were trained with and without it. Their heads differ too, so the comparison that
# would answer the question is the one of ANROT with the weight 0.5 and the weight 0.

# %%
from IPython.display import Markdown, display

from anrot_lib.fewshot import row_names
from anrot_lib.reports import tables

records = {r["row"]: r for r in P.records("cifar-fs-32px-5way-5shot-laptop")}
without = [
    r
    for r in records.values()
    if r["recipe"]["method"] == "anrot" and r["recipe"]["hesim"] == 0
]
without = [r for r in without if r["recipe"]["adversarial"] == r["recipe"]["noisy"] == 0]
lines = []
for r in [
    records[row] for row in ("prototypes", "published", "anrot-clean") if row in records
] + without:
    name = row_names.title_method(r["row"]) + (" (no Hesim)" if r in without else "")
    lines.append(
        [
            name,
            f"{r['recipe']['hesim']:g}",
            "-",
            tables.format_column(r["columns"]["clean"]),
        ]
    )
if not without:
    lines.append(["ANROT, trained clean (no Hesim)", "0", "-", "not run"])
lines.append(["ANROT-HELANet, the paper's own setting", "0.5", "90.6 ± 0.5", "not run"])
display(
    Markdown(
        tables.format_markdown(
            ["CIFAR-FS, 5-way 5-shot", "weight of Hesim", "paper says", "we measured"],
            lines,
        )
    )
)

# %% [markdown]
# Per cent of clean test queries, with 95 % intervals. The paper's number and ours are not comparable: ours stand on 200
# images a class instead of 600, at 32 pixels, after 1,500 training episodes. The row "as published" was trained without
# its Hesim, which makes no difference, as you have seen.
#
# ## Summary
# - A contrastive loss compares images with images: positives are pulled, negatives pushed, by weights that sum to the
#   same on both sides.
# - A low temperature gives the push to the hardest negatives, a high one spreads it over all.
# - Mask before the exponential, and keep logarithm and exponential together.
# - The joint overlap of many dimensions is 0 for every pair; $\exp(-D_B / C)$ keeps its gradient.
# - The published Hesim is $126 \ln 2$ for every input. Check each term of a loss by its gradient.
#
# ## References
# - K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, 2016.
# - T. Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, arXiv 2002.05709, equation 1.
# - X. Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, 2019.
# - K. Musgrave et al., PyTorch Metric Learning, arXiv 2008.09164.
# - G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220.
