"""How the site is built. The source folder is the repository, so that links between pages are the same files here and on a code host.

`python docs/build.py` builds it; CONTRIBUTING.md says how to add a page.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import whybox

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "whybox"
author = "the authors of whybox"
project_copyright = author
version = release = whybox.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "site_parts",
]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/**/*.md",
    "docs/**/*.rst",
    "benchmarks/*.md",
    "README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = [
    "docs/_build",
    "docs/_templates",
    "docs/examples",
    "build",
    ".git",
    "native",
    "src",
    "tests",
    "**/GALLERY_HEADER.rst",
]
templates_path = [str(HERE / "_templates")]  # autosummary looks in the source folder

# Markdown
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4  # the anchors of code hosts
suppress_warnings = ["config.cache"]  # sphinx-gallery keeps functions in its settings

# the reference
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say what is taken, in words
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_attr_annotations = False
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "code"  # our docstrings write `name` for an argument
python_maximum_signature_line_length = 80
add_module_names = False
nitpicky = True
nitpick_ignore_regex = [  # types of attributes that nobody makes or calls, so they have no page
    ("py:class", r"whybox\.(models|explanation|data)\..*"),
    ("py:class", "Figures"),
    ("py:class", "Column"),
]
highlight_language = "none"

# Names of other packages become links where their lists of names can be fetched. A build without the network has no such links,
# and is as strict.
if os.environ.get("WHYBOX_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

# pictures
sphinx_gallery_conf = {
    "examples_dirs": ["docs/examples/howto", "docs/examples/figures"],
    "gallery_dirs": ["docs/howto", "docs/figures"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "capture_repr": ("_repr_html_",),  # not the axes that a figure returns
}

# looks
html_theme = "furo"
html_title = "whybox"
html_static_path = ["_static"]
html_extra_path = ["_extra"]  # the first page, since ours is in docs/
html_css_files = ["whybox.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": False}
