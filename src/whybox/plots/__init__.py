"""Figures: one file each, drawn with matplotlib from an Explanation and nothing else. Each takes ``ax=`` and returns it.

Results find them by the names in whybox.explanation.figures.
"""
