"""The names of the divergences that have all three layers; apart, so that settings load no torch."""

NAMES = ("hellinger", "hellinger2", "bhattacharyya", "kl", "wasserstein2")
