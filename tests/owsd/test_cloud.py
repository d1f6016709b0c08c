"""A network as the cloud, and asking any cloud."""

import pytest
import torch
from fault_server import FaultServer, cut, right, status
from nets import Function
from oip_model import vectors_of
from support import make_image
from torch import nn
from torchvision.transforms.v2 import functional as vision

from torchprotect.errors import (
    CloudError,
    InputRangeError,
    InputShapeError,
    InputTypeError,
    LedgerError,
    ModelError,
)
from torchprotect.owsd.cloud import CloudBusyError, InferenceProtocolCloud, ModelCloud, ask
from torchprotect.owsd.ledger import Ledger

IMAGES = make_image(7, 3, 12, 10)
KEY = "ab" * 32


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.LazyLinear(6))


def test_model_cloud_one_by_one():
    mean, std, model = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5), network()
    vectors = ModelCloud(model, size=(8, 9), mean=mean, std=std, batch_size=3)(IMAGES)
    assert vectors.dtype == torch.float32
    model.eval()
    for image, vector in zip(IMAGES, vectors):
        small = vision.resize(image.float() / 255, [8, 9], antialias=True)
        scores = model(vision.normalize(small, mean, std)[None])[0].detach().tolist()
        powers = [2.718281828459045**score for score in scores]
        torch.testing.assert_close(vector, torch.tensor(powers) / sum(powers), rtol=1e-4, atol=1e-6)


def test_model_cloud_restores_modes_and_keeps_scores():
    model = network()
    model(IMAGES.float())
    model.train()
    model[1].eval()
    cloud = ModelCloud(model, softmax=False)
    scores = cloud(IMAGES)
    assert torch.equal(scores, cloud(IMAGES))  # no dropout
    assert [module.training for module in model] == [True, False, True, True, True]
    assert model.training
    torch.testing.assert_close(scores.softmax(1), ModelCloud(model)(IMAGES))
    assert not scores.requires_grad


@pytest.mark.parametrize(
    "answer",
    [
        lambda images: images,
        lambda images: images.mean((1, 2, 3)),
        lambda images: images.flatten(1)[:-1],
        lambda images: images.flatten(1)[:, :0],
        lambda images: images.flatten(1) * float("nan"),
        lambda images: images.flatten(1) / 0,
        lambda images: images.flatten(1)[:, : len(images)],
        lambda images: [0.0] * len(images),
    ],
)
def test_models_that_return_something_else(answer):
    with pytest.raises(ModelError):
        ModelCloud(Function(answer), batch_size=4)(IMAGES)


def test_model_cloud_bad_input():
    for options in (
        {"size": 8}, {"size": (8, 0)}, {"mean": 0.5}, {"mean": (0.5, 0.5)}, {"std": (1, 1, 0)}, {"std": (1, 1, -1)},
        {"batch_size": 0}, {"batch_size": 2.0},
    ):  # fmt: skip
        with pytest.raises(InputRangeError):
            ModelCloud(network(), **options)
    for images, error in (
        (IMAGES / 255, InputTypeError),
        ("image", InputTypeError),
        (IMAGES[0], InputShapeError),
        (IMAGES[:0], InputShapeError),
        (IMAGES[:, :2], InputShapeError),
    ):
        with pytest.raises(error):
            ModelCloud(network())(images)


class Unreliable:
    """A callable cloud that fails as configured, then answers; it records the ledger's count at each call."""

    def __init__(self, ledger, *failures):
        self.ledger, self.failures, self.counts = ledger, list(failures), []

    def __call__(self, images):
        self.counts.append(self.ledger.use(KEY).used)
        if self.failures:
            raise self.failures.pop(0)
        return images.double().mean((2, 3))


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger", bound=100)


def trouble(wait=None):
    return CloudError("trouble", again=True) if wait is None else CloudBusyError("trouble", wait=wait)


def test_ask_counts_before_each_attempt_and_waits_longer_each_time(ledger):
    cloud, pauses = Unreliable(ledger, trouble(), trouble(), trouble()), []
    vectors = ask(cloud, IMAGES, ledger=ledger, fingerprint=KEY, backoff=4.0, sleep=pauses.append)
    torch.testing.assert_close(vectors, IMAGES.float().mean((2, 3)))
    assert vectors.dtype == torch.float32
    assert cloud.counts == [7, 14, 21, 28]
    assert [low <= pause <= 2 * low for low, pause in zip([2, 4, 8], pauses)] == [True] * 3
    assert ledger.use("cd" * 32).used == 0


def test_a_cloud_may_change_what_it_is_given(ledger):
    seen = []

    def cloud(images):
        seen.append(images.clone())
        images.zero_()
        if len(seen) == 1:
            raise trouble()
        return torch.ones(len(images), 2)

    before = IMAGES.clone()
    ask(cloud, IMAGES, ledger=ledger, fingerprint=KEY, backoff=0.0)
    assert torch.equal(IMAGES, before)
    assert all(torch.equal(each, before) for each in seen)
    assert len(seen) == 2


def test_ask_gives_up(ledger):
    pauses = []
    with pytest.raises(CloudError, match="trouble"):
        ask(Unreliable(ledger, *[trouble()] * 9), IMAGES, ledger=ledger, fingerprint=KEY, sleep=pauses.append)
    assert ledger.use(KEY).used == 28
    assert len(pauses) == 3
    with pytest.raises(CloudError, match="trouble"):
        ask(Unreliable(ledger, trouble()), IMAGES, ledger=ledger, fingerprint=KEY, retries=0, sleep=pauses.append)
    for failure in (CloudError("refused"), KeyError("a fault of the callable's own")):
        with pytest.raises(type(failure)):
            ask(Unreliable(ledger, failure), IMAGES, ledger=ledger, fingerprint=KEY, sleep=pauses.append)
    assert ledger.use(KEY).used == 49
    assert len(pauses) == 3


def test_ask_waits_as_long_as_the_cloud_wants_but_not_for_ever(ledger):
    pauses = []
    cloud = Unreliable(ledger, trouble(50.0), trouble(0.0))
    ask(cloud, IMAGES, ledger=ledger, fingerprint=KEY, backoff=1.0, sleep=pauses.append)
    assert pauses[0] == 50
    assert 1 <= pauses[1] <= 2
    with pytest.raises(CloudBusyError):
        ask(Unreliable(ledger, trouble(3600.0)), IMAGES, ledger=ledger, fingerprint=KEY, sleep=pauses.append)
    assert len(pauses) == 2
    ask(Unreliable(ledger, trouble()), IMAGES, ledger=ledger, fingerprint=KEY, backoff=1e9, sleep=pauses.append)
    assert pauses[2] <= 300


def test_ask_stops_at_the_bound(tmp_path):
    ledger = Ledger(tmp_path / "ledger", bound=15)
    cloud = Unreliable(ledger, *[trouble()] * 9)
    with (
        pytest.warns(UserWarning, match="14 of 15"),
        pytest.raises(LedgerError, match="14 of 15 images, 7 more would exceed its bound"),
    ):
        ask(cloud, IMAGES, ledger=ledger, fingerprint=KEY, sleep=lambda _: None)
    assert cloud.counts == [7, 14]
    assert ledger.use(KEY).used == 14
    with pytest.raises(LedgerError):
        ask(cloud, IMAGES, ledger=ledger, fingerprint=KEY)
    assert cloud.counts == [7, 14]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [[0.0]] * 7,
        torch.ones(7),
        torch.ones(6, 3),
        torch.ones(7, 0),
        torch.ones(7, 3, 1),
        torch.ones(7, 3, dtype=torch.int64),
        torch.full((7, 3), float("nan")),
        torch.full((7, 3), 1e300, dtype=torch.float64),
    ],
)
def test_ask_takes_only_finite_vectors_from_any_cloud(answer, ledger):
    with pytest.raises(CloudError) as caught:
        ask(lambda _: answer, IMAGES, ledger=ledger, fingerprint=KEY)
    assert not caught.value.again
    assert ledger.use(KEY).used == 7  # asked once: another attempt would give the same


def test_ask_bad_input(ledger):
    def cloud(_):
        raise AssertionError

    for images, options, error in (
        (IMAGES.float(), {}, InputTypeError),
        (IMAGES[:0], {}, InputShapeError),
        (IMAGES, {"retries": -1}, InputRangeError),
        (IMAGES, {"retries": 1.5}, InputRangeError),
        (IMAGES, {"backoff": -1.0}, InputRangeError),
        (IMAGES, {"backoff": float("nan")}, InputRangeError),
    ):
        with pytest.raises(error):
            ask(cloud, images, ledger=ledger, fingerprint=KEY, **options)
    assert ledger.use(KEY).used == 0


def test_ask_over_http(ledger):
    pauses = []
    with FaultServer(status(500), status(429, Retry_After="9"), cut, right) as server:
        cloud = InferenceProtocolCloud(server.url, "tiny", input_name="image")
        vectors = ask(cloud, IMAGES, ledger=ledger, fingerprint=KEY, sleep=pauses.append)
        assert torch.equal(vectors, torch.from_numpy(vectors_of(IMAGES.numpy())))
        assert len(server.requests) == 4
    assert ledger.use(KEY).used == 28
    assert pauses[1] == 9
