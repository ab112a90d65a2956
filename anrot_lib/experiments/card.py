"""The masking card of a net as a record: its checks, and the loss around one query."""

import time
from pathlib import Path
from typing import cast

from anrot_lib.attacks.transfer import measure_surrogate
from anrot_lib.core.configs import add_defaults, to_dict
from anrot_lib.core.paths import make_file_stem
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments.net_records import describe_former, describe_head, keep_former
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.surrogate import train_surrogate
from anrot_lib.fewshot import card
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.records import results
from anrot_lib.records.measures import CheckRecord
from anrot_lib.records.schema import CardRecord
from anrot_lib.settings import Protocol


def run_card(setting: Setting, row: str, net: FewShotNet, net_hash: str, manifest: EpisodeManifest) -> Path:
    """Check a net on as many episodes as a curve has, and write the record `<row>-card.json`.

    A record that says the same is kept, and one of another net or protocol is never overwritten.
    """
    started = time.perf_counter()
    protocol, budget = setting.protocol, setting.budget
    path = setting.folder / f"{make_file_stem(row)}-card.json"
    rows = manifest.rows[: budget.curve_tasks].with_queries(budget.attacked_query)
    asked = {"net": net_hash, "rows": manifest.hash, "tasks": len(rows), "protocol": to_dict(protocol)}
    if path.is_file():
        former = results.read(path, "card")
        stands = {"protocol": add_defaults(Protocol, former["protocol"]), **describe_former(former, former["tasks"])}
        return keep_former(path, stands, asked)
    surrogate = train_surrogate(setting)
    evaluator = Evaluator(net, setting.image_set, setting.device, lambda: surrogate, setting.allow_seen, setting.split)
    useful = measure_surrogate(surrogate, setting.image_set).is_useful
    done = 0
    with setting.progress(f"check {row}", len(card.CHECKS)) as bar:

        def show(name: str) -> None:
            nonlocal done
            bar(done, {"check": name})
            done += 1

        checks = card.check_masking(evaluator, rows, protocol, transfers=useful, progress=show)
        surface = card.measure_surface(
            evaluator, rows[:1].to_episode(setting.image_set, setting.device), protocol.eps, protocol.seed
        )
        bar(len(card.CHECKS), {})
    record: CardRecord = {
        **describe_head(setting, row, net_hash, manifest, evaluator, time.perf_counter() - started),
        "kind": "card",
        "tasks": len(rows),
        "checks": cast(dict[str, CheckRecord], checks),
        "passed": all(check["passed"] for check in checks.values()),
        "surface": [[round(float(value), 4) for value in line] for line in surface],
    }
    results.write(path, record)
    return path
