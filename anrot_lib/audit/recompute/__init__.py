"""Every mean, interval and paired difference of records, computed again from their counts. It needs no torch.

What of records follows from counts is in `records`, what pages print of them in `pages` and in one module a kind of
table, and all rest on `arithmetic`.
"""

from collections.abc import Sequence
from pathlib import Path

from anrot_lib.audit.recompute.arithmetic import Recomputation
from anrot_lib.audit.recompute.episodes import Sets
from anrot_lib.audit.recompute.pages import recompute_page
from anrot_lib.audit.recompute.printed import Shelf
from anrot_lib.audit.recompute.records import recompute_record
from anrot_lib.records import results


def recompute_folder(folder: Path, pages: Sequence[Path] = ()) -> Recomputation:
    """All records below a folder, and what some pages print of them."""
    again, sets = Recomputation(), Sets()
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    for path in files:
        for record in results.read_all(path, None):
            where = path.name if folder.is_file() else path.relative_to(folder).as_posix()
            again.counts["record"] = again.counts.get("record", 0) + 1
            named = f"{where}, {record.get('row', record['kind'])}"
            recompute_record(record, named, again)
            if "manifest" in record:
                sets.recompute_manifest(record, named, again)
    shelf = Shelf(folder)
    for page in pages:
        recompute_page(page, shelf, again)
    return again
