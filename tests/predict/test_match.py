"""Matched networks: equal to the original on every disguise claimed, refused for all others."""

import copy
import re

import pytest
import torch
from match_world import MEAN, PATCH, SIZE, STD, dense, in_float64, jitter, match, normalised, order, rmt, transformer
from support import make_image
from torch import nn

from torchprotect import data, demo, keys, ops, predict, transforms
from torchprotect.errors import InputRangeError, InputTypeError, KeyInWeightsWarning, KeySizeError, ModelError
from torchprotect.models.locally_connected import LocallyConnected
from torchprotect.predict._structure import matched_structure


def pictures(count: int = 3):
    return make_image(count, 3, *SIZE, dtype=torch.float64)


def assert_equal_answers(network: nn.Module, key: keys.Key, *, scale: int = 1, **options) -> nn.Module:
    """Match in float64 and compare logits on pictures that were disguised by the transform itself, in float32."""
    original = in_float64(network)
    jitter(original)
    matched = match(original, key, scale=scale, **options)
    disguise = transforms.from_key(key, **options)
    disguise.noise_source = lambda shape: torch.full(shape, 0.5)
    disguised = disguise(pictures() if isinstance(key, keys.PermutationKey) else pictures().float()).double() * scale
    with torch.no_grad():
        wanted, given = original(normalised(pictures())), matched(disguised)
        unmatched = original(normalised(disguised / scale))
    tolerance = 1e-10 if isinstance(key, keys.PermutationKey) else 1e-4  # RMT computes in float32
    assert float((wanted - given).abs().max()) <= tolerance * float(wanted.abs().max())
    assert float((wanted - unmatched).abs().max()) > 10 * tolerance * float(wanted.abs().max())
    return matched


KEYS = {
    "permuted": order,
    "larger blocks permuted": lambda: order((8, 8)),
    "oblong blocks permuted": lambda: order((4, 16)),
    "matrices": lambda: rmt(permuted=False),
    "matrices, permuted": rmt,
    "left matrices of each channel, permuted": lambda: rmt(side="left", channels=3),
    "general matrices, permuted": lambda: rmt(matrix="gaussian"),
    "smaller blocks": lambda: rmt((2, 2), permuted=False),
}


class TestEquality:
    @pytest.mark.parametrize("scale", [1, 255])
    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    def test_a_transformer_of_torchvision(self, key, scale):
        assert_equal_answers(transformer(), key(), scale=scale)

    @pytest.mark.parametrize("key", [*KEYS.values(), lambda: rmt((2, 2))], ids=[*KEYS, "smaller blocks, permuted"])
    def test_a_dense_first_layer(self, key):
        assert_equal_answers(dense(), key())

    def test_noise_at_its_mean(self):
        assert_equal_answers(transformer(), rmt(), noise=100)

    @pytest.mark.parametrize("bias", [True, False])
    def test_a_first_layer_of_its_own(self, bias):
        torch.manual_seed(0)
        patches = nn.Conv2d(3, 6, 4, 4, bias=bias)
        network = nn.Sequential(patches, nn.GELU(), nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(32, 5))
        assert_equal_answers(network, rmt(permuted=False))

    def test_one_patch(self):
        torch.manual_seed(0)
        assert_equal_answers(nn.Sequential(nn.Conv2d(3, 6, 16, 16), nn.Flatten(), nn.Linear(6, 5)), rmt())

    def test_in_float32_and_in_place(self):
        network, key = transformer(), rmt()
        matched, before = match(network, key), copy.deepcopy(network.state_dict())
        disguise = transforms.from_key(key)
        wanted = network(normalised(pictures().float()))
        torch.testing.assert_close(matched(disguise(pictures().float())), wanted, rtol=1e-4, atol=1e-4)
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        network.load_state_dict({name: value + 1 for name, value in before.items()})
        torch.testing.assert_close(matched(disguise(pictures().float())), wanted, rtol=1e-4, atol=1e-4)

    def test_modes_and_frozen_parameters_are_kept(self):
        network = transformer().train()
        network.conv_proj.requires_grad_(False)
        matched = match(network, rmt())
        assert matched.training
        assert matched.conv_proj.training
        assert not matched.conv_proj.weight.requires_grad
        assert matched.encoder.pos_embedding.requires_grad

    def test_a_shared_matrix_needs_one_kernel(self):
        matched = assert_equal_answers(transformer(), rmt(shared=True))
        assert type(matched.conv_proj) is nn.Conv2d
        assert type(match(transformer(), rmt()).conv_proj) is LocallyConnected
        assert type(match(transformer(), order()).conv_proj) is nn.Conv2d

    def test_fine_tuning(self):
        matched = match(transformer(), rmt())
        before = matched.conv_proj.weight.detach().clone()
        optimizer = torch.optim.SGD(matched.parameters(), 0.1)
        nn.functional.cross_entropy(matched(pictures().float()), torch.tensor([0, 1, 2])).backward()
        optimizer.step()
        moved = (matched.conv_proj.weight - before).abs().flatten(1).max(1).values
        assert bool((moved > 0).all())  # the kernel of every position learns


class TestPhotographs:
    """Equality on real pictures, disguised in float64."""

    @pytest.fixture
    def photographs(self):
        prepare = data.Preparation(exif=True, mode="rgb", resize=16, crop=SIZE)
        source = data.open_source(demo.PHOTOGRAPHS).prepared(prepare)
        return torch.stack([source[index].image for index in range(0, 199, 12)]).double() / 255

    @pytest.mark.parametrize("make", [transformer, dense])
    @pytest.mark.parametrize("options", [{}, {"side": "left", "channels": 3}, {"matrix": "uniform"}, {"shared": True}])
    def test_matrices(self, photographs, make, options):
        original, key = in_float64(make()), rmt(**options)
        jitter(original)
        matrices, places, left = key.transform.matrices.double(), key.permutation.order, options.get("side") == "left"
        disguised = ops.block_matmul(photographs, matrices, PATCH, left=left, order=places)
        with torch.no_grad():
            wanted, given = original(normalised(photographs)), match(original, key)(disguised)
        assert float((wanted - given).abs().max()) <= 1e-9 * float(wanted.abs().max())

    @pytest.mark.parametrize("make", [transformer, dense])
    def test_permutations(self, photographs, make):
        original, key = in_float64(make()), order()
        jitter(original)
        with torch.no_grad():
            wanted = original(normalised(photographs))
            given = match(original, key)(transforms.BlockPermute(key)(photographs))
        assert float((wanted - given).abs().max()) <= 1e-12 * float(wanted.abs().max())


class Changed(nn.Module):
    """A network whose outputs are changed."""

    def __init__(self, network, change):
        super().__init__()
        self.network, self.change = network, change

    def forward(self, images):
        return self.change(self.network(images))


class TestComparison:
    """The comparison with the original cannot be fooled by what it compares."""

    @staticmethod
    def masked(value):
        mask = torch.zeros(5)
        mask[3] = value
        return lambda scores: scores + mask.to(scores)

    def convolutions(self):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 5))

    @pytest.mark.parametrize("value", [-1e9, float("-inf")])
    def test_a_masked_class_hides_nothing(self, value):
        with pytest.raises(ModelError, match="needs patches in their places"):
            match(Changed(self.convolutions(), self.masked(value)), order())
        match(Changed(transformer(), self.masked(value)), order())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda scores: scores.argmax(1), r"must return a floating-point tensor, got torch\.int64"),
            (lambda scores: (scores, scores), "must return a floating-point tensor, got tuple"),
            (lambda scores: scores * 0, "do not depend on the picture"),
        ],
    )
    def test_constant_outputs_cannot_be_compared(self, change, message):
        with pytest.raises(ModelError, match=message):
            match(Changed(transformer(), change), order())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_holds_orthogonal_matrices_alone(self, dtype):
        with pytest.raises(ModelError, match="cannot hold the inverse"):
            match(transformer().to(dtype), rmt(matrix="gaussian"))
        key = rmt()
        original = transformer().to(dtype)
        matched, images = match(original, key), pictures().float()
        with torch.no_grad():
            wanted = original(normalised(images).to(dtype)).float()
            given = matched(transforms.from_key(key)(images).to(dtype)).float()
        assert float((wanted - given).abs().max()) <= 0.05 * float(wanted.abs().max())

    def test_networks_that_cannot_be_copied(self):
        with torch.device("meta"):
            network = transformer()
        with pytest.raises(ModelError, match="meta device"):
            match(network, order())

    def test_keys_of_other_channels(self):
        with pytest.raises(KeySizeError, match="images of 1 channels, but the network takes 3"):
            match(transformer(), rmt(channels=1))


class TestTimm:
    """Transformers as timm makes them, with zero-initialised weights made non-zero by the comparison itself."""

    SIZES = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"class_token": False, "global_pool": "avg"},
            {"no_embed_class": True, "reg_tokens": 3, "init_values": 1e-5},
            {"global_pool": "map", "class_token": False},
            {"dynamic_img_size": True},
        ],
        ids=str,
    )
    def test_learned_positions(self, options):
        timm = pytest.importorskip("timm")
        torch.manual_seed(0)
        network = timm.models.vision_transformer.VisionTransformer(**self.SIZES, **options)
        assert_equal_answers(network, rmt())

    @pytest.mark.parametrize("kind", ["cat", "mixed", "dinov3"])
    @pytest.mark.parametrize("table", [True, False])
    def test_rotary_positions(self, kind, table):
        timm = pytest.importorskip("timm")
        torch.manual_seed(0)
        options = {"use_rot_pos_emb": True, "rope_type": kind, "use_abs_pos_emb": table}
        network = timm.models.eva.Eva(**self.SIZES, **options)
        matched = assert_equal_answers(network, rmt())
        assert matched_structure(matched).rotary == "rope"
        assert_equal_answers(network, order((8, 8)))

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("convmixer.ConvMixer", {"dim": 16, "depth": 2, "kernel_size": 3, "patch_size": 4, "num_classes": 5}),
            (
                "mlp_mixer.MlpMixer",
                {"img_size": 16, "patch_size": 4, "embed_dim": 16, "num_blocks": 2, "num_classes": 5},
            ),
            ("beit.Beit", {**SIZES, "use_rel_pos_bias": True, "use_abs_pos_emb": False}),
            (
                "swin_transformer.SwinTransformer",
                {"img_size": 16, "patch_size": 4, "embed_dim": 8, "depths": (2,), "num_heads": (2,), "window_size": 2},
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_networks_that_need_patches_in_their_places_take_matrices_alone(self, name, options):
        timm = pytest.importorskip("timm")
        module, _, kind = name.partition(".")
        torch.manual_seed(0)
        network = getattr(getattr(timm.models, module), kind)(**options)
        assert_equal_answers(network, rmt(permuted=False))
        for key in (rmt(), order()):
            with pytest.raises(ModelError, match=f"{kind} needs patches in their places"):
                match(network, key)


class TestRefusals:
    def test_other_disguises(self):
        aes = keys.AESKey.generate(image_size=SIZE, block_size=PATCH)
        with pytest.raises(InputTypeError, match="AESECBDisguise cannot be matched: it is not linear"):
            match(transformer(), aes)
        with pytest.raises(
            InputTypeError,
            match=r"of torchprotect\.transforms, got torchprotect\.keys",
        ):
            predict.match_key(transformer(), order(), mean=0, std=1)
        with pytest.raises(InputRangeError, match="not its inverse"):
            match(transformer(), order(), inverse=True)

    def test_convolutions_with_overlapping_windows(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(256, 5))
        with pytest.raises(ModelError, match=r"first layer, 0, is a convolution of 3 x 3 pixels with stride 2"):
            match(network, rmt(permuted=False))

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (nn.Conv2d(3, 6, 4, 4, groups=3), "padding, groups or dilation"),
            (nn.Conv2d(3, 4, 4, 4, padding=2), "padding, groups or dilation"),
            (nn.ReLU(), "none does"),
        ],
    )
    def test_other_first_layers(self, layer, message):
        network = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(5))
        network(torch.rand(1, 3, *SIZE))
        with pytest.raises(ModelError, match=message):
            match(network, rmt(permuted=False))

    def test_two_first_layers(self):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.other = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(3, 4, 4, 4)

            def forward(self, images):
                return (self.one(images) + self.other(images)).flatten(1)

        with pytest.raises(ModelError, match=r"2 layers do \(one, other\)"):
            match(Two(), rmt(permuted=False))

    def test_pictures_that_are_changed_before_the_first_layer(self):
        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Conv2d(3, 4, 4, 4)

            def forward(self, images):
                return self.layer(images * 2).flatten(1)

        with pytest.raises(ModelError, match="none does"):
            match(Scaled(), rmt(permuted=False))

    def test_a_picture_that_is_also_read_elsewhere(self):
        class Brightness(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Conv2d(3, 4, 4, 4)

            def forward(self, images):
                return self.layer(images).flatten(1) + images.square().mean((1, 2, 3))[:, None]

        with pytest.raises(ModelError, match="Brightness reads the picture elsewhere"):
            match(Brightness(), rmt(permuted=False))

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            (lambda: order((2, 2)), "permuted blocks of 2 x 2 pixels do not hold whole patches of 4 x 4"),
            (lambda: rmt((8, 8), permuted=False), "matrices of blocks of 8 x 8 pixels reach over the edges of patches"),
            (lambda: rmt((2, 2)), "permuted blocks of 2 x 2"),
        ],
    )
    def test_blocks_and_patches_that_do_not_go_together(self, key, message):
        with pytest.raises(KeySizeError, match=message):
            match(transformer(), key())

    def test_images_of_another_size(self):
        key = keys.PermutationKey.generate(image_size=(32, 32), block_size=PATCH)
        with pytest.raises(ModelError, match=r"does not take images \[1, 3, 32, 32\]"):
            match(transformer(), key)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"std": 0}, "std must be a finite number above 0"),
            ({"std": (1, 1)}, "std must be one number or 3"),
            ({"mean": float("nan")}, "mean must be a finite number"),
            ({"scale": 128}, "scale must be 1 or 255"),
        ],
    )
    def test_numbers(self, options, message):
        with pytest.raises(InputRangeError, match=re.escape(message)):
            predict.match_key(transformer(), transforms.BlockPermute(order()), **{"mean": 0, "std": 1, **options})

    def test_normalisation_has_no_default(self):
        with pytest.raises(TypeError, match="mean"):
            predict.match_key(transformer(), transforms.BlockPermute(order()))


def test_it_warns():
    with pytest.warns(KeyInWeightsWarning, match="contains the key: whoever has it and the original"):
        predict.match_key(transformer(), transforms.BlockPermute(order()), mean=MEAN, std=STD)


def test_the_docstring_begins_with_the_warning():
    assert "give the key away" in predict.match_key.__doc__.splitlines()[0].lower()


@pytest.mark.parametrize(
    ("make", "make_key"), [(transformer, rmt), (transformer, order), (dense, rmt)], ids=["own", "one", "dense"]
)
def test_no_random_state_is_touched(make, make_key):
    network, key = make(), make_key()
    before = torch.get_rng_state()
    match(network, key)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_locally_connected_layer_is_a_convolution_for_each_position():
    torch.manual_seed(0)
    layer = LocallyConnected((4, 2), 3, 5, (2, 3))
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    images = torch.rand(2, 3, 8, 6)
    for row in range(4):
        for column in range(2):
            patch = images[:, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            wanted = nn.functional.conv2d(patch, layer.weight[2 * row + column], layer.bias)[..., 0, 0]
            torch.testing.assert_close(layer(images)[:, :, row, column], wanted)
    torch.testing.assert_close(layer(images.to(memory_format=torch.channels_last)), layer(images))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(images).dtype == torch.bfloat16
