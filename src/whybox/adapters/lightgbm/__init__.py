"""LightGBM: live models and its text format."""
