"""MobileNet v1 as a feature extractor, from an .npz file of weights (Howard et al. 2017)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
EPSILON = 1e-3  # of the batch normalisation these weights were trained with


class _Layer(nn.Sequential):
    """Convolution, batch normalisation, ReLU6. Stride 2 pads below and to the right only, as in TensorFlow."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, groups: int = 1):
        padding = nn.ZeroPad2d((0, 1, 0, 1) if stride == 2 else kernel // 2)
        convolution = nn.Conv2d(n_in, n_out, kernel, stride, groups=groups, bias=False)
        super().__init__(padding, convolution, nn.BatchNorm2d(n_out, eps=EPSILON), nn.ReLU6())


class MobileNetV1(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> features (B, D): the average over positions before the classifier.

    weights: arrays "conv1.weight", "conv1_bn.weight", ..., "conv_dw_13...", "conv_pw_13..." in torch's layout; the
    width multiplier is read off their shapes. `classify` gives the 1,000 logits, if "conv_preds" is there.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        super().__init__()
        widths = [len(weights["conv1.weight"])]
        widths += [len(weights[f"conv_pw_{k}.weight"]) for k in range(1, len(STRIDES) + 1)]
        layers = {"conv1": _Layer(3, widths[0], 3, 2)}
        for k, stride in enumerate(STRIDES, 1):
            layers[f"conv_dw_{k}"] = _Layer(widths[k - 1], widths[k - 1], 3, stride, groups=widths[k - 1])
            layers[f"conv_pw_{k}"] = _Layer(widths[k - 1], widths[k], 1, 1)
        self.layers = nn.Sequential(*layers.values())
        self.classifier = nn.Linear(widths[-1], 1000)
        for name, (_, convolution, norm, _) in layers.items():
            convolution.get_parameter("weight").data.copy_(torch.from_numpy(weights[f"{name}.weight"]))
            for part in ("weight", "bias", "running_mean", "running_var"):
                norm.state_dict()[part].copy_(torch.from_numpy(weights[f"{name}_bn.{part}"]))
        if "conv_preds.weight" in weights:
            self.classifier.weight.data.copy_(torch.from_numpy(weights["conv_preds.weight"]).flatten(1))
            self.classifier.bias.data.copy_(torch.from_numpy(weights["conv_preds.bias"]))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.layers(images)
        return maps.mean((-2, -1))

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self(images))
        return logits


def load(path: Path) -> MobileNetV1:
    """Read the weights; UserError if the file lacks one or a shape does not fit."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return MobileNetV1(dict(arrays))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{path} holds no weights of MobileNet v1 ({error})") from error
