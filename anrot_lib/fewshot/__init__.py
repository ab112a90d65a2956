"""Few-shot classification: encoders, heads, losses, training, evaluation, prediction."""
