"""As published, bug for bug: the net behind the released adversarial images, its training, and its one step.

Re-stated from what the released code computes (commit a7de814, beside arXiv 2509.11220); compared with it layer by
layer. It trains one such net on the classes it then attacks, test classes included, so that it has their labels.
Nothing here is a default anywhere: the transfer column uses `attacks.transfer`, whose surrogate knows base classes only
and whose points stay in their ball and in [0, 1].
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from anrot_lib.attacks.ascent import frozen

EPS_TRAIN, EPS_TEST = 0.20, 0.30  # 51/255 and 76.5/255
EPOCHS, BATCH, LEARNING_RATE = 100, 64, 1e-3
DROPOUT = 0.5


class PublishedSurrogate(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> logits (B, classes); the release applies softmax to them.

    conv 3x3 stride 2 (32), ReLU, batch norm; the same with 64; dense 128, ReLU, batch norm, dropout 0.5; dense.
    Padding is "same": for an even side one row and one column of zeros, behind the image. Batch norm as in Keras:
    epsilon 0.001, a hundredth of a batch in the running statistics. 3,640,380 weights at 84 px with 60 classes.
    """

    def __init__(self, classes: int, size: int, channels: int, generator: torch.Generator):
        super().__init__()
        self.generator = generator  # of the dropout
        side = (size + 3) // 4
        self.conv1, self.conv2 = (skip_init(nn.Conv2d, a, b, 3, stride=2) for a, b in ((channels, 32), (32, 64)))
        self.dense1, self.dense2 = skip_init(nn.Linear, 64 * side * side, 128), skip_init(nn.Linear, 128, classes)
        self.norm1, self.norm2 = (nn.BatchNorm2d(width, eps=1e-3, momentum=0.01) for width in (32, 64))
        self.norm3 = nn.BatchNorm1d(128, eps=1e-3, momentum=0.01)
        for layer in (self.conv1, self.conv2, self.dense1, self.dense2):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm1(self.conv1(_pad_same(images)).relu())
        x = self.norm2(self.conv2(_pad_same(x)).relu())
        x = self.norm3(self.dense1(x.flatten(1)).relu())
        if self.training:
            kept = torch.rand(x.shape, generator=self.generator, device=self.generator.device) >= DROPOUT
            x = x * kept.to(x.device) / (1 - DROPOUT)
        logits: Tensor = self.dense2(x)
        return logits


def _pad_same(x: Tensor) -> Tensor:
    """Zeros around x for a 3x3 convolution of stride 2, where TensorFlow puts them."""
    before = [size % 2 for size in x.shape[-2:]]
    return F.pad(x, (before[1], 1, before[0], 1))


def train_published_surrogate(
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    epochs: int = EPOCHS,
    progress: Callable[[int], None] | None = None,
) -> PublishedSurrogate:
    """Train on images (N, C, H, W) in [0, 1] and labels (N,), 0 to classes - 1; returned in eval mode.

    Categorical cross-entropy, Adam at 0.001, batches of 64, 100 epochs, without validation. `progress` is called with
    the number of images seen.
    """
    net = PublishedSurrogate(int(labels.max()) + 1, images.shape[-1], images.shape[1], generator).to(images.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, eps=1e-7)
    seen = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
            rows = rows.to(images.device)
            loss = F.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(rows)
            if progress is not None:
                progress(seen)
    return net.eval()


def published_step(net: nn.Module, images: Tensor, labels: Tensor, eps: float = EPS_TRAIN) -> Tensor:
    """The released images: x + eps sign(gradient of the mean squared error of softmax to one-hot), not clipped.

    One step; labels (B,) are the *true* ones. The squared error is the loss of this step only; the net is trained with
    cross-entropy. Values leave [0, 1]: for uniform images 3 in 10 do at the eps of the tests.
    """
    with frozen(net, training=False):
        points = images.detach().requires_grad_()
        probabilities = net(points).softmax(1)
        error = (probabilities - F.one_hot(labels, probabilities.shape[1])).square().mean(1)
        (gradient,) = torch.autograd.grad(error.sum(), points)
    return images + eps * gradient.sign()
