"""The demo's page: one file, nothing fetched from anywhere."""

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


def render(rows: list[Row], grid: bytes, facts: dict[str, str]) -> str:
    """Return the page as HTML. All text from outside is escaped."""
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
        grid=base64.b64encode(grid).decode(),
        statement=html.escape(STATEMENT),
    )
