"""Adversarially and naturally robust few-shot learning: the library behind the ANROT-HELANet course."""

__version__ = "0.1.0"
