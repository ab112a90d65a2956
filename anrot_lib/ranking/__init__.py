"""Robust deep metric learning: embeddings that keep their ranking when images are attacked."""
