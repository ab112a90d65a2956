"""Names of levels, as `levels:NAME+NAME` and the tables use them. Loads no torch, so that the help can list them."""

PREFIX = "levels:"
MEASURES = {
    "kl": "KL",  # KL(query || class), as in ADM
    "kl-reverse": "KL from the class",  # KL(class || query), as in the paper of MML
    "symmetric-kl": "KL both ways",
    "bhattacharyya": "Bhattacharyya",
    "hellinger": "Hellinger",  # of the geometric-mean coefficient, as in GaussianHead
    "wasserstein2": "Wasserstein",
    "wasserstein2-roots": "Wasserstein by roots",
    "wasserstein2-frobenius": "Wasserstein by Frobenius",
}
TITLES = {"pixel": "pixels", "part": "parts", **MEASURES}


def title_levels(spec: str) -> str:
    """The title of a combination: "pixel+kl" is "pixels + KL", "pixel+kl@zscore" is "pixels + KL (zscore)"."""
    names, _, mode = spec.partition("@")
    words = " + ".join(TITLES.get(name, name) for name in names.split("+"))
    return f"{words} ({mode})" if mode else words
