"""Disguises run on batches: the same result as on samples, with noise and labels handed over, and no state left."""

import pytest
import torch
from support import SHARED_AES, make_bundle, make_image, sent_to_worker
from torch import nn
from torchvision import transforms as v1
from torchvision.transforms import v2

from torchprotect import keys, transforms
from torchprotect.errors import ExportError, InputShapeError, LabelError
from torchprotect.transforms.pipeline import Pipeline, leaves

RMT, ORDER = make_bundle("rmt"), make_bundle("permutation")
TARGETS = keys.CorrespondenceKey.generate(classes=10)
IMAGES = make_image(3, 1, 16, 16)


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(256, 10)

    def forward(self, images):
        return self.layer(images.flatten(1))


class Encoder(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :12]


def half(shape):
    return torch.full(shape, 0.5)


def make_adversarial(**options):
    return transforms.AdversarialEncrypt(Linear(), TARGETS, eps=0.5, step_size=0.2, steps=2, batch_size=2, **options)


def make_scrambler():
    key = keys.OWSDKey.generate(embedding_size=12, image_size=(8, 8), width=4)
    return transforms.OWSDScramble(Encoder().eval(), key)


class TestOneDisguise:
    @pytest.mark.parametrize(
        "disguise",
        [
            transforms.from_key(SHARED_AES),
            transforms.from_key(RMT, noise=25),
            transforms.from_key(ORDER),
            transforms.SaltAndPepper(0.3),
            make_scrambler(),
        ],
        ids=lambda disguise: type(disguise).__name__,
    )
    @pytest.mark.filterwarnings("ignore:RMTDisguise was given 8-bit pixels")
    def test_a_batch_equals_a_sample_with_the_same_noise(self, disguise):
        batch = disguise.disguise_batch(IMAGES, noise=half)
        assert batch.distances is None
        disguise.noise_source = half
        assert torch.equal(batch.images, disguise(IMAGES))
        del disguise.noise_source

    def test_a_perturbation_takes_labels_and_returns_distances(self):
        disguise, labels = make_adversarial(), torch.tensor([3, 1, 4])
        batch = disguise.disguise_batch(IMAGES, labels)
        assert torch.equal(batch.images, disguise(IMAGES, labels)[0])
        expected = ((batch.images.double() - IMAGES.double()) / 255).flatten(1).norm(dim=1)
        assert torch.allclose(batch.distances, expected, rtol=1e-12)
        assert batch.distances.dtype == torch.float64
        with pytest.raises(LabelError):
            disguise.disguise_batch(IMAGES)

    def test_eight_bit_pixels_cause_no_warning_and_no_state_is_left(self):
        disguise = transforms.from_key(RMT, noise=5)
        before = dict(disguise.__dict__)
        disguise.disguise_batch(IMAGES, noise=half)  # warnings are errors
        assert disguise.__dict__ == before

    @pytest.mark.parametrize("wrong", [IMAGES[0], IMAGES[None], [IMAGES], v2.functional.to_pil_image(IMAGES[0])])
    def test_only_batches_are_taken(self, wrong):
        for disguise in (transforms.from_key(ORDER), make_adversarial(target_source="predicted")):
            with pytest.raises(InputShapeError, match=r"a batch of images \[N, C, H, W\] is needed, got "):
                disguise.disguise_batch(wrong)

    def test_a_getter_that_cannot_be_pickled_is_left_out_for_batches(self):
        disguise = make_adversarial(labels_getter=lambda sample: sample[1])
        other = sent_to_worker(disguise.for_batches())
        assert disguise.labels_getter is not None
        labels = torch.tensor([0, 1, 2])
        assert torch.equal(other.disguise_batch(IMAGES, labels).images, disguise(IMAGES, labels)[0])
        assert other.describe() == disguise.describe()

    def test_classes_without_target_classes(self):
        with pytest.raises(LabelError, match="sample x has no label"):
            make_adversarial().check_label(None, "x")
        with pytest.raises(LabelError, match=r"class 10 of sample x has no target class.* 0\.\.9"):
            make_adversarial().check_label(10, "x")
        make_adversarial(target_source="predicted").check_label(None, "x")
        transforms.from_key(SHARED_AES).check_label(None, "x")


def test_an_own_forward_needs_an_own_batch_method():
    """An export would leave out silently what only forward does."""
    with pytest.raises(TypeError, match="write disguise_batch too"):

        class Extra(transforms.BlockPermute):
            def forward(self, *inputs):
                return super().forward(*inputs)


class TestPipelines:
    def test_steps_run_in_order_and_draw_from_one_source(self):
        shapes = []

        def noise(shape):
            shapes.append(shape)
            return half(shape)

        steps = [v2.Resize((16, 16)), transforms.SaltAndPepper(0.1), transforms.from_key(RMT, noise=5)]
        pipeline = Pipeline(v2.Compose([v1.Compose([steps[0]]), nn.Sequential(*steps[1:])]))
        images = make_image(3, 1, 20, 20)
        result = pipeline.disguise_batch(images, None, noise=noise)
        assert shapes == [(3, 16, 16), (3, 1, 16, 16)]
        for step in steps[1:]:
            step.noise_source = half
        with pytest.warns(match="8-bit pixels"):
            assert torch.equal(result.images, v2.Compose(steps)(images))

    def test_distances_are_those_of_the_last_perturbation(self):
        pipeline = Pipeline(v2.Compose([make_adversarial(), transforms.from_key(SHARED_AES)]))
        result = pipeline.disguise_batch(IMAGES, torch.tensor([1, 2, 3]), noise=half)
        assert result.distances.max() < 0.6
        assert Pipeline(transforms.from_key(SHARED_AES)).disguise_batch(IMAGES, None, noise=half).distances is None

    def test_traits_come_from_the_disguises(self):
        pipeline = Pipeline(v2.Compose([v2.Resize(16), make_adversarial(), transforms.from_key(SHARED_AES)]))
        assert (pipeline.max_batch, pipeline.needs_labels, pipeline.uses_gradients) == (2, True, True)
        assert pipeline.devices == {torch.device("cpu")}
        assert [disguise.key for disguise in pipeline.keyed] == [TARGETS, SHARED_AES.transform]
        assert pipeline.size_keys == []  # a step before may resize
        plain = Pipeline(v2.Compose([transforms.SaltAndPepper(0.1), transforms.from_key(SHARED_AES)]))
        assert (plain.max_batch, plain.needs_labels, plain.uses_gradients) == (None, False, False)
        assert plain.devices == set()
        assert plain.size_keys == [SHARED_AES.transform]
        assert len(plain.keyed) == 1

    def test_a_disguise_in_a_module_of_its_own_is_refused(self):
        class Wrapped(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = transforms.from_key(SHARED_AES)

            def forward(self, image):
                return self.inner(image)

        for module in (Wrapped(), v2.RandomApply([transforms.from_key(SHARED_AES)], p=1.0)):
            with pytest.raises(ExportError, match=r"holds a disguise.*into a v2\.Compose"):
                Pipeline(v2.Compose([v2.Resize(16), module]))

    def test_other_modules_with_parts_are_one_step_described_by_their_parts(self):
        class Blur(nn.Module):
            def __init__(self):
                super().__init__()
                self.pool = nn.AvgPool2d(2)

            def forward(self, images):
                return self.pool(images.float()).round().to(torch.uint8)

        pipeline = Pipeline(nn.Sequential(Blur(), transforms.from_key(ORDER)))
        assert len(pipeline.steps) == 2
        assert pipeline.describe()[0] == {"name": repr(nn.AvgPool2d(2))}
        assert pipeline.disguise_batch(make_image(2, 1, 32, 32), None, noise=half).images.shape == (2, 1, 16, 16)

    def test_leaves_are_the_innermost_transforms(self):
        disguise, resize = transforms.from_key(ORDER), v2.Resize(16)
        assert leaves(v2.Compose([v2.Compose([resize]), v2.RandomApply([disguise])])) == [resize, disguise]
        assert leaves(len) == [len]


class TestNotes:
    def test_aes_tells_when_few_units_repeat(self):
        few = transforms.from_key(SHARED_AES).note_on(make_image(40, 1, 16, 16))
        assert few.startswith("in 40 images looked at, 0.0% of the units of 16 pixels occur twice")
        assert transforms.from_key(SHARED_AES).note_on(torch.zeros(40, 1, 16, 16, dtype=torch.uint8)) is None
        assert transforms.from_key(SHARED_AES).note_on([]) is None
        assert transforms.from_key(SHARED_AES).note_on(make_image(40, 1, 17, 16)) is None

    def test_under_a_shared_key_units_repeat_at_any_position(self):
        image = make_image(1, 1, 4, 4).repeat(1, 1, 4, 4)
        assert "occur twice at their position" in transforms.from_key(SHARED_AES).note_on(image)
        assert transforms.from_key(make_bundle("aes", shared=True)).note_on(image) is None

    def test_others_do_not_even_read_the_images(self):
        def images():
            raise AssertionError
            yield

        for transform in (transforms.from_key(RMT), v2.Compose([v2.Resize(16), transforms.from_key(SHARED_AES)])):
            assert Pipeline(transform).note_on(images()) is None
        noisy = v2.Compose([transforms.SaltAndPepper(0.1), transforms.from_key(SHARED_AES)])
        assert "occur twice" in Pipeline(noisy).note_on(make_image(40, 1, 16, 16))
