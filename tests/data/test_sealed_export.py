"""Sealed exports: they open to the open export, whoever made them, and to nobody and nowhere else."""

import concurrent.futures
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from support import SHARED_AES, Pictures, content, make_bundle, run_export, write_folder

pytest.importorskip("pyrage")

import pyrage
from web import WithRanges, serve_folder

from torchprotect import data, keys
from torchprotect._files import temporary_name_of
from torchprotect._json import canonical
from torchprotect.data import manifest as documents
from torchprotect.data.store import open_store
from torchprotect.data.store.objects import ObjectStore
from torchprotect.envelope import Identity, Recipients, SigningKey, generate_identity, generate_signing_key, streaming
from torchprotect.errors import (
    EnvelopeError,
    ExportError,
    InputRangeError,
    InputTypeError,
    KeyKindError,
    PassphraseError,
    VerificationError,
)

VECTORS = Path(__file__).parent.parent / "vectors"
SEALED_NAMES = [
    "manifest.json.sealed",
    "owner.sealed.sealed",
    "plan.json.sealed",
    *(f"shard-{n:06}.tar.sealed" for n in range(3)),
]


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """Return a folder with identities, and their recipients by name."""
    folder = tmp_path_factory.mktemp("team")
    recipients = {name: generate_identity(folder / name) for name in ("alice", "bob")}
    generate_signing_key(folder / "release")
    generate_signing_key(folder / "other")
    return folder, recipients


@pytest.fixture(scope="module")
def alice(team):
    return team[0] / "alice"


@pytest.fixture(scope="module")
def bob(team):
    return team[0] / "bob"


@pytest.fixture(scope="module")
def seal(team):
    """Return a function that exports to a place, sealed for Alice."""

    def seal(out, **options):
        return run_export(out, recipients=[team[1]["alice"]], **options)

    return seal


@pytest.fixture(scope="module")
def as_open(tmp_path_factory):
    """Return the open export, and the content of its files."""
    out = tmp_path_factory.mktemp("open") / "out"
    run_export(out)
    return out, content(out)


@pytest.fixture(scope="module")
def as_sealed(tmp_path_factory, seal):
    out = tmp_path_factory.mktemp("sealed") / "out"
    seal(out)
    return content(out)


@pytest.fixture
def sealed(tmp_path, as_sealed):
    """Return a folder with a sealed export that a test may change."""
    return put(tmp_path / "sealed", as_sealed)


def put(folder, files):
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


@pytest.fixture(params=["folder", "bucket"])
def out(request, tmp_path):
    return str(tmp_path / "out") if request.param == "folder" else request.getfixturevalue("s3") + "/out"


def files(location):
    store = open_store(location)
    return {name: store.read(name, 1 << 30) for name in store.entries()}


def without_envelopes(found):
    return {name: body for name, body in found.items() if not name.startswith("envelope")}


def samples(dataset):
    return [(image.tolist(), label) for image, label in dataset]


class TestBytes:
    def test_files(self, as_sealed):
        assert sorted(as_sealed) == sorted(["envelope.age", "manifest.json", "plan.json", *SEALED_NAMES])

    def test_opens_to_the_open_export(self, out, seal, alice, as_open, tmp_path):
        result = seal(out)
        opened = data.open_export(out, tmp_path / "opened", identity=alice)
        assert content(tmp_path / "opened") == as_open[1]
        assert (opened.images, opened.shards, opened.size) == (result.images, result.shards, result.size)
        assert data.verify(tmp_path / "opened", SHARED_AES).proofs == ("hmac",)

    def test_everywhere_the_same(self, seal, as_sealed, as_open, team, tmp_path):
        expected = without_envelopes(as_sealed)
        seal(tmp_path / "workers", workers=2)
        assert without_envelopes(content(tmp_path / "workers")) == expected
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            seal(tmp_path / "threads", engine=pool)
        assert without_envelopes(content(tmp_path / "threads")) == expected
        seal("memory://sealed/out")
        assert without_envelopes(files("memory://sealed/out")) == expected
        for index in (1, 0, 1):
            seal(tmp_path / "parts", part=(index, 2))
        assert not [name for name in content(tmp_path / "parts") if "envelope" in name or name == "manifest.json"]
        seal(tmp_path / "parts")
        assert without_envelopes(content(tmp_path / "parts")) == expected
        data.seal_export(as_open[0], tmp_path / "later", key=SHARED_AES, recipients=[team[1]["alice"]])
        assert without_envelopes(content(tmp_path / "later")) == expected

    def test_vectors(self, tmp_path):
        """The files in the folder are the specification."""
        folder, key = VECTORS / "envelope", keys.load(VECTORS / "envelope" / "key.safetensors")
        for identity in (folder / "identity.txt", folder / "other.txt", key):
            data.open_export(
                folder / "sealed", tmp_path / "opened", identity=identity, signer=folder / "signing.pem.pub"
            )
            assert content(tmp_path / "opened") == content(folder / "open")
            shutil.rmtree(tmp_path / "opened")
        recipient = re.search(r"age1\w+", (folder / "identity.txt").read_text())[0]
        signing_key = SigningKey.load(folder / "signing.pem")
        data.seal_export(folder / "open", tmp_path / "s", key=key, recipients=[recipient], signing_key=signing_key)
        assert without_envelopes(content(tmp_path / "s")) == without_envelopes(content(folder / "sealed"))

    def test_the_opener_without_torchprotect(self, tmp_path):
        folder = VECTORS / "envelope"
        program = [sys.executable, str(VECTORS / "open_sealed_export.py")]
        given = [folder / "sealed", folder / "identity.txt", tmp_path / "opened", folder / "signing.pem.pub"]
        subprocess.run([*program, *map(str, given)], check=True)
        assert content(tmp_path / "opened") == content(folder / "open")
        assert "torchprotect" not in re.findall(r"^(?:from|import) (\w+)", Path(program[1]).read_text(), re.MULTILINE)

    def test_nothing_of_the_content_in_clear(self, sealed, as_open, as_sealed):
        clear = b"".join(as_sealed[name] for name in ("plan.json", "manifest.json", "envelope.age"))
        for entry in json.loads(as_open[1]["manifest.json"])["shards"]:
            assert entry["sha256"].encode() not in clear
        for name in SEALED_NAMES:
            assert b"ustar" not in as_sealed[name]
            assert b"torchprotect" not in as_sealed[name]
        secrets = [tensor.numpy().tobytes() for tensor in SHARED_AES.tensors().values()]
        everything = b"".join(as_sealed.values())
        assert not [secret for secret in secrets if secret in everything or secret.hex().encode() in everything]

    def test_gaps_that_are_filled(self, seal, alice, tmp_path):
        """A gap that is filled changes both manifests; a run that was killed between them is repaired."""
        source = write_folder(tmp_path / "source")
        broken = next(source.rglob("1.png"))
        whole = broken.read_bytes()
        broken.write_bytes(b"no picture")
        options = {"dataset": data.open_source(str(source)), "on_error": "skip", "shard_size": 4}
        assert len(seal(tmp_path / "out", **options).skipped) == 1
        before = content(tmp_path / "out")
        assert seal(tmp_path / "out", **options).made == 0
        broken.write_bytes(whole)
        options["dataset"] = data.open_source(str(source))
        assert seal(tmp_path / "out", **options).made == 1
        after = content(tmp_path / "out")
        assert data.verify(tmp_path / "out", SHARED_AES, identity=alice).images == 12
        (tmp_path / "out" / "manifest.json").write_bytes(before["manifest.json"])
        seal(tmp_path / "out", **options)
        assert content(tmp_path / "out") == after


class TestResume:
    def test_missing_or_damaged_shards_are_made_again(self, out, seal, as_sealed):
        seal(out)
        store = open_store(out)
        if not store.local:
            time.sleep(1.1)  # what is not newer than the manifest, to the second, is taken for what it lists
        store.delete(["shard-000001.tar.sealed"])
        body = bytearray(files(out)["shard-000002.tar.sealed"])
        body[5000] ^= 1
        with store.write("shard-000002.tar.sealed") as upload:
            upload.file.write(bytes(body))
        assert seal(out).made == 2
        assert without_envelopes(files(out)) == without_envelopes(as_sealed)

    def test_reports_are_sealed_and_used(self, out, seal, as_sealed, as_open):
        seal(out, part=(0, 2))
        found = files(out)
        names = {"plan.json", *(f"shard-{n:06}.tar.sealed" for n in (0, 2))}
        assert set(found) == names | {f"report-{n:06}.json.sealed" for n in (0, 2)}
        for entry in json.loads(as_open[1]["manifest.json"])["shards"]:
            assert entry["sha256"].encode() not in b"".join(found.values())
        status = data.status(out)
        assert (status.finished, status.done, status.shards, status.missing, status.parts) == (False, 2, 3, (1,), ())
        parts = data.status(out, SHARED_AES).parts
        assert [(part.name, part.shards, part.done) for part in parts] == [("0/2", 2, 2), ("1/2", 1, 0)]
        with pytest.raises(KeyKindError, match="is made with key"):
            data.status(out, make_bundle())
        assert seal(out).made == 1
        assert without_envelopes(files(out)) == without_envelopes(as_sealed)
        assert data.status(out).finished

    def test_killed_again_and_again(self, seal, alice, tmp_path):
        """No file of the folder, not even a temporary one, ever holds a plain shard."""
        keys.save(SHARED_AES, tmp_path / "key")
        recipient = re.search(r"age1\w+", alice.read_text())[0]
        command = [sys.executable, "-c", SLOW_EXPORT, str(tmp_path / "key"), str(tmp_path / "out"), recipient]
        for shards in (1, 3, 6):
            child = subprocess.Popen(command, start_new_session=True)
            while len(list((tmp_path / "out").glob("shard-*"))) < shards and child.poll() is None:
                time.sleep(0.01)
            os.killpg(child.pid, signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
            assert not [name for name, body in content(tmp_path / "out").items() if b"ustar" in body]
        subprocess.run(command, check=True)
        subprocess.run([*command[:4], str(tmp_path / "open")], check=True)
        data.open_export(tmp_path / "out", tmp_path / "opened", identity=alice)
        assert content(tmp_path / "opened") == content(tmp_path / "open")

    def test_the_envelope_is_made_once(self, as_open, sealed, team):
        before, notes = content(sealed), []
        for to in ([team[1]["bob"]], Recipients.of([], "correct horse")):
            run_export(sealed, recipients=to, notify=notes.append)
            result = data.seal_export(as_open[0], sealed, key=SHARED_AES, recipients=to)
            assert content(sealed) == before
            told = [note for note in (*notes, *result.notes) if note.startswith("envelope.age")]
            assert len(told) == 2
            notes.clear()
            for note in told:
                assert note.startswith("envelope.age of an earlier run stays as it is")
                assert "those given now were not added" in note
        (sealed / "envelope.age").unlink()
        run_export(sealed, recipients=[team[1]["bob"]])
        assert data.verify(sealed, identity=team[0] / "bob")

    def test_two_that_finish_at_once(self, team, monkeypatch):
        """Whoever comes second is told that its recipients were not added."""
        both, one, real = threading.Barrier(2), threading.Lock(), ObjectStore.create

        def create(store, name, content):
            if name == "envelope.age":
                both.wait(20)
            with one:  # fsspec's memory has no atomic creation
                real(store, name, content)

        monkeypatch.setattr(ObjectStore, "create", create)
        out = "memory://two/out"
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(run_export, out, recipients=[team[1][name]]) for name in ("alice", "bob")]
            notes = [note for run in runs for note in run.result().notes if "were not added" in note]
        assert len(notes) == 1
        assert data.count_recipients(out) == {"X25519": 1}

    def test_open_and_sealed_exclude_each_other(self, out, seal, as_open, sealed):
        seal(out)
        with pytest.raises(ExportError, match="another plan: it is sealed, but no recipients were given"):
            run_export(out)
        shutil.copytree(as_open[0], sealed.parent / "copy")
        with pytest.raises(ExportError, match="another plan: it is open, but recipients were given"):
            seal(sealed.parent / "copy")
        shutil.copy(as_open[0] / "shard-000001.tar", sealed)
        with pytest.raises(ExportError, match=r"holds other files, such as shard-000001\.tar"):
            seal(sealed)
        with pytest.raises(VerificationError, match=r"shard-000001\.tar does not belong here"):
            data.verify(sealed, SHARED_AES)

    def test_plans_of_both_kinds_at_once(self, seal, tmp_path):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(call, tmp_path / "out", part=(0, 1)) for call in (seal, run_export)]
            failed = [run.exception() for run in runs if run.exception()]
        assert len(failed) == 1
        assert isinstance(failed[0], ExportError)

    @pytest.mark.parametrize("damage", ["lost", "changed"])
    @pytest.mark.parametrize("name", ["manifest.json.sealed", "plan.json.sealed"])
    def test_sealed_documents_are_repaired(self, seal, sealed, as_sealed, name, damage):
        (sealed / name).write_bytes(b"x" + (sealed / name).read_bytes()[1:])
        if damage == "lost":
            (sealed / name).unlink()
        seal(sealed)
        assert without_envelopes(content(sealed)) == without_envelopes(as_sealed)

    def test_a_finished_export_of_other_pictures_stays(self, out, seal, team, tmp_path):
        """A plan does not depend on pixels."""
        seal(out, signing_key=team[0] / "release")
        before = files(out)
        other = Pictures(20, classes=5)
        run_export(tmp_path / "other", dataset=other)
        given = {"key": SHARED_AES, "recipients": [team[1]["alice"]]}
        for name in (None, "manifest.json.sealed"):
            if name is not None:
                open_store(out).delete([name])
                del before[name]
            with pytest.raises(ExportError, match="holds a finished export with other pictures; nothing was changed"):
                data.seal_export(tmp_path / "other", out, **given)
            with pytest.raises(ExportError, match="nothing was changed there"):
                seal(out, dataset=other)
            assert files(out) == before

    def test_killed_before_the_new_signature(self, seal, team, tmp_path, monkeypatch):
        source = write_folder(tmp_path / "source")
        broken = next(source.rglob("1.png"))
        whole = broken.read_bytes()
        broken.write_bytes(b"no picture")
        options = {"on_error": "skip", "shard_size": 4, "signing_key": team[0] / "release"}
        seal(tmp_path / "out", dataset=data.open_source(str(source)), **options)
        broken.write_bytes(whole)

        def kill(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("torchprotect.data._manifests.Manifests._write", kill)
        with pytest.raises(KeyboardInterrupt):
            seal(tmp_path / "out", dataset=data.open_source(str(source)), **options)
        monkeypatch.undo()
        seal(tmp_path / "out", dataset=data.open_source(str(source)), **options)
        assert data.verify(tmp_path / "out", SHARED_AES, signer=team[0] / "release.pub").images == 12

    def test_a_shard_that_was_sealed_otherwise_is_made_again(self, seal, sealed, alice, as_sealed):
        """A recipient can seal the same content with another salt."""
        opened = data.finished.open_finished(sealed, identity=alice).store
        with opened.open("shard-000001.tar") as file:
            plain = file.read()
        out = io.BytesIO()
        key, place = opened.data_key, opened._place("shard-000001.tar")
        streaming.seal(
            io.BytesIO(plain), out, len(plain), key=key._file_key, salt=bytes(32), prefix=bytes(7), data=place.data
        )
        (sealed / "shard-000001.tar.sealed").write_bytes(out.getvalue())
        assert len(samples(data.read(sealed, identity=alice))) == 20
        for given in ({}, {"identity": alice}, {"key": SHARED_AES}):
            with pytest.raises(VerificationError, match=r"shard-000001\.tar\.sealed was changed"):
                data.verify(sealed, **given)
        assert seal(sealed).made == 1
        assert without_envelopes(content(sealed)) == without_envelopes(as_sealed)

    def test_status_between_the_two_manifests(self, sealed):
        (sealed / "manifest.json").unlink()
        assert not data.status(sealed).finished


SLOW_EXPORT = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from support import Pictures, run_export
from torchprotect import keys
class Slow(Pictures):
    def __getitem__(self, index):
        time.sleep(0.03)
        return super().__getitem__(index)
run_export(sys.argv[2], keys.load(sys.argv[1]), Slow(40), shard_size=4, recipients=sys.argv[3:] or None)
"""


class TestReading:
    def test_any_opener_works(self, sealed, alice, bob, as_open):
        expected = samples(data.read(as_open[0]))
        for identity in (alice, str(alice), Identity.load(alice), SHARED_AES, [bob, alice], [Identity.load(alice)]):
            assert samples(data.read(sealed, identity=identity)) == expected

    def test_an_open_export_in_the_place_of_a_sealed_one(self, as_open, alice, tmp_path):
        """Anybody who can write there could put one, without knowing any key."""
        given = {"identity": alice}
        for call in (data.read, data.verify, lambda out, **given: data.open_export(out, tmp_path / "x", **given)):
            with pytest.raises(EnvelopeError, match="is not sealed, but an identity was given"):
                call(as_open[0], **given)
        assert data.verify(as_open[0], SHARED_AES).proofs == ("hmac",)

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_in_workers(self, out, seal, alice, as_open, method):
        seal(out)
        loader = torch.utils.data.DataLoader(
            data.read(out, identity=alice), batch_size=None, num_workers=2, multiprocessing_context=method
        )
        assert sorted(samples(loader)) == sorted(samples(data.read(as_open[0])))

    def test_from_a_web_server_without_listings(self, sealed, team, alice, bob, as_open):
        class WithoutListing(WithRanges):
            def list_directory(self, path):
                self.send_error(404)

        pytest.importorskip("aiohttp")
        data.add_recipients(sealed, [team[1]["bob"]], identity=alice)
        with serve_folder(sealed.parent, WithoutListing) as url:
            for identity in (alice, bob):
                read = data.read(f"{url}/sealed", identity=identity)
                assert samples(read) == samples(data.read(as_open[0]))

    def test_copies_in_a_cache_are_sealed(self, seal, alice, as_open, as_sealed, s3, tmp_path):
        seal(f"{s3}/out")
        for _ in range(2):
            assert samples(data.read(f"{s3}/out", identity=alice, cache=tmp_path / "cache")) == samples(
                data.read(as_open[0])
            )
        copies = content(tmp_path / "cache")
        assert sorted(copies.values()) == sorted(as_sealed[name] for name in SEALED_NAMES[3:])
        for path in (tmp_path / "cache").iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert samples(data.read(f"{s3}/out", identity=alice, cache=tmp_path / "cache"))
        assert content(tmp_path / "cache") == copies

    def test_without_or_with_a_wrong_identity(self, sealed, alice, bob, tmp_path):
        with pytest.raises(EnvelopeError, match=r"is sealed: give identity=.*torchprotect open"):
            data.read(sealed)
        with pytest.raises(EnvelopeError, match=r"bob cannot open the export"):
            data.read(sealed, identity=bob)
        with pytest.raises(VerificationError, match="was not made with key"):
            data.read(sealed, identity=[make_bundle(), alice])
        with pytest.raises(EnvelopeError, match="was not sealed with key .*: its plan names key"):
            data.read(sealed, identity=make_bundle())
        with pytest.raises(FileNotFoundError):
            data.read(sealed, identity=tmp_path / "nowhere")
        for call in (data.wids_index, data.croissant_metadata):
            with pytest.raises(EnvelopeError, match="is of a sealed export"):
                call(sealed)

    def test_bytes_of_a_damaged_segment_are_never_seen(self, sealed, alice):
        path = sealed / "shard-000001.tar.sealed"
        body = bytearray(path.read_bytes())
        body[-20] ^= 1
        path.write_bytes(body)
        seen = []
        with pytest.raises(VerificationError, match=r"shard-000001\.tar\.sealed does not open"):
            seen.extend(iter(data.read(sealed, identity=alice)))
        assert len(seen) == 7


def edit(folder, name, change):
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_bytes(documents.dump(document))


class TestBadInput:
    def test_envelopes_that_others_have_put_there(self, sealed, alice, team):
        """Whatever cannot be opened, or takes too long to, keeps nobody out."""
        age, key = pyrage, pyrage.x25519.Recipient.from_str(team[1]["alice"])
        strangers = [pyrage.x25519.Identity.generate().to_public() for _ in range(2000)]
        planted = [b"", b"junk", age.encrypt(b"x" * 31, [key]), age.encrypt(b"x" * 32, [key]), bytes(1 << 21)]
        planted += [age.encrypt(b"x" * 32, strangers)]
        header, _, rest = age.passphrase.encrypt(b"x" * 32, "correct horse").partition(b"\n---")
        costly = re.sub(rb"(-> scrypt \S+) \d+", rb"\1 30", header) + b"\n---" + rest
        (sealed / "envelope-passphrase.age").write_bytes(costly)
        for number, body in enumerate(planted, 1):
            (sealed / f"envelope-{number}.age").write_bytes(body)
        os.mkfifo(sealed / "envelope-99.age")
        for identity in (alice, SHARED_AES):
            assert data.read(sealed, identity=identity)
        with pytest.raises(EnvelopeError, match="the passphrase is wrong"):
            data.read(sealed, identity=Identity.of_passphrase("correct horse"))

    def test_many_recipients(self, seal, team, alice, tmp_path):
        """Opening an envelope takes time with the square of its recipients, so there are several."""
        many = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(150)]
        run_export(tmp_path / "out", recipients=[*many, team[1]["alice"]])
        assert [name for name in content(tmp_path / "out") if "envelope" in name] == [
            "envelope-1.age",
            "envelope-2.age",
            "envelope.age",
        ]
        assert data.read(tmp_path / "out", identity=alice)
        data.set_recipients(tmp_path / "out", [*many, *many], identity=alice)
        assert data.count_recipients(tmp_path / "out") == {"X25519": 150}
        with pytest.raises(EnvelopeError, match="has at most 10,000 recipients, got 10,001"):
            Recipients.of(map(str, range(10_001)))

    @pytest.mark.parametrize(
        "given",
        [
            {"identity": 5},
            {"identity": [None]},
            {"signer": 5},
            {"expect": 5},
        ],
    )
    def test_values_of_other_types(self, sealed, given):
        for call in (data.read, data.verify):
            with pytest.raises(InputTypeError, match="must be"):
                call(sealed, **given)

    def test_signing_keys_are_looked_at_first(self, seal, team, tmp_path):
        for given, kind in ((5, InputTypeError), (tmp_path / "nowhere", OSError), (team[0] / "alice", EnvelopeError)):
            with pytest.raises(kind):
                seal(tmp_path / "out", signing_key=given)
        assert not (tmp_path / "out").exists()
        seal(tmp_path / "out", signing_key=str(team[0] / "release"))
        assert data.verify(tmp_path / "out", signer=team[0] / "release.pub")

    def test_passphrases_and_generations_of_other_types(self, tmp_path):
        for call in (Identity.of_passphrase, lambda passphrase: Recipients.of([], passphrase)):
            with pytest.raises(PassphraseError, match="must be a str, got int"):
                call(5)
        for generation in (0, 1 << 31):
            with pytest.raises(InputRangeError, match="generation"):
                run_export(tmp_path / "out", recipients=Recipients.of([], "correct horse"), generation=generation)

    def test_envelope_of_another_export(self, sealed, seal, alice, tmp_path):
        seal(tmp_path / "other", bundle=make_bundle())
        shutil.copy(tmp_path / "other" / "envelope.age", sealed)
        for call in (data.read, data.verify):
            with pytest.raises(EnvelopeError, match="it is another export's"):
                call(sealed, identity=alice)

    def test_newer_versions(self, sealed, alice):
        edit(sealed, "plan.json", lambda plan: plan["envelope"].update(version=2))
        with pytest.raises(EnvelopeError, match="has another envelope than version 1; use the torchprotect"):
            data.read(sealed, identity=alice)
        edit(sealed, "manifest.json", lambda manifest: manifest.update(version=2))
        with pytest.raises(ExportError, match="has another format version than 1; use the torchprotect"):
            data.read(sealed, identity=alice)

    @pytest.mark.parametrize("name", ["plan.json", "manifest.json.sealed", "plan.json.sealed", "envelope.age"])
    def test_missing_files(self, sealed, alice, name):
        (sealed / name).unlink()
        with pytest.raises((EnvelopeError, VerificationError, ExportError), match=re.escape(name) + "|no envelope"):
            data.verify(sealed, identity=alice)

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            ("manifest.json", lambda d: d.update(images=21), "its MAC under the data key is wrong"),
            ("manifest.json", lambda d: d["shards"][0].update(sha256="0" * 64), "MAC under the data key is wrong"),
            ("manifest.json", lambda d: d["shards"].pop(), "MAC under the data key is wrong"),
            ("manifest.json", lambda d: d.update(data_key="0" * 64), "it is another export's"),
            ("manifest.json", lambda d: d.pop("mac"), "MAC under the data key is wrong"),
            ("manifest.json", lambda d: d.pop("documents"), "malformed: missing or damaged: documents"),
            ("manifest.json", lambda d: d["shards"].reverse(), "malformed: missing or damaged: shards"),
            ("plan.json", lambda d: d.update(shard_size=8), "plan and manifest do not belong together"),
            ("plan.json", lambda d: d["envelope"].update(generation=2), "plan and manifest do not belong together"),
            ("plan.json", lambda d: d["envelope"].update(generation=0), "no valid generation"),
            ("plan.json", lambda d: d.pop("envelope"), "the plan of an open one"),
        ],
    )
    def test_changed_documents(self, sealed, alice, name, change, message):
        edit(sealed, name, change)
        for call in (data.read, data.verify):
            with pytest.raises((VerificationError, EnvelopeError), match=message):
                call(sealed, identity=alice)

    def test_shards_at_the_place_of_others(self, sealed, alice):
        first, second = sealed / "shard-000000.tar.sealed", sealed / "shard-000001.tar.sealed"
        a, b = first.read_bytes(), second.read_bytes()
        first.write_bytes(b), second.write_bytes(a)
        with pytest.raises(VerificationError, match="does not open: byte 40 or one behind it"):
            list(data.read(sealed, identity=alice, verify=False))
        with pytest.raises(VerificationError, match=r"shard-000000\.tar\.sealed cannot .*shard-000001\.tar\.sealed"):
            data.verify(sealed, identity=alice)
        with pytest.raises(VerificationError, match=r"shard-000000\.tar\.sealed was changed"):
            data.verify(sealed)

    def test_a_shard_of_another_generation(self, sealed, alice, team, tmp_path):
        data.seal_export(sealed, tmp_path / "second", key=SHARED_AES, recipients=[team[1]["alice"]])
        shutil.copy(tmp_path / "second" / "shard-000001.tar.sealed", sealed)
        with pytest.raises(VerificationError, match=r"shard-000001\.tar\.sealed does not open"):
            list(data.read(sealed, identity=alice))

    def test_packages_that_are_missing(self, sealed, alice, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyrage", None)
        for call in (lambda: data.read(sealed, identity=alice), lambda: Recipients.of(["age1abc"])):
            with pytest.raises(EnvelopeError, match="need pyrage, of the extra `envelope`; install it"):
                call()
        assert data.verify(sealed).images == 20

    def test_unfinished_exports(self, seal, alice, tmp_path):
        seal(tmp_path / "out", part=(0, 2))
        for call in (data.read, data.verify):
            with pytest.raises(ExportError, match="is an unfinished export"):
                call(tmp_path / "out", identity=alice)
        with pytest.raises(EnvelopeError, match="has no envelope: it is not sealed, or not finished"):
            data.count_recipients(tmp_path / "out")

    def test_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(EnvelopeError, match="is not a public key"):
            run_export(tmp_path / "out", recipients=["age1nobody"])
        assert not (tmp_path / "out").exists()


class TestOpenExport:
    def test_nothing_half_opened_is_left(self, sealed, alice, tmp_path):
        body = bytearray((sealed / "shard-000002.tar.sealed").read_bytes())
        body[100] ^= 1
        (sealed / "shard-000002.tar.sealed").write_bytes(body)
        with pytest.raises(VerificationError, match=r"shard-000002\.tar\.sealed does not open"):
            data.open_export(sealed, tmp_path / "opened", identity=alice)
        assert [path.name for path in tmp_path.iterdir()] == ["sealed"]

    def test_remains_of_a_killed_process_are_deleted(self, sealed, alice, tmp_path):
        program = (
            "import os, signal, sys\n"
            "from torchprotect import data\n"
            "def kill(done, total):\n"
            "    done and os.kill(os.getpid(), signal.SIGKILL)\n"
            "data.open_export(sys.argv[1], sys.argv[2], identity=sys.argv[3], progress=kill)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, sealed, tmp_path / "opened", alice], check=False)
        assert done.returncode == -signal.SIGKILL
        (left,) = [path for path in tmp_path.iterdir() if path.name != "sealed"]
        assert left.stat().st_mode & 0o777 == 0o700
        assert not (tmp_path / "opened").exists()
        data.open_export(sealed, tmp_path / "opened", identity=alice)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["opened", "sealed"]
        (tmp_path / "like-others").mkdir()
        assert (tmp_path / "opened").stat().st_mode == (tmp_path / "like-others").stat().st_mode

    def test_a_hidden_folder_of_somebody_else(self, sealed, alice, tmp_path):
        """Its name is known beforehand, and the parent folder may be everybody's."""
        hidden, victim = tmp_path / temporary_name_of("opened"), tmp_path / "victim"
        victim.mkdir()
        (victim / "file").write_text("mine")
        for plant in (lambda: hidden.symlink_to(victim), lambda: hidden.mkdir(mode=0o755), lambda: hidden.touch()):
            plant()
            with pytest.raises(ExportError, match="is in the way, and not a folder that only you can read; delete it"):
                data.open_export(sealed, tmp_path / "opened", identity=alice)
            hidden.unlink() if not hidden.is_dir() or hidden.is_symlink() else hidden.rmdir()
        assert (victim / "file").read_text() == "mine"

    def test_a_missing_shard(self, sealed, alice, tmp_path, team):
        (sealed / "shard-000001.tar.sealed").unlink()
        with pytest.raises(VerificationError, match=r"shard-000001\.tar\.sealed is missing"):
            data.open_export(sealed, tmp_path / "opened", identity=alice)
        with pytest.raises(VerificationError, match=r"shard-000001\.tar\.sealed is missing"):
            data.seal_export(sealed, tmp_path / "again", key=SHARED_AES, recipients=[team[1]["bob"]])
        for given in ({}, {"identity": alice}):
            with pytest.raises(VerificationError, match=r"shard-000001\.tar\.sealed is missing"):
                data.verify(sealed, **given)

    def test_a_full_disk(self, sealed, alice, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ExportError, match="cannot write to .*opened: No space left on device; nothing was left"):
            data.open_export(sealed, tmp_path / "opened", identity=alice)
        assert [path.name for path in tmp_path.iterdir()] == ["sealed"]

    def test_where_it_goes(self, sealed, alice, as_open, tmp_path, monkeypatch):
        (tmp_path / "empty").mkdir(mode=0o700)
        (tmp_path / "link").symlink_to("empty")
        data.open_export(sealed, tmp_path / "link", identity=alice)
        assert content(tmp_path / "empty") == as_open[1]
        assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700
        (tmp_path / "like-others").mkdir()
        data.open_export(sealed, tmp_path / "new" / "deep", identity=alice)
        assert (tmp_path / "new" / "deep").stat().st_mode == (tmp_path / "like-others").stat().st_mode
        for taken in (tmp_path / "empty", alice):
            with pytest.raises(ExportError, match="is not an empty folder"):
                data.open_export(sealed, taken, identity=alice)
        with pytest.raises(ExportError, match="lies inside"):
            data.open_export(sealed, sealed / "opened", identity=alice)
        (tmp_path / "current").mkdir()
        monkeypatch.chdir(tmp_path / "current")
        with pytest.raises(ExportError, match="is the current folder"):
            data.open_export(sealed, ".", identity=alice)
        with pytest.raises(ExportError, match="is a URL"):
            data.open_export(sealed, "memory://opened", identity=alice)
        with pytest.raises(ExportError, match="is not sealed, but an identity was given"):
            data.open_export(as_open[0], tmp_path / "again", identity=alice)


class TestSealExport:
    def test_a_former_recipient_cannot_open_the_next_generation(self, sealed, team, alice, bob, as_open, tmp_path):
        with pytest.raises(EnvelopeError):
            data.read(sealed, identity=bob)
        data.seal_export(sealed, tmp_path / "second", key=SHARED_AES, recipients=[team[1]["bob"]])
        assert json.loads((tmp_path / "second" / "plan.json").read_text())["envelope"]["generation"] == 2
        assert samples(data.read(tmp_path / "second", identity=bob)) == samples(data.read(as_open[0]))
        shutil.copy(sealed / "envelope.age", tmp_path / "second")  # the data key that Alice has
        with pytest.raises(EnvelopeError, match="it is another export's"):
            data.read(tmp_path / "second", identity=alice)
        data.seal_export(tmp_path / "second", tmp_path / "third", key=SHARED_AES, recipients=[team[1]["bob"]])
        assert json.loads((tmp_path / "third" / "plan.json").read_text())["envelope"]["generation"] == 3

    def test_it_goes_on_where_it_stopped(self, out, as_open, as_sealed, team):
        class StopError(Exception):
            pass

        def stop(done, total):
            if done == 14:
                raise StopError

        given = {"key": SHARED_AES, "recipients": [team[1]["alice"]]}
        with pytest.raises(StopError):
            data.seal_export(as_open[0], out, progress=stop, **given)
        assert "manifest.json" not in files(out)
        before = files(out)["shard-000000.tar.sealed"]
        data.seal_export(as_open[0], out, **given)
        assert files(out)["shard-000000.tar.sealed"] == before
        assert without_envelopes(files(out)) == without_envelopes(as_sealed)
        data.seal_export(as_open[0], out, **given)  # finished: nothing to do
        assert without_envelopes(files(out)) == without_envelopes(as_sealed)

    def test_refusals(self, as_open, sealed, team, tmp_path):
        to = [team[1]["alice"]]
        with pytest.raises(KeyKindError, match="was made with key"):
            data.seal_export(as_open[0], tmp_path / "out", key=make_bundle(), recipients=to)
        with pytest.raises(KeyKindError, match="key must be a Key"):
            data.seal_export(as_open[0], tmp_path / "out", key="key", recipients=to)
        with pytest.raises(ExportError, match="overlap: one lies inside the other"):
            data.seal_export(sealed, sealed / "again", key=SHARED_AES, recipients=to)
        shutil.copytree(as_open[0], tmp_path / "changed")
        edit(tmp_path / "changed", "manifest.json", lambda manifest: manifest.update(labels=9))
        with pytest.raises(VerificationError, match="the HMACs of .* are wrong"):
            data.seal_export(tmp_path / "changed", tmp_path / "out", key=SHARED_AES, recipients=to)
        assert not (tmp_path / "out").exists()
        shutil.copytree(as_open[0], tmp_path / "damaged")
        body = bytearray((tmp_path / "damaged" / "shard-000001.tar").read_bytes())
        body[600] ^= 1
        (tmp_path / "damaged" / "shard-000001.tar").write_bytes(body)
        with pytest.raises(VerificationError, match=r"shard-000001\.tar is not the shard in the manifest"):
            data.seal_export(tmp_path / "damaged", tmp_path / "out", key=SHARED_AES, recipients=to)
        assert not list((tmp_path / "out").glob("shard-000001*"))

    def test_who_shares_a_data_key(self, seal, team, alice, bob, tmp_path):
        """New pictures under old names are opened by old recipients: a plan does not depend on pixels."""
        write_folder(tmp_path / "photos")
        first = seal(tmp_path / "first", dataset=data.open_source(str(tmp_path / "photos")))
        shutil.rmtree(tmp_path / "photos")
        write_folder(tmp_path / "photos", classes=3, each=4, mode="RGB", seed=7)
        other = {"dataset": data.open_source(str(tmp_path / "photos")), "recipients": [team[1]["bob"]]}
        second = run_export(tmp_path / "second", **other)
        third = run_export(tmp_path / "third", generation=2, **other)
        for release, told in ((first, True), (second, True), (third, False)):
            assert any("can open this one too, even if its pictures differ" in note for note in release.notes) is told
        for name in ("second", "third"):
            shutil.copy(tmp_path / "first" / "envelope.age", tmp_path / name / "envelope-1.age")
        assert len(samples(data.read(tmp_path / "second", identity=alice))) == 12
        with pytest.raises(EnvelopeError, match="it is another export's"):
            data.read(tmp_path / "third", identity=alice)


class TestRecipients:
    def test_added_and_replaced(self, out, seal, team, alice, bob):
        seal(out)
        shards = {name: body for name, body in files(out).items() if "shard" in name}
        data.add_recipients(out, [team[1]["bob"]], identity=alice)
        assert data.count_recipients(out) == {"X25519": 2}
        for identity in (alice, bob):
            assert data.verify(out, identity=identity).proofs == ("mac",)
        data.add_recipients(out, Recipients.of([team[1]["bob"]], "correct horse"), identity=bob)
        assert {"envelope-1.age", "envelope-2.age", "envelope-passphrase.age"} <= set(files(out))
        assert data.verify(out, identity=Identity.of_passphrase("correct horse"))
        with pytest.raises(EnvelopeError, match="has a passphrase already"):
            data.add_recipients(out, Recipients.of([], "second"), identity=alice)
        data.set_recipients(out, [team[1]["bob"]], identity=SHARED_AES)
        assert [name for name in files(out) if name.startswith("envelope")] == ["envelope.age"]
        assert data.verify(out, identity=bob)
        for former in (alice, Identity.of_passphrase("correct horse")):
            with pytest.raises(EnvelopeError, match="cannot open|not sealed with a passphrase"):
                data.verify(out, identity=former)
        data.set_recipients(out, Recipients.of([], "third"), identity=bob)
        assert [name for name in files(out) if name.startswith("envelope")] == ["envelope-passphrase.age"]
        assert {name: body for name, body in files(out).items() if "shard" in name} == shards

    def test_two_that_add_at_once(self, sealed, team, alice, bob):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            add = [pool.submit(data.add_recipients, sealed, [team[1]["bob"]], identity=alice) for _ in range(4)]
            [each.result() for each in add]
        assert data.count_recipients(sealed) == {"X25519": 5}

    def test_refusals(self, sealed, as_open, team, bob):
        before = content(sealed)
        with pytest.raises(EnvelopeError, match="bob cannot open"):
            data.add_recipients(sealed, [team[1]["bob"]], identity=bob)
        with pytest.raises(EnvelopeError, match="is not a public key"):
            data.set_recipients(sealed, ["age1abc"], identity=SHARED_AES)
        with pytest.raises(EnvelopeError, match="no recipients"):
            data.set_recipients(sealed, [], identity=SHARED_AES)
        assert content(sealed) == before
        with pytest.raises(EnvelopeError, match="is not sealed, but an identity was given"):
            data.add_recipients(as_open[0], [team[1]["bob"]], identity=SHARED_AES)


class TestSignatures:
    def test_signed_once(self, out, seal, team):
        folder, _ = team
        key = SigningKey.load(folder / "release")
        result = seal(out, signing_key=key)
        before = files(out)
        assert data.verify(out, signer=folder / "release.pub", expect=result.digest).proofs == ("signature", "digest")
        assert seal(out, signing_key=key).digest == result.digest
        with pytest.raises(ExportError, match="is another signature; to sign with this key, delete it first"):
            seal(out, signing_key=SigningKey.load(folder / "other"))
        assert files(out) == before
        with pytest.raises(VerificationError, match="is not this signer's signature"):
            data.verify(out, signer=folder / "other.pub")

    def test_open_exports_too(self, team, tmp_path):
        result = run_export(tmp_path / "out", signing_key=SigningKey.load(team[0] / "release"))
        signer = team[0] / "release.pub"
        assert data.verify(tmp_path / "out", SHARED_AES, signer=signer).proofs == ("hmac", "signature")
        assert len(samples(data.read(tmp_path / "out", signer=signer, expect=result.digest))) == 20
        assert run_export(tmp_path / "out").made == 0
        assert (tmp_path / "out" / "manifest.json.sig").exists()

    def test_not_signed_or_not_as_expected(self, sealed, team, alice):
        for call in (data.read, data.verify):
            with pytest.raises(VerificationError, match=r"is not signed: .*manifest\.json\.sig is missing"):
                call(sealed, identity=alice, signer=team[0] / "release.pub")
            with pytest.raises(VerificationError, match=r"has the digest \w{12}\.\., expected was 000000000000\.\."):
                call(sealed, identity=alice, expect="0" * 64)
            with pytest.raises(EnvelopeError, match="64 hex digits"):
                call(sealed, identity=alice, expect="abc")
        (sealed / "manifest.json.sig").write_bytes(b"x" * 65)
        with pytest.raises(VerificationError, match="is not this signer's signature"):
            data.verify(sealed, signer=team[0] / "release.pub")

    def test_a_store_that_answers_differently_the_second_time(self, seal, team, alice, tmp_path, monkeypatch):
        """What was checked is what is used: each document is read once."""
        seal(tmp_path / "out", signing_key=SigningKey.load(team[0] / "release"))
        Forgery(team).reseal(forged := Path(shutil.copytree(tmp_path / "out", tmp_path / "forged")))
        seen = []

        def read(store, name, limit):
            seen.append(name)
            return ((forged if seen.count(name) > 1 else store.path) / name).read_bytes()

        monkeypatch.setattr("torchprotect.data.store.folder.FolderStore.read", read)
        opened = data.finished.open_finished(tmp_path / "out", identity=alice, signer=team[0] / "release.pub")
        assert {"manifest.json", "manifest.json.sealed"} <= set(seen)
        monkeypatch.undo()
        assert opened.manifest == data.finished.open_finished(tmp_path / "out", identity=alice).manifest

    def test_an_update_deletes_what_it_makes_wrong(self, seal, team, tmp_path):
        source = write_folder(tmp_path / "source")
        broken = next(source.rglob("1.png"))
        whole = broken.read_bytes()
        broken.write_bytes(b"no picture")
        key = SigningKey.load(team[0] / "release")
        options = {"on_error": "skip", "shard_size": 4}
        seal(tmp_path / "out", dataset=data.open_source(str(source)), signing_key=key, **options)
        broken.write_bytes(whole)
        seal(tmp_path / "out", dataset=data.open_source(str(source)), **options)
        assert not (tmp_path / "out" / "manifest.json.sig").exists()


class Forgery:
    """One way to replace what a recipient gets, by somebody with more or less knowledge."""

    def __init__(self, team):
        self.folder, self.recipients = team

    def damage(self, out):
        """Flip a bit of a shard: a fault, or anybody who can write there."""
        body = bytearray((out / "shard-000001.tar.sealed").read_bytes())
        body[777] ^= 1
        (out / "shard-000001.tar.sealed").write_bytes(body)

    def swap(self, out):
        """Exchange two shards: anybody who can write there."""
        first, second = out / "shard-000000.tar.sealed", out / "shard-000001.tar.sealed"
        body = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(body)

    def mix(self, out):
        """Put in a shard of another export for the same recipient: anybody who can write there and has one."""
        run_export(out.parent / "other", make_bundle(), recipients=[self.recipients["alice"]])
        shutil.copy(out.parent / "other" / "shard-000001.tar.sealed", out)

    def edit(self, out):
        """Drop the last shard and tell so in the manifest: anybody who can write there."""
        edit(out, "manifest.json", lambda d: (d["shards"].pop(), d.update(images=14)))
        (out / "shard-000002.tar.sealed").unlink()

    def replace(self, out):
        """Put another export there, under a data key of one's own, for the same recipients: anybody who can write."""
        shutil.rmtree(out)
        other = keys.KeyBundle.from_parts(SHARED_AES.params, make_bundle().tensors())
        run_export(out, other, Pictures(20, classes=5), recipients=[self.recipients["alice"]])
        key = {"key": SHARED_AES.fingerprint}
        plan = json.loads((out / "plan.json").read_text())
        assert plan["key"] != key["key"]

    def reseal(self, out):
        """Seal other content with the data key, and all manifests with it: a recipient."""
        opened = data.finished.open_finished(out, identity=self.folder / "alice")
        inner, data_key = dict(opened.manifest), opened.store.data_key
        with opened.store.open("shard-000000.tar") as file:
            body = bytearray(file.read())
        label = body.index(b".cls") - 32 + 512
        body[label] = ord("1") if body[label] == ord("0") else ord("0")
        with opened.store.write("shard-000000.tar") as upload:
            upload.file.write(bytes(body))
        inner["shards"] = [dict(entry) for entry in inner["shards"]]
        inner["shards"][0]["sha256"] = upload.file.sha256
        public = dict(opened.public)
        public["shards"] = [dict(entry) for entry in public["shards"]]
        public["shards"][0]["sha256"] = upload.sealed
        with opened.store.write("manifest.json") as upload:
            upload.file.write(documents.dump(inner))
        sealed = (out / "manifest.json.sealed").read_bytes()
        public["documents"][0].update(size=len(sealed), sha256=upload.sealed)
        body = {name: value for name, value in public.items() if name not in ("mac", "hmac")}
        public["mac"] = data_key.mac(canonical(body))
        (out / "manifest.json").write_bytes(documents.dump(public))

    def reseal_under_another_name(self, out):
        """The same, and name another key, so that nobody looks at the HMACs."""
        self.reseal(out)
        opened = data.finished.open_finished(out, identity=self.folder / "alice")

        def rename(public):
            public["key"] = "0" * 64
            body = {name: value for name, value in public.items() if name not in ("mac", "hmac")}
            public["mac"] = opened.store.data_key.mac(canonical(body))

        edit(out, "manifest.json", rename)

    def reseal_beside(self, out):
        """The same, but leave the signed manifest as it is."""
        before = (out / "manifest.json").read_bytes()
        self.reseal(out)
        (out / "manifest.json").write_bytes(before)

    def open_one(self, out):
        """Put an open export in its place: anybody who can write there."""
        shutil.rmtree(out)
        run_export(out, make_bundle())

    def another_one(self, out):
        """Put another export of the same owner in its place, with its signature: anybody who can write there."""
        shutil.rmtree(out)
        signing_key = SigningKey.load(self.folder / "release")
        run_export(out, dataset=Pictures(20, classes=5), recipients=[self.recipients["alice"]], signing_key=signing_key)

    def roll_back(self, out):
        """Put an earlier state of the export back, with its signature: anybody who can write there and kept it."""
        source = write_folder(out.parent / "source")
        broken = next(source.rglob("1.png"))
        whole = broken.read_bytes()
        broken.write_bytes(b"no picture")
        signing_key = SigningKey.load(self.folder / "release")
        options = {"recipients": [self.recipients["alice"]], "signing_key": signing_key, "on_error": "skip"}
        shutil.rmtree(out)
        run_export(out, dataset=data.open_source(str(source)), **options)
        before = content(out)
        broken.write_bytes(whole)
        self.digest = run_export(out, dataset=data.open_source(str(source)), **options).digest
        assert content(out) != before
        shutil.rmtree(out)
        put(out, before)


NOTICED = {  # by whoever checks: nothing, an identity, the owner's key, a signer, an expected digest
    "damage": (True, True, True, True, True),
    "swap": (True, True, True, True, True),
    "mix": (True, True, True, True, True),
    "edit": (False, True, True, True, True),
    "replace": (False, False, True, True, True),
    "reseal": (False, False, True, True, True),
    "reseal_under_another_name": (False, False, True, True, True),
    "reseal_beside": (True, True, True, True, True),
    "open_one": (False, True, True, True, True),
    "another_one": (False, False, False, False, True),
    "roll_back": (False, False, False, False, True),
}


def notices(call):
    try:
        call()
    except (VerificationError, EnvelopeError):
        return True
    return False


@pytest.mark.parametrize("forgery", NOTICED)
def test_which_proof_notices_which_forgery(forgery, seal, team, alice, tmp_path):
    """The table in docs/guides/envelope.md. Readers, who have an identity, notice what verification with it does."""
    forger, out, signer = Forgery(team), tmp_path / "out", team[0] / "release.pub"
    digest = seal(out, signing_key=SigningKey.load(team[0] / "release")).digest
    getattr(forger, forgery)(out)
    digest = getattr(forger, "digest", digest)
    checks = ({}, {"identity": alice}, {"key": SHARED_AES}, {"signer": signer}, {"expect": digest})
    assert tuple(notices(lambda check=check: data.verify(out, **check)) for check in checks) == NOTICED[forgery]
    for number, (check, expected) in enumerate(zip(checks[1:], NOTICED[forgery][1:], strict=True)):
        given = {"identity": check.get("key", alice)} | {name: check[name] for name in check if name != "key"}
        assert notices(lambda given=given: list(data.read(out, **given))) is expected
        opened = tmp_path / f"opened-{number}"
        assert notices(lambda given=given, to=opened: data.open_export(out, to, **given)) is expected


def test_other_commands_take_an_identity(sealed, alice, as_open):
    from torchprotect import audit

    evidence = audit.open_evidence(sealed, identity=alice)
    plain = audit.open_evidence(as_open[0])
    assert torch.equal(evidence.disguised, plain.disguised)
    assert sorted(evidence.folder) == sorted(as_open[1])
    assert audit.open_evidence(sealed, Pictures(20), SHARED_AES).pairing is not None
    with pytest.raises(EnvelopeError, match="is sealed: give identity"):
        audit.open_evidence(sealed)


def test_what_is_given_as_recipients(tmp_path):
    with pytest.raises(EnvelopeError, match="a recipient must be a str, got int"):
        run_export(tmp_path / "out", recipients=[1])
    with pytest.raises(EnvelopeError, match="list of public keys, got one str"):
        run_export(tmp_path / "out", recipients="age1abc")
