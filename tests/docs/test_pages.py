"""Every snippet of the manual runs. Pages whose results are compared with something have tests of their own."""

import pytest
from snippets import pages_with_snippets, run_page

OWN = {}


@pytest.mark.parametrize("page", [page for page in pages_with_snippets() if page not in OWN])
def test_snippets_run(page, folder):
    run_page(page)
