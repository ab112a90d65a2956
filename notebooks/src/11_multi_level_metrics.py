# %% [markdown]
# # Multi-level metrics: do pixels, parts and distributions see different things?
#
# A feature map can be compared with another one in more than one way: position by position, channel by channel, or as
# one cloud of vectors. Multi-level metric learning (MML) computes all of them and adds them up. Does each level add
# something? Or does one of them do the work, and the others cost time?
#
# **You will be able to**
# - compute the pixel, the part and the distribution level, each in a few lines,
# - say which changes of an image each of them cannot see,
# - fuse them, read the share of each level, and tell a gain from chance,
# - recognise two defects of the published code, and say when a Wasserstein distance is really better than KL.
#
# **Time**: 50 minutes of reading and exercises; running takes half a minute at smoke, minutes beyond.
# **Needs**: 06 for distances between Gaussians; the rest is explained here.

# %% tags=["parameters"]
PRESET = None

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from anrot_lib.core import palette
from anrot_lib.core.configs import change
from anrot_lib.core.errors import UserError
from anrot_lib.core.units import format_pixels
from anrot_lib.course import check, lesson
from anrot_lib.divergences import FullGaussian, estimate_gaussian, measures
from anrot_lib.fewshot import row_names, training
from anrot_lib.fewshot.levels import (
    DistributionLevel,
    combine,
    fusion,
    group_by_class,
    head,
    part,
    pixel,
)
from anrot_lib.reports import figures, pictures, tables
from anrot_lib.reports import levels as level_report
from anrot_lib.settings import Protocol, Recipe

P = lesson.set_up("11", preset=PRESET)

# %% [markdown]
# ## One map, two views
#
# Levels need a map with enough positions. We train `conv64f`, the encoder of the papers of this family (with ReLU where
# they have LeakyReLU): two of its four blocks keep the size, so an image of 32 pixels becomes 64 channels of 8 x 8
# positions. It learns with the pixel level alone (the method DN4).

# %%
length = P.pick(40, 600, 6000)
sizes = {
    "episodes": length,
    "validate_every": length,
    "validation_tasks": 10,
    "train_query": 5,
}
budget = change(P.budget, encoder="conv64f", **sizes)
bar = iter(lesson.track(range(length), "training"))
recipe = Recipe(method="dn4", hesim=0.0)
found = training.train(
    P.image_set, recipe, budget, Protocol(), progress=lambda *_: next(bar, None)
)
net = found.net
assert found.history[-1]["clean"] > 0.5, (
    "better than 50 % on the validation classes, where guessing gives 20 %"
)
print(
    "steps of training:",
    length,
    " images of a class in an episode: 5 shots and",
    budget.train_query,
    "queries",
)

# %%
episode = P.episodes(1, way=5, shot=5, query=3, image_set=P.image_set)
with torch.no_grad():
    support, query = net.encode(episode.support.flatten(1, 2)), net.encode(episode.query)
pool = group_by_class(support, episode.support_labels)
side = query.shape[-1]
print(
    "support maps by class:", tuple(pool.maps.shape), "  query maps:", tuple(query.shape)
)

# %% [markdown]
# A map of $C$ channels and $P = h w$ positions is one matrix of $C \times P$ numbers. There are two ways to cut it:
#
# - **pixels**: $P$ vectors of $C$ numbers, one a position: *what is here?*
# - **parts**: $C$ vectors of $P$ numbers, one a channel: *where is this?*

# %%
q = 6
panels = [
    [
        "image",
        "matrix",
        *(f"pixel {k}" for k in range(3)),
        *(f"part {k}" for k in range(3)),
    ]
]
ratios = [3, 4, 0.7, 0.7, 0.7, 2, 2, 2]
fig, axes = plt.subplot_mosaic(
    panels, figsize=(8.4, 2), width_ratios=ratios, layout="constrained"
)
places = [side + 1, side * side // 2 + 3, side * side - side - 2]
channels = query[0, q].mean((-2, -1)).topk(3).indices
matrix = query[0, q].flatten(-2)
pictures.show(axes["image"], episode.query[0, q], "image")
axes["matrix"].imshow(matrix, cmap="cividis", aspect="auto")
axes["matrix"].set(xlabel="position", ylabel="channel", xticks=[], yticks=[])
axes["matrix"].set_title("map", fontsize=9)
for k in range(3):
    axes["matrix"].axvline(places[k], color="#D55E00", linewidth=1)
    axes["matrix"].axhline(channels[k], color="#3D9BD8", linewidth=1)
    axes[f"pixel {k}"].imshow(matrix[:, places[k], None], cmap="cividis", aspect="auto")
    axes[f"pixel {k}"].set(
        xticks=[], yticks=[], xlabel=f"{places[k] // side}, {places[k] % side}"
    )
    pictures.heat(axes[f"part {k}"], query[0, q, channels[k]])
    axes[f"part {k}"].set_xlabel(f"channel {int(channels[k])}", fontsize=9)
for name in ("pixel", "part"):
    shade = palette.adjust_text("#D55E00" if name == "pixel" else "#0072B2")
    axes[f"{name} 1"].set_title(f"{name}s", color=shade, fontsize=9)
plt.show()

# %% [markdown]
# Left the image and its map as a matrix. An orange line is a pixel: it is drawn again as a strip of 64 numbers, with
# its row and column below. A blue line is a part: it is drawn again as a picture of 8 x 8 positions, which shows where
# the channel responds.
#
# ## The pixel level
#
# For each position $x_i$ of the query take the most similar position $s_j$ among *all shots of the class*, and average:
#
# $$D_{pixel}(Q, S) = \frac1{P k} \sum_{i=1}^{P}\; \sum_{j \in \mathrm{top}_k(i)} \cos(x_i, s_j)$$
#
# Nothing is averaged over the shots before: a class is its whole pool of positions. $k$ is 3 in DN4, and 1 in MML.


# %%
def pixel_level(query, maps, k=1):
    """(E, n, C, h, w), (E, way, M, C, h, w) -> mean of the k best cosines (E, n, way)."""
    x, s = F.normalize(query.flatten(-2), dim=-2), F.normalize(maps.flatten(-2), dim=-2)
    # every position against all of a class
    cosines = torch.einsum("encp,ewmcr->enwpmr", x, s).flatten(-2)
    return cosines.topk(k).values.mean((-2, -1))


for k in (1, 3):
    torch.testing.assert_close(
        pixel_level(query, pool.maps, k), pixel.pixel_similarity(query, pool, k)
    )
x = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 1, 2)
# positions (1, 0) and (1, 1)
s = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).view(1, 1, 1, 2, 1, 2)
print("by hand, k = 1: (1 + 1/sqrt 2)/2 =", f"{pixel_level(x, s).item():.5f}")

# %% [markdown]
# Which position found what? For every position of a query, the best cosine in each of the five classes:

# %%
cosines, shots, positions = pixel.find_pixel_matches(query, pool)
shown = [1, 7, 13]
fig, axes = plt.subplots(3, 6, figsize=(7.4, 3.9), layout="constrained")
low = cosines[0, shown].min().item()
for line, k in zip(axes, shown, strict=True):
    pictures.show(line[0], episode.query[0, k], f"query of class {'ABCDE'[k // 3]}")
    for c in range(5):
        pictures.heat(
            line[c + 1],
            cosines[0, k, ..., c],
            f"{'ABCDE'[c]}: {cosines[0, k, ..., c].mean():.3f}",
            low,
            1,
        )
        line[c + 1].title.set_color(pictures.RIGHT if c == k // 3 else "black")
plt.show()

# %% [markdown]
# Bright: this position has a near twin in that class. The number is the mean, the score of the class; the true class is
# green. Most of the border is bright in every class: the convolutions pad images with zeros, so that all borders look
# alike. Such positions lift all scores and decide nothing. What decides are the inner positions that stay dark in the
# wrong classes.
#
# Now one position at a time. Choose a place in the query and a class; the framed position of the query is compared with
# every position of the five shots.

# %%
unit = F.normalize(pool.maps[0].flatten(-2), dim=-2)  # (way, M, C, P)


def draw_matches(position, against):
    asked = F.normalize(query[0, 7].flatten(-2)[:, position], dim=0)
    similar = torch.einsum("c,mcp->mp", asked, unit[against])
    shot, place = divmod(int(similar.argmax()), side**2)
    pixels = episode.query.shape[-1]
    colours = torch.tensor(plt.get_cmap("cividis")(similar.view(-1, side, side)))
    maps = F.interpolate(colours.float()[..., :3].permute(0, 3, 1, 2), size=pixels)
    below = torch.cat([torch.ones(1, 3, pixels, pixels), maps])
    above = torch.cat([episode.query[0, 7:8], episode.support[0, against]])
    above = above.expand(-1, 3, -1, -1)
    titles = [
        "query, class C",
        *(f"shot of {'ABCDE'[against]}: {best:.2f}" for best in similar.amax(1)),
    ]
    _fig, axes = plt.subplots(1, 6, figsize=(7.4, 2.7), layout="constrained")
    pictures.row(axes, torch.cat([above, torch.ones(6, 3, 2, pixels), below], 2), titles)
    pictures.frame(axes[0], position, side, pixels)
    pictures.frame(axes[shot + 1], place, side, pixels)
    plt.show()


third = [side // 5, side // 2, side - 1 - side // 5]
squares = {f"row {r + 1}, column {c + 1}": r * side + c for r in third for c in third}
classes = dict(zip("ABCDE", range(5), strict=True))
lesson.explore(
    draw_matches,
    {"position": squares[list(squares)[4]], "against": 2},
    position=squares,
    against=classes,
)

# %% [markdown]
# Top: the query with its framed position, and the shots with the winner framed. Bottom: the cosine at every position of
# each shot, yellow for 1, its best in the title. A stroke finds a stroke, also where it lies elsewhere in the picture
# or is turned. Choose a place on the figure, change the class, and see how far the best cosine falls; then do the same
# with a place beside the figure.
#
# ## The part level
#
# The same measure on the other cut. Each channel map $u_i$ of the query looks for the most similar channel map among
# all shots of the class:
#
# $$D_{part}(Q, S) = \frac1{C k} \sum_{i=1}^{C}\; \sum_{j \in \mathrm{top}_k(i)} \cos(u_i, v_j)$$


# %%
def part_level(query, maps, k=1):
    """The pixel level of the transposed matrices: channels instead of positions."""
    turned = query.flatten(-2).mT.unsqueeze(-1), maps.flatten(-2).mT.unsqueeze(-1)
    return pixel_level(*turned, k)


torch.testing.assert_close(
    part_level(query, pool.maps), part.part_similarity(query, pool)
)
u = torch.tensor([3.0, 4.0]).view(1, 1, 1, 1, 2)
v = torch.tensor([4.0, 3.0]).view(1, 1, 1, 1, 1, 2)
print("maps (3, 4) and (4, 3): 24/25 =", f"{part_level(u, v).item():.5f}")

# %% [markdown]
# ## The distribution level
#
# The positions of a query are a cloud of $P$ points in $C$ dimensions, and those of a class are another one. Each cloud
# becomes a Gaussian with its mean $\mu$ and full covariance $\Sigma$, and two Gaussians are compared. With $d = \mu_p -
# \mu_q$:
#
# $$KL(p \,\|\, q) = \tfrac12\left[\mathrm{tr}(\Sigma_q^{-1}\Sigma_p) - C + \ln\frac{\det\Sigma_q}{\det\Sigma_p} + d^T
# \Sigma_q^{-1} d\right]$$
#
# $$W_2^2(p, q) = \lVert d\rVert^2 + \mathrm{tr}\left(\Sigma_p + \Sigma_q - 2 (\Sigma_p^{1/2}\Sigma_q
# \Sigma_p^{1/2})^{1/2}\right)$$


# %%
def kl(x, y):
    """KL of the Gaussian of samples x (n, C) from that of y (m, C)."""
    d, s, t = x.mean(0) - y.mean(0), x.T.cov(), y.T.cov()
    inverse = torch.linalg.inv(t)
    return 0.5 * (
        (inverse @ s).trace() - len(d) + t.logdet() - s.logdet() + d @ inverse @ d
    )


x = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]], dtype=torch.float64)
y = x * torch.tensor([2.0, 1.0])
p, c = (estimate_gaussian(z[None], shrinkage="none") for z in (x, y))
torch.testing.assert_close(kl(x, y), measures.pairwise("kl", p, c)[0, 0])
print("a square and a rectangle of four points each, from the library:")
for name in ("kl", "wasserstein2", "bhattacharyya"):
    there, back = (measures.pairwise(name, *pair).item() for pair in ((p, c), (c, p)))
    print(f"  {name:14s} there {there:.5f}   back {back:.5f}")

# %%
clouds = {"query": query[0, 7].flatten(-2)}
clouds |= {
    f"class {name}": pool.maps[0, k].transpose(0, 1).flatten(1)
    for k, name in ((2, "C"), (0, "A"))
}
both = torch.cat([clouds["class C"], clouds["class A"]], 1)
widest = torch.linalg.svd(both - both.mean(1, keepdim=True), full_matrices=False)[0][
    :, :2
].T
fig, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
for (name, points), colour in zip(
    clouds.items(), ("black", "#009E73", "#D55E00"), strict=True
):
    pictures.ellipse(axes, widest @ points, colour, name)
axes.set(xlabel="first principal axis of both classes", ylabel="second")
axes.legend(fontsize=9)
plt.show()

# %% [markdown]
# A point is a position, an ellipse is a Gaussian at two standard deviations, seen along the two widest of 64
# directions. The query (black) belongs to class C (green). The ellipses overlap a lot: most positions are nothing
# special. A class holds the positions of five shots, so its ellipse also contains the differences between the shots.
#
# ## What a level cannot see
#
# Shuffle the positions of the queries, or their channels, and ask each level again.


# %%
def compared(levels, episodes, support, query):
    """Every level's divergences (E, n, way) of queries from classes, by their maps."""
    return head.compute_divergences(
        levels, head.fit_levels(levels, support, episodes.support_labels, None), query
    )


levels = {name: combine.LEVELS[name]() for name in ("pixel", "part", "kl")}
g = P.generator("shuffle")
moved = query.flatten(-2)[..., torch.randperm(side * side, generator=g)].view_as(query)
mixed = query[:, :, torch.randperm(query.shape[2], generator=g)]
before = compared(levels, episode, support, query)
for how, changed in (("positions", moved), ("channels", mixed)):
    after = compared(levels, episode, support, changed)
    blind = [
        name
        for name in levels
        if torch.allclose(before[name], after[name], rtol=1e-3, atol=1e-5)
    ]
    print(f"{how} shuffled, not seen by: {', '.join(blind)}")

# %% [markdown]
# Pixels and distributions take positions as a set: a face with the mouth above the eyes is the same to them. Parts keep
# the place and forget which channel it was. So the levels do see different things. Whether that helps is another
# question, and only accuracy can answer it.
#
# ## Adding up
#
# Levels have different units, so each is divided by its own deviation over the classes first. Then a weight is a
# **share**: how much of what moves the logits comes from this level. Sliders set the three weights.


# %%
def with_maps(split, tasks, queries):
    """Some episodes of a split, their support maps and their query maps."""
    some = P.episodes(tasks, query=queries, split=split, image_set=P.image_set)
    with torch.no_grad():
        parts = [
            [net.encode(x) for x in images.split(5)]
            for images in (some.support.flatten(1, 2), some.query)
        ]
    return some, *map(torch.cat, parts)


many, *maps = with_maps("test", P.pick(20, 100, 500), 15)
cached = compared(levels, many, *maps)
standard = {name: d / d.std(-1).mean() for name, d in cached.items()}
print("divergences of each level:", tuple(cached["pixel"].shape))


# %%
def accuracy(weights):
    """Per cent right with these weights of pixel, part and kl, from kept divergences."""
    mixed = sum(w * d for w, d in zip(weights, standard.values(), strict=True))
    # without any weight it is chance
    return (
        100 * (mixed.argmin(-1) == many.labels).float().mean().item()
        if sum(weights)
        else 20.0
    )


grid = [(i / 12, j / 12, (12 - i - j) / 12) for i in range(13) for j in range(13 - i)]
surface = [accuracy(weights) for weights in grid]
alone = {name: accuracy([float(name == other) for other in levels]) for name in levels}
assert min(alone.values()) > 30, "every level alone is better than chance"


# %%
def draw_weights(pixels, parts, distribution):
    weights = (pixels, parts, distribution)
    _fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.9), layout="constrained")
    spots = pictures.triangle(left, ("pixels", "parts", "KL"), grid, surface, weights)
    plt.colorbar(spots, ax=left, label="accuracy, %")
    bars = {"pixels": alone["pixel"], "parts": alone["part"], "KL": alone["kl"]}
    bars |= {"equal shares": accuracy((1, 1, 1)), "yours": accuracy(weights)}
    right.barh(
        list(bars), list(bars.values()), color=["#0072B2"] * 3 + ["#767676", "#D55E00"]
    )
    right.axvline(20, linestyle=":", color="black", linewidth=1)
    right.set(xlim=(0, 100), xlabel=f"accuracy, %, {many.labels.numel()} queries")
    right.invert_yaxis()
    plt.show()


weights = [0.0, 0.5, 1.0, 2.0]
lesson.explore(
    draw_weights,
    {"pixels": 1.0, "parts": 0.5},
    pixels=weights,
    parts=weights,
    distribution=weights,
)

# %% [markdown]
# Left: the accuracy of every mixture; a corner is one level alone, the cross is where the sliders stand. Right: the
# levels alone, all three in equal shares, and yours; the dotted line is guessing. Walk from the corner of the pixels
# into the triangle. The surface is nearly flat there: a little of another level changes next to nothing. Towards the
# other corners it falls.
#
# The best cross that you can find is a choice made on the test queries, so it is no result. Weights belong to
# validation classes: `levels.fusion.fit` finds them by the cross-entropy there.

# %%
checks, *maps = with_maps("val", P.pick(20, 100, 300), 10)
given = compared(levels, checks, *maps)
learnt = fusion.Fusion(list(levels))
fusion.fit(learnt, given, checks.labels)
with torch.no_grad():
    contributions = learnt(*cached.values())
shares = fusion.measure_shares(contributions)
fused = (
    100 * (sum(contributions.values()).argmax(-1) == many.labels).float().mean().item()
)
print("shares:", ", ".join(shares), " sum:", round(sum(shares.values()), 6))
assert max(shares, key=shares.get) == "pixel", "on which the encoder was trained"
assert abs(fused - alone["pixel"]) < 5

# %%
fig, axes = plt.subplots(figsize=(4.6, 1.6), layout="constrained")
drawn = axes.barh(list(shares), [100 * s for s in shares.values()], color="#0072B2")
axes.bar_label(drawn, fmt="%.0f", fontsize=9, padding=3)
axes.set(xlim=(0, 100), xlabel="share of the logits, %")
axes.set_title(
    f"fused: {fused:.0f} % right; pixels alone: {alone['pixel']:.0f} %", fontsize=9
)
axes.invert_yaxis()
plt.show()

# %% [markdown]
# The encoder was trained on pixels, and pixels have the largest share; fused or alone makes hardly a difference here.
# In the released models of MML the weight of the distribution level has gone to 0 during training: its share of the
# logits is below a thousandth. A model that is called multi-level may have one level. So this library logs the share of
# each level at every validation and stores it in the record.
#
# ## Break it: the misplaced terms
#
# The released code computes trace and distance terms as a table of classes x queries, and then *reads the same numbers
# in their order* as queries x classes, instead of transposing. Nothing crashes, for the number of entries is the same.
# Take five classes of well separated Gaussians, 15 queries each, where KL makes no mistake:

# %%
from anrot_lib.audit import multilevel as published

percent = {"true": [], "as published": []}
for seed in range(5):
    queries, centres, labels = published.draw_separated(P.seed + seed)
    by = {
        "true": measures.pairwise("kl", centres, queries).mT,
        "as published": published.kl(queries, centres),
    }
    for name, d in by.items():
        percent[name].append(100 * (d[0].argmin(-1) == labels).double().mean().item())
print(
    {name: f"{sum(values) / 5:.0f} %" for name, values in percent.items()},
    " guessing: 20 %",
)

# %%
rows, columns = torch.arange(75)[:, None], torch.arange(5)
fig, axes = plt.subplots(1, 2, figsize=(5, 3), layout="constrained", sharey=True)
owners = {"true": columns.expand(75, 5), "as published": (5 * rows + columns) // 75}
for place, (name, owner) in zip(axes, owners.items(), strict=True):
    picture = place.imshow(
        owner, aspect="auto", cmap=plt.get_cmap("cividis", 5), interpolation="nearest"
    )
    place.set(
        title=name, xlabel="class that is asked for", xticks=range(5), xticklabels="ABCDE"
    )
axes[0].set_ylabel("query, in the order of classes")
ticks = plt.colorbar(
    picture,
    ax=axes,
    ticks=[0.4 + 0.8 * k for k in range(5)],
    label="class whose term stands there",
)
ticks.set_ticklabels(list("ABCDE"))
plt.show()

# %% [markdown]
# Left, as it should be: in the column of class B stand the terms of class B. Right, as published: a row holds five
# terms of *one and the same class*, so they cannot tell classes apart. The code works for one query at a time and fails
# for 75, which no test with one query finds. Only log-determinants are in their place. Whether published numbers came
# from this code is not known; if they did, they come from pixels and parts.
#
# ## Break it: when is Wasserstein better than KL?
#
# The paper argues: KL is infinite where two distributions do not overlap, Wasserstein is not. For Gaussians this is so
# only if a covariance is **singular**. Take two points left and right, and two points above and below:

# %%
across, upright = torch.tensor([[1.0, 0], [-1, 0]]), torch.tensor([[0.0, 1], [0, -1]])
a, b = (
    estimate_gaussian(z[None].double(), shrinkage="none", form="full")
    for z in (across, upright)
)
print("Wasserstein, squared:", round(measures.pairwise("wasserstein2", a, b).item(), 4))
try:
    measures.pairwise("kl", a, b)
except UserError as error:
    print("KL:", error)

# %%
ridges = 10.0 ** np.arange(-6, 1)
round_ones = [torch.cat([z, 0.5 * z.flip(1)]).double() for z in (across, upright)]
fig, axes = plt.subplots(figsize=(4.8, 2.9), layout="constrained")
for name, said, colour in (
    ("kl", "KL", "#0072B2"),
    ("wasserstein2", "Wasserstein, squared", "#009E73"),
):
    for pair, style, what in (
        ((across, upright), "-", "flat"),
        (round_ones, ":", "full rank"),
    ):
        lines = [
            [
                estimate_gaussian(z[None].double(), None, "ridge", r, form="full")
                for z in pair
            ]
            for r in ridges
        ]
        values = [measures.pairwise(name, *line).item() for line in lines]
        axes.plot(ridges, values, style, color=colour, label=f"{said}, {what}")
axes.set(
    xscale="log",
    yscale="log",
    xlabel="ridge added to the covariances",
    ylabel="divergence",
)
axes.legend(fontsize=9)
plt.show()

# %% [markdown]
# Solid: the flat pairs. The smaller the ridge, the larger KL; it says more about the ridge than about the data.
# Wasserstein does not care. Dotted: the same with some width in the second direction. Now KL is finite and as steady as
# Wasserstein, and the argument is gone.
#
# Which case is ours? $n$ centred positions span at most $n - 1$ dimensions.

# %%
print(
    f"{side * side} positions, {query.shape[2]} channels: "
    f"rank of a query's covariance at most {side * side - 1}"
)
bare = {"kl": DistributionLevel("kl", shrinkage="none")}
try:
    compared(bare, episode, support, query)
except UserError as error:
    print("without shrinkage:", str(error).split(",")[0])

# %%
few = with_maps("val", P.pick(6, 30, 100), 10)


def right_with(level):
    named = compared({"level": level}, *few)["level"].argmin(-1)
    return 100 * (named == few[0].labels).float().mean().item()


amounts = [0.001, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9]
curve = [right_with(DistributionLevel("kl", "trace", amount)) for amount in amounts]
flat_line = right_with(DistributionLevel("wasserstein2"))
assert curve[0] > flat_line - 2, "KL with a thousandth shrunk is not behind Wasserstein"
fig, axes = plt.subplots(figsize=(4.8, 2.8), layout="constrained")
axes.plot(amounts, curve, marker="o", markersize=3, color="#0072B2", label="KL")
axes.axhline(flat_line, color="#009E73", label="Wasserstein, nothing shrunk")
axes.axhline(20, linestyle=":", color="black", linewidth=1, label="chance")
axes.set(
    xscale="log",
    xlabel="share of the covariance that is shrunk",
    ylabel="accuracy, %",
    ylim=(0, 100),
)
axes.legend(fontsize=9)
plt.show()

# %% [markdown]
# Accuracy of one distribution level alone, on validation episodes. Without any shrinkage KL cannot be computed here;
# with a thousandth of it, it can, and it names at least as many queries as Wasserstein, which needs none. Only where
# nearly everything is shrunk away does it fall: then all covariances are round, and the means alone are left. So the
# argument is one for a little shrinkage as much as for Wasserstein.
#
# One more trap: the second formula that the paper prints, $\lVert d\rVert^2 + \lVert\Sigma_p - \Sigma_q\rVert_F^2$, is
# no Wasserstein distance, even for covariances that commute.

# %%
wide, narrow = (
    FullGaussian(torch.zeros(1, 2), cov=torch.tensor([v]).diag_embed())
    for v in ([1.0, 4.0], [9.0, 16.0])
)
for name in ("wasserstein2", "wasserstein2-frobenius"):
    print(f"{name:24s}{measures.pairwise(name, wide, narrow).item():7.2f}")

# %% [markdown]
# ## Exercises
#
# ### 11.1 The pixel level of one class (10 minutes, ●○○)
# `query` (I, C) are the descriptors of a query, `pool` (J, C) those of all shots of a class. Return the mean over all
# query descriptors of their `k` largest cosines.


# %%
def pixel_score(query, pool, k):
    raise NotImplementedError


check("11.1", pixel_score)

# %% [markdown]
# <!-- help 11.1 -->
#
# ### 11.2 Predict (3 minutes, ●○○)
# The whole map of a query moves one position to the right; what leaves on one side comes in on the other. Which level
# changes: `"pixel"`, `"part"` or `"distribution"`?

# %%
answer = ...
check("11.2", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `"part"`. It compares position with position. The two others take the positions as a set, and the set is the same.
# Try it with `query.roll(1, -1)`.
# </details>
#
# ### 11.3 Wasserstein where covariances are diagonal (10 minutes, ●●○)
# Means `m`, `n` and variances `a`, `b`, each of shape (C,). Return the squared 2-Wasserstein distance of the two
# Gaussians.


# %%
def wasserstein_squared(m, a, n, b):
    raise NotImplementedError


check("11.3", wasserstein_squared)

# %% [markdown]
# <!-- help 11.3 -->
#
# ### 11.4 Predict (4 minutes, ●●○)
# ResNet-12 turns an image into 640 channels of 5 x 5 positions. What is the largest rank that the covariance of one
# query can have?

# %%
answer = ...
check("11.4", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# 24. There are 25 samples, and their mean is taken out. 616 of 640 directions are empty, so KL is undefined without
# shrinkage, and with a little of it mostly measures the shrinkage.
# </details>
#
# ### 11.5 Break it: whose term is it? (10 minutes, ●●●)
# The table of terms has `way` rows of `n` entries and is read in its order as `n` rows of `way` entries. Which class
# and which query does entry (`j`, `i`) of the result really belong to? Return the tuple (class, query).


# %%
def whose_term(j, i, way, n):
    raise NotImplementedError


check("11.5", whose_term)

# %% [markdown]
# <!-- help 11.5 -->
#
# ## Recorded results
#
# One encoder trained on pixels alone, then fifteen combinations of levels on its maps, fused by weights from validation
# episodes (`anrot levels --data cifar-fs --preset laptop`). Drawn from the result records of this repository. CIFAR-FS
# is a cut with 200 images a class here, and mini-ImageNet was trained on for less than half as long, so nothing is
# comparable with published tables.

# %%
for setting in (
    "cifar-fs-32px-5way-5shot",
    "cifar-fs-32px-5way-1shot",
    "mini-imagenet-84px-5way-5shot",
):
    records = P.records(f"{setting}-laptop-levels")
    display(Markdown(level_report.write_markdown(records)))
    gains = [
        gain.mean
        for gain, _ in level_report.compute_differences(
            level_report.group_by_row(records)
        ).values()
    ]
    print(f"{setting}: largest gain over pixels alone {max(gains):+.2f} points")

# %% [markdown]
# The answer depends on the setting: a fifth of a point or so on 64 places, about a point on 441 places with five shots.
#
# "Minus pixels" is a paired difference on the same episodes, in points, with its 95 % interval. $p$ is corrected for
# the number of combinations: look at fourteen of them, and one will look like a gain by chance. All numbers hold for
# levels that are put on a finished encoder, trained for pixels. And a difference may be sure and small at once: ask for
# its size, too.
#
# Encoders that were trained with several levels from the start (`anrot run --rows levels:pixel levels:pixel+part mml
# mml-wasserstein2`), 1-shot:

# %%
trained = P.records("cifar-fs-32px-5way-1shot-laptop-levels-trained")
display(Markdown(level_report.write_markdown(trained)))

# %% [markdown]
# Here every level takes its share of the logits, in one training each. On clean images no difference is found; under
# attack the parts cost the adversary something, but all rows are below chance (20 %), as every net that was trained
# clean. Is the net stronger, or its gradient only weaker? A masked gradient leaves something in a larger ball, too:

# %%
curves = {
    row_names.title_method(row): figures.select_curve(own[0], "eps")
    for row, own in level_report.group_by_row(trained).items()
}
shown = [format_pixels(x) for x in next(iter(curves.values()))[0]]
lines = [[name, *(f"{y:.1f}" for y in mean)] for name, (_, mean, *_) in curves.items()]
display(Markdown(tables.format_markdown(["PGD-10, eps", *shown], lines)))
assert all(mean[-1] < 2 for _, mean, *_ in curves.values()), (
    "nothing is left in the largest ball"
)

# %% [markdown]
# What the papers say, as far as it is known, is about other images or another encoder:

# %%
headings = ["setting", "paper says", "we measured", "status"]
claims = [
    [
        "MML (Wasserstein), tieredImageNet 5-way 1-shot, 5-shot, Conv-64F",
        "55.48, 74.19 (its log)",
    ],
    [
        "MML of 2022 (crops, global), CIFAR-FS 5-way 1-shot, 5-shot, ResNet-12",
        "75.28 ± 0.23, 85.95 ± 0.19",
    ],
]
display(
    Markdown(
        tables.format_markdown(
            headings, [[*claim, "not run", "other images or encoder"] for claim in claims]
        )
    )
)

# %% [markdown]
# ## Summary
# - Pixels ask *what is here*, parts ask *where is this*, distributions describe the cloud of all positions.
# - Pixels and distributions ignore the order of positions; parts ignore the order of channels.
# - Weights are fitted on validation classes; the share of each level says whether a model is multi-level at all.
# - A table that is read in the wrong order does not crash. Test with more than one query, and in random order.
# - The argument for Wasserstein holds where covariances are singular; with full rank, or a little shrinkage, KL is
#   finite, too.
#
# ## References
# - H. Chen, H. Li, Y. Li, C. Chen, Multi-level metric learning for few-shot image recognition, arXiv 2103.11383.
# - W. Li et al., Revisiting local descriptor based image-to-class measure for few-shot learning (DN4), CVPR 2019.
# - W. Li et al., Asymmetric distribution measure for few-shot learning (ADM), IJCAI 2020.
# - S. Holm, A simple sequentially rejective multiple test procedure, 1979.
