"""The names of the divergences that have all three layers; apart, so that settings load no torch."""

NAMES = ("hellinger", "hellinger2", "bhattacharyya", "kl", "wasserstein2")
TITLES = {  # in the order of tables
    "kl": "Kullback-Leibler",
    "wasserstein2": "Wasserstein",
    "hellinger2": "Hellinger (squared)",
    "hellinger": "Hellinger",
    "bhattacharyya": "Bhattacharyya",
}
