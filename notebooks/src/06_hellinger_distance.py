# %% [markdown]
# # The Hellinger distance: how far apart are two distributions, and which distance can be trained on?
#
# ANROT-HELANet describes an image, and a class, by a distribution instead of a point. To classify, it must say how far
# two distributions are apart. There are many ways to say it. They agree on what is equal and disagree on everything
# else: on their range, on what they do to outliers, and on whether their gradient survives in many dimensions.
#
# **You will be able to**
# - compute the Hellinger distance of two Gaussians by hand and in code,
# - tell it from the Kullback-Leibler divergence (KL) and the Wasserstein distance by what each is sensitive to,
# - say why a distance with values in [0, 1] can stop a network from learning, and what mends it,
# - show what the published distance computes instead.
#
# **Time**: 55 minutes of reading and exercises; running takes seconds at every preset.
# **Needs**: nothing but this notebook; 05 shows where the distributions come from.

# %% tags=["parameters"]
PRESET = None

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from anrot_lib.course import check, lesson
from anrot_lib.course.exercises import use_answer
from anrot_lib.divergences import DiagonalGaussian, measures, stable
from anrot_lib.reports import figures, pictures

P = lesson.set_up("06", preset=PRESET)

# %% [markdown]
# ## Overlap
#
# Take two probability distributions $p$ and $q$. Their **Bhattacharyya coefficient** measures how much they overlap:
#
# $$BC(p, q) = \int \sqrt{p(x)\, q(x)}\; dx \in [0, 1]$$
#
# It is 1 if they are equal, and 0 if there is no place where both are positive. Two distances come from it:
#
# $$H(p, q) = \sqrt{1 - BC(p, q)} \in [0, 1] \qquad D_B(p, q) = -\ln BC(p, q) \in [0, \infty)$$
#
# $H$ is the **Hellinger distance**, $D_B$ the **Bhattacharyya distance**. $H$ is a metric: it is symmetric and keeps
# the triangle inequality. $D_B$ is symmetric too, grows without bound, and adds up over independent dimensions.
#
# For two lists of probabilities the integral is a sum. Here is a coin that is fair, and one that always shows heads.

# %%
p, q = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
overlap = (p * q).sqrt().sum()
hellinger = (1 - overlap).sqrt()
print(f"BC = {overlap:.5f}   H = {hellinger:.5f}")

# %% [markdown]
# The same number comes out of the distance between the square roots of the probabilities,
# $H = \lVert \sqrt p - \sqrt q \rVert / \sqrt 2$. Square roots of probabilities are points on a sphere, and $H$ is the
# straight line between two of them.

# %%
on_the_sphere = torch.linalg.vector_norm(p.sqrt() - q.sqrt()) / 2**0.5
print(f"H = {on_the_sphere:.5f}")
library = measures.pairwise("hellinger", p[None], q[None])[0, 0]
torch.testing.assert_close(on_the_sphere, library)
print(f"H = {library:.5f} from the library")

# %% [markdown]
# ## Two Gaussians
#
# For one-dimensional Gaussians $N(m, s^2)$ and $N(n, t^2)$ the integral has a closed form:
#
# $$BC = \sqrt{\frac{2 s t}{s^2 + t^2}}\; \exp\left(-\frac{(m-n)^2}{4 (s^2+t^2)}\right)$$
#
# The root is about the widths: it is 1 only if $s = t$. The exponential is about the means. We want $D_B = -\ln BC$,
# because a logarithm of a small number is safe where the small number itself is not.
#
# ### 6.1 The Bhattacharyya distance, stable (15 minutes, ●●○)
# Write $D_B$ of $N(m, s^2)$ and $N(n, t^2)$, value by value. All arguments are tensors of equal shape; `s2` and `t2`
# are **variances**. The answer must be right in 32 bits, too: for Gaussians so far apart that their overlap is 0, and
# for widths that differ by a fraction of a per cent.


# %%
def bhattacharyya(m, s2, n, t2):
    raise NotImplementedError


check("6.1", bhattacharyya)

# %% [markdown]
# <!-- help 6.1 -->
#
# From here on the notebook uses your function if it has passed, and the solution if not.

# %%
my_distance = use_answer("6.1", bhattacharyya)
zero, one = torch.tensor(0.0), torch.tensor(1.0)
for name, m, t2 in [
    ("N(0,1) against N(1,4)", 1.0, 4.0),
    ("N(0,1) against N(3,1)", 3.0, 1.0),
]:
    d = my_distance(zero, one, torch.tensor(m), torch.tensor(t2))
    print(
        f"{name}: D_B = {d:.4f}   BC = {(-d).exp():.4f}   H = "
        f"{(1 - (-d).exp()).sqrt():.4f}"
    )

# %% [markdown]
# $\ln \frac{s^2+t^2}{2st}$ leaves rounding where the widths are equal; written as $\ln(1 + x)$ with
# $x = \frac{(s-t)^2}{2st}$ it is exactly 0. The library works on many dimensions and all pairs at once. Check yours
# against it, and both against the integral itself.

# %%
g = torch.Generator().manual_seed(0)
mean_p, mean_q = torch.randn(4, 3, generator=g), torch.randn(5, 3, generator=g)
var_p, var_q = (torch.rand(n, 3, generator=g) + 0.2 for n in (4, 5))
mine = my_distance(
    *torch.broadcast_tensors(mean_p[:, None], var_p[:, None], mean_q[None], var_q[None])
).sum(-1)
library = measures.pairwise(
    "bhattacharyya", DiagonalGaussian(mean_p, var_p), DiagonalGaussian(mean_q, var_q)
)
torch.testing.assert_close(mine, library)
print(
    "all pairs, yours and the library's:",
    tuple(mine.shape),
    f" the nearest two: {mine.min():.3f}",
)

# %%
x = torch.linspace(-30, 30, 200_001, dtype=torch.float64)


def density(m, s2):
    return torch.exp(-((x - m) ** 2) / (2 * s2)) / (2 * torch.pi * s2) ** 0.5


integral = torch.trapezoid((density(0, 1) * density(1, 4)).sqrt(), x)
closed = (-my_distance(*torch.tensor([0.0, 1.0, 1.0, 4.0], dtype=torch.float64))).exp()
print(
    f"BC of N(0,1) and N(1,4): {integral:.6f} by integration, "
    f"{closed:.6f} from your formula"
)

# %% [markdown]
# ## Three distances side by side
#
# The two other distances of this course, for the same two Gaussians:
#
# $$KL(p \,\|\, q) = \frac12\left(\frac{s^2 + (m-n)^2}{t^2} - 1 - \ln\frac{s^2}{t^2}\right) \qquad
# W_2^2(p, q) = (m-n)^2 + (s-t)^2$$
#
# KL is not symmetric. The squared 2-Wasserstein distance is what it costs to move one heap of sand onto the other.
# Move the sliders and look at two things: the values, as coloured bars, and the pulls, as grey ones. A pull is the size
# of the gradient in the mean of $q$: how hard this distance draws $q$ towards $p$.

# %%
NAMES = {
    "hellinger": "Hellinger",
    "bhattacharyya": "Bhattacharyya",
    "kl": "KL",
    "wasserstein2": "Wasserstein, squared",
}
COLOURS = dict(zip(NAMES, ("#D55E00", "#773311", "#0072B2", "#009E73"), strict=True))
grid = np.linspace(-6, 10, 400)


def values_and_pulls(mean, deviation):
    """Each distance of N(0, 1) from N(mean, deviation^2), and its slope in the mean."""
    found = {}
    for name in NAMES:
        m = torch.tensor([[mean]], requires_grad=True)
        d = measures.pairwise(
            name,
            DiagonalGaussian(torch.zeros(1, 1), torch.ones(1, 1)),
            DiagonalGaussian(m, torch.full((1, 1), deviation**2)),
        )
        found[name] = (d.item(), torch.autograd.grad(d.sum(), m)[0].abs().item())
    return found


# %%
def draw_two_gaussians(mean, deviation):
    _fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
    for m, s, colour, name in ((0, 1, "black", "p"), (mean, deviation, "#D55E00", "q")):
        curve = np.exp(-((grid - m) ** 2) / (2 * s**2)) / (s * np.sqrt(2 * np.pi))
        left.plot(grid, curve, color=colour, label=f"{name} = N({m:g}, {s:g}²)")
    left.set(xlabel="x", ylabel="density", ylim=(0, None))
    left.legend(fontsize=9)
    found = values_and_pulls(mean, deviation)
    places = np.arange(len(NAMES))
    right.barh(
        places - 0.2, [v for v, _ in found.values()], 0.38, color=list(COLOURS.values())
    )
    right.barh(places + 0.2, [pull for _, pull in found.values()], 0.38, color="#767676")
    right.set(
        yticks=places,
        yticklabels=NAMES.values(),
        xlabel="distance (colour) and its pull on the mean (grey)",
    )
    right.set_xscale("symlog", linthresh=0.1)
    right.set_xlim(0, 100)
    right.invert_yaxis()
    plt.show()


means, deviations = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0], [0.3, 0.6, 1.0, 2.0, 3.0]
lesson.explore(
    draw_two_gaussians, {"mean": 2.0, "deviation": 1.0}, mean=means, deviation=deviations
)

# %% [markdown]
# With the means 2 apart all four distances pull. Slide the mean to 6 or 8: KL and Wasserstein grow and keep pulling,
# Bhattacharyya too. Hellinger arrives at 1 and its grey bar disappears. Then put the mean back to 0 and change only the
# width: at deviations 2 and 3 the squared Wasserstein distance is 1 and 4 and KL 0.32 and 0.65; at 0.3 Wasserstein is
# 0.49 and KL 3.85. Wasserstein counts how far the mass has to move, so a wide $q$ costs it more than KL; KL punishes a
# narrow $q$. At equal distributions all are 0, and so are all gradients.
#
# The next figure is the same along one line: the distance and its gradient over the gap between the means.

# %%
gaps = np.linspace(0, 8, 81)
curves = [values_and_pulls(float(gap), 1.0) for gap in gaps]
fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
for name, label in NAMES.items():
    for k, place in enumerate(axes):
        place.plot(gaps, [c[name][k] for c in curves], color=COLOURS[name], label=label)
axes[0].set(
    xlabel="gap between the means, in standard deviations", ylabel="distance", ylim=(0, 8)
)
axes[1].set(
    xlabel="gap between the means, in standard deviations",
    ylabel="size of the gradient",
    ylim=(0, 4),
)
axes[1].legend(fontsize=9, loc="upper right")
plt.show()

# %% [markdown]
# Left: Hellinger flattens out at 1. Right: its gradient is largest for near neighbours and falls to nothing with the
# gap. (Like the absolute value it has a kink at 0; the library defines its gradient there as 0.) A pair that is
# already far apart no longer moves: good for outliers, bad for a net that starts with everything far apart. KL and
# Wasserstein pull the harder the farther a pair is, so one outlier can outweigh the rest.

# %% [markdown]
# ## Many dimensions: why the distance itself cannot be trained on
#
# A feature has 64 or 256 channels. Over independent dimensions overlaps multiply, $BC = \prod_c BC_c$, and distances
# add, $D_B = \sum_c D_{B,c}$. A product of many numbers below 1 is soon 0. Then $H = \sqrt{1 - BC}$ is 1 whatever the
# network does.

# %%
print("dimensions   D_B      H        gradient of H")
for dims in (1, 4, 16, 64, 256):
    m = torch.full((1, dims), 1.0, requires_grad=True)
    zeros, ones = torch.zeros(1, dims), torch.ones(1, dims)
    d = measures.pairwise(
        "bhattacharyya", DiagonalGaussian(zeros, ones), DiagonalGaussian(m, ones)
    )
    h = stable.compute_hellinger(d)
    pull = torch.autograd.grad(h.sum(), m)[0].norm()
    print(f"{dims:6d}   {d.item():8.3f}   {h.item():.5f}   {pull:.1e}")

# %% [markdown]
# Each dimension is only one standard deviation apart, a gap that the eye would call small. At 64 dimensions $H$ is 1
# but for the fourth digit and next to no gradient is left; at 256 both are gone altogether. Two ways out:
#
# - use $D_B$ itself for the logits: it adds up and never saturates. This is what the classifier of this course does.
# - average before the exponential: $H = \sqrt{1 - e^{-D_B / C}}$ over $C$ channels, the Hellinger distance of the
#   typical channel.


# %%
def forms(d, dims):
    h, averaged = stable.compute_hellinger, d / dims
    return {"joint H": h(d), "H per dimension": h(averaged), "D_B / C": averaged}


counts = [2**k for k in range(9)]
gradients = {"joint H": [], "H per dimension": [], "D_B / C": []}
for dims in counts:
    for name, line in gradients.items():
        m = torch.full((1, dims), 1.0, requires_grad=True)
        zeros, ones = torch.zeros(1, dims), torch.ones(1, dims)
        d = measures.pairwise(
            "bhattacharyya", DiagonalGaussian(zeros, ones), DiagonalGaussian(m, ones)
        )
        line.append(torch.autograd.grad(forms(d, dims)[name].sum(), m)[0].sum().item())

fig, axes = plt.subplots(figsize=(4.8, 2.8), layout="constrained")
for (name, line), colour in zip(
    gradients.items(), ("#D55E00", "#773311", "#3D9BD8"), strict=True
):
    axes.plot(
        counts,
        np.maximum(line, 1e-12),
        marker="o",
        markersize=3,
        label=name,
        color=colour,
    )
axes.set(
    xscale="log",
    yscale="log",
    xlabel="dimensions C",
    ylabel="summed gradient",
    ylim=(1e-12, 3),
)
axes.legend(fontsize=9)
plt.show()

# %% [markdown]
# The joint Hellinger distance loses its gradient exponentially with the number of dimensions. Averaged first, or left
# as $D_B$, it keeps it. Now look at real features: five images a class from the embedded set, through a trained
# encoder. Every image is the Gaussian of the vectors at the positions of its feature map.

# %%
net, episode = P.net("mixture"), P.episodes(1, way=5, shot=5, query=5)
with torch.no_grad():
    images = net.head.describe(net.encode(episode.query[0]))
print(
    "one Gaussian an image:",
    type(images).__name__,
    tuple(images.mean.shape),
    "channels:",
    images.mean.shape[-1],
)

# %%
apart = measures.pairwise("bhattacharyya", images, images)
views = {
    "D_B": apart,
    "joint H": stable.compute_hellinger(apart),
    "H per dimension": None,
}
views["H per dimension"] = stable.compute_hellinger(apart / images.mean.shape[-1])
fig, axes = plt.subplots(1, 3, figsize=(8, 2.9), layout="constrained")
for place, (name, values) in zip(axes, views.items(), strict=True):
    pictures.heat(
        place, values.detach(), f"{name}, on average {values.mean():.2f}", low=0
    )
    place.set(
        xticks=range(2, 25, 5),
        xticklabels="ABCDE",
        yticks=range(2, 25, 5),
        yticklabels="ABCDE",
    )
plt.show()
other = ~torch.eye(25, dtype=torch.bool)
assert views["joint H"][other].mean() > 0.9, "most of it is saturated"

# %% [markdown]
# Dark means near, bright means far; the 25 images are ordered by class, A to E. In $D_B$ and in the averaged $H$ the
# blocks on the diagonal are darker: images of a class are near each other. In the joint $H$ nearly everything is
# bright, and the blocks fade.

# %% [markdown]
# ## Break it: the published distance (D12 to D14)
#
# The published code computes something else under this name. Let $x$ be all features of the queries of a batch, $m$ and
# $s$ the mean and the standard deviation of **all numbers in** $x$ together. It forms
#
# $$P = m + s \cdot \frac{1}{\sqrt{2\pi}\, s}\exp\left(-\frac{(x-m)^2}{2 s^2}\right), \quad Q \text{ likewise from the
# prototypes}, \quad \frac{1}{\sqrt2}\sum_c \left(\sqrt{|P|} - \sqrt{|Q|}\right)^2$$
#
# $P$ is no probability, and it is even in $x - m$: the feature $m + z$ and its mirror image $m - z$ give the same $P$.
# And since $m$ and $s$ come from the whole batch, the score of a query changes with its neighbours. Both can be seen.

# %%
from anrot_lib.fewshot.heads import published

z = torch.rand(3, 8, generator=P.generator("z"), dtype=torch.float64)
# every row and its mirror image; the mean is 0
one_side = torch.cat([z, -z])
other_side = torch.cat([-z, z])
d = published.hellinger_distance(one_side, other_side).diagonal()
apart = torch.linalg.vector_norm(one_side - other_side, dim=1)
print("feature  as published  Euclidean distance from its mirror image")
for k, (one_d, other_d) in enumerate(zip(d.tolist(), apart.tolist(), strict=True)):
    print(f"{k:7d} {one_d:13.10f} {other_d:10.3f}")

# %%
with torch.no_grad():
    features = net.encode(episode.query)[0].mean((-2, -1))
    centres = (
        net.encode(episode.support.flatten(1, 2))[0]
        .mean((-2, -1))
        .unflatten(0, (5, 5))
        .mean(1)
    )
together = published.hellinger_distance(features, centres)
alone = torch.cat([published.hellinger_distance(f[None], centres) for f in features])
assert not torch.allclose(together, alone, rtol=1e-3), (
    "a query's score depends on the queries beside it"
)

# %%
fig, axes = plt.subplots(figsize=(4.4, 3), layout="constrained")
axes.scatter(
    together.flatten(), alone.flatten(), s=8, color=figures.pick_colour("published")
)
low, high = together.min().item(), together.max().item()
axes.plot(
    [low, high], [low, high], linestyle=":", color="black", linewidth=1, label="equal"
)
axes.set(
    xlabel="distance, scored in a batch of 25",
    ylabel="distance, scored alone",
    title="as published",
)
axes.legend(fontsize=9)
plt.show()

# %% [markdown]
# One point is one query against one class. If the score did not depend on the batch, all points would lie on the dotted
# line. They do not: the same image gets another distance when it is scored alone. Whether the published numbers came
# from exactly this code is not known.

# %% [markdown]
# ## Exercises
#
# 6.1 stands above, where it is needed.
#
# ### 6.2 Predict (3 minutes, ●○○)
# Two Gaussians of 100 dimensions differ by the same small amount in each: $BC_c = 0.9$ a dimension. Of the four numbers
# 0.316, 0.9, 0.99999 and 1.05, which is nearest to the joint Hellinger distance $H$? Write the number.

# %%
answer = ...
check("6.2", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# 0.99999. The overlaps multiply: $0.9^{100}$ is about 0.00003, so $H = \sqrt{1 - 0.00003}$ is nearly 1. Hellinger per
# dimension would be $\sqrt{1 - 0.9}$, which is 0.316.
# </details>
#
# ### 6.3 A class from its shots (15 minutes, ●●○)
# A class is the Gaussian of all its shots together. Each shot is a Gaussian itself, with mean and variance over its
# positions. Given `means` and `variances`, both (shots, channels), and equal weights, return the mean and the variance
# of the mixture, stacked to (2, channels). Mind that shots with different means make the class wider.


# %%
def pool_shots(means, variances):
    raise NotImplementedError


check("6.3", pool_shots)

# %% [markdown]
# <!-- help 6.3 -->
#
# ### 6.4 Break it (5 minutes, ●●○)
# You train with an outlier far away from everything else, at equal widths. Which distance hardly pulls on it at all:
# `"hellinger"`, `"kl"` or `"wasserstein2"`? Find out with the slider, or with `values_and_pulls`.

# %%
answer = ...
check("6.4", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `"hellinger"`. Its range ends at 1, so far apart nothing can change any more. The gradients of KL and of the squared
# Wasserstein distance grow in proportion to the gap.
# </details>
#
# ### 6.5 The Hellinger distance of near neighbours (8 minutes, ●●○)
# Return $H = \sqrt{1 - BC}$ for a tensor `d` of Bhattacharyya distances, in 32 bits. For $d = 10^{-12}$ the answer is
# $10^{-6}$, not 0: two images of a class may be as near as that, and their order should not be lost.


# %%
def hellinger(d):
    raise NotImplementedError


check("6.5", hellinger)

# %% [markdown]
# <!-- help 6.5 -->

# %% [markdown]
# ## Recorded results
#
# Same encoder, same episodes, only the head differs: Euclidean prototypes, the published distance, the Hellinger
# distance per dimension (HELA-VFA), and the Bhattacharyya distance of Gaussians (ANROT, trained clean). Drawn from the
# result records of this repository.

# %%
from IPython.display import Markdown, display

from anrot_lib.reports import tables

records = P.records("cifar-fs-32px-5way-5shot-laptop")
chosen = [
    r
    for r in records
    if r["row"] in ("prototypes", "published", "hela-vfa", "anrot-clean")
]
display(
    Markdown(tables.format_markdown(*tables.compute_differences(chosen, "prototypes")))
)

# %% [markdown]
# The numbers are differences to Euclidean prototypes on the same episodes, in points, with 95 % intervals. An interval
# that contains 0 says that the two cannot be told apart here.
#
# ## Summary
# - The Bhattacharyya coefficient is an overlap; Hellinger and Bhattacharyya distances are two ways to write it.
# - Hellinger lies in [0, 1], is a metric, and forgives outliers; its gradient vanishes when two are far apart.
# - Over many dimensions overlaps multiply, so the joint Hellinger distance saturates. $D_B$ adds up and does not.
# - Compute $D_B$ first, with `log1p`, in float32, and take roots and exponentials last.
# - The published distance is even around the batch mean and depends on the batch.
#
# ## References
# - A. Bhattacharyya, On a measure of divergence between two statistical populations, 1943.
# - E. Hellinger, Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen, 1909.
# - G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220.
