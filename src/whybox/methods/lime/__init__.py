"""Local linear surrogates: LIME of tables and of texts."""
