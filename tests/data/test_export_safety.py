"""What an export reveals, and whether damage to it is found."""

import base64
import json
import shutil
import subprocess

import pytest
import torch
from support import SHARED_AES, content, make_bundle, write_folder
from support import run_export as run

from torchprotect import data, keys, transforms
from torchprotect.errors import ExportError, VerificationError

AES, RMT, ORDER = SHARED_AES, make_bundle("rmt"), make_bundle("permutation")


def secrets(bundle: keys.KeyBundle) -> dict[str, bytes]:
    found = {name: tensor.numpy().tobytes() for name, tensor in bundle.tensors().items()}
    found |= {f"sub-key {p}": bundle.subkey(p) for p in ("id", "order", "noise", "manifest")}
    for n, row in enumerate(bundle.transform.tensors().get("keys", torch.empty(0)).reshape(-1, 16)):
        found[f"key {n}"] = bytes(row.tolist())
    return found


@pytest.mark.parametrize("bundle", [AES, RMT, ORDER], ids=lambda bundle: bundle.transform.kind)
def test_no_key_material_in_an_export_or_its_messages(tmp_path, bundle, capfd):
    run(tmp_path / "out", bundle, transform=transforms.from_key(bundle))
    with pytest.raises(ExportError) as caught:
        run(tmp_path / "out", bundle, shard_size=3)
    everything = b"".join(content(tmp_path / "out").values()) + "".join(content(tmp_path / "out")).encode()
    everything += str(caught.value).encode() + repr(bundle).encode() + "".join(capfd.readouterr()).encode()
    for name, secret in secrets(bundle).items():
        for spelling in (secret, secret.hex().encode(), base64.b64encode(secret), str(list(secret)).encode()):
            assert spelling not in everything, name


def test_names_of_the_source_are_not_written(tmp_path):
    root = write_folder(tmp_path / "patients")
    (root / "class0" / "0.png").rename(root / "class0" / "Jane-Doe-1970.png")
    run(tmp_path / "out", dataset=data.open_source(str(root)))
    everything = b"".join(content(tmp_path / "out").values())
    for name in (b"Jane", b"class0", b"patients"):
        assert name not in everything


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_openssl_reproduces_the_disguise(tmp_path):
    """Each block of each real image, through `openssl enc -aes-128-ecb -nopad` under its position's key."""
    from torchprotect.demo import SAMPLE

    source = data.open_source(SAMPLE)
    key = keys.AESKey.generate(image_size=(28, 28), block_size=(4, 4))
    images = torch.stack([source[i].image for i in range(40)])
    out = transforms.AESECBDisguise(key)(images)
    for position in range(49):
        y, x = 4 * (position // 7), 4 * (position % 7)
        command = ["openssl", "enc", "-aes-128-ecb", "-nopad", "-K", bytes(key.keys[position, 0].tolist()).hex()]
        plain = images[:, 0, y : y + 4, x : x + 4].contiguous().numpy().tobytes()
        done = subprocess.run(command, input=plain, capture_output=True, check=True)
        assert done.stdout == out[:, 0, y : y + 4, x : x + 4].contiguous().numpy().tobytes()


class TestVerify:
    @pytest.fixture
    def out(self, tmp_path):
        run(tmp_path / "out")
        return tmp_path / "out"

    def test_right(self, out):
        assert data.verify(out).proofs == ()
        result = data.verify(out, AES)
        assert (result.images, result.shards, result.proofs) == (20, 3, ("hmac",))

    @pytest.mark.parametrize("offset", [0, 600, -1])
    def test_changed_byte(self, out, offset):
        path = out / "shard-000001.tar"
        body = bytearray(path.read_bytes())
        body[offset] ^= 1
        path.write_bytes(body)
        with pytest.raises(Exception, match=r"shard-000001\.tar was changed"):
            data.verify(out)

    def test_missing_and_extra(self, out):
        (out / "shard-000001.tar").unlink()
        (out / "plain.png").write_bytes(b"")
        with pytest.raises(Exception, match=r"shard-000001\.tar is missing; plain\.png does not belong here"):
            data.verify(out)

    def test_another_key(self, out):
        with pytest.raises(Exception, match="the key given is"):
            data.verify(out, make_bundle("aes"))

    @pytest.mark.parametrize("name", ["manifest.json", "plan.json"])
    def test_replaced_documents_are_found_with_the_key(self, out, name):
        document = json.loads((out / name).read_text())
        document["transform"] = []
        (out / name).write_text(json.dumps(document))
        with pytest.raises(VerificationError, match=f"HMAC of {name} is wrong"):
            data.verify(out, AES)
        if name == "manifest.json":
            data.verify(out)  # nothing but the key tells
        else:
            with pytest.raises(VerificationError, match="plan and manifest do not belong together"):
                data.verify(out)

    @pytest.mark.parametrize("name", ["../secret", "pipe:echo", "/etc/passwd", "shard-000000.tar/../x"])
    def test_hostile_shard_names(self, out, name):
        document = json.loads((out / "manifest.json").read_text())
        document["shards"][0]["name"] = name
        (out / "manifest.json").write_text(json.dumps(document))
        for use in (data.verify, data.read):
            with pytest.raises(Exception, match="malformed"):
                use(out)

    def test_foreign_folders(self, tmp_path):
        for body in (None, "{", "[]", '{"format": "x"}'):
            if body is not None:
                (tmp_path / "manifest.json").write_text(body)
            with pytest.raises(ExportError):
                data.verify(tmp_path)
