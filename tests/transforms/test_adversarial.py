import collections
import copy
import json
import warnings

import numpy as np
import PIL.Image
import pytest
import torch
from nets import Tiny
from support import Pictures, make_bundle, make_image, sent_to_worker
from torch import nn
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from torchprotect import adversarial, keys, transforms
from torchprotect.data import ProtectedDataset
from torchprotect.errors import (
    InputRangeError,
    InputShapeError,
    InputTypeError,
    KeyKindError,
    LabelError,
    ModelError,
    NotInvertibleError,
)
from torchprotect.transforms import AdversarialEncrypt
from torchprotect.transforms import adversarial as room

CLASSES, SIZE = 5, (8, 8)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


KEY = keys.CorrespondenceKey.from_map([[3], [0], [4], [2], [1]])
KEYS = {
    "concat": keys.CorrespondenceKey.generate(classes=CLASSES, targets=[1, 2, 3, 2, 1]),
    "mixup": keys.CorrespondenceKey.generate(classes=CLASSES, targets=2, mix_mode="mixup"),
    "mixup-and-concat": keys.CorrespondenceKey.generate(classes=CLASSES, targets=4, mix_mode="mixup-and-concat"),
    "cutmix": keys.CorrespondenceKey.generate(classes=CLASSES, targets=2, mix_mode="cutmix"),
    "random-square": keys.CorrespondenceKey.generate(classes=CLASSES, targets=2, mix_mode="random-square"),
}


def make(key=KEY, model=None, **options):
    return AdversarialEncrypt(
        Tiny() if model is None else model, key, **{"eps": 0.5, "step_size": 0.2, "steps": 4, **options}
    )


def images(count=6, **options):
    return make_image(count, 3, *SIZE, **options)


LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.fixture
def aims(monkeypatch):
    """Collects the target classes that are handed to the search."""
    seen = []

    def spy(model, plain, targets, *args, **kwargs):
        seen.append(targets.clone())
        return adversarial.perturb_toward(model, plain, targets, *args, **kwargs)

    monkeypatch.setattr(room, "perturb_toward", spy)
    return seen


class TestResult:
    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    def test_equals_the_engine(self, key):
        model, positions = Tiny(), torch.rand(6, 2)
        transform = make(key, model)
        transform.noise_source = lambda shape: positions.reshape(shape)
        plain = images()
        targets, weights = key.of(LABELS)
        settings = adversarial.PGDSettings(0.5, 0.2, 4)
        expected = adversarial.perturb_toward(
            model, plain / 255, targets, weights, settings, mix_mode=key.mix_mode, positions=positions, to_8bit=True
        )
        done = transform(plain, LABELS)[0]
        assert done.dtype == torch.uint8
        assert torch.equal(done, (expected.images * 255).round().to(torch.uint8))
        assert not torch.equal(done, plain)

    def test_the_model_predicts_the_targets_for_the_results(self):
        model = Tiny().eval()
        done = make(model=model, eps=3, steps=20)(images(), LABELS)[0]
        targets = KEY.of(LABELS)[0][:, 0]
        assert torch.equal(model(done / 255).argmax(1), targets)

    def test_float_is_rounded_only_when_asked(self):
        plain = images(dtype=torch.float32)
        for to_8bit in (False, True):
            done = make(to_8bit=to_8bit)(plain, LABELS)[0]
            assert done.dtype == torch.float32
            on_grid = torch.allclose((done * 255).round() / 255, done, atol=1e-6)
            assert on_grid == to_8bit

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_float_images_come_back_in_their_dtype(self, dtype):
        done = make()(images(dtype=dtype), LABELS)[0]
        assert done.dtype == dtype
        torch.testing.assert_close(done.float(), make()(images(dtype=dtype).float(), LABELS)[0], rtol=0, atol=0.01)

    def test_a_model_in_float64(self):
        model = Tiny().double()
        done = make(model=model)(images(dtype=torch.float64), LABELS)[0]
        single = make()(images(dtype=torch.float32), LABELS)[0]
        torch.testing.assert_close(done.float(), single, rtol=0, atol=1e-3)
        assert make(model=model)(images(), LABELS)[0].dtype == torch.uint8

    def test_distances_are_those_of_the_returned_images(self):
        for plain in (images(), images(dtype=torch.float32)):
            found = make(KEYS["concat"]).perturb(plain, LABELS)
            scale = 255 if plain.dtype == torch.uint8 else 1
            expected = ((found.images.double() - plain.double()) / scale).flatten(1).norm(dim=1)
            torch.testing.assert_close(found.distances.double(), expected, rtol=0, atol=1e-5)
            assert found.images.dtype == plain.dtype
            assert found.losses.shape == (6, 3)

    def test_reproject_keeps_within_eps(self):
        plain = torch.full((6, 3, *SIZE), 128, dtype=torch.uint8)
        free = make(KEYS["concat"], steps=10).perturb(plain, LABELS).max_distance
        kept = make(KEYS["concat"], steps=10, reproject=True).perturb(plain, LABELS).max_distance
        assert kept <= 0.5 + 1e-6 < free

    def test_at_most_batch_size_images_at_once(self):
        model = Tiny()
        done = make(model=model, batch_size=4).perturb(images(), LABELS)
        assert max(model.handed) == 4
        assert len(done.images) == len(done.distances) == 6
        apart = (done.images.int() - make(batch_size=1).perturb(images(), LABELS).images.int()).abs()
        assert int(apart.max()) <= 1  # sums of floats may differ between batches
        assert done.losses.shape == (6, 1)

    def test_empty_batch(self):
        for key in KEYS.values():
            done = make(key).perturb(images()[:0], LABELS[:0])
            assert done.images.shape == (0, 3, 8, 8)
            assert done.max_distance == 0

    def test_memory_format_is_kept(self):
        plain = images().contiguous(memory_format=torch.channels_last)
        for option in (False, True):
            done = make(KEYS["mixup"], channels_last=option)(plain, LABELS)[0]
            assert done.is_contiguous(memory_format=torch.channels_last)

    def test_precision_changes_the_result(self):
        plain, full = images(dtype=torch.float32), make().perturb
        half = make(precision=torch.bfloat16).perturb(plain, LABELS)
        assert not torch.equal(half.losses, full(plain, LABELS).losses)
        assert half.images.dtype == torch.float32

    def test_last_iterate_instead_of_the_best(self):
        plain = images(dtype=torch.float32)
        best = make(step_size=2.0, steps=7).perturb(plain, LABELS)
        last = make(step_size=2.0, steps=7, keep_best=False).perturb(plain, LABELS)
        assert not torch.equal(best.images, last.images)


class TestTargets:
    def test_by_label(self, aims):
        make(KEYS["mixup"])(images(), LABELS)
        assert torch.equal(aims[0], KEYS["mixup"].of(LABELS)[0])

    def test_by_prediction_in_eval_mode(self, aims):
        model = Tiny().train()
        predicted = copy.deepcopy(model).eval()(images() / 255).argmax(1)
        assert len(predicted.unique()) > 1
        for sample in (images(), (images(), LABELS), {"image": images()}):
            make(model=model, target_source="predicted")(sample)
            assert torch.equal(aims.pop(), KEY.of(predicted)[0])
        wrong = make(model=model, target_source="predicted", labels_getter=None).perturb(images())
        assert torch.equal(wrong.images, make(model=model).perturb(images(), predicted).images)

    def test_a_model_of_more_classes_than_the_map(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 50))
        with torch.no_grad():
            model[1].bias[40] = 100
        with pytest.raises(ModelError, match=r"must return scores \[\d+, 5\]"):
            make(model=model, target_source="predicted")(images())

    def test_random_ones_are_each_of_the_others(self, aims):
        count = 400
        labels = torch.arange(count) % CLASSES
        make(KEYS["mixup"], target_source="random", steps=1)(images(count), labels)
        targets = torch.cat(aims)
        assert targets.shape == (count, 1)
        assert not (targets[:, 0] == labels).any()
        apart = ((targets[:, 0] - labels) % CLASSES).bincount(minlength=CLASSES)
        assert (apart[1:] > count / 8).all()  # 100 each are expected

    @pytest.mark.parametrize("uniform", [0.0, 0.25, 1 - 2**-24])
    def test_random_ones_at_the_edges(self, aims, uniform):
        transform = make(target_source="random", steps=1)
        transform.noise_source = lambda shape: torch.full(shape, uniform)
        transform(images(), LABELS)
        step = 1 + int(uniform * (CLASSES - 1))
        assert torch.equal(aims[0][:, 0], (LABELS + step) % CLASSES)

    def test_random_ones_are_drawn_anew_and_follow_the_seed(self, aims):
        transform = make(target_source="random", steps=1)
        for _ in range(2):
            torch.manual_seed(1)
            transform(images(20), torch.zeros(20, dtype=torch.int64))
        transform(images(20), torch.zeros(20, dtype=torch.int64))
        assert torch.equal(aims[0], aims[1])
        assert not torch.equal(aims[0], aims[2])

    def test_random_ones_take_labels_of_the_map_only(self):
        with pytest.raises(LabelError):
            make(target_source="random")(images(), LABELS + 1)

    @pytest.mark.parametrize(
        ("key", "options", "expected"),
        [
            (KEYS["cutmix"], {}, [(6, 2), (2,)]),
            (KEYS["random-square"], {}, [(6, 2), (2,)]),
            (KEYS["cutmix"], {"target_source": "random"}, [(6,), ()]),
            (KEYS["concat"], {}, []),
            (keys.CorrespondenceKey.from_map([[1], [0], [0], [0], [0]], mix_mode="cutmix"), {}, []),
        ],
    )
    def test_draws_go_through_the_noise_source(self, key, options, expected):
        transform, shapes = make(key, **options), []
        before = torch.get_rng_state()
        transform.noise_source = lambda shape: shapes.append(tuple(shape)) or torch.full(shape, 0.5)
        transform(images(), LABELS)
        transform(images()[0], 3)
        assert shapes == expected
        assert torch.equal(torch.get_rng_state(), before)


class TestSamples:
    def test_default_labels(self, aims):
        plain = images()
        samples = [
            (plain, LABELS),
            [plain, LABELS],
            (plain, LABELS.int()),
            (plain, LABELS.numpy()),
            (plain, {"name": "x", "labels": LABELS}),
            {"image": plain, "Labels": LABELS},
            {"image": plain, "class_label": LABELS, "target": LABELS + 9},
            {"image": plain, "cls": LABELS},
        ]
        for sample in samples:
            done = make()(sample)
            assert type(done) is type(sample)
            assert torch.equal(aims.pop(), KEY.of(LABELS)[0])

    def test_own_getter(self, aims):
        out = make(labels_getter=lambda sample: sample["meta"][1])({"image": images(), "meta": ("x", LABELS)})
        assert torch.equal(aims[0], KEY.of(LABELS)[0])
        assert out["meta"][0] == "x"

    @pytest.mark.parametrize(
        "picture",
        [
            make_image(3, *SIZE),
            tv_tensors.Image(make_image(3, *SIZE)),
            PIL.Image.fromarray(make_image(*SIZE, 3).numpy()),
        ],
        ids=["tensor", "tv_tensor", "pil"],
    )
    @pytest.mark.parametrize("label", [3, torch.tensor(3), np.int64(3)], ids=lambda label: type(label).__name__)
    def test_single_samples(self, aims, picture, label):
        done, same = make()(picture, label)
        assert same is label
        assert type(done) is (PIL.Image.Image if isinstance(picture, PIL.Image.Image) else type(picture))
        assert aims[0].tolist() == KEY.of(torch.tensor([3]))[0].tolist()
        before, after = (v2.functional.to_image(x).as_subclass(torch.Tensor) for x in (picture, done))
        assert after.shape == before.shape
        expected = make().perturb(before[None], torch.tensor([3])).images[0]
        assert torch.equal(after, expected)

    def test_one_label_for_all_frames(self, aims):
        frames = tv_tensors.Video(make_image(2, 3, 3, *SIZE))
        done, _ = make()(frames, torch.tensor([1, 4]))
        assert type(done) is tv_tensors.Video
        assert torch.equal(aims[0], KEY.of(torch.tensor([1, 1, 1, 4, 4, 4]))[0])

    def test_every_picture_of_a_sample(self):
        plain = tv_tensors.Image(images())
        out = make()({"first": plain, "more": [tv_tensors.Image(images(seed=1))], "label": LABELS, "id": "x"})
        assert not torch.equal(out["first"], plain)
        assert not torch.equal(out["more"][0], images(seed=1))
        assert out["id"] == "x"

    def test_named_tuples(self):
        Point = collections.namedtuple("Point", "image label")
        out = make()(Point(images(), LABELS))
        assert type(out) is Point
        assert torch.equal(out.label, LABELS)

    def test_a_batch_of_a_loader_and_one_line_in_a_compose(self):
        pipeline = v2.Compose([v2.Resize(SIZE), make(model=Tiny(1)), v2.ToDtype(torch.float32, scale=True)])
        batch = next(iter(DataLoader(Pictures(6, classes=CLASSES), batch_size=6)))
        done, labels = pipeline(batch)
        assert done.dtype == torch.float32
        assert done.shape == (6, 1, *SIZE)
        assert torch.equal(labels, batch[1])

    @pytest.mark.parametrize(
        ("sample", "message"),
        [
            (images(), "no label in a torch.Tensor: .*labels_getter"),
            ((images(),), "no label in a tuple"),
            ({"image": images()}, r"no label in a dict of \['image'\]: .*labels_getter"),
            ({"image": images(), "labels": LABELS, "label_name": ("cat",) * 6}, "several labels in a dict"),
            ((images(), None), "not NoneType"),
            ((images(), "cat"), "not str"),
            ((images(), LABELS.float()), "not torch.float32"),
            ((images(), LABELS > 0), "not torch.bool"),
            ((images(), True), "not bool"),
            ((images(), LABELS + 1), r"covers 0\.\.4"),
            ((images(), LABELS - 1), r"covers 0\.\.4"),
            ((images(), LABELS[:4]), "do not fit"),
            ((images()[0], LABELS), "do not fit"),
        ],
    )
    def test_missing_or_unsuitable_labels(self, sample, message):
        with pytest.raises(LabelError, match=message):
            make()(sample)

    @pytest.mark.parametrize(
        "other",
        [tv_tensors.Mask(torch.zeros(8, 8)), torch.zeros(2, 2), b"\x89PNG", np.zeros((8, 8))],
        ids=lambda value: type(value).__name__,
    )
    def test_pictures_that_would_be_left_unprotected_raise(self, other):
        with pytest.raises(InputTypeError):
            make()((images(), LABELS, other))


class TestModel:
    def test_is_unchanged(self):
        model = Tiny().train()
        model.body[1].eval()
        model.body[0].weight.requires_grad_(False)
        modes = [module.training for module in model.modules()]
        needed = [parameter.requires_grad for parameter in model.parameters()]
        state = copy.deepcopy(model.state_dict())
        for source in ("label", "predicted"):
            make(model=model, target_source=source)(images(), LABELS)
        assert [module.training for module in model.modules()] == modes
        assert [parameter.requires_grad for parameter in model.parameters()] == needed
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())

    @pytest.mark.parametrize("source", ["label", "predicted"])
    def test_is_unchanged_after_an_error(self, source):
        class Broken(Tiny):
            def forward(self, images):
                raise RuntimeError("broken")

        model = Broken().train()
        with pytest.raises(RuntimeError, match="broken"):
            make(model=model, target_source=source)(images(), LABELS)
        assert all(module.training for module in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())

    def test_outputs_that_are_not_scores(self):
        class Nothing(Tiny):
            def forward(self, images):
                return images

        class Unsure(Tiny):
            def forward(self, images):
                return super().forward(images) * torch.nan

        for source in ("label", "predicted"):
            with pytest.raises(ModelError, match="must return scores"):
                make(model=Nothing(), target_source=source)(images(), LABELS)
        with pytest.raises(ModelError, match="NaN"):
            make(model=Unsure())(images(), LABELS)

    def test_is_no_submodule_of_the_transform(self):
        model = Tiny().train()
        transform = make(model=model)
        transform.eval().double()
        assert transform.state_dict() == {}
        assert list(transform.parameters()) == []
        assert model.training
        assert next(model.parameters()).dtype == torch.float32

    def test_a_model_without_weights(self):
        class Sums(nn.Module):
            def forward(self, images):
                return images.flatten(1)[:, :CLASSES]

        assert make(model=Sums())(images(), LABELS)[0].shape == images().shape


class TestWorkers:
    def test_workers_and_copies(self):
        transform = make(KEYS["concat"])
        expected = transform(images(), LABELS)[0]
        for other in (sent_to_worker(transform), copy.deepcopy(transform)):
            assert torch.equal(other(images(), LABELS)[0], expected)

    def test_datasets_are_perturbed_by_plain_labels_and_renamed(self):
        names = keys.LabelKey.generate(classes=CLASSES)
        plain = Pictures(6, 3, SIZE, CLASSES)
        dataset = ProtectedDataset(plain, make(), names)
        alone = list(DataLoader(dataset, batch_size=3))
        for (image, label), (other, same) in zip(alone, DataLoader(dataset, batch_size=3, num_workers=2), strict=True):
            assert torch.equal(image, other)
            assert torch.equal(label, same)
        assert torch.equal(torch.cat([label for _, label in alone]), names.map(torch.arange(6) % CLASSES))
        first = make()(*plain[1])[0]
        assert torch.equal(alone[0][0][1], first)

    @pytest.mark.slow
    def test_many_steps_in_a_worker_warn_once(self):
        loader = DataLoader(ProtectedDataset(Counting(4), make(steps=11)), batch_size=4, num_workers=1)
        with pytest.raises(UserWarning, match=r"11 passes .* training will wait for it.*data\.export"):
            next(iter(loader))
        counted = DataLoader(Counting(4, make(steps=11)), batch_size=4, num_workers=1)
        assert next(iter(counted)).tolist() == [1, 1, 1, 1]
        fewer = DataLoader(Counting(4, make(steps=10)), batch_size=4, num_workers=1)
        assert next(iter(fewer)).tolist() == [0, 0, 0, 0]

    def test_no_warning_outside_of_workers(self):
        make(steps=11)(images(), LABELS)


class Counting(Pictures):
    """Pictures, or with a transform the number of warnings that it has given so far in this process."""

    said = []

    def __init__(self, count, transform=None):
        super().__init__(count, 3, SIZE, CLASSES)
        self.transform = transform

    def __getitem__(self, index):
        if self.transform is None:
            return super().__getitem__(index)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.transform(*super().__getitem__(index))
        self.said.extend(caught)
        return len(self.said)


class TestDescription:
    def test_holds_all_that_determines_the_bytes_and_no_secret(self):
        described = json.loads(json.dumps(make(KEYS["cutmix"], precision=torch.bfloat16).describe()))
        assert described["name"] == "AdversarialEncrypt"
        assert described["key"] == KEYS["cutmix"].fingerprint
        expected = {"eps": 0.5, "step_size": 0.2, "steps": 4, "keep_best": True, "bounds": [0.0, 1.0]}
        expected |= {"target_source": "label", "way": "cutmix", "targets": 2, "batch_size": 100, "device": "cpu"}
        expected |= {"precision": "bfloat16", "reproject": False, "to_8bit": False, "channels_last": False}
        assert described | expected == described
        assert described["torch"] == torch.__version__
        assert make(eps=1).describe() == make(eps=1.0).describe()

    @pytest.mark.parametrize(
        "change",
        [
            {"eps": 0.6},
            {"step_size": 0.1},
            {"steps": 5},
            {"keep_best": False},
            {"target_source": "predicted"},
            {"batch_size": 99},
            {"reproject": True},
            {"to_8bit": True},
            {"precision": torch.float16},
            {"channels_last": True},
            {"model": Tiny(seed=1)},
            {"model": Tiny().double()},
            {"key": keys.CorrespondenceKey.generate(classes=CLASSES)},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_differs_with_every_setting(self, change):
        assert make(**change).describe() != make().describe()

    def test_identifies_the_model_to_key_holders_only(self):
        class Other(Tiny):
            pass

        digest = make(model=Tiny()).describe()["model"]
        assert digest == make(model=copy.deepcopy(Tiny())).describe()["model"]
        assert digest != make(model=Other()).describe()["model"]
        assert digest != make(KEYS["mixup"], model=Tiny()).describe()["model"]
        changed = Tiny()
        changed.body[1].running_mean[0] += 1e-6
        assert digest != make(model=changed).describe()["model"]

    def test_repr_shows_no_secret_and_no_weights(self):
        text = repr(make(KEYS["concat"]))
        assert "tensor(" not in text
        assert "\n" not in text
        for shown in ("model=Tiny", "eps=0.5", "way=concat", "steps=4", "target_source=label"):
            assert shown in text
        assert make().security_claim == "obfuscation"


class TestFromKey:
    OPTIONS = {"eps": 0.5, "step_size": 0.2, "steps": 4}

    def test_makes_the_transform(self):
        model = Tiny()
        bundle = keys.KeyBundle(KEY, None, keys.LabelKey.generate(classes=CLASSES))
        for key in (KEY, bundle):
            transform = transforms.from_key(key, model=model, batch_size=3, **self.OPTIONS)
            assert type(transform) is AdversarialEncrypt
            assert transform.model is model
            assert transform.key == KEY
            assert transform.batch_size == 3

    def test_refusals(self):
        with pytest.raises(NotInvertibleError, match="keep the plain images"):
            transforms.from_key(KEY, inverse=True, model=Tiny(), **self.OPTIONS)
        with pytest.raises(InputTypeError, match="does not take these options: noise"):
            transforms.from_key(KEY, model=Tiny(), noise=3, **self.OPTIONS)
        with pytest.raises(InputTypeError, match="also needs these options: model, steps"):
            transforms.from_key(KEY, eps=1, step_size=1)
        with pytest.raises(InputTypeError, match="does not take these options: model"):
            transforms.from_key(make_bundle("aes"), model=Tiny())


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"model": print}, InputTypeError, r"torch\.nn\.Module"),
            ({"key": make_bundle("aes").transform}, KeyKindError, "CorrespondenceKey, got AESKey"),
            ({"key": keys.KeyBundle(KEY)}, KeyKindError, "from_key"),
            ({"eps": 0}, InputRangeError, "eps"),
            ({"step_size": -1}, InputRangeError, "step_size"),
            ({"steps": 0}, InputRangeError, "steps"),
            ({"precision": torch.int8}, InputTypeError, "precision"),
            ({"target_source": "guess"}, InputRangeError, "target_source must be one of"),
            ({"batch_size": 0}, InputRangeError, "batch_size"),
            ({"batch_size": True}, InputRangeError, "batch_size"),
            ({"labels_getter": "labels"}, InputRangeError, "labels_getter must be"),
            ({"labels_getter": None}, InputRangeError, "needs labels"),
            ({"labels_getter": None, "target_source": "random"}, InputRangeError, "needs labels"),
        ],
    )
    def test_settings(self, options, error, message):
        with pytest.raises(error, match=message):
            make(**options)

    def test_pixels_outside_of_the_range(self):
        for wrong in (images(dtype=torch.float32) * 2, images(dtype=torch.float32) - 0.5):
            with pytest.raises(InputRangeError, match=r"0\.\.1"):
                make()(wrong, LABELS)
        with pytest.raises(InputTypeError, match="not torch.int64"):
            make()(images().long(), LABELS)

    def test_perturb_takes_batches(self):
        for wrong in (images()[0], PIL.Image.new("RGB", SIZE)):
            with pytest.raises(InputShapeError, match=r"\[N, C, H, W\]"):
                make().perturb(wrong, LABELS)
        with pytest.raises(LabelError, match="target_source='predicted'"):
            make().perturb(images())


@pytest.mark.cuda
def test_on_cuda():
    model = Tiny().cuda()
    done = make(KEYS["cutmix"], model).perturb(images(), LABELS)
    assert done.images.device == done.distances.device == torch.device("cpu")
    there, labels = make(KEYS["concat"], model)(images().cuda(), LABELS.cuda())
    assert there.is_cuda
    assert labels.is_cuda
    apart = (there.cpu().int() - make(KEYS["concat"])(images(), LABELS)[0].int()).abs()
    assert int(apart.max()) <= 2


class TestModelsThatChangeTheirInput:
    """They get a copy: neither the pictures of the caller nor those that the search starts from are touched."""

    class InPlace(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.linear = torch.nn.Linear(3 * 8 * 8, 4)

        def forward(self, images):
            return self.linear(images.sub_(0.5).flatten(1))

    def test_predicted(self):
        key = keys.CorrespondenceKey.generate(classes=4)
        transform = transforms.AdversarialEncrypt(
            self.InPlace(), key, eps=0.5, step_size=0.1, steps=2, target_source="predicted", labels_getter=None
        )
        plain = torch.rand(5, 3, 8, 8)
        kept = plain.clone()
        assert transform.perturb(plain).max_distance <= 0.5 + 1e-6
        assert torch.equal(plain, kept)


def test_a_model_of_other_classes_than_the_key():
    class Two(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2]

    key = keys.CorrespondenceKey.generate(classes=4)
    transform = transforms.AdversarialEncrypt(
        Two(), key, eps=0.5, step_size=0.1, steps=2, target_source="predicted", labels_getter=None
    )
    with pytest.raises(ModelError, match=r"must return scores \[3, 4\]"):
        transform(torch.rand(3, 3, 8, 8))
