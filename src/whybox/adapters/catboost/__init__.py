"""CatBoost: live models and its JSON."""
