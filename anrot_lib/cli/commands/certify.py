"""The verb certify: answers that no small change of pixels, or no few replaced shots, can turn."""

import argparse

from anrot_lib.cli.commands.arguments import describe_memory, get_changes, read_options
from anrot_lib.cli.commands.fewshot import open_net
from anrot_lib.cli.options.certify import CertifyOptions
from anrot_lib.cli.options.fewshot import EvaluateOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import checkpoints
from anrot_lib.core.progress import shorten
from anrot_lib.core.units import format_minutes
from anrot_lib.experiments import poisoning, smoothing
from anrot_lib.experiments.estimates import estimate_passes
from anrot_lib.experiments.setting import make_manifest
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.poisoning import build_shot_head
from anrot_lib.records import results
from anrot_lib.reports import tables


def certify(arguments: argparse.Namespace) -> int:
    """Make the certificates of a net, attack them, write their records, print them and draw all of the folder."""
    from anrot_lib.reports import certificates, figures  # these load matplotlib

    options, path = read_options(CertifyOptions, arguments), read_options(EvaluateOptions, arguments).checkpoint
    net, method, about, setting = open_net(arguments)
    settings = Smoothing(**{"sigma": setting.protocol.sigma, **get_changes(Smoothing, arguments)})
    head = options.head or poisoning.choose_head(net, method)
    build_shot_head(head, net.backbone.out_channels)
    row, net_hash, manifest = about.get("row", path.stem), checkpoints.sha256(path), make_manifest(setting)
    if read_options(RunOptions, arguments).dry_run:
        passes = {
            "noise": smoothing.count_smoothing_passes(setting, settings),
            "poison": poisoning.count_poisoning_passes(setting),
        }
        for kind in options.against:
            print(f"{kind}: at most about {format_minutes(estimate_passes(setting, net, passes[kind]))}")
        print(f"records would go to {shorten(setting.folder)}{describe_memory()}")
        return 0
    if "noise" in options.against:
        smoothed = results.read(smoothing.run_smoothing(setting, row, net, net_hash, manifest, settings), "smoothing")
        print(f"\n{tables.format_text(*certificates.make_smoothing_table([smoothed]))}\n")
        print(certificates.write_smoothing_caption([smoothed]))
    if "poison" in options.against:
        poisoned = results.read(poisoning.run_poisoning(setting, row, net, net_hash, manifest, head), "poisoning")
        print(f"\n{tables.format_text(*certificates.make_poisoning_table([poisoned]))}\n")
        print(certificates.write_poisoning_caption([poisoned]))
    drawn = certificates.draw_certificates(
        results.read_all(setting.folder, "smoothing"), results.read_all(setting.folder, "poisoning")
    )
    figure = figures.save(drawn, setting.folder / certificates.FIGURE)
    print(f"figure: {shorten(figure)}\nrecords: {shorten(setting.folder)}")
    return 0
