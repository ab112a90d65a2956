# %% [markdown]
# # Encoder and attention: what does the encoder see, and where does its attention look?
#
# Everything in few-shot learning happens between features: numbers that a network, the **encoder**, makes of an image.
# Two papers may use the same word for encoders of very different size, and then their tables cannot be compared. And
# ANROT's encoder carries *attention*: gates that turn some channels and some places up and others down. It is tempting
# to read such a gate as "here the net looks". This notebook takes the encoder apart and checks how far that holds.
#
# **You will be able to**
# - follow an image through `resnet12_anrot`, and account for each of its parameters,
# - compute channel attention and spatial attention yourself,
# - read an attention map, and test whether it follows the object or only the position,
# - say what batch norm does to the independence of images, and where the normalisation of pixels belongs.
#
# **Time**: 55 minutes of reading and exercises; running takes seconds at every preset.
# **Needs**: nothing but this notebook; 06 shows what is done with the features.

# %% tags=["parameters"]
PRESET = None

# %%
import copy

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from anrot_lib.course import check, lesson
from anrot_lib.fewshot import encoders
from anrot_lib.fewshot.attention import Attention, ChannelAttention, SpatialAttention
from anrot_lib.records.describe import count_parameters
from anrot_lib.reports import pictures, tables

P = lesson.set_up("05", preset=PRESET)

# %% [markdown]
# ## From pixels to maps
#
# A **feature map** is a stack of small pictures, one for each **channel**: (channels, height, width). A convolution
# slides a small window over its input and computes at every place a weighted sum; each output channel has weights of
# its own. With a window of side $k$, **stride** $s$ (the step between windows) and a border of $p$ zeros, a map of side
# $n$ gets the side
#
# $$n' = \left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1$$
#
# Nearly all windows here have $k = 3$ and $p = 1$, so stride 1 keeps the side and stride 2 halves it, rounded up. The
# encoder of the published code begins with one such layer, the stem, and then has four **stages** of 1, 1, 2 and 1
# *blocks*, with more channels and a smaller map from the second stage on. Let us ask it for its shapes, at 84 pixels,
# where papers report, and at 32 pixels, where this course works.

# %%
encoder = encoders.build("resnet12_anrot", generator=P.generator("weights")).eval()


def shapes(model, side):
    """The shape of one image after each stage."""
    x, found = torch.zeros(1, 3, side, side), []
    with torch.no_grad():
        for stage in model.stages:
            x = stage(x)
            found.append(" x ".join(str(n) for n in x.shape[1:]))
    return found


# %%
names = ["stem", "stage 1", "stage 2", "stage 3", "stage 4"]
counts = [count_parameters(stage) for stage in encoder.stages]
print(f"{'':8s} {'84 px':>13s} {'32 px':>13s} {'parameters':>11s}")
for name, large, small, n in zip(
    names, shapes(encoder, 84), shapes(encoder, 32), counts, strict=True
):
    print(f"{name:8s} {large:>13s} {small:>13s} {n:11,}")
print(f"{'together':36s} {sum(counts):11,}")

# %% [markdown]
# The side falls and the number of channels grows. Nearly all parameters sit in the last two stages: a 3 x 3 convolution
# from $a$ to $b$ channels has $9ab$ weights, so doubling the channels makes it four times as large.

# %% [markdown]
# ## A block
#
# A **residual block** computes a correction and adds it to its input. The input takes a short cut past the layers, so a
# block that has learnt nothing does no harm, and gradients reach the early layers. In words:
#
# 1. convolve (with the stride of the stage), batch norm, ReLU; convolve again, batch norm;
# 2. attention: multiply by the channel gate, then by the spatial gate;
# 3. add the input. If the shape has changed, a 1 x 1 convolution with batch norm first brings the input to that shape;
# 4. ReLU, which sets negative numbers to 0.
#
# **Batch norm** brings every channel to mean 0 and deviation 1, then scales and shifts it by two learnt numbers. We
# come back to it below.


# %%
def residual_block(x, block):
    y = F.relu(block.bn1(block.conv1(x)))
    y = block.bn2(block.conv2(y))
    y = block.attention.channel(y) * y
    y = block.attention.spatial(y) * y
    return F.relu(y + block.shortcut(x))


# %%
block = encoder.stages[2][0]
x = torch.randn(2, 32, 16, 16, generator=P.generator("maps"))
with torch.no_grad():
    mine, library = residual_block(x, block), block(x)
torch.testing.assert_close(mine, library)
print(tuple(x.shape), "->", tuple(mine.shape), "  by hand and from the library")

# %% [markdown]
# ## Two gates
#
# The gates come from CBAM, the *convolutional block attention module*. Both first summarise the map by a mean and a
# maximum, and both end in a sigmoid, so a gate is a number between 0 and 1.
#
# **Channel attention** asks which channels matter. It takes the mean and the maximum of each channel over all places,
# sends both vectors through the same small network (from $C$ numbers to $C/16$ and back), and adds:
#
# $$g_c = \sigma\big(W_2\,\mathrm{relu}(W_1\,\mathrm{mean}_{hw}\,x) + W_2\,\mathrm{relu}(W_1\max\nolimits_{hw} x)\big)$$


# %%
def channel_gate(x, squeeze, expand):
    """x (B, C, H, W), squeeze (C/16, C), expand (C, C/16) -> (B, C, 1, 1)."""
    total = 0
    for pooled in (x.mean((2, 3)), x.amax((2, 3))):
        total = total + F.relu(pooled @ squeeze.T) @ expand.T
    return torch.sigmoid(total)[..., None, None]


# %%
channel, spatial = block.attention.channel, block.attention.spatial
y = torch.randn(2, 64, 8, 8, generator=P.generator("more maps"))
with torch.no_grad():
    mine = channel_gate(
        y, channel.squeeze.weight[..., 0, 0], channel.expand.weight[..., 0, 0]
    )
    library = channel(y)
torch.testing.assert_close(mine, library)
print("a gate per channel, by hand and from the library:", tuple(mine.shape))

# %% [markdown]
# **Spatial attention** asks which places matter. It takes mean and maximum over the channels at each place, lays the
# two pictures on top of each other, and runs one 7 x 7 convolution over them:
#
# $$g_{hw} = \sigma\big(\mathrm{conv}_{7\times7}[\mathrm{mean}_c\,x;\ \max\nolimits_c x]\big)$$


# %%
def spatial_gate(x, kernel):
    """x (B, C, H, W), kernel (1, 2, 7, 7) -> (B, 1, H, W)."""
    pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    return torch.sigmoid(F.conv2d(pooled, kernel, padding=3))


with torch.no_grad():
    mine, library = spatial_gate(y, spatial.conv.weight), spatial(y)
torch.testing.assert_close(mine, library)
print("a gate per place, by hand and from the library:", tuple(mine.shape))

# %% [markdown]
# ## What the switch removes
#
# Attention is a switch in the library, so that one can compare with and without. The switch must remove the gates and
# nothing else. Count both ways: the difference of the two encoders, and the parameters of the attention modules.

# %%
print(
    f"{'encoder':15s} {'without':>11s} {'with':>11s} "
    f"{'difference':>11s} {'in the gates':>13s}"
)
for name in encoders.BUILDERS:
    on, off = (encoders.build(name, attention=switch) for switch in (True, False))
    gates = sum(count_parameters(m) for m in on.modules() if isinstance(m, Attention))
    n_on, n_off = count_parameters(on), count_parameters(off)
    assert n_on - n_off == gates
    print(f"{name:15s} {n_off:11,} {n_on:11,} {n_on - n_off:11,} {gates:13,}")

# %% [markdown]
# The gates are cheap: they hold less than one parameter in a hundred of `resnet12_anrot`. With the gates on it has
# 1,547,498 parameters, the number of the published code. (`conv4` and `conv64f` have equal counts: they differ only in
# where they pool, and pooling has no parameters.)

# %% [markdown]
# ## Where does it look?
#
# Now the gates of a trained net. The nets that come with the course have the smallest encoder, `tiny`: three stages,
# each with both gates. A **hook** is a function that PyTorch calls when a module has computed its output. With hooks we
# collect all gates in one pass, without touching the net.


# %%
def gates_of(net, images):
    """[(channel gates (B, C), spatial gates (B, h, w))] of every stage."""
    found, hooks = [], []
    for module in net.modules():
        if isinstance(module, ChannelAttention | SpatialAttention):
            hooks.append(
                module.register_forward_hook(
                    lambda _module, _input, output: found.append(output)
                )
            )
    with torch.no_grad():
        net.encode(images)
    for hook in hooks:
        hook.remove()
    return [(c[..., 0, 0], s[:, 0]) for c, s in zip(found[::2], found[1::2], strict=True)]


# %% [markdown]
# Beside images of classes that the net has never seen we give it an empty one: plain grey. There is nothing to look at
# in it. Keep it in mind as the control of this experiment.

# %%
nets = {"clean": P.net("clean"), "mixture": P.net("mixture")}
queries = P.episodes(4, way=5, shot=5, query=15).query.flatten(0, 1)
chosen = torch.cat([queries[0:75:9][:8], torch.full((1, 3, 32, 32), 0.5)])
gates = {name: gates_of(net, chosen) for name, net in nets.items()}
for k, (c, s) in enumerate(gates["mixture"], 1):
    print(f"stage {k}: channel gates {tuple(c.shape)}, spatial gates {tuple(s.shape)}")

# %%
typical = {
    name: [c.mean(0) for c, _ in gates_of(net, queries)] for name, net in nets.items()
}


def draw_gates(image, stage, net):
    c, s = (values[image] for values in gates[net][stage])
    _fig, axes = plt.subplots(
        1, 4, figsize=(8, 2.2), width_ratios=(1, 1, 1, 1.5), layout="constrained"
    )
    pictures.show(axes[0], chosen[image], "image")
    pictures.heat(
        axes[1], s, f"spatial gate, {s.min():.2f} to {s.max():.2f}", low=0, high=1
    )
    large = F.interpolate(s[None, None], size=(32, 32), mode="nearest")[0]
    pictures.show(axes[2], chosen[image] * large, "image times gate")
    order = typical[net][stage].argsort(descending=True)
    axes[3].bar(range(len(order)), c[order], width=1, color="#3D9BD8", label="this image")
    axes[3].plot(
        typical[net][stage][order], color="black", linewidth=1, label="average image"
    )
    axes[3].set(ylim=(0, 1), xlabel="channel, by average gate", ylabel="channel gate")
    axes[3].legend(fontsize=9)
    plt.show()


pictured = {**{str(k + 1): k for k in range(8)}, "grey": 8}
stages = {"1 (32 px)": 0, "2 (16 px)": 1, "3 (8 px)": 2}
lesson.explore(
    draw_gates,
    {"image": 2, "net": "mixture"},
    image=pictured,
    stage=stages,
    net=list(nets),
)

# %% [markdown]
# From the left: the image, the spatial gate (bright is open, dark is closed), the image dimmed by the gate, and the
# channel gates. In the first stage one can often make out something of the object or of the texture. Go through the
# images at stages 2 and 3: the gate hardly changes, and it is dark along some borders. Now choose `grey`. The gate
# still
# has bright and dark parts, though the image has none.
#
# So part of the map does not come from the image at all. Where from? A convolution pads the border with zeros, so it
# can tell the border from the middle, and through several layers this reaches further in. How much of the map is
# position? Average the gates over many images: what is left in the average is common to all. Its share of the whole
# variation over places is
#
# $$R = \frac{\mathrm{var}_{hw}\ \mathrm{mean}_i\, g_{i,hw}}{\mathrm{var}_{i,hw}\ g_{i,hw}} \in [0, 1]$$
#
# $R = 1$: all images have the same map. $R$ near 0: the maps have nothing in common.

# %%
maps = {name: [s for _, s in gates_of(net, queries)] for name, net in nets.items()}
share = {
    name: [float(s.mean(0).var() / s.var()) for s in found]
    for name, found in maps.items()
}
fig, axes = plt.subplots(2, 3, figsize=(6.4, 4.4), layout="constrained")
for line, name in zip(axes, maps, strict=True):
    for k, place in enumerate(line):
        title = f"{name}, stage {k + 1}: R = {share[name][k]:.2f}"
        pictures.heat(place, maps[name][k].mean(0), title, low=0, high=1)
plt.show()
assert share["mixture"][2] > 0.5, (
    "trained on the mixture, last stage: more than half is position"
)

# %% [markdown]
# These are average gates over many images. Were attention about the object alone, the average would be smooth, at most
# a blob in the middle. It shows bars along borders, and a dark corner in the last stage of the net trained on the
# mixture. $R$ says how much of the variation that is: in that stage, most of it. A picture of an attention map is
# therefore weak evidence. Ask what the same map looks like for another image, and for an empty one.
#
# ## Does the net need its gates?
#
# Take the dependence away and measure. We replace each gate by its average: the spatial gate over places, the channel
# gate over images. The net is not trained again; this shows what *this* net relies on, not what training without gates
# would give.

# %%
tasks = P.episodes(40, way=5, shot=5, query=5)
FREEZES = {
    "as trained": (),
    "spatial gates averaged over places": (SpatialAttention,),
    "channel gates averaged over images": (ChannelAttention,),
    "both averaged": (SpatialAttention, ChannelAttention),
}


def average(module, _input, gate):
    dims = (2, 3) if isinstance(module, SpatialAttention) else (0,)
    return gate.mean(dims, keepdim=True).expand_as(gate)


def accuracies(net, kinds):
    """Share of right answers of every task, with the gates of these kinds frozen."""
    hooks = [
        m.register_forward_hook(average) for m in net.modules() if isinstance(m, kinds)
    ]
    with torch.no_grad():
        right = net.scores(tasks).logits.argmax(-1) == tasks.labels
    for hook in hooks:
        hook.remove()
    return 100 * right.float().mean(1)


# %%
found = {
    name: [accuracies(net, kinds) for kinds in FREEZES.values()]
    for name, net in nets.items()
}
fig, axes = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
for k, (name, values) in enumerate(found.items()):
    places = [j + 0.38 * k - 0.19 for j in range(len(FREEZES))]
    # Student's t, 39 degrees of freedom
    half = [2.02 * v.std() / len(v) ** 0.5 for v in values]
    colour = ("#3D9BD8", "#D55E00")[k]
    drawn = axes.barh(
        places,
        [v.mean() for v in values],
        0.36,
        xerr=half,
        color=colour,
        label=f"trained: {name}",
    )
    axes.bar_label(drawn, fmt="%.0f", fontsize=9, padding=3)
axes.axvline(20, linestyle=":", color="black", linewidth=1, label="chance")
axes.set(
    xlim=(0, 100),
    yticks=range(len(FREEZES)),
    yticklabels=list(FREEZES),
    xlabel="accuracy, %, 40 tasks",
)
axes.invert_yaxis()
fig.legend(
    *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9
)
plt.show()

# %%
lost = {
    name: [float((values[0] - v).mean()) for v in values]
    for name, values in found.items()
}
assert all(loss[2] > loss[1] for loss in lost.values()), (
    "freezing the channel gates costs more than the spatial ones"
)

# %% [markdown]
# Bars are means with 95 % intervals over tasks. Averaging the spatial gates, the ones that make the pretty pictures,
# costs little. Averaging the channel gates costs more: the net does use that they differ from image to image. They
# cannot be laid over an image, so they are shown less often.

# %% [markdown]
# ## Pixels in, normalisation inside
#
# Networks train better on numbers around 0. So somewhere one computes $(x - m)/s$. Here the encoder does it itself,
# with
# $m = 0.5$, $s = 0.25$ for every data set. From outside it takes plain pixels in [0, 1]. Two reasons:
#
# - an attack of size $\varepsilon = 8/255$ means eight grey levels of 255. If images were normalised before, the same
#   number would mean $8/255 \cdot s$, another size for each data set and each channel;
# - an attack must clip to valid pixels. That is [0, 1] only for plain pixels.

# %%
eps, scale = 8 / 255, encoders.PIXEL_STD
print(
    f"eps on pixels: {eps:.4f} = {eps * 255:.0f} grey levels; "
    f"the first convolution sees {eps / scale:.4f}"
)
print(f"the same number on normalised images: {eps * scale * 255:.0f} grey levels")
low, high = ((v - encoders.PIXEL_MEAN) / scale for v in (0.0, 1.0))
print(
    f"normalised images lie in [{low:.0f}, {high:.0f}]; a clip to [0, 1] leaves "
    f"{1 / (high - low):.0%} of the range"
)

# %%
image = chosen[:1]
normalised = (image - encoders.PIXEL_MEAN) / encoders.PIXEL_STD
back = normalised.clamp(0, 1) * encoders.PIXEL_STD + encoders.PIXEL_MEAN
fig, axes = plt.subplots(1, 2, figsize=(4.2, 2.2), layout="constrained")
pictures.row(
    axes, torch.cat([image, back]), ["image", "normalised, clipped to [0, 1], undone"]
)
plt.show()
# it normalises by itself
torch.testing.assert_close(encoder(image), encoder.stages(normalised))

# %% [markdown]
# On the right everything darker than mid-grey has become mid-grey and everything brighter than 0.75 has become 0.75.
# This is what an attack with the usual clip does to images that were normalised too early. No error is raised.

# %% [markdown]
# ## Break it: which ResNet-12 (D18)
#
# In most few-shot tables "ResNet-12" means four blocks of three convolutions with 64, 160, 320 and 640 channels, the
# library's `resnet12`. The published encoder goes by a similar name, but has basic blocks with 32 to 256 channels.
# Count
# parameters, 3 x 3 convolutions, and multiplications for one image of 84 pixels.


# %%
def cost(model, side=84):
    """(3 x 3 convolutions, multiplications of all convolutions for one image)."""
    sizes, hooks = [], []
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    for m in convolutions:
        hooks.append(
            m.register_forward_hook(
                lambda m, _, out: sizes.append(m.weight[0].numel() * out[0].numel())
            )
        )
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return sum(m.kernel_size == (3, 3) for m in convolutions), sum(sizes)


# %%
print(
    f"{'encoder':15s} {'parameters':>11s} {'3x3 convs':>10s} "
    f"{'mult., millions':>16s} {'map at 84 px':>14s}"
)
measured = {}
for name in encoders.BUILDERS:
    model = encoders.build(name).eval()
    layers, products = cost(model)
    measured[name] = (count_parameters(model), products)
    print(
        f"{name:15s} {measured[name][0]:11,} {layers:10d} {products / 1e6:16,.0f} "
        f"{shapes(model, 84)[-1]:>14s}"
    )
ratio = measured["resnet12"][0] / measured["resnet12_anrot"][0]
print(f"resnet12 has {ratio:.1f} times the parameters of resnet12_anrot")

# %%
fig, axes = plt.subplots(figsize=(4.8, 3), layout="constrained")
for name, (parameters, products) in measured.items():
    axes.scatter(
        parameters / 1e6,
        products / 1e9,
        color="#D55E00" if name == "resnet12_anrot" else "#0072B2",
    )
    place = (0, -12 if name == "conv4" else 6)  # conv64f is right above it
    axes.annotate(
        name,
        (parameters / 1e6, products / 1e9),
        xytext=place,
        textcoords="offset points",
        ha="center",
    )
axes.set(xscale="log", yscale="log", xlim=(0.02, 40), ylim=(0.01, 10))
axes.set(xlabel="parameters, millions", ylabel="multiplications at 84 px, billions")
plt.show()

# %% [markdown]
# Both axes are logarithmic. `resnet12_anrot` lies between the small encoders and the ResNet-12 of the tables, in both
# costs. A row "ResNet-12" for it, next to rows with eight times the parameters, compares two things at once: the method
# and the encoder. The smaller encoder is no fault; a name without a parameter count is.

# %% [markdown]
# ## Break it: batch norm couples the images of a batch
#
# Batch norm has two modes. In **train** mode it takes mean and variance of each channel over the whole batch. In
# **eval** mode it takes fixed ones, the running averages from training:
#
# $$y_c = \gamma_c\,\frac{x_c - m_c}{\sqrt{v_c + \delta}} + \beta_c$$
#
# In train mode $m_c$ and $v_c$ depend on every image of the batch, so the features of one image depend on the others.


# %%
def batch_norm(x, layer, training):
    m, v = (
        (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0))
        if training
        else (layer.running_mean, layer.running_var)
    )
    slope = layer.weight / (v + layer.eps).sqrt()
    return slope[:, None, None] * (x - m[:, None, None]) + layer.bias[:, None, None]


layer = copy.deepcopy(nets["mixture"].backbone.stages[0][1])
x = torch.randn(6, 32, 8, 8, generator=P.generator("batch"))
for training in (False, True):
    mine = batch_norm(x, layer, training)
    library = layer.train(training)(x)
    torch.testing.assert_close(mine, library)
    used = x[:, 0].mean() if training else layer.running_mean[0]
    print(
        f"{'train' if training else 'eval'} mode: "
        f"from the first channel it takes {used:+.2f}"
    )

# %%
COMPANIES = {
    "copies of itself": chosen[:1].expand(12, -1, -1, -1),
    "other classes": queries[20:74:5],
    "dark images": queries[20:74:5] * 0.3,
    "grey images": chosen[8:].expand(12, -1, -1, -1),
}
features = {}
for mode in ("train", "eval"):
    for name, company in COMPANIES.items():
        trunk = copy.deepcopy(nets["mixture"].backbone).train(mode == "train")
        with torch.no_grad():
            features[mode, name] = trunk(torch.cat([chosen[:1], company]))[0]


# %%
def draw_company(company, mode):
    reference, now = features[mode, "copies of itself"], features[mode, company]
    away = float((now - reference).norm() / reference.norm())
    _fig, axes = plt.subplots(1, 4, figsize=(7.6, 2.2), layout="constrained")
    pictures.show(axes[0], chosen[0], "the image")
    pictures.show(axes[1], COMPANIES[company][0], "one of its companions")
    high = max(float(f.mean(0).max()) for f in features.values())
    pictures.heat(axes[2], reference.mean(0), "features, among copies", low=0, high=high)
    pictures.heat(axes[3], now.mean(0), f"in company: {away:.0%} away", low=0, high=high)
    plt.show()


lesson.explore(
    draw_company,
    {"company": "dark images"},
    company=list(COMPANIES),
    mode=["train", "eval"],
)

# %%
away = {}
for mode in ("train", "eval"):
    own = features[mode, "copies of itself"]
    away[mode] = max(
        float((features[mode, name] - own).norm() / own.norm()) for name in COMPANIES
    )
assert away["train"] > 0.1 and away["eval"] < 1e-5

# %% [markdown]
# The two maps are the features of the *same* image, averaged over channels. In train mode they change with the company;
# switch to eval and they do not (the rest is rounding). For a test this matters: a query must be judged by itself and
# the support images, not by which other queries happen to be in the batch. A method that uses the other queries is
# called *transductive*, and its accuracies belong in another table. One forgotten `net.eval()` is enough to become so.
# It even changes the net: a pass in train mode updates the running averages, without any gradient step.

# %%
trunk = copy.deepcopy(nets["mixture"].backbone).train()
before = trunk.stages[0][1].running_mean.clone()
with torch.no_grad():
    trunk(queries[:8])
moved = (before != trunk.stages[0][1].running_mean).sum()
print(
    "channels whose running mean a pass without gradients has moved:",
    int(moved),
    "of",
    len(before),
)

# %% [markdown]
# ## Exercises
#
# ### 5.1 The side of a map (8 minutes, ●○○)
# A row of 3 x 3 convolutions with a border of one zero. Given the side of the input and the list of strides, return the
# side of the output, an integer. Use the formula of the first section, and integers throughout.


# %%
def side_after(side, strides):
    raise NotImplementedError


check("5.1", side_after)

# %% [markdown]
# <!-- help 5.1 -->
#
# ### 5.2 Predict (5 minutes, ●○○)
# How many parameters do the two gates of a block with 64 channels have together? The channel gate squeezes to 64/16
# numbers. There are no biases. Count first, then check.

# %%
answer = ...
check("5.2", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# 610. The channel gate has two matrices, 64 to 4 and 4 to 64: $2 \cdot 64 \cdot 4 = 512$. Its network is shared by mean
# and maximum, so it counts once. The spatial gate is one 7 x 7 convolution from two maps to one: $2 \cdot 49 = 98$,
# however many channels the block has.
# </details>
#
# ### 5.3 Batch norm is a straight line (12 minutes, ●●○)
# In eval mode batch norm computes $y = a x + b$ for every channel. Given its running `mean` and `variance`, its `scale`
# $\gamma$ and `shift` $\beta$, all of shape (channels,), and `tiny`, the $\delta$ of the formula, return $a$ and $b$
# stacked to (2, channels). The library uses this to merge batch norms into the convolutions before them for testing.


# %%
def as_straight_line(mean, variance, scale, shift, tiny):
    raise NotImplementedError


check("5.3", as_straight_line)

# %% [markdown]
# <!-- help 5.3 -->
#
# ### 5.4 Predict (3 minutes, ●○○)
# An attack adds $d = 8/255$ to a pixel. By how much does the number change that the first convolution sees, behind the
# normalisation with mean 0.5 and deviation 0.25? Give it to two digits after the zero, like 0.05.

# %%
answer = ...
check("5.4", answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# About 0.125. The mean drops out of a difference: $(x + d - 0.5)/0.25 - (x - 0.5)/0.25 = d/0.25 = 4d$.
# </details>
#
# ### 5.5 What one place can see (12 minutes, ●●○)
# One number of the last map depends on a square of the image, its **receptive field**. For a row of convolutions with
# windows of the sides `kernels` and with `strides`, both lists from the first layer to the last, return the side of
# this square in pixels, far from the borders.


# %%
def receptive_field(kernels, strides):
    raise NotImplementedError


check("5.5", receptive_field)

# %% [markdown]
# <!-- help 5.5 -->

# %% [markdown]
# ## Recorded results
#
# What was measured with which encoder, drawn from the result records of this repository: 5-way 5-shot, clean accuracy,
# trained clean. The claims are those of the publication and of its repository.

# %%
from IPython.display import Markdown, display

runs = [
    (
        "cifar-fs-32px-5way-5shot-laptop",
        "anrot-clean",
        "90.6 ± 0.5",
        "a cut of the data: not comparable",
    ),
    ("omniglot-300-28px-5way-5shot-smoke", "anrot-clean", "(no claim)", "mechanism only"),
]
rows = [["mini-imagenet, 84 px", "resnet12_anrot", "88.1 ± 0.4", "not run", "not run"]]
for experiment, row, claim, status in runs:
    r = next(r for r in P.records(experiment) if r["row"] == row)
    setting = f"{r['data']['name']}, {r['data']['size']} px"
    rows.insert(
        0,
        [
            setting,
            r["budget"]["encoder"],
            claim,
            tables.format_column(r["columns"]["clean"]),
            status,
        ],
    )
headings = ["setting", "encoder", "paper says", "we measured", "status"]
display(Markdown(tables.format_markdown(headings, rows)))

# %% [markdown]
# Measured values are accuracies in per cent with 95 % intervals over episodes. Two comparisons are missing here and
# would be worth a run: the same method with `--attention` and `--no-attention`, and with `resnet12` for
# `resnet12_anrot`. Until they are recorded, nothing can be said about what the gates or the size buy on real images.
#
# ## Summary
# - `resnet12_anrot` is a stem and five residual blocks with gates: 1,547,498 parameters, a 256 x 11 x 11 map at 84 px.
# - A channel gate weighs channels, a spatial gate weighs places; both cost next to no parameters.
# - An attention map may show the position instead of the object. Average over images, and try an empty one.
# - "ResNet-12" in most tables is eight times as large. Give the parameter count with the name.
# - Batch norm in train mode couples the images of a batch; test in eval mode.
# - Normalise inside the encoder: then eps is in units of the pixel range, and the clip is [0, 1].
#
# ## References
# - K. He et al., Deep residual learning for image recognition, CVPR 2016.
# - S. Woo et al., CBAM: Convolutional block attention module, ECCV 2018, equations 2 and 3.
# - S. Ioffe, C. Szegedy, Batch normalization, ICML 2015.
# - K. Lee et al., Meta-learning with differentiable convex optimization, CVPR 2019 (the ResNet-12 of the tables).
# - O. Vinyals et al., Matching networks for one shot learning, NeurIPS 2016 (Conv-4).
# - W. Li et al., Revisiting local descriptor based image-to-class measure (DN4), CVPR 2019 (Conv64F).
# - G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220.
