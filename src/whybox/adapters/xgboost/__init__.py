"""XGBoost: live models, JSON and UBJSON."""
