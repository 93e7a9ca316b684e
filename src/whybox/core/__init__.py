"""Validation, progress, files that appear whole: know nothing of models."""
