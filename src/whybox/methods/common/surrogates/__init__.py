"""Surrogates of a model: fitted to hybrids that were evaluated anyway, with interventional Shapley values that are exact and cheap over a whole background.

A surrogate is used as a control variate only: its Shapley values are exact, and what the model has beside it is estimated. It is fitted without the row that it
serves, so that, given the surrogate, the rest of the row's game is as it was.

- `cells`: ``cell_numbers(rows, background, categories=()) -> CellNumbers``: a table's cells as numbers, one coding for rows and background.
- `store`: ``HybridStore(columns, outputs, max_bytes)``; ``append(cells, outputs, row)``: hybrids and the model's outputs, a bounded number of them.
- `folds`: ``fit_folds(store, rows, categorical, family=, folds=, seed=, threads=) -> SurrogateFolds``: a surrogate for each fold of rows,
  fitted to the hybrids of the other rows; ``surrogate(row)``, ``predict(row, cells)``, ``shapley_values(rows, background, weights, of_column, players, index,
  threads=)``, ``left_share``. ``fit_surrogate(family, cells, outputs, categorical)``: one surrogate, for hybrids of any rows.
- `base`: ``Surrogate``: ``predict(cells)``, ``shapley_values(rows, background, weights, of_column, players, index, threads=)``.
- `additive`, `gaussians`, `trees`: the families; `features`: what the first two are made of; `learnt`: ``learn_gaussians(features, targets, inverse_widths)``.
"""
