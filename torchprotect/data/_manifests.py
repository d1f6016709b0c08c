"""Write and read the manifest of an export: one file; for a sealed export, one public and one sealed file."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torchprotect.data import manifest as documents
from torchprotect.data._report import ShardReport
from torchprotect.data.owner import OWNER
from torchprotect.data.sealed_manifest import STATED, make_sealed_manifest, open_plan, read_sealed_manifest
from torchprotect.data.store import SUFFIX, SealedStore, Store
from torchprotect.errors import ExportError, VerificationError


@dataclass(frozen=True)
class Manifests:
    """The manifest of an export, for holders of its key.

    Attributes:
        store: the export's store.
        sealed: the same with its files decrypted; ``None`` for an open export.
        plan: plan of the export, unsigned.
        signing: key of the HMACs.
    """

    store: Store
    sealed: SealedStore | None
    plan: dict[str, Any]
    signing: bytes

    def read(self) -> list[ShardReport]:
        """Return a report for each shard, from the manifest or, for a sealed export, from both.

        If the sealed manifest is lost or damaged, shards are decrypted to rebuild it; damaged shards are left out.

        Raises:
            ExportError: it was changed, or belongs to another plan.
        """
        manifest, listed = self.open_manifest(), self.listed()
        if self.sealed is None:
            return [ShardReport.from_entry(index, entry) for index, entry in enumerate(listed)]
        if manifest is not None and len(manifest["shards"]) == len(listed):
            pairs = zip(manifest["shards"], listed, strict=True)
            return [ShardReport.from_entry(i, inner, stored["sha256"]) for i, (inner, stored) in enumerate(pairs)]
        told = [self._open_shard(self.sealed, index, entry) for index, entry in enumerate(listed)]
        return [report for report in told if report is not None]

    def listed(self) -> list[dict[str, Any]]:
        """Return the entries of all shards, as stored, in the public manifest."""
        read = documents.read_manifest if self.sealed is None else read_sealed_manifest
        shards: list[dict[str, Any]] = self._require_signed(read(self.store), self.plan)["shards"]
        return shards

    def open_manifest(self) -> dict[str, Any] | None:
        """Return the manifest of the open export; ``None`` if it was sealed, and is lost, damaged or out of date.

        A run that was killed while it replaced both manifests of a sealed export leaves two that do not belong
        together.
        """
        if self.sealed is None:
            return self._require_signed(documents.read_manifest(self.store), self.plan)
        stated = read_sealed_manifest(self.store)["documents"][0]
        try:
            stored = documents.read_bytes(self.store, stated["name"])
        except FileNotFoundError:
            return None
        if hashlib.sha256(stored).hexdigest() != stated["sha256"]:
            return None
        content = self.sealed.unsealed(documents.MANIFEST, stored)
        manifest = documents.parse_manifest(content, self.store.path_of(stated["name"]))
        return self._require_signed(manifest, self._open_plan)

    @staticmethod
    def _open_shard(store: SealedStore, index: int, stored: dict[str, Any]) -> ShardReport | None:
        name = documents.shard_name(index)
        try:
            if documents.sha256_of(store.inner, stored["name"]) != stored["sha256"]:
                return None
            size, sha256 = store.stat(name).size, documents.sha256_of(store, name)
        except (FileNotFoundError, VerificationError):
            return None
        return ShardReport.from_entry(index, stored | {"size": size, "sha256": sha256}, stored["sha256"])

    @property
    def _open_plan(self) -> dict[str, Any]:
        return self.plan if self.sealed is None else open_plan(self.plan)

    def _require_signed(self, manifest: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
        if documents.is_signed(manifest, self.signing) and manifest["plan"] == documents.digest(plan):
            return manifest
        path = self.store.path_of(documents.MANIFEST)
        raise ExportError(f"{path} was changed, or belongs to another plan; choose another place for the export")

    def make(self, members: Mapping[str, Any], reports: Iterable[ShardReport]) -> dict[str, Any]:
        """Return the signed manifest of the open export.

        Args:
            members: beside those that all manifests have.
            reports: reports of all shards, in order.
        """
        manifest = {
            "format": documents.MANIFEST_FORMAT,
            "version": documents.VERSION,
            "security_claim": "obfuscation",
            "plan": documents.digest(self._open_plan),
            "key": self.plan["key"],
            "transform": self.plan["transform"],
            "plain": self.plan["plain"],
            **{name: self.plan[name] for name in STATED if name in self.plan},
            "shards": [report.entry for report in reports],
            **members,
        }
        return documents.signed(manifest, self.signing)

    def create(self, manifest: dict[str, Any], reports: Iterable[ShardReport], owner: bytes | None) -> bytes:
        """Write the manifest that finishes an export, after the other files that it lists. Return its content.

        Args:
            manifest: manifest of the open export.
            reports: reports of all shards, in order.
            owner: content of the owner's file, if there is one.

        Raises:
            FileExistsError: another process has finished the export.
        """
        listed, content = self._contents(manifest, reports, owner)
        for name, each in listed.items():
            try:
                self.store.create(name, each)
            except FileExistsError:
                if documents.MANIFEST in self.store.entries():
                    raise
                self._write(name, each)  # an earlier run was killed here
        self.store.create(documents.MANIFEST, content)
        return content

    def update(self, manifest: dict[str, Any], reports: Iterable[ShardReport], owner: bytes | None) -> bytes:
        """Rewrite the changed parts of the manifest of an export that was finished before. Return its content."""
        listed, content = self._contents(manifest, reports, owner)
        for name, each in listed.items():
            self._write(name, each)
        if self._has_other(documents.MANIFEST, content):
            self.store.delete([documents.SIGNATURE])  # it signs the manifest that is being replaced
            self._write(documents.MANIFEST, content)
        return content

    def _write(self, name: str, content: bytes) -> None:
        """Write a file unless it already has the right content."""
        if self._has_other(name, content):
            with self.store.write(name) as upload:
                upload.file.write(content)

    def _has_other(self, name: str, content: bytes) -> bool:
        try:
            return self.store.stat(name).size != len(content) or documents.read_bytes(self.store, name) != content
        except FileNotFoundError:
            return True

    def _contents(
        self, manifest: dict[str, Any], reports: Iterable[ShardReport], owner: bytes | None
    ) -> tuple[dict[str, bytes], bytes]:
        """Return the files that the manifest lists besides shards, by name, and the manifest that all may read."""
        owned = {} if owner is None else {OWNER: owner}
        if self.sealed is None:
            return owned, documents.dump(manifest)
        plan = documents.signed(self._open_plan, self.signing)
        plain = {documents.MANIFEST: documents.dump(manifest), documents.PLAN: documents.dump(plan), **owned}
        sealed = {name + SUFFIX: self.sealed.sealed(name, content) for name, content in plain.items()}
        entries = [report.sealed_entry for report in reports]
        made = make_sealed_manifest(manifest, self.plan, entries, sealed, self.sealed.data_key)
        return sealed, documents.dump(documents.signed(made, self.signing))
