"""Reading a key off matched weights: exact from fresh ones, near after fine-tuning, nothing from unmatched ones."""

import copy
import warnings

import pytest
import torch
from support import make_image
from torch import nn
from torchvision.models import VisionTransformer

from torchprotect import attacks, keys, predict, transforms
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, KeyInWeightsWarning, ModelError

SIZE, MEAN, STD = (16, 16), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def transformer():
    torch.manual_seed(0)
    sizes = {"image_size": 16, "patch_size": 4, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    network = VisionTransformer(**sizes, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network.eval()


def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 24), nn.ReLU(), nn.Linear(24, 5)).eval()


def rotary():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 5}
    return timm.models.eva.Eva(**sizes, use_rot_pos_emb=True, use_abs_pos_emb=False).eval()


def match(network, disguise, scale=1):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeyInWeightsWarning)
        return predict.match_key(network, disguise, mean=MEAN, std=STD, scale=scale)


def order(block=(4, 4)):
    return keys.PermutationKey.generate(image_size=SIZE, block_size=block)


def rmt(block=(4, 4), permuted=True, **options):
    key = keys.RMTKey.generate(image_size=SIZE, block_size=block, **options)
    return keys.KeyBundle(key, order(block) if permuted else None)


def permutation_of(key):
    return key if isinstance(key, keys.PermutationKey) else key.permutation


def read(network, key, *, scale=1, matched=None, **options):
    """Return what the attack reads, and the plain pictures behind the target."""
    disguise = transforms.from_key(key, **options)
    plain = make_image(6, 3, *SIZE)
    target = disguise(plain) if isinstance(key, keys.PermutationKey) else disguise(plain.float() / 255)
    scheme = attacks.Scheme.of(disguise.describe())
    matched = match(network, disguise, scale) if matched is None else matched
    return attacks.read_key_from_weights(matched, network, target, scheme=scheme, std=STD, scale=scale), plain


def grey_levels_off(result, plain):
    images = result.images.double() * (1 if result.images.dtype == torch.uint8 else 255)
    return (images - plain.double()).abs()


CASES = {
    "permuted": (transformer, order),
    "larger blocks": (transformer, lambda: order((8, 8))),
    "matrices": (transformer, lambda: rmt(permuted=False)),
    "matrices, permuted": (transformer, rmt),
    "left, of each channel": (transformer, lambda: rmt(side="left", channels=3)),
    "shared": (transformer, lambda: rmt(shared=True)),
    "general": (transformer, lambda: rmt(matrix="gaussian")),
    "smaller blocks": (transformer, lambda: rmt((2, 2), permuted=False)),
    "dense, permuted": (dense, order),
    "dense, matrices, permuted": (dense, rmt),
    "dense, left, of each channel": (dense, lambda: rmt(side="left", channels=3, matrix="uniform")),
    "rotary positions": (rotary, rmt),
    "rotary positions, larger blocks": (rotary, lambda: order((8, 8))),
}


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize(("make", "key"), CASES.values(), ids=CASES)
def test_the_key_is_read_off_exactly(make, key, scale):
    key = key()
    result, plain = read(make(), key, scale=scale)
    if (permutation := permutation_of(key)) is not None:
        assert torch.equal(result.order, permutation.order)
    if isinstance(key, keys.KeyBundle):
        matrices = key.transform.matrices.double()
        found = result.matrices.expand_as(matrices)  # one, where all positions share it
        torch.testing.assert_close(found, matrices, rtol=1e-3, atol=1e-4)
    assert float(grey_levels_off(result, plain).max()) < 0.5
    assert result.level is attacks.Level.PUBLIC_DATA


def test_after_fine_tuning():
    network, key = transformer(), rmt()
    disguise = transforms.from_key(key)
    matched = match(network, disguise)
    optimizer = torch.optim.AdamW(matched.parameters(), lr=3e-4)
    images, labels = disguise(make_image(64, 3, *SIZE, seed=1).float() / 255), torch.arange(64) % 5
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(matched(images), labels).backward()
        optimizer.step()
    result, plain = read(network, key, matched=matched)
    assert torch.equal(result.order, key.permutation.order)
    assert float((result.matrices - key.transform.matrices).abs().max()) < 0.05
    assert float(grey_levels_off(result, plain).mean()) < 5


def test_noise_stays_in_the_pictures():
    result, plain = read(transformer(), rmt(), noise=40)
    off = grey_levels_off(result, plain)
    assert 8 < float(off.mean()) < 12  # evenly spread within 20 grey levels of the truth
    assert float(off.max()) < 20.5


def test_an_unmatched_network_reveals_no_key():
    network, key = transformer(), rmt()
    result, plain = read(network, key, matched=copy.deepcopy(network))
    assert torch.equal(result.order, torch.arange(16))
    assert float(grey_levels_off(result, plain).mean()) > 30


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"matched": 3}, InputTypeError, "matched must be a torch.nn.Module"),
        ({"original": 3}, InputTypeError, "original must be a torch.nn.Module"),
        ({"matched": nn.Linear(3, 3)}, ModelError, "has no layer conv_proj"),
        ({"original": nn.Sequential(nn.Conv2d(3, 4, 3))}, ModelError, "overlap"),
        ({"std": 0}, InputRangeError, "std must be"),
        ({"std": (1, 1)}, InputRangeError, "std must be one number or 3"),
        ({"scale": 0}, InputRangeError, "scale must be 1 or 255"),
        ({"scheme": attacks.Scheme("BlockPermute", (32, 32), (4, 4), permuted=True)}, InputShapeError, "of images"),
        ({"scheme": attacks.Scheme("BlockPermute", SIZE, (2, 2), permuted=True)}, InputRangeError, "cannot have been"),
        ({"scheme": attacks.Scheme("RMTDisguise", SIZE, (8, 8))}, InputRangeError, "cannot have been matched"),
        ({"scheme": attacks.Scheme("AESECBDisguise", block_size=(4, 4))}, InputRangeError, "is for images under"),
    ],
)
def test_what_it_refuses(changed, error, message):
    network, disguise = transformer(), transforms.BlockPermute(order())
    given = {"matched": match(network, disguise), "original": network, "scheme": attacks.Scheme.of(disguise.describe())}
    given |= {"std": 1, "target": make_image(2, 3, *SIZE), **changed}
    with pytest.raises(error, match=message):
        attacks.read_key_from_weights(given.pop("matched"), given.pop("original"), given.pop("target"), **given)


def test_the_original_stays_as_it_is():
    key = rmt(permuted=False)
    network = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(96, 5))
    matched = match(network, transforms.from_key(key))
    before = copy.deepcopy(network.train().state_dict())
    read(network, key, matched=matched)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_networks_that_do_not_go_together():
    network, disguise = transformer(), transforms.BlockPermute(order())
    other = VisionTransformer(16, 4, 1, 2, 8, 16, num_classes=5)
    scheme = attacks.Scheme.of(disguise.describe())
    with pytest.raises(ModelError, match=r"weights \[16, 3, 16, 16\] in the original and \[8, 3, 16, 16\]"):
        attacks.read_key_from_weights(match(other, disguise), network, make_image(2, 3, *SIZE), scheme=scheme, std=1)
