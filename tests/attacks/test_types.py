"""NumPy arrays and lists, where tensors are needed, get a message that says so (it was "must be int64, not int64")."""

import numpy as np
import pytest
import torch

from torchprotect import adversarial, attacks, keys, owsd
from torchprotect import functional as F
from torchprotect.errors import InputTypeError

IMAGES, LABELS = torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])
NUMBERS, NAMES = IMAGES.numpy(), LABELS.numpy()
NET = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
VECTORS = torch.rand(4, 3)
SCHEME = attacks.Scheme("BlockPermute", block_size=(4, 4), permuted=True)

CALLS = {
    "images of train_and_watch": lambda: attacks.train_and_watch(NET, (IMAGES, NAMES), (IMAGES, LABELS), epochs=1),
    "test of train_and_watch": lambda: attacks.train_and_watch(NET, (IMAGES, LABELS), (IMAGES, NAMES), epochs=1),
    "labels of an examiner": lambda: attacks.DNNExaminer(2, (8, 8)).fit(IMAGES, NAMES, epochs=1),
    "images of an examiner": lambda: attacks.DNNExaminer(2, (8, 8)).fit(NUMBERS, LABELS, epochs=1),
    "plain images": lambda: attacks.linkage_attack(NUMBERS, IMAGES, scheme=SCHEME),
    "labels of a probe": lambda: attacks.label_probe(VECTORS, NAMES, VECTORS, classes=2),
    "vectors of a probe": lambda: attacks.label_probe(VECTORS.numpy(), LABELS, VECTORS, classes=2),
    "pictures to squeeze": lambda: attacks.squeeze_jpeg(NUMBERS),
    "pictures of fewer bits": lambda: attacks.squeeze_bits(NUMBERS, bits=2),
    "distances": lambda: adversarial.distances(NUMBERS, IMAGES),
    "correspondence": lambda: keys.CorrespondenceKey.generate(classes=2).of(NAMES),
    "embeddings": lambda: F.owsd_scramble(VECTORS.numpy(), keys.OWSDKey.generate(embedding_size=3, image_size=(8, 8))),
    "observations": lambda: owsd.Observations(VECTORS.numpy(), VECTORS),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_arrays_of_numpy(call):
    with pytest.raises(InputTypeError, match=r"must be a torch.Tensor, got numpy.ndarray; torch.from_numpy makes one"):
        call()


def test_lists():
    assert isinstance(NAMES, np.ndarray)
    with pytest.raises(InputTypeError, match=r"labels must be a torch.Tensor, got list; torch.tensor makes one"):
        attacks.train_and_watch(NET, (IMAGES, LABELS.tolist()), (IMAGES, LABELS), epochs=1)


@pytest.mark.parametrize("which", ["data", "test"])
def test_generators_are_refused_before_training(which):
    batches = {"data": (IMAGES, LABELS), "test": (IMAGES, LABELS)}
    batches[which] = ((IMAGES, LABELS) for _ in range(3))
    before = NET[1].weight.clone()
    with pytest.raises(InputTypeError, match=f"{which} must give its batches 3 times, but a generator gives them once"):
        attacks.train_and_watch(NET, batches["data"], batches["test"], epochs=3)
    assert torch.equal(NET[1].weight, before)
