"""LIME: a linear model of what each feature does near a row, for tables and texts."""
