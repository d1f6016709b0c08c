"""Where a key keeps its secrets: neither ``vars``, ``dataclasses.asdict`` nor a ``repr`` shows them.

This guards against accidents: logs, notebooks, tracebacks with local variables. Code that asks for ``key.order`` gets
it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor

Kind = TypeVar("Kind", bound=type)


class SecretBytes(bytes):
    """Secret bytes, such as a sub-key: compared, hashed and pickled like ``bytes``; ``repr`` tells only how many."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return SecretBytes(found) if isinstance(index, slice) else found

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    __str__ = __repr__


class SecretTensors(Mapping[str, Tensor]):
    """Secret tensors by name; ``repr`` tells only the names."""

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
    """Return a decorator that takes fields of a dataclass of keys out of ``vars``, ``fields`` and ``asdict``.

    The constructor still takes them, and the attributes still give their values.
    """

    def keep(kind: Kind) -> Kind:
        for name in names:
            del kind.__dataclass_fields__[name]  # type: ignore[attr-defined]
            setattr(kind, name, _SecretField(name))
        return kind

    return keep
