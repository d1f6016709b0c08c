"""Compare the plan of an export in a store with another plan, and describe differences."""

from typing import Any

from torchprotect.data import manifest as documents
from torchprotect.data.store import Store
from torchprotect.errors import ExportError


def require_same_plan(store: Store, plan: dict[str, Any], signing: bytes) -> None:
    """Check that the plan in a store is this one.

    Args:
        store: store of the export.
        plan: unsigned.
        signing: key of the HMAC.

    Raises:
        ExportError: it is another one, and the message names what differs; or it was changed.
    """
    path = store.path_of(documents.PLAN)
    found = documents.read_document(store, documents.PLAN, documents.PLAN_FORMAT)
    different = sorted(name for name in {*plan, *found} - {"hmac"} if found.get(name) != plan.get(name))
    if "key" in different:  # digests of source and transform are keyed too, so they differ with it
        different = ["key"]
    if different:
        shown = [told for name in different for told in _differences(name, found.get(name), plan.get(name))]
        raise ExportError(
            f"{store.location} holds an export by another plan: {'; '.join(shown)}; nothing was changed. "
            + _how_to_go_on(store)
        )
    if not documents.is_signed(found, signing):
        raise ExportError(f"{path} was changed: its HMAC is wrong; choose another place for the export")


def _how_to_go_on(store: Store) -> str:
    path = store.path_of(documents.PLAN)
    if list(store.entries()) == [documents.PLAN]:
        return f"No shard of it was written yet: to start again with other settings, delete {path}"
    return (
        "Use the settings of that export, or choose another place; to give that export up, delete all other files "
        f"there and then {path}"
    )


def _differences(name: str, was: Any, now: Any) -> list[str]:
    """Describe the differences between two values of a plan; for steps of the same name, only the settings."""
    if name == "envelope" and None in (was, now):
        return [
            "it is sealed, but no recipients were given" if now is None else "it is open, but recipients were given"
        ]
    if isinstance(was, list) and isinstance(now, list) and [*map(_step, was)] == [*map(_step, now)]:
        return [told for old, new in zip(was, now, strict=True) for told in _differences(name, old, new)]
    if isinstance(was, dict) and isinstance(now, dict):
        members = sorted(was.keys() | now.keys())
        changed = [member for member in members if was.get(member) != now.get(member)]
        return [f"{member} was {_short(was.get(member))}, is {_short(now.get(member))}" for member in changed]
    return [f"{name} was {_short(was)}, is {_short(now)}"] if was != now else []


def _step(step: Any) -> Any:
    return step.get("name") if isinstance(step, dict) else None


def _short(value: Any) -> str:
    """Return a value of a plan for a message, with digests shortened to their first digits."""
    return value[:12] if documents.is_digest(value) else str(value)
