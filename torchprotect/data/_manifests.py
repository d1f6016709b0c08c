"""Writing and reading the manifest of an export: one file, or, of a sealed export, one for everybody and one sealed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torchprotect.data import manifest as documents
from torchprotect.data._report import ShardReport
from torchprotect.data.sealed_manifest import make_sealed_manifest, open_plan, read_sealed_manifest
from torchprotect.data.store import SUFFIX, SealedStore, Store
from torchprotect.errors import ExportError, VerificationError


@dataclass(frozen=True)
class Manifests:
    """The manifest of an export, for those who have its key.

    Attributes:
        store: of the export.
        sealed: the same with its files opened; ``None`` of an open export.
        plan: of the export, unsigned.
        signing: key of the HMACs.
    """

    store: Store
    sealed: SealedStore | None
    plan: dict[str, Any]
    signing: bytes

    def read(self) -> tuple[dict[str, Any] | None, list[ShardReport]]:
        """Return the manifest of the open export, and what it tells of each shard.

        A run that was killed while it replaced both manifests of a sealed export has left two that do not belong
        together; then nothing is known of the shards as they are stored. Where the sealed one is lost or damaged,
        nothing is known at all.

        Raises:
            ExportError: it was changed, or belongs to another plan.
        """
        try:
            found = documents.read_manifest(self.sealed or self.store)
        except (ExportError, VerificationError):
            if self.sealed is None:
                raise
            return None, []
        manifest = self._read_signed(found, self._open_plan)
        entries = enumerate(manifest["shards"])
        if self.sealed is None:
            return manifest, [ShardReport.from_entry(index, entry) for index, entry in entries]
        public = self._read_signed(read_sealed_manifest(self.store), self.plan)
        (sealed_manifest, _), shards = public["documents"], public["shards"]
        belong = documents.sha256_of(self.store, sealed_manifest["name"]) == sealed_manifest["sha256"]
        known = [shard["sha256"] if belong else None for shard in shards]
        return manifest, [
            ShardReport.from_entry(i, entry, sha256) for (i, entry), sha256 in zip(entries, known, strict=True)
        ]

    @property
    def _open_plan(self) -> dict[str, Any]:
        return self.plan if self.sealed is None else open_plan(self.plan)

    def _read_signed(self, manifest: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
        if not documents.is_signed(manifest, self.signing) or manifest["plan"] != documents.digest(plan):
            raise self._changed()
        return manifest

    def _changed(self) -> ExportError:
        path = self.store.path_of(documents.MANIFEST)
        return ExportError(f"{path} was changed, or belongs to another plan; choose another place for the export")

    def make(self, members: Mapping[str, Any], reports: Iterable[ShardReport]) -> dict[str, Any]:
        """Return the signed manifest of the open export.

        Args:
            members: beside those that all manifests have.
            reports: of all shards, in order.
        """
        manifest = {
            "format": documents.MANIFEST_FORMAT,
            "version": documents.VERSION,
            "security_claim": "obfuscation",
            "plan": documents.digest(self._open_plan),
            "key": self.plan["key"],
            "transform": self.plan["transform"],
            "plain": self.plan["plain"],
            "shards": [report.entry for report in reports],
            **members,
        }
        return documents.signed(manifest, self.signing)

    def create(self, manifest: dict[str, Any], reports: Iterable[ShardReport]) -> bytes:
        """Write the manifest that finishes an export; of a sealed one, first what is sealed. Return its content.

        Raises:
            FileExistsError: somebody else has finished the export.
        """
        content = self._write_sealed(manifest, reports)
        self.store.create(documents.MANIFEST, content)
        return content

    def update(self, manifest: dict[str, Any], reports: Iterable[ShardReport]) -> bytes:
        """Write the manifest of an export that was finished before, unless it is the one that is there."""
        content = self._write_sealed(manifest, reports)
        if self.store.read(documents.MANIFEST, len(content) + self.store.stat(documents.MANIFEST).size) != content:
            with self.store.write(documents.MANIFEST) as upload:
                upload.file.write(content)
            self.store.delete([documents.SIGNATURE])  # it was of the manifest that is gone
        return content

    def _write_sealed(self, manifest: dict[str, Any], reports: Iterable[ShardReport]) -> bytes:
        """Write the documents that are sealed, and return those that everybody may read."""
        if self.sealed is None:
            return documents.dump(manifest)
        plan = documents.signed(self._open_plan, self.signing)
        plain = {documents.PLAN: documents.dump(plan), documents.MANIFEST: documents.dump(manifest)}
        sealed = {name + SUFFIX: self.sealed.sealed(name, content) for name, content in plain.items()}
        for name, content in sealed.items():
            with self.store.write(name) as upload:
                upload.file.write(content)
        entries = [report.sealed_entry for report in reports]
        made = make_sealed_manifest(manifest, self.plan, entries, sealed, self.sealed.data_key)
        return documents.dump(documents.signed(made, self.signing))
