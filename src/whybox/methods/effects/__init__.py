"""Feature effects: how the prediction moves with a feature, over the rows at hand."""
