"""Attacks: a threat model, an objective, and the one ascent loop that all of them run through."""
