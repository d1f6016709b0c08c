"""Preparing pictures: the same pixels as Pillow and torchvision give, the shape told in advance, nothing lost."""

import hashlib
import io

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
from support import run_export, write_folder, write_tar
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import data, keys, transforms
from torchprotect.data.preparation import decoder_versions
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, KeySizeError, SourceError

PREPARATIONS = [
    data.Preparation(),
    data.Preparation(exif=True),
    data.Preparation(mode="rgb"),
    data.Preparation(mode="grey", resize=(10, 14)),
    data.Preparation(resize=12),
    data.Preparation(exif=True, mode="rgb", resize=24, crop=(20, 16)),
    data.Preparation(mode="rgb", pad=(50, 41)),
    data.Preparation(resize=20, crop=(15, 17)),
]
GOLDEN = {"resize": "2bc983e5cdc1e236", "grey": "7e23c7c295554a35", "larger": "e37be749ddda9db9"}
FORMATS = [
    ("JPEG", "RGB"),
    ("JPEG", "L"),
    ("JPEG", "CMYK"),
    ("PNG", "P"),
    ("PNG", "1"),
    ("TIFF", "RGB"),
    ("WEBP", "RGB"),
]


def picture(mode="RGB", size=(30, 21), seed=0):
    """Return a picture of a mode; ``size`` is width and height."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels).convert(mode)


def saved(image, form, orientation=1):
    buffer, exif = io.BytesIO(), PIL.Image.Exif()
    exif[0x0112] = orientation
    image.save(buffer, form, **({} if form == "PNG" and image.mode == "1" else {"exif": exif}))
    return buffer.getvalue()


def tar_source(tmp_path, content, suffix):
    return data.open_source(str(write_tar(tmp_path / "x.tar", {f"a.{suffix}": content, "a.cls": b"0"})))


def prepared_by_torchvision(image, preparation):
    """Do the same with torchvision's transforms for PIL images."""
    if preparation.exif:
        image = PIL.ImageOps.exif_transpose(image)
    wanted = {"rgb": "RGB", "grey": "L", None: "L" if image.mode in ("1", "L") else "RGB"}[preparation.mode]
    steps = [lambda each: each.convert(wanted)]
    if preparation.resize is not None:
        size = preparation.resize
        steps.append(v2.Resize(size if isinstance(size, int) else list(size)))
    if preparation.crop is not None:
        steps.append(v2.CenterCrop(preparation.crop))
    for step in steps:
        image = step(image)
    if preparation.pad is None:
        return pil_to_tensor(image)
    (height, width), (top, left) = (
        preparation.pad,
        ((preparation.pad[0] - image.height) // 2, (preparation.pad[1] - image.width) // 2),
    )
    padding = [left, top, width - image.width - left, height - image.height - top]
    return pil_to_tensor(v2.Pad(padding)(image))


class TestPixels:
    @pytest.mark.parametrize("preparation", PREPARATIONS, ids=str)
    @pytest.mark.parametrize(("form", "mode"), FORMATS)
    @pytest.mark.parametrize("orientation", [1, 3, 6])
    def test_as_torchvision_does(self, tmp_path, preparation, form, mode, orientation):
        content = saved(picture(mode), form, orientation)
        source = tar_source(tmp_path, content, {"JPEG": "jpg"}.get(form, form.lower())).prepared(preparation)
        with PIL.Image.open(io.BytesIO(content)) as opened:
            if form != "TIFF":  # Pillow turns it as it decodes it
                expected = prepared_by_torchvision(opened, preparation)
            else:
                opened.load()
                expected = prepared_by_torchvision(opened, preparation)
        assert torch.equal(source[0].image, expected)
        assert source.header(0).shape == tuple(expected.shape)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientations(self, tmp_path, orientation):
        upright = picture()
        methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # what undoes each: PIL.Image.Transpose by number
        stored = upright if orientation == 1 else upright.transpose(PIL.Image.Transpose(methods[orientation]))
        if orientation in (6, 8):
            stored = upright.transpose(PIL.Image.Transpose({6: 2, 8: 4}[orientation]))
        source = tar_source(tmp_path, saved(stored, "PNG", orientation), "png").prepared(data.Preparation(exif=True))
        assert torch.equal(source[0].image, pil_to_tensor(upright))

    def test_a_preparation_without_steps_does_nothing(self):
        assert not data.Preparation()
        image = picture("P")
        assert data.Preparation()(image) is image

    def test_arrays_and_data_sets_in_python(self):
        pictures = [(picture(seed=n), n % 2) for n in range(4)]
        tensors = [(pil_to_tensor(image), label) for image, label in pictures]
        preparation = data.Preparation(mode="grey", resize=(8, 8))
        for dataset in (pictures, tensors):
            source = data.sources.as_source(dataset).prepared(preparation)
            for (image, _), (expected, _) in zip([source[n] for n in range(4)], pictures, strict=True):
                assert torch.equal(image, prepared_by_torchvision(expected, preparation))

    def test_floats_are_refused(self):
        source = data.sources.as_source([(torch.zeros(3, 8, 8), 0)]).prepared(data.Preparation(resize=4))
        with pytest.raises(SourceError, match="takes uint8 images"):
            source[0]


def test_the_same_pixels_everywhere():
    """Integer arithmetic: any machine gives these bytes."""
    rows, columns = np.mgrid[0:37, 0:53]
    pixels = np.stack([rows * columns % 256, (rows * 7 + columns * 3) % 256, (rows ^ columns) % 256], -1).astype(
        np.uint8
    )
    found = {}
    for name, preparation in (
        ("resize", data.Preparation(resize=(16, 24))),
        ("grey", data.Preparation(mode="grey")),
        ("larger", data.Preparation(mode="grey", resize=64, crop=(60, 60))),
    ):
        image = pil_to_tensor(preparation(PIL.Image.fromarray(pixels)))
        found[name] = hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()[:16]
    assert found == GOLDEN


class TestNothingIsLost:
    def test_opaque_alpha_is_dropped(self, tmp_path):
        image = picture("RGBA")
        image.putalpha(255)
        source = tar_source(tmp_path, saved(image, "PNG"), "png")
        with pytest.raises(SourceError, match=r"alpha channel \(mode RGBA\); --mode rgb drops it if it"):
            source[0]
        prepared = source.prepared(data.Preparation(mode="rgb"))
        assert torch.equal(prepared[0].image, pil_to_tensor(image.convert("RGB")))
        assert prepared.header(0).shape == (3, 21, 30)

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
    def test_transparency_is_refused(self, tmp_path, mode):
        image = picture("RGBA")
        image.putpixel((3, 4), (1, 2, 3, 100))
        buffer = io.BytesIO()
        if mode == "P":
            picture("P").save(buffer, "PNG", transparency=int(np.asarray(picture("P"))[4, 3]))
        else:
            image.convert(mode).save(buffer, "PNG")
        source = tar_source(tmp_path, buffer.getvalue(), "png").prepared(data.Preparation(mode="rgb"))
        with pytest.raises(SourceError, match=r"a in .*x\.tar: it is transparent in places"):
            source[0]

    def test_sixteen_bits_are_refused(self, tmp_path):
        buffer = io.BytesIO()
        PIL.Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(buffer, "PNG")
        with pytest.raises(SourceError, match="8 bits"):
            tar_source(tmp_path, buffer.getvalue(), "png").prepared(data.Preparation(mode="grey"))[0]

    def test_pictures_that_would_become_huge(self, tmp_path):
        source = tar_source(tmp_path, saved(picture(size=(60000, 1)), "PNG"), "png")
        for read in (
            source.prepared(data.Preparation(resize=224)).__getitem__,
            source.prepared(data.Preparation(resize=224)).header,
        ):
            with pytest.raises(SourceError, match="so narrow that it would have 224 x 13440000; crop it"):
                read(0)

    def test_too_small_or_large(self, tmp_path):
        source = tar_source(tmp_path, saved(picture(), "PNG"), "png")
        for preparation, message in (
            (data.Preparation(crop=(40, 10)), "21 x 30 pixels, smaller than the crop, 40 x 10"),
            (data.Preparation(pad=(40, 10)), "21 x 30 pixels, larger than the size to pad to, 40 x 10"),
        ):
            for read in (source.prepared(preparation).__getitem__, source.prepared(preparation).header):
                with pytest.raises(SourceError, match=message):
                    read(0)


class TestSettings:
    @pytest.mark.parametrize("preparation", PREPARATIONS, ids=str)
    def test_description_and_back(self, preparation):
        assert data.Preparation.from_description(preparation.describe()) == preparation

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"mode": "RGB"}, InputRangeError, "mode must be 'rgb', 'grey' or None"),
            ({"resize": 0}, InputRangeError, "resize must be an integer from 1"),
            ({"resize": (8, 0)}, InputRangeError, "a side of resize"),
            ({"resize": (8, 8, 8)}, InputTypeError, "resize must be"),
            ({"crop": 8}, InputTypeError, "crop must be"),
            ({"pad": [8, 8]}, InputTypeError, "pad must be"),
            ({"crop": (8, 8), "pad": (8, 8)}, InputRangeError, "exclude each other"),
            ({"exif": "yes"}, InputTypeError, "exif must be True or False"),
        ],
    )
    def test_wrong_settings(self, settings, error, message):
        with pytest.raises(error, match=message):
            data.Preparation(**settings)

    def test_steps_of_a_newer_version(self):
        with pytest.raises(InputRangeError, match="does not know these steps of a preparation: sharpen"):
            data.Preparation.from_description({"sharpen": 2})

    def test_the_error_of_a_shape(self):
        with pytest.raises(InputShapeError, match="smaller than the crop"):
            data.Preparation(crop=(40, 10)).shape(data.preparation.Shape(3, 21, 30))

    def test_only_a_preparation_is_taken(self, tmp_path):
        with pytest.raises(InputTypeError, match=r"prepare must be a data\.Preparation, got dict"):
            run_export(tmp_path / "out", prepare={"resize": 16})

    def test_a_source_of_ones_own_must_take_it(self, tmp_path):
        class Own:
            folders, left_out = (), {}

            def __len__(self):
                return 1

            name = locate = content = listing = None

        with pytest.raises(InputTypeError, match=r"Own takes no preparation: give it a method prepared\(preparation\)"):
            run_export(tmp_path / "out", dataset=Own(), prepare=data.Preparation(resize=16))


@pytest.fixture
def mixed(tmp_path):
    """An image folder of several sizes and modes."""
    root = write_folder(tmp_path / "photos", classes=2, each=6, size=(20, 24))
    picture(size=(40, 30)).save(root / "class0" / "large.jpg")
    picture("L", size=(24, 20)).save(root / "class1" / "grey.png")
    (root / "class1" / "turned.jpg").write_bytes(saved(picture(size=(20, 24)), "JPEG", 6))
    return root


@pytest.fixture
def order():
    return keys.PermutationKey.generate(image_size=(16, 16), block_size=(4, 4))


def exported(out, source, key, **options):
    return data.export(source, out, transform=transforms.from_key(key), key=key, shard_size=4, **options)


class TestExports:
    def test_mixed_sizes_stop_before_the_first_shard_with_counts(self, tmp_path, mixed, order):
        source = data.open_source(mixed)
        told = "12 images are 3 x 20 x 24, 1 is 3 x 30 x 40, 1 is 1 x 20 x 24, 1 is 3 x 24 x 20: add --exif --mode rgb "
        with pytest.raises(KeySizeError, match=told):
            exported(tmp_path / "out", source, order)
        assert not (tmp_path / "out").exists()

    def test_mixed_modes_stop_before_the_first_shard_with_counts(self, tmp_path):
        root = write_folder(tmp_path / "photos", classes=3, each=3)
        picture("L", size=(16, 16)).save(root / "class2" / "grey.png")
        key = keys.PermutationKey.generate(image_size=(16, 16), block_size=(4, 4))
        with pytest.raises(
            SourceError,
            match=r"class2/grey\.png has another.* 9 images are 3 x 16 x 16, 1 is 1 x 16 x 16: add --mode rgb \(",
        ):
            exported(tmp_path / "out", data.open_source(root), key)
        assert not list((tmp_path / "out").glob("*.tar"))

    def test_modes_that_a_step_would_mix_stop_before_the_first_shard(self, tmp_path, mixed, order):
        resize = v2.Compose([v2.Resize((16, 16)), transforms.from_key(order)])
        with pytest.raises(
            SourceError, match=r"14 with 3 become 3 x 16 x 16, 1 with 1 become 1 x 16 x 16; add --mode rgb"
        ):
            data.export(data.open_source(mixed), tmp_path / "out", transform=resize, shard_size=4)
        assert not list((tmp_path / "out").glob("*.tar"))

    def test_prepared_pictures_are_exported(self, tmp_path, mixed, order):
        preparation = data.Preparation(exif=True, mode="rgb", resize=16, crop=(16, 16))
        result = exported(tmp_path / "out", data.open_source(mixed), order, prepare=preparation)
        assert (result.images, result.notes) == (15, ())
        expected = {
            prepared_by_torchvision(PIL.Image.open(path), preparation).numpy().tobytes() for path in mixed.rglob("*.*")
        }
        inverse = transforms.from_key(order, inverse=True)
        assert {inverse(image).numpy().tobytes() for image, _ in data.read(tmp_path / "out")} == expected

    def test_plan_and_manifest_state_it(self, tmp_path, mixed, order):
        preparation = data.Preparation(mode="rgb", resize=(16, 16))
        exported(tmp_path / "out", data.open_source(mixed), order, prepare=preparation)
        store = data.store.open_store(tmp_path / "out")
        plan = data.manifest.read_document(store, "plan.json", data.manifest.PLAN_FORMAT)
        assert plan["prepare"] == data.manifest.read_manifest(store)["prepare"] == {"mode": "rgb", "resize": [16, 16]}
        assert plan["decoders"] == decoder_versions()
        assert plan["decoders"]["pillow"] == PIL.__version__

    def test_without_one_neither_states_any(self, tmp_path):
        run_export(tmp_path / "out")
        assert b"prepare" not in (tmp_path / "out" / "plan.json").read_bytes()
        assert b"decoders" not in (tmp_path / "out" / "plan.json").read_bytes()

    def test_another_preparation_or_decoder_is_another_plan(self, tmp_path, mixed, order, monkeypatch):
        source, preparation = data.open_source(mixed), data.Preparation(mode="rgb", resize=(16, 16))
        exported(tmp_path / "out", source, order, prepare=preparation)
        other = data.Preparation(mode="rgb", resize=16, crop=(16, 16))
        with pytest.raises(data.export.__globals__["ExportError"], match=r"another plan: crop was None, is \[16, 16\]"):
            exported(tmp_path / "out", source, order, prepare=other)
        versions = {**decoder_versions(), "pillow": "9.9"}
        monkeypatch.setattr("torchprotect.data._plan.decoder_versions", lambda: versions)
        with pytest.raises(data.export.__globals__["ExportError"], match=f"pillow was {PIL.__version__}, is 9.9"):
            exported(tmp_path / "out", source, order, prepare=preparation)

    def test_ignored_orientations_are_noted(self, tmp_path, mixed, order):
        result = exported(
            tmp_path / "out", data.open_source(mixed), order, prepare=data.Preparation(mode="rgb", resize=(16, 16))
        )
        assert len(result.notes) == 1
        assert result.notes[0].startswith("1 of 15 images have an EXIF orientation, which is ignored")

    def test_the_most_common_shape_stays_where_others_are_skipped(self, tmp_path):
        root = write_folder(tmp_path / "photos", classes=2, each=5, size=(16, 16))
        picture("L", size=(16, 16)).save(root / "class0" / "!first.png")
        (root / "class0" / "!broken.png").write_bytes(b"")
        key = keys.PermutationKey.generate(image_size=(16, 16), block_size=(4, 4))
        result = exported(tmp_path / "out", data.open_source(root), key, on_error="skip")
        assert set(result.skipped) == {"class0/!first.png", "class0/!broken.png"}
        assert result.class_counts == {"class0": 5, "class1": 5}

    def test_the_hint_names_the_step_that_was_given(self, tmp_path, mixed, order):
        for preparation, hint in (
            (data.Preparation(mode="rgb", crop=(18, 18)), "add --exif --resize 16x16 in place of --crop"),
            (data.Preparation(mode="rgb", pad=(48, 48)), "add --exif --resize 16x16 in place of --pad"),
        ):
            with pytest.raises(KeySizeError, match=hint):
                exported(tmp_path / "out", data.open_source(mixed), order, prepare=preparation)

    def test_a_broken_picture_is_named(self, tmp_path, mixed, order):
        (mixed / "class1" / "broken.jpg").write_bytes(saved(picture(), "JPEG")[:200])
        preparation = data.Preparation(mode="rgb", resize=(16, 16))
        with pytest.raises(SourceError, match=r"class1/broken\.jpg"):
            exported(tmp_path / "out", data.open_source(mixed), order, prepare=preparation)
        result = exported(tmp_path / "out2", data.open_source(mixed), order, prepare=preparation, on_error="skip")
        assert (result.images, result.skipped) == (15, ("class1/broken.jpg",))

    @pytest.mark.parametrize("options", [{"workers": 2}, {"part": (0, 2)}])
    def test_bytes_do_not_depend_on_the_run(self, tmp_path, mixed, order, options):
        from support import content

        preparation = data.Preparation(exif=True, mode="rgb", resize=16, crop=(16, 16))
        source = data.open_source(mixed)
        exported(tmp_path / "one", source, order, prepare=preparation, split="train")
        exported(tmp_path / "two", source, order, prepare=preparation, split="train", **options)
        exported(tmp_path / "two", source, order, prepare=preparation, split="train")
        assert content(tmp_path / "one") == content(tmp_path / "two")


def test_float16(tmp_path):
    key = keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4))
    for name, options in (("full", {}), ("half", {"store": "float16"})):
        data.export(
            [(pil_to_tensor(picture(size=(16, 16), seed=n)), 0) for n in range(20)],
            tmp_path / name,
            transform=transforms.from_key(key, noise=20),
            **options,
        )
    full, half = ([image for image, _ in data.read(tmp_path / name)] for name in ("full", "half"))
    assert {image.dtype for image in half} == {torch.float16}
    worst = max(float((a - b.float()).abs().max()) for a, b in zip(full, half, strict=True))
    assert 0 < worst <= 0.25  # grey levels: half a unit in the last place below 1,024
    stored = {name: (tmp_path / name / "shard-000000.tar").stat().st_size for name in ("full", "half")}
    assert stored["full"] - stored["half"] == 20 * 3 * 512  # tar pads members; 1,536 bytes less each


def test_float16_overflows_with_an_error(tmp_path):
    key = keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4))
    wide = keys.RMTKey.from_parts(key.params, {**key.tensors(), "matrices": key.matrices * 1000})
    with pytest.raises(InputRangeError, match="do not fit into torch.float16; store float32"):
        data.export(
            [(torch.full((1, 16, 16), 255).byte(), 0)],
            tmp_path / "out",
            transform=transforms.from_key(wide),
            store="float16",
        )


def test_whole_numbers_are_not_rounded(tmp_path):
    with pytest.raises(InputTypeError, match=r"rounds floating-point results.*gives torch\.uint8: leave it out"):
        run_export(tmp_path / "out", store="float16")


def test_rounding_of_ill_conditioned_matrices_is_noted(tmp_path):
    images = [(pil_to_tensor(picture(size=(16, 16), seed=n)), 0) for n in range(3)]
    for matrix, notes in (("orthogonal", 0), ("uniform", 1)):
        key = keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4), matrix=matrix)
        result = data.export(images, tmp_path / matrix, transform=transforms.from_key(key), key=key, store="float16")
        assert sum("rounded to float16" in note for note in result.notes) == notes


def test_only_float16_is_stored(tmp_path):
    with pytest.raises(InputRangeError, match="store must be 'float16' or None, got 'bfloat16'"):
        run_export(tmp_path / "out", store="bfloat16")
