"""A batch that is disguised at once is what its pictures would be one by one."""

import pytest
import torch
from support import Pictures, make_bundle, make_image, sent_to_worker
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from torchprotect import data, transforms
from torchprotect.errors import InputTypeError, KeyKindError, LabelsLeftPlainWarning

BUNDLES = {kind: make_bundle(kind) for kind in ("aes", "rmt", "permutation")}


@pytest.fixture(params=BUNDLES)
def bundle(request):
    return BUNDLES[request.param]


def batches(dataset, **options):
    return list(DataLoader(dataset, batch_size=5, **options))


def assert_same(found, expected):
    assert len(found) == len(expected) == 3
    for (images, labels), (others, same) in zip(found, expected):
        assert torch.equal(images, others)
        assert labels.tolist() == same.tolist()


def test_it_gives_what_the_wrapper_gives(bundle):
    transform, plain = transforms.from_key(bundle), Pictures(12, 3)
    expected = batches(data.ProtectedDataset(plain, transform, bundle.labels))
    collate = transforms.disguise_batch(transform, labels=bundle.labels)
    assert_same(batches(plain, collate_fn=collate), expected)
    assert_same(batches(plain, collate_fn=sent_to_worker(collate)), expected)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers(context):
    bundle, plain = BUNDLES["aes"], Pictures(12, 3)
    collate = transforms.disguise_batch(transforms.from_key(bundle), labels=bundle.labels)
    found = batches(plain, collate_fn=collate, num_workers=1, multiprocessing_context=context)
    assert_same(found, batches(plain, collate_fn=collate))


def test_noise_differs_from_image_to_image():
    transform = transforms.from_key(BUNDLES["rmt"].transform, noise=25)
    picture = make_image(1, 16, 16)
    first, second = transforms.disguise_batch(transform)([(picture, 0), (picture, 0)])[0]
    assert not torch.equal(first, second)
    without = transforms.disguise_batch(transforms.from_key(BUNDLES["rmt"].transform))([(picture, 0)])[0][0]
    assert (first - without).abs().max() > 1


def test_a_composition_sees_the_whole_batch():
    bundle = BUNDLES["aes"]
    transform = v2.Compose([v2.Resize((16, 16)), transforms.from_key(bundle), v2.ToDtype(torch.float32, scale=True)])
    images, labels = transforms.disguise_batch(transform, labels=bundle.labels)(
        [(make_image(3, 32, 32, seed=n), n) for n in range(4)]
    )
    assert images.shape == (4, 3, 16, 16)
    assert images.dtype == torch.float32
    assert labels.tolist() == [bundle.labels.map(n) for n in range(4)]


def test_dicts_and_another_collate_function():
    bundle = BUNDLES["permutation"]
    samples = [{"image": make_image(1, 16, 16, seed=n), "label": n} for n in range(3)]
    found = transforms.disguise_batch(transforms.from_key(bundle), labels=bundle.labels)(samples)
    assert found["label"].tolist() == [bundle.labels.map(n) for n in range(3)]

    def without_last(samples):
        return torch.utils.data.default_collate(samples[:-1])

    collate = transforms.disguise_batch(transforms.from_key(bundle), labels=bundle.labels, collate_fn=without_last)
    assert torch.equal(collate(samples)["image"], found["image"][:2])


@pytest.mark.parametrize("step", [v2.RandomHorizontalFlip(p=1.0), v2.ToDtype(torch.float32, scale=True)])
def test_labels_may_stand_before_pictures(step):
    """A transform of torchvision takes the first of several tensors for the picture."""
    transform = v2.Compose([step, transforms.from_key(BUNDLES["permutation"].transform)])
    samples = [{"id": n, "image": make_image(3, 16, 16, seed=n), "label": n + 1} for n in range(4)]
    found = transforms.disguise_batch(transform)(samples)
    assert found["id"].tolist() == [0, 1, 2, 3]
    assert found["label"].tolist() == [1, 2, 3, 4]
    one_by_one = torch.stack([transform(sample["image"]) for sample in samples])
    assert torch.equal(found["image"], one_by_one)
    assert type(found["image"]) is torch.Tensor
    label, image = transforms.disguise_batch(transform)([(n, sample["image"]) for n, sample in enumerate(samples)])
    assert label.tolist() == [0, 1, 2, 3]
    assert torch.equal(image, one_by_one)


def test_several_pictures_a_sample():
    transform = transforms.from_key(BUNDLES["rmt"].transform, noise=25)
    picture = tv_tensors.Image(make_image(1, 16, 16))
    left, right, labels = transforms.disguise_batch(transform)([(picture, picture, n) for n in range(3)])
    assert left.shape == right.shape == (3, 1, 16, 16)
    assert not torch.equal(left, right)  # noise differs
    assert labels.tolist() == [0, 1, 2]


def test_other_values_stay_as_collated():
    transform = transforms.from_key(BUNDLES["aes"].transform)
    picture, hot, number = tv_tensors.Image(make_image(3, 16, 16)), torch.tensor([0, 1, 1]), torch.tensor([2])
    samples = [{"image": picture, "hot": hot, "number": number, "name": f"n{i}"} for i in range(3)]
    batch = transforms.disguise_batch(transform)(samples)
    assert torch.equal(batch["image"], transform(picture).as_subclass(torch.Tensor).expand(3, -1, -1, -1))
    assert torch.equal(batch["hot"], hot.expand(3, -1))
    assert torch.equal(batch["number"], number.expand(3, -1))
    assert batch["name"] == ["n0", "n1", "n2"]


def test_a_label_of_one_number_is_renamed():
    bundle = BUNDLES["aes"]
    collate = transforms.disguise_batch(transforms.from_key(bundle), labels=bundle.labels)
    labels = torch.tensor([[0], [1], [2]])
    _, renamed = collate([(tv_tensors.Image(make_image(3, 16, 16)), label) for label in labels])
    assert torch.equal(renamed, bundle.labels.map(labels))


def test_a_collate_function_that_puts_batches_together_in_its_own_way():
    transform = transforms.from_key(BUNDLES["aes"].transform)
    picture = make_image(3, 16, 16)
    collate = transforms.disguise_batch(transform, collate_fn=lambda samples: torch.stack([x for x, _ in samples]))
    assert torch.equal(collate([(picture, 0), (picture, 1)]), transform(torch.stack([picture, picture])))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "at least one sample"),
        (
            [(tv_tensors.Image(make_image(3, 16, 16)), tv_tensors.Mask(make_image(1, 16, 16)))],
            r"of type .*Mask unprotected",
        ),
        ([(make_image(3, 16, 16), make_image(5, 16, 16))], "cannot tell which tensors are pictures"),
        ([(make_image(16, 16), 0)] * 3, r"no picture \[C, H, W\]; grey ones need a channel"),
        ([(v2.functional.to_pil_image(make_image(3, 16, 16)), 0)], r"cannot be stacked.*v2\.ToImage"),
        ([(make_image(3, 16, 16), 0), (make_image(3, 16, 8), 0)], "cannot be stacked"),
    ],
)
def test_samples_that_are_refused(samples, message):
    with pytest.raises(InputTypeError, match=message):
        transforms.disguise_batch(transforms.from_key(BUNDLES["aes"].transform))(samples)


def test_rows_of_numbers_are_not_renamed():
    bundle = BUNDLES["aes"]
    collate = transforms.disguise_batch(transforms.from_key(bundle), labels=bundle.labels)
    with pytest.raises(InputTypeError, match=r"more than one number.*label\.argmax"):
        collate([(tv_tensors.Image(make_image(3, 16, 16)), torch.tensor([0, 1]))])


def test_mistakes():
    bundle = BUNDLES["aes"]
    with pytest.raises(KeyKindError, match="use transforms.from_key"):
        transforms.disguise_batch(bundle)
    with pytest.raises(InputTypeError, match="left unprotected"):
        transforms.disguise_batch(v2.Identity())
    with pytest.raises(InputTypeError, match="left unprotected"):
        transforms.disguise_batch(None)
    with pytest.raises(KeyKindError, match="bundle.labels"):
        transforms.disguise_batch(transforms.from_key(bundle), labels=bundle)
    with pytest.warns(LabelsLeftPlainWarning, match="disguise_batch leaves the labels plain") as caught:
        transforms.disguise_batch(transforms.from_key(bundle))
    assert caught[0].filename == __file__
