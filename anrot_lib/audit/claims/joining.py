"""Claims joined with records: a status for each. A measured cell is filled by a record, or it is empty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anrot_lib.audit.claims.registry import Claim, ClaimSetting, list_claims
from anrot_lib.core import paths
from anrot_lib.core.configs import add_defaults, list_differences, to_dict
from anrot_lib.core.statistics import compute_share_half_width, describe_bound
from anrot_lib.data import splits
from anrot_lib.fewshot.methods import get_method, is_registered
from anrot_lib.records import results
from anrot_lib.records.schema import AccuracyRecord, Record
from anrot_lib.settings import Recipe

AGREES, BELOW, ABOVE = "same setting, agrees", "same setting, below", "same setting, above"
OTHER, NOT_RUN = "other setting", "not run"
DERIVED, NO_NUMBER = "a difference of claims", "no number claimed"
STATUSES = (AGREES, BELOW, ABOVE, OTHER, NOT_RUN, DERIVED, NO_NUMBER)
NEARLY_ALL = 0.99  # of the images of a set: copies that stood in two splits are left out

Located = tuple[str, Record]  # the experiment, below data/results, and its record


@dataclass(frozen=True)
class JudgedClaim:
    """A claim beside the nearest measurement.

    status       one of `STATUSES`.
    measured     of the nearest record, "59.2 ± 0.6", or "< 0.3" where no query is right; "" if there is none.
    record       experiment and row of it, below data/results; "" if there is none.
    differences  why it is another setting; () if it is the same one, or if there is no record.
    """

    claim: Claim
    status: str
    measured: str = ""
    record: str = ""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    record: str
    mean: float
    half_width: float
    bound: str | None
    rank: int
    differences: tuple[str, ...]


def read_located(folder: Path | None = None) -> list[Located]:
    """All reference records with the folder that each stands in; none if there is no such folder."""
    folder = paths.results_dir() if folder is None else folder
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    return [
        (path.parent.relative_to(folder).as_posix(), record)
        for path in files
        for record in results.read_all(path, None)
    ]


def join_claims(claims: Sequence[Claim], located: Sequence[Located]) -> list[JudgedClaim]:
    """The verdict on each claim."""
    return [compare_claim(claim, located) for claim in claims]


def compare_claim(claim: Claim, located: Sequence[Located]) -> JudgedClaim:
    """The nearest record of a claim, and whether it agrees.

    Nearest is the one with the fewest differences of setting, then the row that stands first in the claim. Agreement
    in the same setting: the two intervals overlap.
    """
    if claim.derived:
        return JudgedClaim(claim, DERIVED, differences=(_explain_difference(claim),))
    nothing = JudgedClaim(claim, NO_NUMBER if claim.value is None else NOT_RUN)
    if claim.setting is None:
        return nothing
    setting, look = claim.setting, LOOKS[claim.setting.kind]
    candidates = [c for where, record in located if (c := look(setting, where, record)) is not None]
    if not candidates:
        return nothing
    best = min(candidates, key=lambda c: (len(c.differences), c.rank))
    measured = best.bound or f"{best.mean:.1f} ± {best.half_width:.1f}"
    if claim.value is None:
        status = NO_NUMBER
    else:
        status = OTHER if best.differences else _compare(claim.value, claim.half_width or 0.0, best)
    return JudgedClaim(claim, status, measured, best.record, best.differences)


def _compare(value: float, half_width: float, candidate: _Candidate) -> str:
    difference = candidate.mean - value
    if abs(difference) <= candidate.half_width + half_width:
        return AGREES
    return BELOW if difference < 0 else ABOVE


def _explain_difference(claim: Claim) -> str:
    by_id = {one.id: one for one in list_claims()}
    first, second = (by_id[name] for name in claim.derived)
    assert first.value is not None and second.value is not None
    return f"{first.value:.1f} - {second.value:.1f} = {first.value - second.value:.2f}"


def _differ(wanted: Any, present: Any, text: str) -> list[str]:
    return [text] if wanted is not None and wanted != present else []


def _compare_images(setting: ClaimSetting, data: Any, size: int) -> list[str]:
    differences = _differ(setting.size, size, f"{size} px, not {setting.size}")
    if setting.images and data["images"] < NEARLY_ALL * setting.images:
        differences.append(f"{data['images']:,} of {setting.images:,} images")
    return differences


def _compare_split(data: Any) -> list[str]:
    """Other classes than those of the published split of a set, where there is one."""
    name, differences = data["name"], []
    if name in splits.NAMES and data["split_hash"] != splits.split_hash(splits.load_standard(name)):
        differences.append("classes of another split")
    if without := data.get("without"):
        differences.append(f"without the test classes {', '.join(without)}")
    return differences


def _compare_training(record: AccuracyRecord) -> list[str]:
    """A net of another recipe than that of its row, or trained on images of another size, or nobody knows on what."""
    training, differences = record["training"], []
    usual = to_dict(get_method(record["row"]).recipe) if is_registered(record["row"]) else {}
    changed = set(list_differences(add_defaults(Recipe, record["recipe"]), usual)) - {"seed"} if usual else set()
    if changed:
        differences.append(f"another {', '.join(sorted(changed))} than usual")
    if "size" in training:
        differences.append(f"trained on images of {training['size']} px")
    if record.get("unknown_origin"):
        differences.append("a net of unknown training")
    return differences


def _look_accuracy(setting: ClaimSetting, where: str, record: Record) -> _Candidate | None:
    if record["kind"] != "accuracy" or record["row"] not in setting.rows:
        return None
    if setting.data not in ("", record["data"]["name"]):
        return None
    protocol, budget, column = record["protocol"], record["budget"], record["columns"].get(setting.column)
    if column is None or record["manifest"]["split"] != "test" or "seen" in record:
        return None
    origin = record["training"].get("origin")
    if origin is not None and origin["data"] != record["data"]["name"]:  # the net was trained on another set
        return None
    if (protocol["way"], protocol["shot"]) != (setting.way, setting.shot):
        return None
    differences = _differ(setting.rows[0], record["row"], f"the row {record['row']}, not {setting.rows[0]}")
    differences += _compare_images(setting, record["data"], record["data"]["size"])
    differences += _compare_split(record["data"]) + _compare_training(record)
    encoder = budget["encoder"]
    differences += _differ(setting.encoder, encoder, f"encoder {encoder}, not {setting.encoder}")
    if setting.episodes and budget["episodes"] < setting.episodes:
        differences.append(f"trained for {budget['episodes']:,} episodes, not {setting.episodes:,}")
    rank = setting.rows.index(record["row"])
    name = f"{where}/{record['row']}"
    bound = describe_bound(sum(column["correct"]), column["queries"] * len(column["correct"]))
    return _Candidate(name, column["mean"], column["half_width"], bound, rank, tuple(differences))


PUBLISHED_LOSS = "ptripletN"  # of every ranking model that is claimed: triplets, Euclid on embeddings of length 1


def _look_ranking(setting: ClaimSetting, where: str, record: Record) -> _Candidate | None:
    if record["kind"] != "ranking" or record["row"] != setting.row or "other_data" in record:
        return None
    name = record["data"]["name"]
    if not name.startswith(setting.data):
        return None
    recipe = record["recipe"]
    differences = _differ(setting.data, name, f"the set {name}")
    differences += _compare_images(setting, record["data"], recipe["size"])
    differences += _differ(setting.eta, recipe["eta"], f"{recipe['eta']} steps in training, not {setting.eta}")
    loss = recipe["name"].split(":")[2]
    differences += _differ(PUBLISHED_LOSS, loss, f"loss {loss}, not {PUBLISHED_LOSS}")
    if setting.epochs and recipe["epochs"] < setting.epochs:
        differences.append(f"{recipe['epochs']} epochs, not {setting.epochs}")
    if setting.number == "ERS":
        mean, half = record["ers"]["value"], record["ers"]["half_width"]
        differences += _differ("robrank", record["protocol"]["parity"], "GTM as corrected here")
        if queries := record["protocol"]["queries"]:
            differences.append(f"{queries:,} queries")
    else:
        mean = record["clean"]["R@1"]
        half = compute_share_half_width(mean, record["protocol"]["gallery"])
    return _Candidate(f"{where}/{record['row']}", mean, half, None, record["recipe"]["seed"], tuple(differences))


def _look_reconstruction(setting: ClaimSetting, where: str, record: Record) -> _Candidate | None:
    if record["kind"] != "reconstruction" or record["data"]["name"] != setting.data:
        return None
    vae, extractor = record["vae"], record["extractor"]["name"]
    if vae["divergence"] != setting.divergence or "mean" not in record["decoded"]:
        return None
    distance = record["decoded"]["mean"]["frechet"]
    differences = _compare_images(setting, record["data"], record["data"]["size"])
    if not extractor.lower().startswith(setting.extractor or ""):
        differences.insert(0, f"extractor {extractor}, so no FID")
    differences += _differ(setting.test_images, record["test"]["images"], f"{record['test']['images']:,} test images")
    differences += _differ(setting.epochs, vae["epochs"], f"{vae['epochs']} epochs, not {setting.epochs}")
    if setting.train_images and vae["train_images"] < setting.train_images:
        differences.append(f"{vae['train_images']:,} training images, not {setting.train_images:,}")
    return _Candidate(
        f"{where}/{record['row']}", distance["value"], distance["half_width"], None, 0, tuple(differences)
    )


LOOKS: dict[str, Callable[[ClaimSetting, str, Record], _Candidate | None]] = {
    "accuracy": _look_accuracy,
    "ranking": _look_ranking,
    "reconstruction": _look_reconstruction,
}
