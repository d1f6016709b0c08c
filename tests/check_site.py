"""Check the built site: ``python tests/check_site.py BUILD``.

On every page, look for tables that are shown as text, placeholder thumbnails, images without a description, and links
within the site to a missing file or anchor. Where a browser is installed, also check that no page scrolls sideways on a
phone or on a small laptop, and that the laptop shows whole lines of code.

Sphinx generates the pages below ``_modules``, which show source code. Their links to anchors are not checked: Sphinx
mixes up classes that are public in two modules. Only one of them is opened in the browser.
"""

import re
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent / "audit"))

from browser import find_browser, open_browser

WIDTHS = (390, 1280)
PLACEHOLDERS = ("sphx_glr_default_thumb", "no_image.png", "broken_example.png")
TABLE_AS_TEXT = re.compile(r"\|\s*:?-{3,}:?\s*\||^\s*\|.*\|.*\|\s*$", re.M)
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
CODE = {"pre", "code", "script", "style", "svg"}
CUT_LINES = """[...document.querySelectorAll("pre")].filter(block => block.scrollWidth > block.clientWidth + 1)
    .map(block => block.textContent.split("\\n").reduce((one, two) => one.length > two.length ? one : two))"""
BUILTIN_DOCSTRINGS = ("Built-in immutable sequence", "Create a new string object", "Represent a PEP 604 union type")


class Page(HTMLParser):
    """The anchors and links of a page, and what is wrong with it by itself."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.problems = {"", "top"}, [], []
        self._open, self._text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        where = given.get("href") or given.get("src") or ""
        if where:
            self.links.append(where)
        if any(name in where for name in PLACEHOLDERS):
            self.problems.append(f"a placeholder for a picture: {where}")
        if tag == "img" and not self._is_described(where, given.get("alt")):
            self.problems.append(f"an image without a description: {where}")
        if tag not in VOID:
            self._open.append((tag, given.get("class") or ""))
        if tag == "p":
            self._text = ""

    def handle_endtag(self, tag):
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        if tag == "p" and (found := TABLE_AS_TEXT.search(self._text)):
            self.problems.append(f"a table shown as text: {found[0].strip()[:60]}")
        if tag == "p" and self._text.strip().startswith(BUILTIN_DOCSTRINGS):
            self.problems.append(f"a constant described by the docstring of its class: {self._text.strip()[:40]}")

    def handle_data(self, data):
        if not CODE.intersection(name for name, _ in self._open):
            self._text += data

    def _is_described(self, where, text):
        """Return whether an image has a description; thumbnails of the gallery have their title beside them."""
        if any("sphx-glr-thumbcontainer" in classes for _, classes in self._open):
            return text is not None
        text = (text or "").strip()
        return bool(text) and Path(text).name != Path(where).name  # docutils takes the file's name where there is none


def shows_code(path, root):
    return path.relative_to(root).parts[0] == "_modules"


def dead_links(path, pages, root):
    """Yield links of a page, within the site, that lead to no file or no anchor."""
    for link in dict.fromkeys(pages[path].links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_relative_to(root) or not target.is_file():
            yield f"a link to a missing file: {link}"
        elif target in pages and not shows_code(path, root) and unquote(parts.fragment) not in pages[target].anchors:
            yield f"a link to a missing anchor: {link}"


def placeholder_thumbnails(root):
    """Yield thumbnails of the gallery that Sphinx-Gallery made for want of a picture: all of them are the same."""
    thumbnails = {}
    for path in sorted(root.rglob("sphx_glr_*_thumb.*")):
        thumbnails.setdefault(path.read_bytes(), []).append(path)
    try:
        from sphinx_gallery.utils import scale_image
    except ImportError:
        known = ()
    else:
        pictures = Path(scale_image.__code__.co_filename).parent / "_static"
        with tempfile.TemporaryDirectory() as folder:
            scaled = Path(folder) / "scaled.png"
            known = set()
            for name in ("no_image.png", "broken_example.png"):
                scale_image(pictures / name, scaled, 400, 280)  # the default size of a thumbnail
                known.add(scaled.read_bytes())
    for content, paths in thumbnails.items():
        if content in known or len(paths) > 1:
            yield from ((path, "a thumbnail that is no picture of its tutorial") for path in paths)


def wide_pages(paths):
    """Yield each page that scrolls sideways, and how far; and the lines of code that a laptop cuts."""
    with open_browser() as browser:
        for path in paths:
            browser.open(path, WIDTHS[0])
            for width in WIDTHS:
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
                browser.call("Emulation.setDeviceMetricsOverride", **size)
                root = "document.documentElement"
                needed, given = browser.evaluate(f"[document.scrollingElement.scrollWidth, {root}.clientWidth]")
                if needed > given:
                    yield path, f"scrolls sideways on a screen of {width} pixels: {needed} wide, {given} to see"
            for line in browser.evaluate(CUT_LINES):
                yield path, f"a line of code is cut on a screen of {WIDTHS[-1]} pixels: {line}"


def check(build, with_browser=True):
    """Return what is wrong with each page of a built site."""
    root = Path(build).resolve()
    pages = {path: Page(path.read_text()) for path in sorted(root.rglob("*.html"))}
    found = [(path, problem) for path, page in pages.items() for problem in page.problems]
    found += [(path, problem) for path in pages for problem in dead_links(path, pages, root)]
    found += placeholder_thumbnails(root)
    if with_browser:
        code = [path for path in pages if shows_code(path, root)]
        found += wide_pages([path for path in pages if path not in code[1:]])
    return [f"{path.relative_to(root)}: {problem}" for path, problem in found], len(pages)


def main():
    browser = find_browser()
    problems, count = check(sys.argv[1], browser is not None)
    print(*problems, sep="\n", end="\n" if problems else "")
    widths = (
        "at widths of " + " and ".join(map(str, WIDTHS)) if browser else "but not their widths: there is no browser"
    )
    print(f"checked {count} pages {widths}; {len(problems)} problems")
    return bool(problems) or not count


if __name__ == "__main__":
    sys.exit(main())
