"""Gaussians and the divergences between them, exact and differentiable at equality."""
