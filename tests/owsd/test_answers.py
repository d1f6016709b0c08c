import hashlib
import os
import sqlite3
import stat

import pytest
import torch
from killing import told_before_kill
from support import make_image

from torchprotect.errors import CloudError, InputRangeError, InputShapeError, InputTypeError
from torchprotect.owsd.answers import AnswerCache, image_ids
from torchprotect.owsd.ledger import Ledger

KEY, OTHER = "ab" * 32, "cd" * 32
IMAGES = make_image(6, 3, 4, 5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers"


def vectors(count=6, length=4, seed=0):
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


def test_image_ids():
    ids = image_ids(IMAGES)
    for image, name in zip(IMAGES, ids):
        shape = b"".join(side.to_bytes(8, "little") for side in image.shape)
        assert name == hashlib.sha256(shape + bytes(image.flatten().tolist())).hexdigest()
    assert image_ids(IMAGES[2:4]) == ids[2:4]
    assert image_ids(IMAGES.flip(0).flip(0)[::2]) == ids[::2]
    assert image_ids(IMAGES.contiguous(memory_format=torch.channels_last)) == ids
    assert not set(image_ids(IMAGES.reshape(6, 3, 5, 4))) & set(ids)
    changed = IMAGES.clone()
    changed[0, 0, 0, 0] ^= 1
    assert image_ids(changed)[0] != ids[0]
    with pytest.raises(InputTypeError):
        image_ids(IMAGES.float())
    with pytest.raises(InputShapeError):
        image_ids(IMAGES[0])


def test_put_and_get(path):
    cache, ids, said = AnswerCache(path), image_ids(IMAGES), vectors()
    assert cache.get(KEY, "cloud", ids) == {}
    cache.put(KEY, "cloud", ids[:4], said[:4])
    cache.put(KEY, "other cloud", ids[:2], vectors(2, 7))
    cache.put(OTHER, "cloud", ids[4:], said[4:])
    found = AnswerCache(path).get(KEY, "cloud", [ids[5], ids[3], ids[0], ids[3]])
    assert found.keys() == {ids[0], ids[3]}
    assert torch.equal(torch.stack([found[ids[0]], found[ids[3]]]), said[[0, 3]])
    assert found[ids[0]].dtype == torch.float32
    assert cache.get(KEY, "cloud", []) == {}
    assert cache.get(OTHER, "other cloud", ids) == {}
    assert cache.get(KEY, "other cloud", ids)[ids[1]].shape == (7,)


def test_existing_answers_are_kept(path):
    cache, ids = AnswerCache(path), image_ids(IMAGES)
    cache.put(KEY, "cloud", ids[:3], vectors()[:3])
    cache.put(KEY, "cloud", [ids[0], ids[4], ids[4]], vectors(3, seed=1).double())
    found = cache.get(KEY, "cloud", ids)
    assert torch.equal(found[ids[0]], vectors()[0])
    assert torch.equal(found[ids[4]], vectors(3, seed=1)[1])
    assert len(found) == 4


def test_forget(path):
    cache, ids, said = AnswerCache(path), image_ids(IMAGES), vectors()
    for key, cloud in ((KEY, "cloud"), (KEY, "another"), (OTHER, "cloud")):
        cache.put(key, cloud, ids, said + (key == OTHER))
    blob = said[3].numpy().tobytes()
    assert blob in path.read_bytes()
    assert cache.forget(KEY) == 12
    assert cache.forget(KEY) == 0
    assert cache.get(KEY, "cloud", ids) == {}
    assert len(cache.get(OTHER, "cloud", ids)) == 6
    assert blob not in path.read_bytes()
    assert KEY.encode() not in path.read_bytes()
    cache.put(KEY, "cloud", ids, vectors(6, 9))  # another length is fine now


def test_ten_thousand_answers_of_a_thousand_numbers(path):
    cache, said = AnswerCache(path), vectors(10_000, 1000)
    ids = [f"{n:064x}" for n in range(10_000)]
    cache.put(KEY, "cloud", ids, said)
    found = cache.get(KEY, "cloud", ids)
    assert torch.equal(torch.stack([found[name] for name in ids]), said)


def test_only_the_owner_reads_the_file(path):
    AnswerCache(path).put(KEY, "cloud", ["a"], vectors(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["answers"]


def names_of(n):
    return [f"{n}-{i}" for i in range(5)]


def test_killed_at_any_moment(path):
    """Acknowledged answers survive, and a batch is stored as a whole or not at all."""
    begin = 0

    def work():
        cache, n = AnswerCache(path), begin
        while True:
            cache.put(KEY, "cloud", names_of(n), torch.full((5, 300), float(n)))
            yield n
            n += 1

    for at_least in (1, 2, 3, 5, 8, 13, 21):
        told = told_before_kill(work, at_least)
        found = AnswerCache(path).get(KEY, "cloud", [name for n in range(begin, told[-1] + 3) for name in names_of(n)])
        assert all(found[name].eq(n).all() for n in told for name in names_of(n))
        assert len(found) in (5 * len(told), 5 * len(told) + 5)
        begin = told[-1] + 2


def test_length_belongs_to_key_and_cloud(path):
    cache = AnswerCache(path)
    cache.put(KEY, "cloud", ["a"], vectors(1, 4))
    with pytest.raises(InputShapeError, match="had 4 numbers before, and now have 5"):
        cache.put(KEY, "cloud", ["b"], vectors(1, 5))
    assert cache.get(KEY, "cloud", ["a", "b"]).keys() == {"a"}
    cache.put(OTHER, "cloud", ["b"], vectors(1, 5))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (vectors(2), InputShapeError),
        (vectors(1)[0], InputShapeError),
        (vectors(1, 0), InputShapeError),
        (vectors(1).int(), InputShapeError),
        (vectors(1) * float("nan"), InputRangeError),
        (vectors(1) / 0, InputRangeError),
    ],
)
def test_bad_vectors_are_not_kept(path, given, error):
    cache = AnswerCache(path)
    with pytest.raises(error):
        cache.put(KEY, "cloud", ["a"], given)
    assert cache.get(KEY, "cloud", ["a"]) == {}


def test_damaged_files(path, tmp_path):
    cache, said = AnswerCache(path), vectors(200, 300)
    ids = [str(n) for n in range(200)]
    cache.put(KEY, "cloud", ids, said)
    content = path.read_bytes()
    place = content.index(said[7].numpy().tobytes()[:64])
    path.write_bytes(content[: place + 5] + bytes([content[place + 5] ^ 1]) + content[place + 6 :])
    with pytest.raises(CloudError, match="damaged: an answer does not match its checksum"):
        cache.get(KEY, "cloud", ids)
    assert torch.equal(cache.get(KEY, "cloud", ["8"])["8"], said[8])
    path.write_bytes(content[:30_000])
    with pytest.raises(CloudError, match="damaged"):
        cache.get(KEY, "cloud", ids)
    path.write_bytes(b"something else" * 100)
    with pytest.raises(CloudError, match="damaged"):
        AnswerCache(path)
    path.unlink()
    with pytest.raises(CloudError, match="is missing"):
        cache.put(KEY, "cloud", ids, said)
    Ledger(tmp_path / "ledger")
    with pytest.raises(CloudError, match="is not a cache of answers"):
        AnswerCache(tmp_path / "ledger")
    with pytest.raises(CloudError, match="cannot be created"):
        AnswerCache(tmp_path / "missing" / "answers")
    for wait in ("5", -1, None):
        with pytest.raises(InputRangeError, match="wait, in seconds, must be a finite number"):
            AnswerCache(tmp_path / "new", wait=wait)


def change(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statements", "asked"),
    [
        (
            ["DELETE FROM answers WHERE image = 'b'", "UPDATE answers SET image = 'b' WHERE image = 'a'"],
            (KEY, "cloud", "b"),
        ),
        (["UPDATE answers SET image = 'new' WHERE image = 'a'"], (KEY, "cloud", "new")),
        (["UPDATE sets SET fingerprint = replace(fingerprint, 'ab', 'cd')"], (OTHER, "cloud", "a")),
        (["UPDATE sets SET cloud = 'better cloud'"], (KEY, "better cloud", "a")),
    ],
)
def test_an_answer_belongs_to_its_image_key_and_cloud(path, statements, asked):
    cache = AnswerCache(path)
    cache.put(KEY, "cloud", ["a", "b", "c"], vectors(3))
    change(path, *statements)
    key, cloud, image = asked
    with pytest.raises(CloudError, match="damaged: an answer does not match its checksum"):
        cache.get(key, cloud, [image])


def test_names_do_not_run_together(path):
    """Keys and cloud names are not simply concatenated: ("a", "bc") differs from ("ab", "c")."""
    cache = AnswerCache(path)
    cache.put(KEY, "bc", ["a"], vectors(1))
    change(path, "UPDATE sets SET cloud = 'c'", "UPDATE answers SET image = 'ab'")
    with pytest.raises(CloudError, match="damaged"):
        cache.get(KEY, "c", ["ab"])


def test_a_file_of_an_earlier_version_is_refused(path):
    AnswerCache(path)
    change(path, "PRAGMA user_version = 1")
    with pytest.raises(CloudError, match="has version 1, this torchprotect knows 2: begin a new one"):
        AnswerCache(path)


@pytest.mark.parametrize("table", ["answers", "sets"])
def test_dropped_tables_are_reported_as_damage(path, table):
    cache = AnswerCache(path)
    cache.put(KEY, "cloud", ["a"], vectors(1))
    change(path, f"DROP TABLE {table}")
    with pytest.raises(CloudError, match="damaged: no such table"):
        cache.get(KEY, "cloud", ["a"])
    with pytest.raises(CloudError, match="damaged: no such table"):
        cache.put(KEY, "cloud", ["b"], vectors(1))


def test_locked(path):
    cache = AnswerCache(path, wait=0.05)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CloudError, match="in use by another process"):
        cache.put(KEY, "cloud", ["a"], vectors(1))
    connection.close()
