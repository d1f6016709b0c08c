"""The demo's self-contained HTML page."""

import base64
import html
from pathlib import Path
from string import Template

from torchprotect.demo._measure import Row

STATEMENT = """torchprotect implements published obfuscation schemes for research and for raising the cost of casual
misuse. None of them provides confidentiality in the cryptographic sense. Block permutation, AES-ECB disguising and RMT
are deterministic per-key transforms that preserve structure a model can learn from, and whatever a model can learn
from, an attacker can learn from too. "AES" in AESECBDisguise describes the building block, not the security level: ECB
reveals which units are equal, in one image and across the data set. Do not use them to meet a legal or contractual duty
to encrypt, anonymise or pseudonymise data."""

_PAGE = Path(__file__).parent / "page.html"
_PHOTOGRAPHS = """<h2>Photographs</h2>
<p>The same three disguises on colour photographs. They are shown here, but neither exported nor used for training.</p>
<img class="photographs" src="data:image/png;base64,$photographs"
alt="Six colour photographs beside their three disguises">
<p class="soft small">Photographs: public domain or CC0, collected by GCompris; authors and sources are in
<code>photographs-NOTICE</code> of this package. One key for all six in each column.</p>"""


def render(rows: list[Row], grid: bytes, facts: dict[str, str], photographs: bytes | None = None) -> str:
    """Return the page as HTML; photographs have a section if their grid is given. All text from outside is escaped."""
    lines = [
        f'<tr><td data-is="images">{html.escape(row.name)}</td>'
        f'<td class=n data-is="test accuracy">{row.accuracy:.1%}</td>'
        f'<td class=n data-is="95 % interval">{row.low:.1%} to {row.high:.1%}</td>'
        f'<td data-is="settings">{html.escape(row.settings)}</td></tr>'
        for row in rows
    ]
    folders = [
        f"<li><code>shards/{html.escape(row.folder)}</code>, "
        f"key <code>keys/{html.escape(row.folder)}.safetensors</code></li>"
        for row in rows
        if row.folder
    ]
    escaped = {name: html.escape(value) for name, value in facts.items()}
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        escaped,
        rows="\n".join(lines),
        folders="\n".join(folders),
        grid=_encode(grid),
        photographs=Template(_PHOTOGRAPHS).substitute(photographs=_encode(photographs)) if photographs else "",
        statement=html.escape(STATEMENT),
    )


def _encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
