"""The verb rescore: does a row fall to a challenger's adversarial images?"""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.fewshot import RescoreOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import devices
from anrot_lib.core.progress import bar, shorten
from anrot_lib.experiments.rescore import run_rescore
from anrot_lib.fewshot import nets
from anrot_lib.records import results
from anrot_lib.reports import rescore as report
from anrot_lib.reports import tables


def rescore(arguments: argparse.Namespace) -> int:
    """Check and score the images, print whether the row falls, write the record. Returns 0 whatever comes out."""
    options, run = read_options(RescoreOptions, arguments), read_options(RunOptions, arguments)
    device = devices.resolve_device(run.device)
    net, _, _ = nets.load_net(options.checkpoint)
    file = run_rescore(
        net.to(device), options.checkpoint, options.images, options.record, device, bar, reference=run.reference
    )
    record = results.read(file, "rescore")
    print(f"\n{tables.format_text(*report.make_table([record]))}\n\n{report.write_verdict(record)}")
    print(f"record: {shorten(file)}")
    return 0
