"""The claims of the three systems, each with setting and source, and joined with the records of this repository."""

from anrot_lib.audit.claims.joining import STATUSES, JudgedClaim, compare_claim, join_claims, read_located
from anrot_lib.audit.claims.registry import SYSTEMS, Claim, ClaimSetting, list_claims, select_claims

__all__ = [
    "STATUSES",
    "SYSTEMS",
    "Claim",
    "ClaimSetting",
    "JudgedClaim",
    "compare_claim",
    "join_claims",
    "list_claims",
    "read_located",
    "select_claims",
]
