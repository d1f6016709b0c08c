"""``owner.sealed``: names for the key holder; for everybody else, noise of a round length."""

import hashlib
import hmac
import json
import struct

import pytest
from support import content, make_bundle, run_export, write_folder
from torch.utils.data import Subset

from torchprotect import data
from torchprotect.data.finished import open_finished, owner_of
from torchprotect.data.owner import Original, Owner, encode_owner, open_owner
from torchprotect.data.owner import seal_owner as seal_text
from torchprotect.errors import VerificationError

PLAN = "ab" * 32
CLASSES = ("Katze", "Vögel 鳥", "T-shirt/top")


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


@pytest.fixture
def folder(tmp_path):
    root = write_folder(tmp_path / "Urlaub")
    for number, name in enumerate(("Katze", "Vögel 鳥", "zebra")):
        (root / f"class{number}").rename(root / name)
    (root / "Katze" / "0.png").rename(root / "Katze" / "Großmutter 1987.png")
    return root


def seal_owner(owner, key, plan):
    return seal_text(encode_owner(owner, owner.originals.items()), key, plan)


def decrypt_independently(content, key, plan):
    """Derive the key with the standard library, and decrypt with another implementation of AES-SIV."""
    aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
    extracted = hmac.digest(bytes(32), key.root.numpy().tobytes(), "sha256")
    info = b"torchprotect/v1/owner"
    first = hmac.digest(extracted, info + b"\x01", "sha256")
    second = hmac.digest(extracted, first + info + b"\x02", "sha256")
    padded = aead.AESSIV(first + second).decrypt(content, [bytes.fromhex(plan)])
    (length,) = struct.unpack_from("<Q", padded)
    assert not padded[8 + length :].strip(b"\0")
    return json.loads(padded[8 : 8 + length])


class TestFormat:
    OWNER = Owner("image folder x", CLASSES, {f"{n:032x}": Original(n, f"Katze/{n}.jpg") for n in range(200)})

    def test_another_implementation_reads_it(self, bundle):
        sealed = seal_owner(self.OWNER, bundle, PLAN)
        found = decrypt_independently(sealed, bundle, PLAN)
        assert found == {
            "format": "torchprotect-owner",
            "version": 1,
            "source": "image folder x",
            "class_names": list(CLASSES),
            "in_class_folders": False,
            "labels": None,
            "originals": {f"{n:032x}": [n, f"Katze/{n}.jpg"] for n in range(200)},
        }

    def test_the_published_vector(self):
        """RFC 5297, appendix A.1: what pycryptodome computes is AES-SIV."""
        from Crypto.Cipher import AES

        key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
        cipher = AES.new(key, AES.MODE_SIV)
        cipher.update(bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627"))
        body, tag = cipher.encrypt_and_digest(bytes.fromhex("112233445566778899aabbccddee"))
        assert (tag + body).hex() == "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"

    def test_there_and_back(self, bundle):
        sealed = seal_owner(self.OWNER, bundle, PLAN)
        assert open_owner(sealed, bundle, PLAN, "x") == self.OWNER
        assert seal_owner(self.OWNER, bundle, PLAN) == sealed

    def test_names_that_are_no_text(self, bundle):
        owner = Owner("x", None, {"0" * 32: Original(0, b"caf\xe9.png".decode(errors="surrogateescape"))})
        assert open_owner(seal_owner(owner, bundle, PLAN), bundle, PLAN, "x") == owner

    @pytest.mark.parametrize("count", [0, 1, 10, 60, 1000])
    def test_lengths_are_powers_of_two(self, bundle, count):
        owner = Owner("x", None, {f"{n:032x}": Original(n, "a" * (n % 7)) for n in range(count)})
        size = len(seal_owner(owner, bundle, PLAN)) - 16
        assert size >= 4096
        assert size & (size - 1) == 0

    def test_another_key_plan_or_byte(self, bundle):
        sealed = seal_owner(self.OWNER, bundle, PLAN)
        changed = bytes([*sealed[:-1], sealed[-1] ^ 1])
        for body, key, plan in ((sealed, make_bundle(), PLAN), (sealed, bundle, "00" * 32), (changed, bundle, PLAN)):
            with pytest.raises(
                VerificationError, match="out/owner was changed, or it belongs to another key or export"
            ):
                open_owner(body, key, plan, "out/owner")

    def test_repr_shows_no_names(self):
        assert repr(self.OWNER) == "Owner(200 names)"


class TestExports:
    def test_the_owner_reads_it(self, tmp_path, folder, bundle):
        source = data.open_source(folder)
        run_export(tmp_path / "out", bundle, source)
        owner = owner_of(open_finished(tmp_path / "out"), bundle)
        assert owner.source == "image folder Urlaub"
        assert owner.class_names == ("Katze", "Vögel 鳥", "zebra")
        names = {f"{path.parent.name}/{path.name}" for path in folder.rglob("*.png")}
        assert {original.name for original in owner.originals.values()} == names
        ids = {member.split(".")[0] for shard in (tmp_path / "out").glob("*.tar") for member in tar_names(shard)}
        assert ids == set(owner.originals)
        for original in owner.originals.values():
            assert source.name(original.place) == original.name

    def test_nobody_else_does(self, tmp_path, folder, bundle):
        run_export(tmp_path / "out", bundle, data.open_source(folder))
        files = content(tmp_path / "out")
        secret = ["Urlaub", "Katze", "Vögel", "鳥", "zebra", "Großmutter", "1987", "class_names", "originals"]
        for name, body in files.items():
            for text in secret:
                encodings = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-7")
                forms = [*(text.encode(each) for each in encodings), json.dumps(text).encode()[1:-1]]
                for form in forms:
                    assert len(form) < 5 or form not in body, (name, text)  # shorter ones occur by chance

    def test_the_manifest_lists_it(self, tmp_path, folder, bundle):
        run_export(tmp_path / "out", bundle, data.open_source(folder))
        body = (tmp_path / "out" / "owner.sealed").read_bytes()
        listed = json.loads((tmp_path / "out" / "manifest.json").read_text())["owner"]
        assert listed == {"name": "owner.sealed", "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        assert data.verify(tmp_path / "out", bundle).images == 12

    @pytest.mark.parametrize("change", ["flip", "cut", "delete"])
    def test_damage_is_found(self, tmp_path, folder, bundle, change):
        run_export(tmp_path / "out", bundle, data.open_source(folder))
        path = tmp_path / "out" / "owner.sealed"
        body = path.read_bytes()
        path.unlink()
        if change != "delete":
            path.write_bytes(body[:-1] if change == "cut" else bytes([body[0] ^ 1]) + body[1:])
        for key in (None, bundle):
            with pytest.raises(VerificationError, match=r"owner\.sealed (was changed|is missing)"):
                data.verify(tmp_path / "out", key)
        with pytest.raises(VerificationError, match=r"owner\.sealed is (missing|not the one)"):
            owner_of(open_finished(tmp_path / "out"), bundle)
        run_export(tmp_path / "out", bundle, data.open_source(folder))  # the same export again repairs it
        assert path.read_bytes() == body

    def test_without_one(self, tmp_path, folder, bundle):
        run_export(tmp_path / "out", bundle, data.open_source(folder), owner_file=False)
        assert "owner.sealed" not in content(tmp_path / "out")
        assert owner_of(open_finished(tmp_path / "out"), bundle) is None
        assert data.verify(tmp_path / "out", bundle).images == 12

    def test_skipped_pictures_are_not_named_and_come_with_a_repair(self, tmp_path, folder, bundle):
        good = (folder / "zebra" / "1.png").read_bytes()
        (folder / "zebra" / "1.png").write_bytes(b"broken")
        run_export(tmp_path / "out", bundle, data.open_source(folder), on_error="skip")
        owner = owner_of(open_finished(tmp_path / "out"), bundle)
        assert len(owner.originals) == 11
        assert "zebra/1.png" not in {original.name for original in owner.originals.values()}
        (folder / "zebra" / "1.png").write_bytes(good)
        run_export(tmp_path / "out", bundle, data.open_source(folder), on_error="skip")
        run_export(tmp_path / "whole", bundle, data.open_source(folder))
        assert content(tmp_path / "out") == content(tmp_path / "whole")

    @pytest.mark.parametrize("options", [{"workers": 2}, {"part": (1, 2)}])
    def test_bytes_do_not_depend_on_the_run(self, tmp_path, folder, bundle, options):
        run_export(tmp_path / "one", bundle, data.open_source(folder), shard_size=3)
        run_export(tmp_path / "two", bundle, data.open_source(folder), shard_size=3, **options)
        run_export(tmp_path / "two", bundle, data.open_source(folder), shard_size=3)
        assert content(tmp_path / "one") == content(tmp_path / "two")

    def test_a_lost_manifest_is_made_again_with_it(self, tmp_path, folder, bundle):
        run_export(tmp_path / "out", bundle, data.open_source(folder))
        before = content(tmp_path / "out")
        (tmp_path / "out" / "manifest.json").unlink()  # as a run that was killed just before it
        run_export(tmp_path / "out", bundle, data.open_source(folder))
        assert content(tmp_path / "out") == before

    def test_data_sets_in_python(self, tmp_path, bundle):
        class Animals(list):
            classes = ["cat", "dog"]

        pictures = Animals([(image, label % 2) for image, label in make_pictures(6)])
        run_export(tmp_path / "out", bundle, pictures)
        owner = owner_of(open_finished(tmp_path / "out"), bundle)
        assert (owner.source, owner.class_names) == (f"{Animals.__qualname__} given in Python", ("cat", "dog"))
        assert sorted(owner.originals.values()) == [Original(n, str(n)) for n in range(6)]

    def test_subsets_keep_the_names_of_classes(self, tmp_path, folder, bundle):
        class Animals(list):
            classes = ["cat", "dog", "eel"]

        animals = Animals([(image, label % 3) for image, label in make_pictures(12)])
        for number, whole in enumerate((data.open_source(folder), animals)):
            part = Subset(Subset(whole, range(10)), range(3))
            run_export(tmp_path / str(number), bundle, part)
        names = [owner_of(open_finished(tmp_path / str(n)), bundle).class_names for n in range(2)]
        assert names == [("Katze", "Vögel 鳥", "zebra"), ("cat", "dog", "eel")]


class TestSealedExports:
    def test_it_goes_in_and_out(self, tmp_path, folder, bundle):
        pytest.importorskip("pyrage")
        from torchprotect.envelope import generate_identity

        identity = tmp_path / "alice"
        recipient = generate_identity(identity)
        source = data.open_source(folder)
        run_export(tmp_path / "open", bundle, source)
        run_export(tmp_path / "sealed", bundle, source, recipients=[recipient])
        assert "owner.sealed.sealed" in content(tmp_path / "sealed")
        data.seal_export(tmp_path / "open", tmp_path / "resealed", key=bundle, recipients=[recipient])
        for name in ("sealed", "resealed"):
            assert data.verify(tmp_path / name, bundle).images == 12
            data.open_export(tmp_path / name, tmp_path / f"{name}-opened", identity=identity)
            assert content(tmp_path / f"{name}-opened") == content(tmp_path / "open")
        assert owner_of(open_finished(tmp_path / "sealed", key=bundle), bundle).class_names[0] == "Katze"


def test_owner_keys_are_their_own(bundle):
    assert len(bundle.owner_key()) == 64
    assert repr(bundle.owner_key()) == "<64 secret bytes>"
    others = [bundle.subkey(purpose, split) for purpose in ("id", "order", "noise") for split in (None, "a", "b")]
    assert len({bytes(each) for each in others}) == 9
    assert all(bytes(each) not in bytes(bundle.owner_key()) for each in others)


def test_split_keys_by_hand(bundle):
    extracted = hmac.digest(bytes(32), bundle.root.numpy().tobytes(), "sha256")
    name = "träin".encode()
    info = b"torchprotect/v1/split/order/" + struct.pack("<Q", len(name)) + name
    assert bundle.subkey("order", "träin") == hmac.digest(extracted, info + b"\x01", "sha256")


def make_pictures(count):
    from support import Pictures

    return [Pictures(count)[index] for index in range(count)]


def tar_names(path):
    from support import tar_members

    return list(tar_members(path))
