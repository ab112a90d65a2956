# %% [markdown]
# # Review: which published claims hold?
#
# A paper prints a number, a repository prints another, and both call it by the same name. This notebook is a review of
# three published systems as you could hand it in: every claim beside the nearest measurement, the defects of the
# released code with a demo each, what some of them do to an accuracy, and what each part of ANROT is worth. You write
# the guards that would have caught three of the defects. In the end you fill in the checklist for a paper of your own.
#
# Tone matters in a review. Here stands what code does and what follows from it. Whether the published numbers came
# from exactly this code is unknown, and no sentence below says that they did.
#
# **You will be able to**
# - say when two numbers may be compared at all, and what the difference of two intervals is,
# - read released code for leaks, for scores that depend on their neighbours, and for losses that do nothing,
# - tell which part of a system matters from a table of paired differences,
# - name the interval that a ± stands for, and ask for the ones that are missing.
#
# **Time**: 80 minutes of reading and exercises; running takes some seconds.
# **Needs**: 09 explains episodes and intervals. 01, 06 and 07 show the defects of split, distance and loss at length.

# %% tags=["parameters"]
PRESET = None

# %%
import random

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from anrot_lib.attacks import gradient
from anrot_lib.audit import claims, defects, published
from anrot_lib.core.statistics import interval, measure_open_interval
from anrot_lib.course import check, checklist, lesson
from anrot_lib.course.exercises import use_answer
from anrot_lib.fewshot.classifier import change_head
from anrot_lib.fewshot.hesim import Hesim
from anrot_lib.records.results import compute_accuracies
from anrot_lib.reports import ablation, consequences, intervals, leaky_split, tables
from anrot_lib.reports import claims as claims_report

P = lesson.set_up("14", preset=PRESET, images="omniglot-300")

# %% [markdown]
# ## The ledger
#
# A claim is a number with a place where it is printed and a setting in which it holds: images, size, encoder, way,
# shot, length of training. The ledger of this kit holds the claims of three systems, ANROT-HELANet, multi-level
# metric learning (MML) and robust metric learning (RobDML). Each is joined with the records of this repository.

# %%
known = claims.list_claims()
unstated = sum(bool(claim.unstated) for claim in known)
for system in claims.SYSTEMS:
    print(f"{system:14s}", sum(claim.system == system for claim in known), "claims")
print(f"{unstated} of {len(known)} leave open something that the number depends on")

# %% [markdown]
# ### 14.1 What may be said of a claim? (10 minutes, ●●○)
# Write the rule. `claimed` and `claimed_half` are the number as printed and its interval (None where none is printed);
# `measured` and `measured_half` the nearest measurement (None where nothing was run); `differences` lists what is not
# the same in the two settings. Return one of `"not run"`, `"other setting"`, `"agrees"`, `"below"`, `"above"`: the
# last two say where the measurement lies. Two numbers agree if their intervals touch or overlap.


# %%
def judge_claim(claimed, claimed_half, measured, measured_half, differences):
    raise NotImplementedError


check("14.1", judge_claim)

# %% [markdown]
# <!-- help 14.1 -->
#
# Now all claims by this rule, and those of ANROT-HELANet that have a measurement of some sort beside them. These two
# tables follow the records, which grow, so they are not compared when the notebook is checked.

# %% tags=["nbval-ignore-output"]
verdicts = claims.join_claims(known, claims.read_located())
display(Markdown(tables.format_markdown(*claims_report.count_statuses(verdicts))))
shown = [v for v in verdicts if v.claim.system == "ANROT-HELANet" and v.measured][:12]
display(Markdown(tables.format_markdown(*claims_report.make_table(shown), numbers=False)))

# %% [markdown]
# Read the last column first. Where it names a difference, the two numbers beside it are no contradiction: they answer
# two questions. A claim stays *not run* until somebody runs it, and nothing else fills the cell. The rule of the
# library is yours:

# %%
mine = use_answer("14.1", judge_claim)
words = {
    "same setting, agrees": "agrees",
    "same setting, below": "below",
    "same setting, above": "above",
}
for verdict in verdicts:
    claim = verdict.claim
    if (
        claim.value is None
        or claim.derived
        or not verdict.measured
        or verdict.measured[0] in "<>"
    ):
        continue
    mean, half = map(float, verdict.measured.split(" ± "))
    said = mine(claim.value, claim.half_width, mean, half, verdict.differences)
    assert said == words.get(verdict.status, verdict.status), (
        claim.id,
        said,
        verdict.status,
    )
print("your rule and the ledger say the same of every measured claim")

# %% [markdown]
# ## Defects, live
#
# A defect is a line of code that does something else than the text says. The kit lists those of the three releases,
# each with a demo of seconds and the test that would have caught it. On a command line `anrot verify` shows all.

# %%
listed = defects.list_defects()
rows = [
    [d.id, d.title, f"`{d.guard.rpartition('::')[2]}`"]
    for d in listed
    if d.system == "ANROT-HELANet"
]
print(len(listed), "defects,", len(rows), "of them of ANROT-HELANet")
display(
    Markdown(
        tables.format_markdown(
            ["", "what", "the test that would have caught it"], rows, numbers=False
        )
    )
)

# %% [markdown]
# Three of them follow at length, with a guard from your hand. A **guard** is a test that is written once and then
# stands there: it does not know the defect, only what must never happen.
#
# ### D1, D2: a split that is drawn twice
#
# The released code shuffles the classes without a seed and trains on 64 %. The test script shuffles all of them again,
# with seed 10, and takes the test classes from that. In its essence:
#
# ```python
# random.shuffle(classes)                      # data_loading.py
# train = classes[: int(0.64 * len(classes))]
# ...
# random.seed(10); random.shuffle(classes)     # test_evaluation.py
# rest = classes[int(0.64 * len(classes)) :]
# val, test = rest[: len(rest) // 2], rest[len(rest) // 2 :]
# ```
#
# ### 14.2 A guard against leaks (10 minutes, ●○○)
# `draw(names, seed)` gives three lists of class names: train, val, test. Return the sorted list of the test classes
# that the net has met before the test: in training, or when it was chosen.


# %%
def find_leaked(draw, names, seed):
    raise NotImplementedError


check("14.2", find_leaked)

# %% [markdown]
# <!-- help 14.2 -->
#
# With the guard one can ask how much leaks, over many states that the first shuffle may find.

# %%
guard = use_answer("14.2", find_leaked)
names = [f"class{k:02d}" for k in range(100)]


def split_once(names, seed):
    return published.split_classes(names, random.Random(seed))


def count_leaked(draw, seeds=300):
    return np.array([len(guard(draw, names, seed)) for seed in range(seeds)])


leaks = {
    "as released": count_leaked(published.split_twice),
    "one shuffle": count_leaked(split_once),
}
_, axes = plt.subplots(figsize=(5, 2.4), layout="constrained")
for name, counts in leaks.items():
    axes.hist(counts, bins=np.arange(-0.5, 19.5), label=name, alpha=0.8)
axes.set(xlabel="test classes that were trained on, of 18", ylabel="draws of 300")
axes.legend(fontsize=9)
plt.show()
expected = 18 * 0.64
print(
    f"expected {expected:.2f} of 18; the mean is within 0.3 of it:",
    abs(leaks["as released"].mean() - expected) < 0.3,
)
assert not leaks["one shuffle"].any()

# %% [markdown]
# Blue: a typical draw trains on eleven or twelve of the eighteen test classes. Orange: one shuffle, cut into three,
# cannot leak. No accuracy from the first kind of split is a few-shot accuracy, whatever the net.
#
# ### D12, D13: a distance that is none
#
# The released "Hellinger distance" turns every feature $x$ into a height, with the mean $m$ and the deviation $s$ of
# **all** features in the call:
#
# $$P = m + \frac{1}{\sqrt{2\pi}} \exp\Big(-\frac{(x - m)^2}{2 s^2}\Big)$$
#
# and compares heights, $d(P, Q) = \sum_k (\sqrt{|P_k|} - \sqrt{|Q_k|})^2 / \sqrt 2$.
#
# ### 14.3 Two that look like one (15 minutes, ●●○)
# Given `features` (d,), return *other* features, at least 0.5 away by Euclid, that this distance cannot tell from
# them: 0 between the two, each in a call of its own. There are many right answers; the check asks for the properties.


# %%
def find_twin(features):
    raise NotImplementedError


check("14.3", find_twin)

# %% [markdown]
# <!-- help 14.3 -->
#
# That is D13. D12 is the word *all* above: $m$ and $s$ come from the whole batch of queries, so an answer hangs on who
# else is asked.

# %%
make_twin = use_answer("14.3", find_twin)
one = torch.randn(64, generator=P.generator("features"), dtype=torch.float64)
twin = make_twin(one)
print("Euclid tells them apart:   ", bool((one - twin).norm() > 1))
print(
    "the released distance does:",
    bool(published.hellinger_distance(one[None], twin[None]).abs() > 1e-9),
)
g = P.generator("queries")
means = torch.randn(5, 256, generator=g)
queries = (means[torch.arange(75) % 5] + 1.5 * torch.randn(75, 256, generator=g)).relu()
together = published.hellinger_distance(queries, means.relu()).argmin(1)
alone = torch.cat(
    [published.hellinger_distance(q[None], means.relu()) for q in queries]
).argmin(1)
print(
    "answers that change when a query is asked alone:",
    "some" if (together != alone).any() else "none",
)

# %% [markdown]
# ### D15: a loss that is a constant
#
# The released Hesim masks pairs *before* it takes the root of the magnitude. "Ignore", the most negative number, comes
# out as the largest one, so every ratio is 0, and the loss is $-\log$ of the smallest float: $126 \ln 2$.
#
# ### 14.4 A guard for losses (10 minutes, ●●○)
# `loss(rows, labels)` gives a number. Return whether training can follow it: True if its gradient in `rows` is not 0
# everywhere. The value of the loss does not tell; a loss can be large, or move in steps, without a slope.


# %%
def can_train(loss, rows, labels):
    raise NotImplementedError


check("14.4", can_train)

# %% [markdown]
# <!-- help 14.4 -->

# %%
trains = use_answer("14.4", can_train)
rows = torch.rand(20, 8, generator=P.generator("rows")) + 0.1
labels = torch.arange(20) % 5
print(
    f"126 ln 2 = {126 * np.log(2):.3f}, the released Hesim: "
    f"{published.hesim(rows, labels).item():.3f}"
)
for name, loss in {"released": published.hesim, "corrected": Hesim()}.items():
    print(f"{name:10s} can train: {trains(loss, rows, labels)}")

# %% [markdown]
# ## Consequences
#
# What a defect does is one question, what it is worth in points another. It takes one net that is measured in the right
# way and in the published way, on the same episodes. These are nets of CIFAR-FS, 10,000 episodes each, 1,000
# under noise.

# %%
CIFAR = "cifar-fs-32px-5way-5shot-laptop"
measured = P.records(f"{CIFAR}-consequences")
for record in tables.sort_records(measured):
    display(Markdown(tables.format_markdown(*consequences.make_table(record))))

# %%
display(consequences.draw(measured))

# %% [markdown]
# Each point is a paired difference with its interval. Flips and quarter turns of training, left on in the test, cost
# four points and more, so they make the published evaluation *harder*: a defect need not flatter. Noise that is not cut
# at 1 moves it by about a point, down or up. Queries in batches flatter the released distance, for what the net says of
# one then depends on the others.
#
# The leak flatters, too. For each of ten draws one net was trained as the release trains, on clean images, and tested
# on classes that it had not seen and on the release's test classes.

# %%
SPLIT = "omniglot-300-28px-5way-5shot-smoke-consequences-split"
pairs = leaky_split.match_splits(P.records(SPLIT), P.records(f"{SPLIT}-released"))
display(Markdown(tables.format_markdown(*leaky_split.make_split_table(pairs))))

# %%
display(leaky_split.draw_splits(pairs))

# %% [markdown]
# Grey: a net each. Orange: their mean. From left to right nothing changes but the classes, and two thirds of those at
# the right have trained the net. These small nets are right on more than nine of ten characters that they have never
# seen, so there is little left to gain. On photographs the gap between known and unknown classes is wide, and the leak
# may be worth more; ten draws tell it far less exactly, for with so few test classes some draws are easier than others:

# %%
FAR = f"{CIFAR}-consequences-split"
photographs = leaky_split.match_splits(P.records(FAR), P.records(f"{FAR}-released"))
for images, drawn in {"characters": pairs, "CIFAR-FS": photographs}.items():
    tested = [released for _, released in drawn.values()]
    known = [
        record["seen"]["trained_classes"] / record["data"]["classes"]["test"]
        for record in tested
    ]
    gain = leaky_split.measure_gain(drawn)
    print(f"{images}: {np.mean(known):.2f} of the release's test classes trained a net,")
    print(f"  which is worth {gain.mean:+.1f} ± {gain.half_width:.1f} points to it")

# %% [markdown]
#
# ## Ablation
#
# Which part of ANROT does the work? One encoder is pre-trained on clean characters for each of three seeds. From there
# the whole system is trained, and then again with one part changed. All nets answer the same episodes of the test
# classes; the list of changes was written down before a test class was looked at.

# %% tags=["nbval-ignore-output"]
ABLATION = "omniglot-300-28px-5way-5shot-smoke-ablation"
trained = P.records(ABLATION)
display(Markdown(tables.format_markdown(*ablation.make_table(trained))))

# %%
display(ablation.draw(trained))

# %% [markdown]
# Each line is one change; the interval is over episodes, the small dots are seeds, and orange says that the difference
# is clear after the correction for the number of lines. Of what the mixture adds, attacked queries do the work: without
# them, by clean queries alone, most of what withstands an attack is gone. What costs most is the attention: an encoder
# without its gates is better everywhere. These trainings are short, and a gate starts by halving what passes it;
# whether long ones on photographs gain by gates has not been measured. Which distance compares classes hardly matters.
#
# Two lines deserve a second look. The released Hesim was trained with, too:

# %%
by_row = {record["row"]: record for record in trained}
columns, seeds = ablation.list_columns(trained).values(), ("", "-seed1", "-seed2")


def read(variant, column):
    """The right answers of every episode, of the three nets of a variant."""
    return [
        by_row[f"ablation-clean-{variant}{seed}"]["columns"][column]["correct"]
        for seed in seeds
    ]


same = {
    column: read("constant-hesim", column) == read("no-hesim", column)
    for column in columns
}
print(
    "the constant Hesim and none give the same answers in every episode:",
    all(same.values()),
)

# %% [markdown]
# As D15 says: a loss with gradient 0 trains the very net that is trained without it.
#
# The other line is the Hellinger distance, which keeps more under FGSM than Bhattacharyya's. Is it more robust? Per
# dimension it is $H = \sqrt{1 - e^{-D}}$ of the same divergence $D$. That rises with $D$, so the nearest class is the
# same, for every image, attacked or not. Take one net and give it both heads:

# %%
net, eps = P.net("clean"), P.radii.eps
heads = {"Bhattacharyya": net, "Hellinger": change_head(net, "hela-vfa").eval()}
episode = P.episodes(P.pick(20, 60, 200), query=3)
x, y = episode.query.flatten(0, 1), episode.labels.flatten()
of = torch.arange(len(episode.query)).repeat_interleave(episode.query.shape[1])
bound = {
    name: head.bind(episode.support.flatten(1, 2), episode.support_labels)
    for name, head in heads.items()
}


@torch.no_grad()
def answer(name, images):
    return bound[name](images, of).argmax(-1)


step = gradient.fgsm(eps, "query")
moved = {
    n: gradient.attack(m, x, y, step, P.generator(n), of, keep="last").images
    for n, m in bound.items()
}
left = {
    name: 100 * (answer(name, images) == y).float().mean().item()
    for name, images in moved.items()
}
print(
    "the same answers to clean images:",
    torch.equal(answer("Hellinger", x), answer("Bhattacharyya", x)),
)
for name, attacked in moved.items():
    print(
        f"to images moved by {name}:",
        torch.equal(answer("Hellinger", attacked), answer("Bhattacharyya", attacked)),
    )
print(
    "the gradient through the Hellinger distance leaves more:",
    left["Hellinger"] > left["Bhattacharyya"],
)

# %% [markdown]
# Two heads that answer alike are equally robust, and FGSM still leaves more of one. The surplus is one of the attack:
# through $H$ the gradient of far classes dies out, and one step that follows it is a worse step. Borrow the other
# head's gradient, and it is gone. An attack that knows less did more, which notebook 13 has taught you to look for.

# %% [markdown]
# ## How to read a robustness claim
#
# 1. **Which classes?** Trained on, selected on, tested on: three disjoint sets, with a hash of the split.
# 2. **Which attack?** Norm, eps in units of the pixel range, steps, step size, restarts, target. A transferred step is
#    an attack on another net. A row that falls to no attack has met too few (notebook 13).
# 3. **Which images?** Attacked and noisy pixels stay in the range, and nothing of the training's augmentation is left
#    in the test.
# 4. **Which interval?** The next section has four.
# 5. **What did it cost?** Clean accuracy, and the time of training.
# 6. **What was it compared with?** The same episodes, paired; the same length of training; corrected for the number of
#    comparisons.
#
# ### Four intervals of one number
#
# A **closed** interval asks: with other episodes of *these* classes, what might have come out? It shrinks with the
# number of episodes, as far as one likes. An **open** one asks: with other *classes*? It does not: twenty test classes
# stay twenty. **Paired** intervals are of differences on the same episodes, and **seeds** are trainings.
#
# The slider takes the first episodes of a record with 10,000 of them.

# %%
(long,) = (record for record in measured if record["row"] == "robust-classes")
accuracies = compute_accuracies(long["columns"]["clean"])


def draw_closed(episodes):
    """The closed interval of the first episodes, and means of as many of the record."""
    blocks = 100 * accuracies[: len(accuracies) // episodes * episodes].reshape(
        -1, episodes
    ).mean(1)
    closed = interval(accuracies[:episodes], bootstrap=False)
    _, axes = plt.subplots(figsize=(6, 1.9), layout="constrained")
    axes.plot(
        blocks,
        np.zeros(len(blocks)),
        "|",
        color="#767676",
        markersize=18,
        label=f"means of {episodes} episodes",
    )
    axes.errorbar(
        closed.mean,
        0.4,
        xerr=closed.half_width,
        fmt="o",
        capsize=4,
        color="#D55E00",
        label="closed interval",
    )
    axes.set(xlim=(64, 76), ylim=(-0.5, 0.9), yticks=[], xlabel="clean accuracy, %")
    axes.set_title(f"{episodes} episodes: ± {closed.half_width:.2f}", fontsize=9)
    axes.legend(fontsize=9, loc="upper right")
    plt.show()


lesson.explore(draw_closed, {"episodes": 100}, episodes=[100, 300, 1000, 2500])

# %% [markdown]
# Grey: what a hundred episodes each would have reported, over and over, for one and the same net. Orange: the interval
# that the first hundred give. Move the slider: with 2,500 episodes it is a fifth as wide. Nothing of this says what
# other classes would have given. A simulation does, where the truth is known:

# %%
rng, covered = np.random.default_rng(0), {"closed": 0, "open": 0}
for _ in range(200):
    of_class = rng.normal(0.6, 0.12, 20)  # 20 classes of a population with mean 60 %
    classes = np.array([rng.choice(20, 5, replace=False) for _ in range(400)])
    values = of_class[classes].mean(1) + rng.normal(0, 0.08, 400)
    closed = interval(values, bootstrap=False)
    opened = measure_open_interval(values, classes)
    covered["closed"] += abs(closed.mean - 60) <= closed.half_width
    covered["open"] += abs(opened.mean - 60) <= opened.half_width
print(
    "the closed interval holds the truth in under half of 200 papers:",
    covered["closed"] < 100,
)
print(
    "the open interval holds it in about 95 of 100:", 0.9 < covered["open"] / 200 < 0.99
)

# %% [markdown]
# ### 14.5 Better by 1.2? (3 minutes, ●○○)
# A paper prints 69.4 ± 0.30 for its method and 68.2 ± 0.30 for another, each on 10,000 episodes *of its own*. What is
# the half-width of the difference, 1.2? Two decimals.

# %%
half_width = None

check("14.5", half_width)

# %% [markdown]
# All four intervals of the rows of a table, where the records hold what an interval takes:

# %% tags=["nbval-ignore-output"]
lines = intervals.measure_intervals(CIFAR, P.records(CIFAR))
display(Markdown(tables.format_markdown(*intervals.make_table(lines))))

# %% [markdown]
# ## Your own paper
#
# Fifteen questions that a claim of robustness has to answer. In a live notebook the next cell is a form: choose a
# verdict, note where the paper says so, and save it as Markdown to hand it in, or as JSON to go on later
# (`checklist.show_form(checklist.load_checklist("mine.json"))`). A file that is there already is not overwritten.

# %%
form = checklist.show_form()

# %% [markdown]
# The same without a form:

# %%
sheet = checklist.Checklist(paper="a paper of yours").set_answer(
    1, "yes", "section 4.1, with a hash of the split"
)
sheet = sheet.set_answer(6, "in part", "eps without its unit")
print("\n".join(sheet.write_markdown().splitlines()[:7]))

# %% [markdown]
# ## Summary
# - Compare settings before numbers. Without the same setting there is no *below* and no *above*.
# - A guard knows nothing of the defect: no test class met before, no answer that hangs on its neighbours, no loss
#   without a slope, no pixel out of range.
# - A defect can flatter or harm; only a paired measurement says which, and by how much.
# - Change one part at a time, from one start, over several seeds, and correct for the number of changes.
# - A ± without a word is closed. Ask for the open one, and for the seeds.
#
# ## References
# - G. Y. Lee et al., ANROT-HELANet, arXiv 2509.11220, and HELA-VFA, WACV 2024: the claims and the code read here.
# - H. Chen et al., Multi-level metric learning for few-shot image recognition, arXiv 2103.11383.
# - M. Zhou and V. M. Patel, Enhancing adversarial robustness for deep metric learning, CVPR 2022, arXiv 2203.01439.
# - R. Lafargue et al., Oops, I sampled it again: reinterpreting confidence intervals in few-shot learning, 2024, arXiv
#   2409.02850: closed and open intervals.
# - S. Holm, A simple sequentially rejective multiple test procedure, 1979.
