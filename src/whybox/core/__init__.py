"""Validation, progress bars, atomic writes and label choice; nothing here depends on models."""
