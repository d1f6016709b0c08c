"""The client from end to end: what is sent, counted, kept; ensembles; rotation; interruption."""

import pytest
import torch
from nets import LinearEncoder

from torchprotect import functional as F
from torchprotect import keys, owsd
from torchprotect.errors import (
    CloudError,
    InputRangeError,
    InputShapeError,
    InputTypeError,
    KeyKindError,
    LedgerError,
    ModelError,
)

SETTINGS = owsd.InferenceSettings(hidden=32, learning_rate=1e-2, epochs=10)


class RecordingCloud:
    """Records what it was sent; answers with colour means and a few pixels."""

    def __init__(self, fail_at=None):
        self.sent, self.fail_at = [], fail_at

    def __call__(self, images):
        if self.fail_at is not None and len(self.sent) == self.fail_at:
            self.fail_at = None
            raise KeyboardInterrupt
        self.sent.append(images.clone())
        return images.float().flatten(1)[:, ::29] / 255

    @property
    def count(self):
        return sum(map(len, self.sent))


def make_key():
    return keys.OWSDKey.generate(embedding_size=12, image_size=(16, 16), width=4)


@pytest.fixture
def images():
    """Two classes, bright above or below."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (120,), generator=generator)
    pixels = torch.rand(120, 3, 8, 8, generator=generator) * 0.5
    pixels[labels == 0, :, :4] += 0.5
    pixels[labels == 1, :, 4:] += 0.5
    return (pixels * 255).byte(), labels


def make_client(tmp_path, cloud, encoders=None, key=None, **options):
    ledger = owsd.Ledger(tmp_path / "ledger", bound=options.pop("bound", 9000))
    encoders = encoders if encoders is not None else LinearEncoder().eval()
    if "answers" in options:
        options.setdefault("name", "cloud")
    return owsd.Client(encoders, key if key is not None else make_key(), cloud, ledger=ledger, **options)


def test_end_to_end(tmp_path, images):
    cloud = RecordingCloud()
    client = make_client(tmp_path, cloud, answers=owsd.AnswerCache(tmp_path / "answers"), batch_size=16)
    pictures, labels = images
    client.fit(pictures[:90], labels[:90], classes=2, settings=SETTINGS, generator=torch.Generator().manual_seed(0))
    told = client.evaluate(pictures[90:], labels[90:])
    assert told.top1["both"] > 0.9
    assert told.images == 30
    guesses = client.predict(pictures[90:])
    assert guesses.shape == (30, 2)
    assert float((guesses[:, 0] == labels[90:]).double().mean()) == told.top1["both"]
    assert client.ledger.use(client.keys[0].fingerprint).used == cloud.count == 120  # each image once


def test_only_scrambled_images_leave(tmp_path, images):
    cloud, key = RecordingCloud(), make_key()
    client = make_client(tmp_path, cloud, key=key, batch_size=50)
    observed = client.observe(images[0])
    with torch.no_grad():
        embeddings = client.encoders[0](images[0].float() / 255)
    expected = torch.cat([F.owsd_scramble(part, key) for part in embeddings.split(50)])
    assert torch.equal(torch.cat(cloud.sent), expected)
    assert torch.equal(observed.embeddings, embeddings)
    assert torch.equal(observed.vectors, expected.float().flatten(1)[:, ::29] / 255)


def test_several_encoders_and_keys(tmp_path, images):
    cloud, pair = RecordingCloud(), [make_key(), make_key()]
    client = make_client(tmp_path, cloud, [LinearEncoder(1).eval(), LinearEncoder(2).eval()], pair)
    observed = client.observe(images[0][:10])
    single = make_client(tmp_path, RecordingCloud(), client.encoders[1], pair[0]).observe(images[0][:10])
    wide = single.vectors.shape[1]
    assert torch.equal(observed.vectors[:, 2 * wide : 3 * wide], single.vectors)  # by encoder, then by key
    assert observed.embeddings.shape == (10, 24)
    assert observed.vectors.shape[1] == 4 * cloud.sent[0].float().flatten(1)[:, ::29].shape[1]
    assert cloud.count == 40
    assert [client.ledger.use(key.fingerprint).used for key in pair] == [30, 20]


def test_answers_are_requested_once(tmp_path, images):
    cloud, cache = RecordingCloud(), owsd.AnswerCache(tmp_path / "answers")
    client = make_client(tmp_path, cloud, answers=cache)
    twice = torch.cat([images[0][:8], images[0][:8]])
    first = client.observe(twice)
    assert cloud.count == 8
    second = client.observe(twice)
    assert cloud.count == 8
    assert torch.equal(first.vectors, second.vectors)
    other = owsd.Client(client.encoders, client.keys, cloud, ledger=client.ledger, answers=cache, name="another")
    other.observe(twice)
    assert cloud.count == 16


class OfItsBatch(LinearEncoder):
    """Rounds differently in batches of another size, as networks do."""

    def forward(self, images):
        return super().forward(images) * (1 + len(images) / 50)


def test_each_image_is_sent_once_in_any_batch(tmp_path, images):
    cloud, pictures = RecordingCloud(), images[0][:20]
    client = make_client(tmp_path, cloud, OfItsBatch().eval(), answers=owsd.AnswerCache(tmp_path / "answers"))
    first = client.observe(pictures)
    turned = client.observe(pictures.flip(0))
    assert torch.equal(turned.vectors, first.vectors.flip(0))
    assert torch.equal(turned.embeddings, first.embeddings.flip(0))
    for at in (0, 7, 19):
        assert torch.equal(client.observe(pictures[at : at + 1]).vectors, first.vectors[at : at + 1])
    assert cloud.count == 20


def test_answers_of_a_batch_are_kept_one_by_one(tmp_path, images):
    class Cloud(RecordingCloud):
        batch_size = 6

    cloud = Cloud(fail_at=2)
    client = make_client(tmp_path, cloud, answers=owsd.AnswerCache(tmp_path / "answers"), batch_size=20)
    with pytest.raises(KeyboardInterrupt):
        client.observe(images[0][:20])
    client.observe(images[0][:20])
    assert [len(sent) for sent in cloud.sent] == [6, 6, 6, 2]
    assert client.ledger.use(client.keys[0].fingerprint).used == 26


def test_interrupted_runs_lose_nothing(tmp_path, images):
    cloud, cache = RecordingCloud(fail_at=3), owsd.AnswerCache(tmp_path / "answers")
    client = make_client(tmp_path, cloud, answers=cache, batch_size=20)
    with pytest.raises(KeyboardInterrupt):
        client.observe(images[0])
    assert cloud.count == 60
    again = make_client(tmp_path, cloud, key=client.keys, answers=owsd.AnswerCache(tmp_path / "answers"), batch_size=20)
    observed = again.observe(images[0])
    assert cloud.count == 120
    assert (
        again.ledger.use(again.keys[0].fingerprint).used == 140
    )  # images being sent count too: the cloud may have seen them
    undisturbed = make_client(tmp_path, RecordingCloud(), key=client.keys, batch_size=20).observe(images[0])
    assert torch.equal(observed.vectors, undisturbed.vectors)


def test_stops_at_the_bound(tmp_path, images):
    cloud = RecordingCloud()
    client = make_client(tmp_path, cloud, bound=100, batch_size=40)
    with pytest.warns(owsd.BudgetWarning), pytest.raises(LedgerError, match="new key"):
        client.observe(images[0])
    assert cloud.count == 80
    with pytest.warns(owsd.BudgetWarning):
        client.rotate(make_key()).observe(images[0][:90])


def test_rotation_needs_a_new_fit(tmp_path, images):
    cloud = RecordingCloud()
    client = make_client(tmp_path, cloud)
    pictures, labels = images
    client.fit(pictures, labels, classes=2, settings=SETTINGS)
    client.inference.save(tmp_path / "network")
    fresh = client.rotate(make_key())
    with pytest.raises(ModelError, match="call fit"):
        fresh.predict(pictures)
    with pytest.raises(ModelError, match="train it again"):
        owsd.Inference.load(tmp_path / "network", fresh.fingerprints)
    with pytest.raises(ModelError, match="other keys"):
        fresh.inference = client.inference
    client.inference = owsd.Inference.load(tmp_path / "network", client.fingerprints)
    assert client.evaluate(pictures, labels).images == 120


def test_observations_belong_to_their_keys(tmp_path, images):
    pictures, labels = images
    client = make_client(tmp_path, RecordingCloud())
    observed = client.observe(pictures)
    assert observed.keys == observed[:5].keys == client.fingerprints
    client.fit(observed, labels, classes=2, settings=SETTINGS)
    fresh = client.rotate(make_key())
    with pytest.raises(ModelError, match="observe them again"):
        fresh.fit(observed, labels, classes=2, settings=SETTINGS)
    fresh.fit(pictures, labels, classes=2, settings=SETTINGS)
    for use in (fresh.predict, lambda seen: fresh.evaluate(seen, labels)):
        with pytest.raises(ModelError, match="observe them again"):
            use(observed)


def test_keys_in_another_order_are_other_keys(tmp_path, images):
    pair = [make_key(), make_key()]
    client = make_client(tmp_path, RecordingCloud(), key=pair)
    client.fit(*images, classes=2, settings=SETTINGS)
    with pytest.raises(ModelError, match="other keys"):
        client.rotate(pair[::-1]).inference = client.inference


def test_rotation_keeps_everything_else(tmp_path):
    cache = owsd.AnswerCache(tmp_path / "answers")
    client = make_client(tmp_path, RecordingCloud(), answers=cache, name="mine", batch_size=7)
    fresh = client.rotate(make_key())
    for name in ("cloud", "ledger", "answers", "name", "batch_size", "encoders"):
        assert getattr(fresh, name) == getattr(client, name)
    assert fresh.fingerprints != client.fingerprints


def test_progress_counts_images(tmp_path, images):
    steps = []
    client = make_client(tmp_path, RecordingCloud())
    client.observe(images[0][:40], progress=lambda *step: steps.append(step))
    assert steps == [(16, 40), (32, 40), (40, 40)]


@pytest.mark.parametrize("kept", [True, False])
def test_vectors_of_another_length_than_before(tmp_path, images, kept):
    options = {"answers": owsd.AnswerCache(tmp_path / "answers")} if kept else {}
    client = make_client(tmp_path, RecordingCloud(), **options)
    client.observe(images[0][:20])
    client.cloud = lambda sent: torch.zeros(len(sent), 5)
    with pytest.raises(CloudError, match="length"):
        client.observe(images[0][16:40])


def test_lengths_must_not_change_between_encoders(tmp_path, images):
    calls = []

    def cloud(sent):
        calls.append(len(sent))
        return torch.zeros(len(sent), 5 + 2 * (len(calls) % 2))

    with pytest.raises(CloudError, match="length"):
        make_client(tmp_path, cloud, [LinearEncoder(1).eval(), LinearEncoder(2).eval()]).observe(images[0][:4])


def test_changing_vectors(tmp_path, images):
    calls = []

    def cloud(sent):
        calls.append(len(sent))
        return torch.zeros(len(sent), 5 + len(calls))

    with pytest.raises(CloudError, match="length"):
        make_client(tmp_path, cloud, batch_size=60).observe(images[0])


def test_refusals(tmp_path, images):
    cloud = RecordingCloud()
    with pytest.raises(KeyKindError):
        make_client(tmp_path, cloud, key=[keys.LabelKey.generate(classes=3)])
    with pytest.raises(InputRangeError):
        make_client(tmp_path, cloud, encoders=[])
    with pytest.raises(ModelError, match="Modules"):
        make_client(tmp_path, cloud, encoders=[print])
    with pytest.raises(InputRangeError, match="name"):
        make_client(tmp_path, cloud, answers=owsd.AnswerCache(tmp_path / "answers"), name=None)
    for size in (0, 2.5, True):
        with pytest.raises(InputRangeError, match="batch_size"):
            make_client(tmp_path, cloud, batch_size=size)
    client = make_client(tmp_path, cloud)
    with pytest.raises(InputShapeError):
        client.observe(images[0][0])
    with pytest.raises(InputTypeError, match="ndarray"):
        client.observe(images[0].numpy())
    with pytest.raises(ModelError, match="call fit"):
        client.evaluate(*images)
    with pytest.raises(ModelError, match="training mode"):
        make_client(tmp_path, cloud, LinearEncoder().train()).observe(images[0])
    wrong = keys.OWSDKey.generate(embedding_size=13, image_size=(16, 16), width=4)
    with pytest.raises(InputShapeError, match="embedding_size"):
        make_client(tmp_path, cloud, key=wrong).observe(images[0])
    assert cloud.count == 0
