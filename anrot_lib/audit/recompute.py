"""Every mean, interval and paired difference of records, computed again from their counts. It needs no torch.

What of records follows from counts is in `recompute_records`, what pages print of them in `recompute_pages`, and both
rest on `arithmetic`.
"""

from collections.abc import Sequence
from pathlib import Path

from anrot_lib.audit.arithmetic import Recomputation
from anrot_lib.audit.recompute_pages import recompute_page
from anrot_lib.audit.recompute_records import recompute_record
from anrot_lib.records import results


def recompute_folder(folder: Path, pages: Sequence[Path] = ()) -> Recomputation:
    """All records below a folder, and what some pages print of them."""
    again = Recomputation()
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    for path in files:
        for record in results.read_all(path, None):
            where = path.name if folder.is_file() else path.relative_to(folder).as_posix()
            again.counts["record"] = again.counts.get("record", 0) + 1
            recompute_record(record, f"{where}, {record.get('row', record['kind'])}", again)
    for page in pages:
        recompute_page(page, folder, again)
    return again
