"""The public functions, one file a verb: each adapts the model, chooses the explainer, and runs it."""
