"""Sphinx configuration. The build needs no network and runs no example."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "ext")]

import torchprotect  # noqa: E402 - the checkout is preferred to an installed version

project = "torchprotect"
author = "The torchprotect authors"
copyright = author
version = release = torchprotect.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "constants",  # docs/ext: what stands below constants
    "names",  # docs/ext: public names of types
    "verbs",  # docs/ext: the reference of the command line
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's own underlines names of modules like links
html_static_path = ["static"]
html_css_files = ["wide.css", "verbs.css"]  # lines of code of 120 characters; tables of options
html_title = f"torchprotect {version}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autosummary_generate = False  # the tables link to what follows on their page
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

sphinx_gallery_conf = {
    "examples_dirs": [str(HERE.parent / "examples" / "tutorials")],
    "gallery_dirs": ["tutorials"],
    "filename_pattern": "",  # run all of them: their output and pictures are part of the page
    "only_warn_on_example_error": False,
    "abort_on_example_error": True,
    "capture_repr": (),  # printed output only
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
}
