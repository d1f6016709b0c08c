"""Storage for a key's secrets that ``vars``, ``dataclasses.asdict`` and ``repr`` do not show.

This prevents accidents in logs, notebooks and tracebacks with local variables. Attributes such as ``key.order`` still
give the secret values.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor

from torchprotect.errors import PassphraseError

Kind = TypeVar("Kind", bound=type)


class SecretBytes(bytes):
    """Secret bytes, such as a sub-key: like ``bytes``, but ``repr`` shows only their number."""

    __slots__ = ()

    @classmethod
    def of_passphrase(cls, passphrase: str) -> "SecretBytes":
        """Encode a passphrase as UTF-8, in a form that tracebacks with local variables do not show.

        Raises:
            PassphraseError: the passphrase is not valid Unicode text.
        """
        if not isinstance(passphrase, str):
            raise PassphraseError(f"a passphrase must be a str, got {type(passphrase).__name__}")
        try:
            return cls(passphrase.encode())
        except UnicodeEncodeError:  # its message would show a part of the passphrase
            raise PassphraseError("the passphrase has characters that are not Unicode") from None

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return SecretBytes(found) if isinstance(index, slice) else found

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    __str__ = __repr__


class SecretTensors(Mapping[str, Tensor]):
    """Secret tensors by name; ``repr`` shows only the names."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"<secret tensors: {', '.join(sorted(self._tensors))}>"


class _SecretField:
    """A dataclass field whose value is kept in ``key._secrets``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, key: Any, owner: type | None = None) -> Any:
        return self if key is None else key._secrets[self._name]

    def __set__(self, key: Any, value: Any) -> None:
        key._secrets[self._name] = value


def secret_fields(*names: str) -> Callable[[Kind], Kind]:
    """Return a decorator for dataclasses of keys that hides fields from ``vars``, ``fields`` and ``asdict``.

    The constructor still takes them, and attributes still give their values.
    """

    def keep(kind: Kind) -> Kind:
        for name in names:
            del kind.__dataclass_fields__[name]  # type: ignore[attr-defined]
            setattr(kind, name, _SecretField(name))
        return kind

    return keep
