# %% [markdown]
# # Reconstruction: which divergence makes the better autoencoder?
#
# A variational autoencoder squeezes an image into a few numbers and draws it again. A divergence keeps these numbers
# near a standard Gaussian. The publication compares three divergences by one number, the Fréchet distance of their
# reconstructions: Hellinger 2.75, Wasserstein 3.38, Kullback-Leibler 3.43 (lower is better). This notebook asks what
# each divergence does, what that number measures, and what has to be equal before two such numbers can be compared.
#
# **You will be able to**
# - write the loss of a variational autoencoder for one image, with any divergence and weight in it,
# - say how three divergences differ near the prior and far from it,
# - compute a Fréchet distance, and tell it from the floor that its number of images sets,
# - name what the published code computes instead, and what that does to the same reconstructions.
#
# **Time**: 65 minutes of reading and exercises. Running takes about 20 seconds at smoke; the larger presets train
# longer and take a few minutes.
# **Needs**: nothing but this notebook; 06 introduces the divergences between two Gaussians.

# %% tags=["parameters"]
PRESET = None

# %%
import copy
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from anrot_lib.audit import reconstruction
from anrot_lib.course import check, lesson
from anrot_lib.course.exercises import use_answer
from anrot_lib.data.synthetic.figures import draw_plain_figures
from anrot_lib.divergences import measures
from anrot_lib.reconstruction import extractors, frechet
from anrot_lib.reconstruction.autoencoders import Vae, compute_terms
from anrot_lib.reports import pictures, reconstruction_figures, tables
from anrot_lib.reports import reconstruction as reconstruct_report
from anrot_lib.reports.reconstruction import COLOURS, TITLES

P = lesson.set_up("10", preset=PRESET)
# for nets and steps this small a second thread costs more than it brings
torch.set_num_threads(1)

# %% [markdown]
# ## The bound of one image
#
# The **encoder** maps an image $x$ to a Gaussian $q(z|x) = N(\mu, \sigma^2)$ over a **latent** vector $z$, one mean
# and one variance a dimension. The **decoder** draws an image from a sample $z = \mu + \sigma\,\epsilon$. The **prior**
# says how latents are spread when no image is given: $p(z) = N(0, 1)$. The likelihood of the image is at least
#
# $$\ln p(x) \;\ge\; E_q\left[\ln p(x|z)\right] - KL\left(q(z|x)\,\|\,p(z)\right)$$
#
# the **evidence lower bound**. Let a pixel be Gaussian around what the decoder draws, with variance 1/2. Then
# $-\ln p(x|z)$ is the squared error, summed over pixels and channels, plus a constant. Minus the bound is a loss:
#
# $$\ell(x) = \lVert \mathrm{decode}(z) - x \rVert^2 + \beta \sum_d D\left(N(\mu_d, \sigma_d^2), N(0, 1)\right)$$
#
# With $D = KL$ and $\beta = 1$ it is the bound itself. The publication puts other divergences in the place of KL.
#
# Our images are the figures of the embedded set, white on black, 16 pixels wide: so small that a net learns them in
# seconds. Test classes are not among the training classes.

# %%
figures = draw_plain_figures(per_class=P.pick(60, 100, 100))
images = figures.batch(figures.rows("train"))
test = figures.batch(figures.rows("test")[:: P.pick(2, 1, 1)])
print("training images:", tuple(images.shape), "  test images:", tuple(test.shape))
fig, axes = plt.subplots(1, 10, figsize=(8, 1), layout="constrained")
pictures.row(axes, test[:: len(test) // 10])
plt.show()

# %%
x, beta = test[:1], 0.3
net = Vae("small", size=16, channels=1, generator=P.generator("weights"))
posterior = net.encode(x)
z = posterior.mean + (0.5 * posterior.log_var).exp() * torch.randn(
    1, net.latent, generator=P.generator("noise")
)
error = (net.decode(z) - x).square().sum()
kl = 0.5 * (posterior.mean**2 + posterior.log_var.exp() - 1 - posterior.log_var).sum()
mine = error + beta * kl
library = compute_terms(x, *net(x, P.generator("noise")), "kl").loss(beta)[0]
torch.testing.assert_close(mine, library)
print(
    "latent dimensions:",
    net.latent,
    f"  the loss of one image, by hand and from the library: {mine:.0f}",
)

# %% [markdown]
# Both parts are sums *for one image*: over its pixels, and over its latent dimensions. A batch is averaged at the very
# end. Section "Break it" shows what happens if one part is summed over the batch and the other is averaged.
#
# ## Three divergences to the prior
#
# For one latent dimension, with $\sigma^2 = e^{v}$:
#
# $$KL = \tfrac12(\mu^2 + \sigma^2 - 1 - \ln\sigma^2) \qquad W_2^2 = \mu^2 + (\sigma - 1)^2 \qquad
# H^2 = 1 - \sqrt{\tfrac{2\sigma}{\sigma^2 + 1}}\; e^{-\mu^2 / 4(\sigma^2 + 1)}$$
#
# and the Bhattacharyya distance $D_B = -\ln(1 - H^2)$.


# %%
def to_prior(mean, log_var):
    """Divergences of N(mean, exp(log_var)) to N(0, 1), value by value."""
    var, sigma = log_var.exp(), (0.5 * log_var).exp()
    overlap = (2 * sigma / (var + 1)).sqrt() * torch.exp(-(mean**2) / (4 * (var + 1)))
    return {
        "kl": (mean**2 + var - 1 - log_var) / 2,
        "wasserstein2": mean**2 + (sigma - 1) ** 2,
        "hellinger2": 1 - overlap,
        "bhattacharyya": -overlap.log(),
    }


# %%
mean, log_var = torch.tensor([[3.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
log_var = 2 * log_var.log()
found = to_prior(mean, log_var)
print(f"{'':14s} mu = 3, sigma = 1   mu = 0, sigma = 2")
for name, values in found.items():
    print(f"{name:14s} {values[0]:.6f}            {values[1]:.6f}")
g = P.generator("posteriors")
mean, log_var = 3 * torch.randn(2, 1000, generator=g, dtype=torch.float64)
for name, values in to_prior(mean, log_var).items():
    torch.testing.assert_close(values, measures.to_standard(name, mean, log_var))
print("1000 random posteriors: equal to the library")

# %% [markdown]
# A mean of 3 costs 9 with Wasserstein, 4.5 with KL, and never more than 1 with Hellinger. Doubling the width costs
# Wasserstein and KL about 1, Hellinger a tenth. So **equal beta is not equal pressure**: at the same weight Wasserstein
# pulls hardest and Hellinger least. A fair comparison needs a grid of betas for each.
#
# Over dimensions we add up $H^2$ as well. The joint $H^2$ of all 32 dimensions would be 1 nearly everywhere, without a
# gradient.
#
# ## The published Hellinger term (D25)
#
# The published code computes something else under this name. Per dimension, with $v$ the log-variance:
#
# $$A = \frac12 \cdot \frac{v / 8}{\frac12 \ln\frac12 + \frac v4 + c}\;
# \exp\left(-\frac{\mu^2}{4 \left(\sqrt{e^v + 1} + c\right)}\right), \qquad c = 0.0005$$
#
# It sums A over the latent dimensions, takes the mean over the batch, and adds the logarithm of the absolute value of
# this one number to the loss.

# %%
at = torch.linspace(-4, 4, 161)
m, v = torch.meshgrid(at, at, indexing="xy")
surfaces = {
    TITLES[n]: (s, 8.0, "cividis")
    for n, s in to_prior(m, v).items()
    if n != "bhattacharyya"
}
surfaces["Hellinger (squared)"] = (to_prior(m, v)["hellinger2"], 1.0, "cividis")
surfaces["as published: A"] = (reconstruction.hellinger_term(m, v), 1.0, "RdBu")
fig, axes = plt.subplots(1, 4, figsize=(8.6, 2.7), sharey=True, layout="constrained")
for place, (name, (surface, top, colours)) in zip(axes, surfaces.items(), strict=True):
    low = -top if colours == "RdBu" else 0
    shown = place.pcolormesh(
        at, at, surface, cmap=colours, vmin=low, vmax=top, rasterized=True
    )
    place.plot(0, 0, "x", color="white" if low == 0 else "black")
    place.set(xlabel="mean", title=name)
    fig.colorbar(
        shown, ax=place, orientation="horizontal", extend="max" if low == 0 else "both"
    )
axes[0].set_ylabel("log-variance")
plt.show()

# %% [markdown]
# The cross is the prior. The three exact surfaces have their only minimum there. The published one has its zero along
# a whole line, log-variance 0, whatever the mean; it falls towards 0 as the mean leaves the prior; and at
# $v = 2 \ln 2 - 0.002 \approx 1.384$ it jumps from minus to plus infinity. Cut through it with the slider. The right
# figure is the loss term of one image with one latent dimension.


# %%
def draw_cut(log_var):
    v = torch.full_like(at, log_var)
    _fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
    left.plot(
        at,
        to_prior(at, v)["hellinger2"],
        color=COLOURS["hellinger2"],
        label="exact $H^2$",
    )
    left.plot(
        at, reconstruction.hellinger_term(at, v), color="#767676", label="as published, A"
    )
    left.set(
        xlabel="mean", ylabel="term", ylim=(-1.5, 1.1), title=f"log-variance {log_var:g}"
    )
    left.legend(fontsize=9, loc="lower right")
    loss = torch.stack(
        [
            reconstruction.hellinger_regulariser(mean.view(1, 1), v[:1, None])
            for mean in at
        ]
    )
    right.plot(at, loss, color="#767676")
    right.set(xlabel="mean", ylabel="what is added to the loss, ln |total|", ylim=(-8, 4))
    if loss.isinf().all():
        right.text(0, -2, "minus infinity everywhere", ha="center", fontsize=9)
    plt.show()


lesson.explore(
    draw_cut,
    {"log_var": -1.0},
    log_var=[-3.0, -2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 1.3, 1.5, 3.0],
)


# %%
def term(mean, log_var):
    return reconstruction.hellinger_term(
        *torch.tensor([[mean], [log_var]], dtype=torch.float64)
    ).item()


print(
    "A at log-variance 0 for means 0, 3, 10:",
    [abs(term(mean, 0.0)) for mean in (0.0, 3.0, 10.0)],
)
print(
    f"A at log-variance -1: {term(0.0, -1.0):.3f} at mean 0, "
    f"{term(3.0, -1.0):.3f} at mean 3: it rewards leaving"
)
below, above = (term(0.0, reconstruction.POLE + side) for side in (-1e-3, 1e-3))
print(f"on the two sides of the pole, a thousandth away: {below:.0f} and {above:+.0f}")
apart = torch.tensor([[0.0, 0.0]]), torch.tensor([[-1.0, 0.409]])
print(
    "two dimensions whose terms nearly cancel, ln |total|:",
    f"{reconstruction.hellinger_regulariser(*apart):.1f}",
)

# %% [markdown]
# Minimising the term of one dimension drives its mean away from 0 and its variance towards 1, where the logarithm is
# minus infinity. With many dimensions no variance has to be 1: A is positive for $v < 0$ and negative for $0 < v <
# 1.384$, so the total of all dimensions can pass 0, and the loss has no lower bound. Whether the published numbers came
# from exactly this code is not known.
#
# ## Autoencoders that differ in nothing but their divergence
#
# A divergence is a switch, everything else has to be equal: start, batches, noise, length. All start from one plain
# autoencoder, trained without noise and with no divergence but a small price on large latents, because a net that knows
# nothing yet learns slowly from noisy latents. Its posteriors are made narrow, and then each net is trained with its
# own divergence and beta.


# %%
def train(net, loss_of, steps):
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    g = P.generator("batches and noise")  # the same for every net
    for k in lesson.track(range(steps), "training"):
        optimizer.param_groups[0]["lr"] = 4e-3 * min(1, (k + 1) / 30) * (1 - k / steps)
        x = images[torch.randint(len(images), (32,), generator=g)]
        loss = loss_of(net, x, g).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def plain(net, x, g):
    mean = net.encode(x).mean
    return (net.decode(mean) - x).square().flatten(1).sum(1) + 0.02 * mean.square().sum(1)


def bound(divergence, beta):
    return lambda net, x, g: compute_terms(x, *net(x, g), divergence).loss(beta)


# %%
NAMES = ("kl", "wasserstein2", "hellinger2")
BETAS = {"3/128": 3 / 128, "0.1": 0.1, "1": 1.0, "4": 4.0}
start = train(Vae("small", 16, 1, P.generator("weights")), plain, P.pick(900, 3000, 6000))
start.log_var.bias.data -= 3  # variances of about 0.05 to begin with
steps = P.pick(100, 1500, 3000)
nets = {
    (n, b): train(copy.deepcopy(start), bound(n, BETAS[b]), steps)
    for b in BETAS
    for n in NAMES
}
print(
    "autoencoders:",
    len(nets),
    "  parameters each:",
    sum(p.numel() for p in start.parameters()),
)

# %%
with torch.no_grad():
    decoded = {key: net.decode(net.encode(test).mean) for key, net in nets.items()}
shown = torch.arange(0, len(test), len(test) // 12)[:12] + 7

fig, axes = plt.subplots(4, 1, figsize=(8, 3), layout="constrained")
titles = {n: TITLES[n] for n in NAMES}
pictures.strips(
    axes, {"original": test[shown]} | {titles[n]: decoded[n, "0.1"][shown] for n in NAMES}
)
middle = images.mean(0, keepdim=True)
lost = {
    key: (d - test).square().sum((1, 2, 3)).mean().item() for key, d in decoded.items()
}
worst = (test - middle).square().sum((1, 2, 3)).mean().item()
said = ", ".join(f"{titles[n]} {lost[n, '0.1']:.0f}" for n in NAMES)
fig.suptitle(
    f"beta 0.1; squared error: {said}; of the mean image {worst:.0f}", fontsize=9
)
plt.show()
assert all(lost[n, "0.1"] < 0.7 * worst for n in NAMES), (
    "at beta 0.1 each beats drawing the mean image"
)

# %% [markdown]
# First row: figures of classes that no net has seen. Below: the same from 32 numbers. Position, size and rough shape
# are kept, fine strokes are not, and by eye the rows are hard to tell apart. These nets are tiny and trained for
# seconds; what they show is the mechanism.
#
# ## The beta slider
#
# Beta is the price of information. Slide it up and look at the rows, and at the curve: how far the posterior is from
# the prior (in nats of KL, for all three, so that it is one scale) against the error. "From the prior" draws latents
# from $N(0, 1)$ instead of encoding an image.

# %%
with torch.no_grad():
    views = {key: {"mean": decoded[key][shown]} for key in nets}
    rate = {}
    for key, net in nets.items():
        posterior = net.encode(test)
        rate[key] = measures.to_standard("kl", *posterior).sum(1).mean().item()
        noise = torch.randn(12, net.latent, generator=P.generator("noise"))
        views[key]["sample"] = net.decode(
            posterior.mean[shown] + (0.5 * posterior.log_var[shown]).exp() * noise
        )
        views[key]["the prior"] = net.decode(noise)


# %%
def draw_beta(beta, decoded_from):
    beta = list(BETAS)[beta]
    fig = plt.figure(figsize=(8.6, 2.8), layout="constrained")
    grid = fig.add_gridspec(4, 2, width_ratios=[2.2, 1])
    rows = {"original": test[shown]} | {
        titles[n]: views[n, beta][decoded_from] for n in NAMES
    }
    pictures.strips([fig.add_subplot(grid[k, 0]) for k in range(4)], rows)
    curve = fig.add_subplot(grid[:, 1])
    for n in NAMES:
        line = ([rate[n, b] for b in BETAS], [lost[n, b] for b in BETAS])
        curve.plot(*line, color=COLOURS[n], marker="o", markersize=3)
        curve.plot(rate[n, beta], lost[n, beta], "o", color=COLOURS[n], label=titles[n])
    curve.set(
        xlabel="KL to the prior, nats an image",
        ylabel="squared error",
        xlim=(0, None),
        title=f"beta {beta}",
    )
    curve.legend(fontsize=9)
    plt.show()


places = {name: k for k, name in enumerate(BETAS)}
lesson.explore(
    draw_beta, {"beta": 2}, beta=places, decoded_from=["mean", "sample", "the prior"]
)

# %%
assert all(rate[n, "3/128"] > rate[n, "1"] > rate[n, "4"] for n in NAMES), (
    "more beta, less KL"
)
assert all(lost[n, "0.1"] < lost[n, "1"] < lost[n, "4"] for n in NAMES), (
    "more beta, more error"
)
least = [min(NAMES, key=lambda n: lost[n, b]) for b in ("1", "4")]
print("smallest error at beta 1 and 4:", [TITLES[n] for n in least])

# %% [markdown]
# At the same beta Hellinger keeps the most, because it presses least. So a single beta compares where the three stand
# on their curves, not how good they are. Wasserstein's curve lies to the right: it hardly charges for a narrow
# posterior, $(\sigma - 1)^2 \le 1$, for which KL charges $-\ln \sigma$. At beta 4 both have thrown nearly everything
# away. Then draws from the prior look like reconstructions: all are much the same blob.
#
# ## A walk through latent space
#
# Three test images A, B and C span a plane in latent space: $z = A + a\,(B - A) + c\,(C - A)$. Walk on it. Between
# images the decoder invents; outside the triangle it extrapolates.

# %%
corners = test[shown[[3, 8, 11]]]
with torch.no_grad():
    latents = {n: nets[n, "0.1"].encode(corners).mean for n in NAMES}
STEPS = [-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5]


def draw_walk(towards_B, towards_C):
    _fig, axes = plt.subplots(1, 7, figsize=(8.6, 1.7), layout="constrained")
    pictures.row(axes[:3], corners, ["A", "B", "C"])
    pictures.plane(axes[3], towards_B, towards_C)
    for place, n in zip(axes[4:], NAMES, strict=True):
        a, b, c = latents[n]
        with torch.no_grad():
            image = nets[n, "0.1"].decode(
                (a + towards_B * (b - a) + towards_C * (c - a))[None]
            )
        pictures.show(place, image[0], titles[n].replace(" (", "\n("))
    plt.show()


lesson.explore(
    draw_walk, {"towards_B": 0.25, "towards_C": 0.0}, towards_B=STEPS, towards_C=STEPS
)

# %% [markdown]
# On the way from A to B the shape changes as a whole. It is not A fading out while B fades in, as an average of the
# pixels would be: neighbours in latent space are images too.
#
# ## The Fréchet distance
#
# Squared error rewards blur. The usual second judge compares *sets* of images by features of a net: take the Gaussian
# of the features of the originals, $N(m, S)$, and of the reconstructions, $N(n, T)$, and their Wasserstein distance:
#
# $$d^2 = \lVert m - n \rVert^2 + \mathrm{tr}\left(S + T - 2\,(S T)^{1/2}\right)$$

#
# ### 10.1 The Fréchet distance (20 minutes, ●●●)
# Write $d^2$ for two sets of features `x` (N, D) and `y` (M, D), with the unbiased covariance. It must work for fewer
# images than dimensions, too, where both covariances are singular. Return a scalar tensor.


# %%
def frechet_distance(x, y):
    raise NotImplementedError


check("10.1", frechet_distance)

# %% [markdown]
# <!-- help 10.1 -->
#
# The next cell compares your distance with the library's if it has passed, and the solution if not.

# %%
g = P.generator("features")
first = torch.randn(500, 8, generator=g)
second = torch.randn(400, 8, generator=g) * torch.arange(1, 9) + 0.5
mine = use_answer("10.1", frechet_distance)(first, second)
library = frechet.distance(first, second)
torch.testing.assert_close(float(mine), library, rtol=1e-4, atol=0)
print(f"two sets of features: {float(mine):.1f}, from the library {library:.1f}")
line = [
    frechet.Moments(torch.tensor([m]).double(), torch.tensor([[s]]).double())
    for m, s in ((0.0, 1.0), (3.0, 2.0))
]
d2 = frechet.compare_moments(*line)
print(
    f"N(0, 1) against N(3, 4): d^2 = {d2:.4f}, the squared Wasserstein distance 3^2 + 1^2"
)

# %% [markdown]
# It is called FID only with the features of one certain Inception net. Ours come from the encoder of the course, so
# its numbers can be compared with each other and with nothing else. An extractor takes bytes, so that nobody can hand
# it pixels of the wrong range.

# %%
extractor = extractors.Extractor(
    P.net("mixture").backbone, "encoder of the course", "0" * 64, size=32
)
sets = decoded | {"real": test}
features = {
    k: frechet.extract_features(extractor, [extractors.quantise(x)])
    for k, x in sets.items()
}
n = len(test) // 2
floor = frechet.measure_floor(features["real"], n, P.generator("floor"))
real = features["real"]
bars = {
    k: frechet.bootstrap_distance(
        real, features[k], P.generator("bootstrap"), P.pick(20, 50, 50)
    )
    for k in nets
}
print(
    "features:",
    extractor.num_features,
    "  images in a set:",
    len(test),
    "  in the floor:",
    f"{n} against {n}",
)

# %%
fig, (left, right) = plt.subplots(
    1, 2, figsize=(8.6, 3), sharey=True, layout="constrained"
)
for k, name in enumerate(NAMES):
    values, halves, _ = zip(*(bars[name, b] for b in BETAS), strict=True)
    places = np.arange(len(BETAS)) + 0.27 * (k - 1)
    left.bar(
        places,
        values,
        0.25,
        yerr=halves,
        color=COLOURS[name],
        label=titles[name],
        error_kw={"linewidth": 1},
    )
    right.plot(
        [lost[name, b] for b in BETAS], values, "o-", markersize=3, color=COLOURS[name]
    )
left.axhline(
    floor.value,
    linestyle=":",
    color="black",
    linewidth=1,
    label=f"real against real, {n} each",
)
left.set(
    xticks=range(len(BETAS)),
    xticklabels=BETAS,
    xlabel="beta",
    ylabel="Fréchet distance, our encoder",
)
right.set(xlabel="squared error an image")
left.legend(fontsize=9)
plt.show()
assert all(f.value > 3 * floor.value for f in bars.values()), (
    "every net stands above the floor"
)
nearest = [min(NAMES, key=lambda n: bars[n, b].value) for b in ("1", "4")]
print("nearest to the originals at beta 1 and 4:", [TITLES[n] for n in nearest])

# %% [markdown]
# Left: bars with 95 % intervals over the images; the dotted line is the **floor**, two sets of real images against each
# other. Hellinger has the lowest bars at beta 1 and 4, as in the publication. Is it the better autoencoder? Right: the
# same distances over the squared error. There the three lines nearly coincide: nets of the same error have about the
# same distance, whatever their divergence. Hellinger at beta 4 is roughly where the others are at a smaller beta.
#
# ### How many images?
#
# The covariance of few images is estimated badly, and always in the same direction: the distance comes out too large,
# by about $b / n$ with $n$ images.

# %%
counts = [100, 125, 150, 200, 250, 300]
floors = [frechet.measure_floor(real, k, P.generator(f"floor {k}")).value for k in counts]
fig, axes = plt.subplots(figsize=(4.6, 2.5), layout="constrained")
axes.plot(counts, floors, "o", color="black", label="real against real, mean of 5")
fitted = [frechet.extrapolate(counts, floors, to) for to in range(90, 321)]
axes.plot(range(90, 321), fitted, color="#767676", label="a + b/n")
axes.set(xlabel="images in each set", ylabel="Fréchet distance", ylim=(0, None))
axes.legend(fontsize=9)
plt.show()
assert floors[0] > 1.5 * floors[-1], "the floor falls with the number of images"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print("16 against 16:", frechet.distance(real[:16], real[16:32]))
print(caught[0].category.__name__ + ":", str(caught[0].message).split(", so")[0])

# %% [markdown]
# Real images against real images do not score 0, and the fewer there are, the farther they are from it. A number
# without its number of images and without its floor says little, and two numbers from different numbers of images
# cannot be compared.
#
# ## Break it: the inputs of the distance (D23)
#
# The published code hands its distance other things. It loops over the *rows of one image*, each row stretched to a
# grey picture of its own: its pixels run down, its colours across. And it scales pixels in [0, 1] as if they were in
# [0, 255], so that the net sees something that is nearly constant. Same reconstructions, three ways:

# %%
with torch.no_grad():
    lines = {k: reconstruction.take_rows_of_last_image(d) for k, d in sets.items()}
    lines = {
        k: frechet.compute_moments(extractor(extractors.quantise(rows)))
        for k, rows in lines.items()
    }
    dark = {
        k: extractor.net(d.expand(-1, 3, -1, -1) / 255).mean((-2, -1))
        for k, d in sets.items()
    }
ways = {
    f"all {len(test)} images": {k: bars[k].value for k in nets},
    "rows of one image": {
        k: frechet.compare_moments(lines["real"], lines[k]) for k in nets
    },
    "[0, 1] for [0, 255]": {k: frechet.distance(dark["real"], dark[k]) for k in nets},
}

# %%
fig, axes = plt.subplots(1, 3, figsize=(8.6, 2.6), layout="constrained")
for place, (way, values) in zip(axes, ways.items(), strict=True):
    for name in NAMES:
        line = [values[name, b] for b in BETAS]
        place.plot(
            range(len(BETAS)),
            line,
            "o-",
            markersize=3,
            color=COLOURS[name],
            label=titles[name],
        )
    place.set(
        xticks=range(len(BETAS)),
        xticklabels=BETAS,
        xlabel="beta",
        title=way,
        ylim=(0, None),
    )
axes[0].set_ylabel("Fréchet distance")
axes[0].legend(fontsize=9)
plt.show()
rows = reconstruction.take_rows_of_last_image(test)
print(
    "pictures that are compared:",
    len(rows),
    "of",
    tuple(rows.shape[1:]),
    "  they are of 1 image of",
    len(test),
)
right, wrong = (
    ways[w].values() for w in (f"all {len(test)} images", "[0, 1] for [0, 255]")
)
assert max(wrong) < min(right) / 100, (
    "scaled twice, every distance is below a hundredth of the right one"
)

# %% [markdown]
# Mind the scales of the axes. From the rows of one image the order of the nets is that of one image. Scaled twice, all
# distances are tiny, which reads as "excellent". Neither number says how good a reconstruction is.
#
# ## Break it: summed against averaged (D24)
#
# The published loss sums the error over the batch and averages the divergence over it. For 3 channels and 128 images
# that is the bound of each image with
#
# $$\beta = \frac{3}{128} \approx 0.023$$
#
# times a constant. (Three channels, since the error of a pixel is averaged over them.)

# %%
g = P.generator("weighing")
x, drawn = torch.rand(2, 128, 3, 8, 8, generator=g, dtype=torch.float64)
divergence = torch.rand(128, generator=g, dtype=torch.float64)
effective = reconstruction.effective_beta(batch=128, channels=3)
per_image = (x - drawn).square().sum((1, 2, 3)) + effective * divergence
torch.testing.assert_close(
    reconstruction.weigh_loss(x, drawn, divergence), per_image.mean() * 128 / 3
)
print(f"effective beta: {effective:.4f}")

apart = [
    torch.stack([decoded[n, b] for n in NAMES]).std(0).mean().item()
    for b in ("3/128", "4")
]
assert apart[0] < apart[1], (
    "at 3/128 the reconstructions of the three nets agree more than at 4"
)

# %% [markdown]
# Set the beta slider to 3/128: at this weight the divergence hardly matters, and the three nets draw nearly the same.
# What is compared there is three almost plain autoencoders.
#
# ## Exercises
#
# 10.1 stands above, where it is needed.
#
# ### 10.2 The loss of one image (10 minutes, ●●○)
# `x` and `drawn` are images (N, C, H, W) and their reconstructions, `mean` and `log_var` (N, latent) the posteriors.
# Return $\ell(x)$ with KL, **one value for each image**, (N,).


# %%
def bound_loss(x, drawn, mean, log_var, beta):
    raise NotImplementedError


check("10.2", bound_loss)

# %% [markdown]
# <!-- help 10.2 -->
#
# ### 10.3 Predict (4 minutes, ●○○)
# A loss averages the squared error over the 3 channels of a pixel, sums it over pixels and over a batch of 64 images,
# and adds the divergence averaged over the batch. Which beta of the bound of one image is that?

# %%
answer = ...
check("10.3", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# 3/64, about 0.047. Multiply the loss by 3/64: the error becomes the mean over images of its sum over pixels and
# channels, and the divergence gets the factor 3/64.
# </details>
#
# ### 10.4 Read a claim (5 minutes, ●●○)
# A paper says: "our divergence reaches 2.75, KL reaches 3.43, both at beta 0.02". Which of these would you ask for
# first, because without it the difference may not be one between divergences? Write `"a"`, `"b"` or `"c"`:
#
# - a: the same with a larger latent space
# - b: the distances of both over a grid of betas, with intervals
# - c: more decimals

# %%
answer = ...
check("10.4", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `"b"`. Equal beta is not equal pressure, and one training is one draw.
# </details>
#
# ## Recorded results
#
# mini-ImageNet at 32 pixels, the published shape of the autoencoder, recorded with `anrot reconstruct`. The claim has a
# column of its own: it was measured with another extractor and on other images, so the two do not compare.

# %%
records = P.records("mini-imagenet-32px-reconstruction-laptop", kind="reconstruction")
display(Markdown(reconstruct_report.write_claims(records)))

# %% [markdown]
# Lower is nearer to the originals. Read each number beside the floor that is named under the table. All numbers of the
# same models, the kernel distance, PSNR and SSIM among them, and their places in the plane of error and pressure:

# %%
display(Markdown(tables.format_markdown(*reconstruct_report.make_table(records, "mean"))))
print(reconstruct_report.MARKS)
reconstruction_figures.draw_betas(records, "mean")

# %% [markdown]
# On the left, a curve further down and further left is better: less error for less pressure. A divergence that only
# charges less at the same beta sits further along the same curve.
#
# ## Summary
# - The loss of a variational autoencoder is squared error plus beta times a divergence, both summed for one image.
# - KL and Wasserstein grow without bound, Hellinger ends at 1; equal beta is not equal pressure.
# - A Fréchet distance needs its extractor, its number of images and its floor beside it.
# - The published Hellinger term is 0 along a line, has a pole, and rewards leaving the prior; the published weighing is
#   a beta of 0.023; the published distance compares rows of one image, scaled twice.
#
# ## References
# - D. P. Kingma, M. Welling, Auto-encoding variational Bayes, ICLR 2014.
# - I. Higgins et al., beta-VAE: learning basic visual concepts with a constrained variational framework, ICLR 2017.
# - M. Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, NeurIPS 2017
#   (FID).
# - M. J. Chong, D. Forsyth, Effectively unbiased FID and Inception score and where to find them, CVPR 2020.
# - G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220.
