"""Let torchvision's Python parts load beside a torch build that its compiled operators do not match.

The Linux wheels of torchvision are built for the CUDA build of torch. Beside the (far smaller) CPU build their
compiled file cannot load, and then already `import torchvision` fails, because it describes operators (nms)
that were never registered. Nothing here calls those operators; declaring their signatures lets data sets,
transforms and models import, and with them easyfsl.
"""

import importlib
from types import ModuleType

import torch

_declared: list[torch.library.Library] = []  # a torch.library.Library lives as long as its Python object


def load_torchvision() -> ModuleType:
    """Import and return torchvision, also beside a torch build without its compiled operators."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared:
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(signature)
        _declared.append(library)
        return importlib.import_module("torchvision")
