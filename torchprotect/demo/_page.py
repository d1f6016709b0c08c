"""The demo's page: one file, nothing fetched from anywhere."""

import base64
import html
from string import Template

from torchprotect.demo._measure import Row

STATEMENT = """torchprotect implements published obfuscation schemes for research and for raising the cost of casual
misuse. None of them provides confidentiality in the cryptographic sense. Block permutation, AES-ECB disguising and RMT
are deterministic per-key transforms that preserve structure a model can learn from, and whatever a model can learn
from, an attacker can learn from too. "AES" in AESECBDisguise describes the building block, not the security level: ECB
reveals which units are equal, in one image and across the data set. Do not use them to meet a legal or contractual duty
to encrypt, anonymise or pseudonymise data."""

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>torchprotect demo</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
img { max-width: 100%; height: auto; image-rendering: pixelated; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .4rem .6rem; text-align: left; border-bottom: 1px solid #ccc; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
blockquote { margin: 1.5rem 0; padding: .6rem 1rem; border-left: 4px solid; background: #faf4f0; }
code { background: #f3f3f3; padding: 0 .2rem; overflow-wrap: anywhere; }
</style>
<h1>torchprotect demo</h1>
<p>$images images from <em>$source</em>, $size pixels, disguised in three ways, exported as WebDataset shards,
verified, read back with plain <code>webdataset</code>, and used to train a small network.</p>
<p><img src="data:image/png;base64,$grid" alt="Plain images beside their disguises"></p>
<p>Each column has a key of its own. RMT gives real numbers; they are stretched to grey levels here.</p>
<h2>What a model still learns</h2>
<div class="wide"><table>
<tr><th>images</th><th>test accuracy</th><th>95&nbsp;% interval</th><th>settings</th></tr>
$rows
</table></div>
<p>One run: SmallAlexNet, $epochs epochs, $train training and $test test images, chance $chance&nbsp;%. These figures
are utility, not protection: they say how much of the classes survives the disguise, for you and for whoever holds the
data.</p>
<blockquote>$statement</blockquote>
<h2>What was written</h2>
<ul>
$folders
</ul>
<p>Check an export again with <code>torchprotect verify DIR --key KEY</code>, look at it with <code>torchprotect inspect
DIR</code>. The keys lie in <code>keys/</code> beside this page; in earnest they would not be
kept with the shards.</p>
</html>
""")


def render(rows: list[Row], grid: bytes, facts: dict[str, str]) -> str:
    """Return the page as HTML. All text from outside is escaped."""
    lines = [
        f"<tr><td>{html.escape(row.name)}</td><td class=n>{row.accuracy:.1%}</td>"
        f"<td class=n>{row.low:.1%} to {row.high:.1%}</td><td>{html.escape(row.settings)}</td></tr>"
        for row in rows
    ]
    folders = [
        f"<li><code>shards/{html.escape(row.folder)}</code>, "
        f"key <code>keys/{html.escape(row.folder)}.safetensors</code></li>"
        for row in rows
        if row.folder
    ]
    escaped = {name: html.escape(value) for name, value in facts.items()}
    return _PAGE.substitute(
        escaped,
        rows="\n".join(lines),
        folders="\n".join(folders),
        grid=base64.b64encode(grid).decode(),
        statement=html.escape(STATEMENT),
    )
