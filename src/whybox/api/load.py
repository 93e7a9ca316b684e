"""Read what was saved."""

from __future__ import annotations

from pathlib import Path

from whybox.explanation.effects import Effects
from whybox.explanation.explanation import Explanation

__all__ = ["load"]


def load(path: str | Path) -> Explanation | Effects:
    """Read what was saved by ``Explanation.save`` or ``Effects.save``.

    Raises:
        ExplanationFileError: not such a file, truncated, edited, or of another version.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> explanation = wb.explain(DecisionTreeRegressor(max_depth=3).fit(X, y), X[:5])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     explanation.save(Path(folder) / "five_rows.whybox")
        ...     loaded = wb.load(Path(folder) / "five_rows.whybox")
        >>> bool((loaded.values == explanation.values).all())
        True
    """
    from whybox.explanation.load import load as load_file

    return load_file(path)
