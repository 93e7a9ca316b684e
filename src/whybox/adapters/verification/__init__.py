"""Is our reading of a model right? Compared with the model's own predict."""
