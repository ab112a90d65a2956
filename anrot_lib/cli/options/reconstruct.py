"""TODO."""

from typing import Any

from anrot_lib.cli.options.shared import _data
from anrot_lib.core.units import fraction


def _reconstruct(verbs: Any) -> None:
    verb = verbs.add_parser(
        "reconstruct",
        help="autoencoders that differ in their divergence, and how far their images are from the originals",
        description="Exit code 3: paused by --minutes; the same command goes on.",
    )
    _data(verb)
    group = verb.add_argument_group("models")
    group.add_argument("--divergences", nargs="+", help="kl wasserstein2 hellinger2 (default), bhattacharyya hellinger")
    group.add_argument("--beta", type=fraction, help="weight of the divergence at which all seeds are trained")
    group.add_argument("--betas", type=fraction, nargs="*", help="further betas, for the first seed")
    group.add_argument("--seeds", type=int, nargs="+", default=[0])
    group.add_argument("--model", help="published or small (default: the preset's)")
    group.add_argument("--train-images", type=int)
    group.add_argument("--epochs", type=int, help="of training; the learning rate falls to 0 over them")
    group.add_argument("--learning-rate", type=float)
    test = verb.add_argument_group("testing")
    test.add_argument("--test-images", type=int)
    test.add_argument(
        "--extractor",
        default="own",
        help="own (default: the preset's encoder, trained on the base classes), inception, or a file: "
        ".pth (Inception), .npz (MobileNet v1), .pt2 (torch.export), .pt (a net of train)",
    )
    test.add_argument("--extractor-size", type=int, help="side to which images are resized for it")
    test.add_argument("--extractor-sha256", help="hash of Inception weights that are not the published ones")
    test.add_argument("--download", action="store_true", help="fetch the Inception weights if they are not there")
    test.add_argument(
        "--decode", nargs="+", default=["sample", "mean"], help="from a sample of the posterior, its mean"
    )
    test.add_argument("--resamples", type=int, default=50, help="of the bootstrap")
    verb.add_argument("--minutes", type=float, help="stop after so long, to go on later")
