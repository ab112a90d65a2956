"""Variational autoencoders that differ in their divergence, and Fréchet distances."""
