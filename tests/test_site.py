"""Links of Markdown files lead somewhere; the checks of the built site find what they are for."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import check_site
import pytest
from audit.browser import find_browser

ROOT = Path(__file__).parent.parent
FOLDERS = ("docs", "benchmarks", "cpp_ext", "examples", ".github")
GENERATED = ROOT / "docs" / "tutorials"
PAGES = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]
PAGES = [page for page in PAGES if GENERATED not in page.parents]


def prose(text):
    """Return a page without blocks and pieces of code; lines keep their numbers."""
    text = re.sub(r"^( *)(```+)[^\n]*\n.*?^\1\2$", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", lambda code: "\n" * code[0].count("\n"), text, flags=re.S)


def anchors(text, levels):
    """Return the anchors of a page's headings, named as MyST and GitHub name them, and of its ``(targets)=``."""
    text = re.sub(r"^( *)(```+)[^\n]*\n.*?^\1\2$", "", text, flags=re.M | re.S)
    seen, found = Counter(), set(re.findall(r"^\(([\w-]+)\)=$", text, re.M))
    for heading in re.findall(rf"^#{{1,{levels}}} +(.+?) *#*$", text, re.M):
        title = re.sub(r"!?\[(.*?)\]\(.*?\)|[`*]", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def dead_links(page, text):
    """Yield relative links of a Markdown page that lead to no file or no heading."""
    text = prose(text)
    for link in re.finditer(r"\]\(\s*<?([^\s<>()]+)>?(?:\s+\"[^\"]*\")?\s*\)", text):
        where, _, anchor = unquote(link[1]).partition("#")
        if re.match(r"\w+:", where) or "/blob/HEAD/" in where:
            continue
        target = (page.parent / where).resolve() if where else page
        line = f"line {text.count(chr(10), 0, link.start()) + 1}: {link[1]}"
        if GENERATED in target.parents:
            continue
        if not target.exists() or not target.is_relative_to(ROOT):
            yield f"{line}: no such file"
        elif anchor and target.suffix == ".md":
            # docs/conf.py gives anchors to three levels of headings, GitHub to all
            levels = 3 if ROOT / "docs" in target.parents else 6
            if anchor not in anchors(target.read_text() if where else page.read_text(), levels):
                yield f"{line}: no such heading"


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_relative_links_lead_to_files_and_headings(page):
    problems = list(dead_links(ROOT / page, (ROOT / page).read_text()))
    assert not problems, "\n".join(f"{page}, {each}" for each in problems)


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[x](README.md#what-it-is-not)", None),
        ("[`x`](docs/guides/../index.md) and `[x](gone.md)`", None),
        ("```\n[x](gone.md)\n```\n[x](https://example.org/gone.md)", None),
        ("[two\nlines](docs/gone.md)", "line 2: docs/gone.md: no such file"),
        ("![x](../../../etc)", "line 1: ../../../etc: no such file"),
        ("[x](README.md#gone)", "line 1: README.md#gone: no such heading"),
    ],
)
def test_dead_links_are_found(link, problem):
    assert list(dead_links(ROOT / "PAGE.md", link)) == ([] if problem is None else [problem])


def test_anchors_are_named_as_on_the_site():
    text = (
        "(mine)=\n# The `--key` option: L1, L2 & *more*\n## Again\n```\n# code\n```\n## Again\n#### Deep [link](x.md)\n"
    )
    assert anchors(text, 3) == {"mine", "the---key-option-l1-l2--more", "again", "again-1"}
    assert anchors(text, 6) - anchors(text, 3) == {"deep-link"}


GOOD = """<!doctype html><html><head><meta name="viewport" content="width=device-width"></head><body>
<h1 id="top-of-it">A page</h1><p>Either a | b or c.</p><p><code>| a | b |</code></p>
<a href="#top-of-it">up</a> <a href="sub/other.html#there">on</a> <a href="https://example.org/#x">out</a>
<img src="picture.png" alt="a parrot beside its disguise">
<div class="sphx-glr-thumbcontainer"><img src="picture.png" alt=""></div>
<div style="overflow: auto"><div style="width: 3000px">a wide table, in a frame of its own</div></div></body></html>"""


@pytest.fixture
def site(tmp_path):
    """Return a folder with a good site."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "sub" / "other.html").write_text('<p id="there">here; <a href="../index.html">back</a></p>')
    (tmp_path / "picture.png").write_bytes(b"")
    return tmp_path


def test_a_good_site_has_no_problems(site):
    assert check_site.check(site, with_browser=False) == ([], 2)


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ("<p>| a | b |\n|---|---|\n| 1 | 2 |</p>", "a table shown as text: | a | b |"),
        ("<p>text\n| 1 | 2 |</p>", "a table shown as text: | 1 | 2 |"),
        (
            "<p>Built-in immutable sequence. If no argument is given</p>",
            "a constant described by the docstring of its class: Built-in immutable sequence. If no argum",
        ),
        ('<a href="sub/gone.html">x</a>', "a link to a missing file: sub/gone.html"),
        ('<a href="../above.html">x</a>', "a link to a missing file: ../above.html"),
        ('<img src="gone.png" alt="gone">', "a link to a missing file: gone.png"),
        ('<a href="sub/other.html#gone">x</a>', "a link to a missing anchor: sub/other.html#gone"),
        ('<a href="#gone">x</a>', "a link to a missing anchor: #gone"),
        ('<img src="picture.png">', "an image without a description: picture.png"),
        ('<img src="picture.png" alt="./picture.png">', "an image without a description: picture.png"),
        (
            '<img src="https://example.org/sphx_glr_default_thumb.png" alt="x">',
            "a placeholder for a picture: https://example.org/sphx_glr_default_thumb.png",
        ),
    ],
)
def test_problems_of_pages_are_found(site, part, problem):
    (site / "index.html").write_text(GOOD.replace("</body>", f"{part}</body>"))
    assert check_site.check(site, with_browser=False)[0] == [f"index.html: {problem}"]


def test_thumbnails_without_a_picture_are_found(site):
    for name in "ab":
        (site / f"sphx_glr_{name}_thumb.png").write_bytes(b"the same")
    (site / "sphx_glr_c_thumb.png").write_bytes(b"its own")
    problem = "a thumbnail that is no picture of its tutorial"
    assert check_site.check(site, with_browser=False)[0] == [f"sphx_glr_{name}_thumb.png: {problem}" for name in "ab"]


def test_the_placeholder_of_the_gallery_is_found(site):
    utils = pytest.importorskip("sphinx_gallery.utils")
    picture = Path(utils.__file__).parent / "_static" / "no_image.png"
    utils.scale_image(picture, site / "sphx_glr_a_thumb.png", 400, 280)
    assert len(check_site.check(site, with_browser=False)[0]) == 1


@pytest.mark.skipif(find_browser() is None, reason="needs a browser")
@pytest.mark.parametrize(("pixels", "screens"), [(380, []), (700, ["390"]), (1300, ["390", "1280"])])
def test_pages_that_scroll_sideways_are_found(site, pixels, screens):
    page = GOOD.replace("</body>", f'<div style="width: {pixels}px; margin: 0 -8px">wide</div></body>')
    (site / "index.html").write_text(page)
    problems, _ = check_site.check(site)
    assert [each.split(" pixels")[0].split()[-1] for each in problems] == screens


@pytest.mark.skipif(find_browser() is None, reason="needs a browser")
@pytest.mark.parametrize(("columns", "cut"), [(80, False), (400, True)])
def test_lines_of_code_that_are_cut_are_found(site, columns, cut):
    line = "x" * columns
    page = GOOD.replace("</body>", f'<pre style="overflow: auto">short\n{line}\nshort</pre></body>')
    (site / "index.html").write_text(page)
    problem = f"index.html: a line of code is cut on a screen of 1280 pixels: {line}"
    assert check_site.check(site)[0] == ([problem] if cut else [])
