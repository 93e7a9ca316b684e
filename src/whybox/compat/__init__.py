"""The names, arguments and shapes of other packages, answered by the methods of whybox: change the import and the code runs.

A layer has the import path of its package: ``from whybox.compat import shap``. What a layer cannot honour raises an
error that names the function to call instead; nothing is approximated without a word.
"""
