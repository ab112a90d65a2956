"""TODO."""

# Heads beyond the table, as the help names them.
OTHER_METHODS = (
    "easyfsl:NAME; several levels: mml, mml-wasserstein2, mml-hellinger, mml-2022, adm; one level: dn4 (pixels), part, "
    "distribution-kl, distribution-wasserstein2, distribution-hellinger, ...; any combination, and its fusion: "
    "levels:NAME+NAME, levels:NAME+NAME@zscore"
)
