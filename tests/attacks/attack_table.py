"""The table of all attacks in ``docs/explain/attacks.md``; run as a program, this writes it there anew."""

from pathlib import Path

from torchprotect.attacks import ATTACKS, Attack, Need, Scheme

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "attacks.md"
HEAD = (
    "| attack | what it does | finds | level | needs | works on |",
    "|---|---|---|---|---|---|",
)
FINDS = {
    "class": "the class of an image",
    "picture": "the picture",
    "identity": "which image it is",
    "key": "a part of the key",
    "distances": "which images are alike",
    "equality": "equal images and units",
    "metadata": "metadata",
    "use": "a network for plain images",
}
SCHEMES = [
    *(Scheme(name, block_size=(4, 4), permuted=True) for name in ("BlockPermute", "AESECBDisguise", "RMTDisguise")),
    *(Scheme(name) for name in ("OWSDScramble", "AdversarialEncrypt")),
]


def row(attack: Attack) -> str:
    """Return what the page says of an attack."""
    needs = ", ".join(need.value for need in Need if need in attack.needs) or "-"
    names = [scheme.name for scheme in SCHEMES if attack.reason(scheme) is None]
    on = "all" if len(names) == len(SCHEMES) else ", ".join(names)
    name, _, variant = attack.name.partition(" ")
    called = " ".join(filter(None, (f"`{name}`", variant)))
    title = f"{attack.title} {'(long)' if attack.long else ''}".strip()
    cells = (f"{title}: {called}", attack.about, FINDS[attack.finds], attack.level.value, needs, on)
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """Return the whole table."""
    return "\n".join([*HEAD, *map(row, ATTACKS)]) + "\n"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(HEAD[0])
    PAGE.write_text(before + table() + rest[rest.index("\n\n") + 1 :])
