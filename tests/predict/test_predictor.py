"""From a trained network to a model file and to plain answers; whatever does not go together is refused."""

import copy
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
import torch
from nets import Function
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support import make_bundle, make_image, write_folder
from torch import nn
from torchvision.models import VisionTransformer

from torchprotect import data, keys, predict, transforms
from torchprotect.errors import (
    ExportError,
    InputRangeError,
    InputTypeError,
    KeyKindError,
    KeySizeError,
    ModelError,
    ModelFileError,
    NotInvertibleError,
    SourceError,
)
from torchprotect.predict import Predictor

PREPARE = data.Preparation(mode="rgb", resize=16, crop=(16, 16))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def network(classes: int = 10, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, classes))


class World:
    """An export of pictures in four classes, and a network for it.

    Args:
        folder: to write to.
        kind: of key.
    """

    def __init__(self, folder, kind: str = "aes", **options) -> None:
        self.key, self.photos, self.out = make_bundle(kind), folder / "photos", folder / "out"
        write_folder(self.photos, classes=4, each=3, size=(20, 24))
        disguise = transforms.from_key(self.key, **options)
        source = data.open_source(self.photos)
        data.export(source, self.out, transform=disguise, key=self.key, shard_size=5, prepare=PREPARE)
        self.network, self.path = network(), folder / "model.safetensors"
        self.header = predict.save(self.network, self.path, like=self.out, mean=MEAN, std=STD)

    def load(self, **options) -> Predictor:
        return Predictor.load(self.path, **{"key": self.key, "network": network(seed=1), **options})

    def files(self):
        return sorted(self.photos.rglob("*.*g"))


@pytest.fixture(scope="module", params=["aes", "rmt", "permutation"])
def world(request, tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"), request.param)


@pytest.fixture(scope="module")
def aes(tmp_path_factory):
    return World(tmp_path_factory.mktemp("aes"))


class TestAnswers:
    def test_they_are_those_of_the_training_pipeline(self, world):
        """The network answers as it does on the export, read and normalised by hand; labels are renamed back."""
        owner = data.read_owner(world.out, key=world.key)
        by_name = {original.name: identity for identity, original in owner.originals.items()}
        assert len(by_name) == 12
        predictor = world.load(export=world.out)
        images, _ = zip(*data.read(world.out))
        mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (MEAN, STD))
        with torch.no_grad():
            logits = copy.deepcopy(world.network).eval()((torch.stack(images).float() / 255 - mean) / std)
        expected = {tuple(row.tolist()) for row in logits.softmax(1)[:, world.key.labels.labels]}
        found = [answer.scores for answer in predictor.predict(world.files())]
        assert len(found) == 12
        distances = [min((row - torch.tensor(each)).abs().max() for each in expected) for row in found]
        assert max(distances) < 1e-5
        answer = predictor(world.files()[0])
        assert answer.name == (owner.class_names[answer.label] if answer.label < 4 else None)
        assert answer.label == int(found[0].argmax())

    def test_all_kinds_of_pictures_get_one_answer(self, world):
        predictor, file = world.load(), world.files()[0]
        with PIL.Image.open(file) as picture:
            array = np.asarray(picture.convert("RGB"))
            answers = [predictor(each) for each in (file, str(file), picture.copy(), array)]
        tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
        answers += [predictor(tensor), *predictor.predict([file]), *predictor.predict(tensor[None])]
        assert all(torch.equal(each.scores, answers[0].scores) for each in answers)

    def test_batches_and_single_pictures_agree(self, world):
        predictor = world.load()
        alone = torch.stack([predictor(each).scores for each in world.files()])
        for size in (1, 5, 64):
            together = torch.stack([each.scores for each in predictor.predict(world.files(), batch_size=size)])
            torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(predictor.scores(world.files()), alone, rtol=1e-5, atol=1e-6)
        assert predictor.scores([]).shape == (0, 10)
        assert list(predictor.predict(iter([]))) == []

    def test_pictures_are_read_as_they_are_needed(self, aes):
        def pictures():
            yield from aes.files()[:2]
            raise AssertionError("read too far")

        answers = aes.load().predict(pictures(), batch_size=1)
        assert [next(answers).label, next(answers).label]

    def test_noise_gets_one_answer(self, tmp_path):
        predictor = World(tmp_path, "rmt", noise=50).load()
        picture = make_image(3, 16, 16)
        assert torch.equal(predictor(picture).scores, predictor(picture).scores)

    def test_without_a_label_map(self, tmp_path):
        key = keys.PermutationKey.generate(image_size=(16, 16), block_size=(4, 4))
        disguise, made = transforms.BlockPermute(key), network()
        recipe = data.Recipe.of_disguise(disguise, scale=1)
        predict.save(made, tmp_path / "model", like=recipe, mean=0, std=1)
        names = [f"class {number}" for number in range(10)]
        predictor = Predictor.load(tmp_path / "model", key=key, network=network, class_names=names)
        image = make_image(3, 16, 16, dtype=torch.float32)
        with torch.no_grad():
            wanted = made.eval()(disguise(image[None])).softmax(1)[0]
        torch.testing.assert_close(predictor(image).scores, wanted)
        assert predictor(make_image(3, 16, 16)).label == int(wanted.argmax())
        assert predictor(image).name == names[int(wanted.argmax())]

    def test_several_labels(self, tmp_path):
        photos = write_folder(tmp_path / "photos", classes=4, each=1, size=(16, 16))
        files = sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
        (tmp_path / "labels.csv").write_text("name,labels\n" + "".join(f"{each},a|b\n" for each in files))
        source = data.open_source(photos, labels_from=str(tmp_path / "labels.csv"), class_names=("a", "b", "c"))
        key = make_bundle()
        data.export(source, tmp_path / "out", transform=transforms.from_key(key), key=key)
        predict.save(network(), tmp_path / "model", like=tmp_path / "out", mean=0, std=1)
        predictor = Predictor.load(tmp_path / "model", key=key, network=network)
        assert predictor.header.several_labels
        answer = predictor(photos / files[0])
        assert float(answer.scores.sum()) > 1.5  # ten independent scores
        assert [each.score for each in answer.above(0)] == sorted(answer.scores.tolist(), reverse=True)
        assert answer.above(1) == ()

    def test_a_matched_network(self, tmp_path):
        world = World(tmp_path, "rmt")
        original = network()
        disguise = transforms.from_key(world.key)
        with pytest.warns(UserWarning, match="contains the key"):
            matched = predict.match_key(original, disguise, mean=MEAN, std=STD, scale=255)
        whole = nn.Sequential(matched, nn.Softplus())  # it may be a part of another
        saved = {"like": world.out, "mean": 0, "std": 1 / 255}
        with pytest.raises(InputTypeError, match="say whether this matched network answers with plain class numbers"):
            predict.save(whole, tmp_path / "matched", **saved)
        header = predict.save(whole, tmp_path / "matched", plain_labels=True, **saved)
        assert header.security_claim == "none: the weights contain the key"
        with safe_open(tmp_path / "matched", "pt") as file:
            assert file.metadata()["security_claim"] == "none: the weights contain the key"
        loaded = predict.load_network(tmp_path / "matched", nn.Sequential(network(seed=3), nn.Softplus()))
        for name, value in loaded.state_dict().items():
            assert torch.equal(value, whole.state_dict()[name])
        made = nn.Sequential(network(seed=3), nn.Softplus())
        predictor = Predictor.load(tmp_path / "matched", key=world.key, network=made)
        plain = make_image(3, 16, 16)
        mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (MEAN, STD))
        with torch.no_grad():
            wanted = nn.functional.softplus(original.eval()((plain[None] / 255 - mean) / std)).softmax(1)
        torch.testing.assert_close(predictor(plain).scores, wanted[0], rtol=1e-4, atol=1e-5)
        predict.save(whole, tmp_path / "tuned", plain_labels=False, **saved)
        tuned = Predictor.load(tmp_path / "tuned", key=world.key, network=made)
        torch.testing.assert_close(tuned(plain).scores, wanted[0, world.key.labels.labels], rtol=1e-4, atol=1e-5)


class TestMatchedFiles:
    """A matched network keeps its mark, and goes with images of its key alone."""

    @pytest.fixture
    def matched(self):
        torch.manual_seed(0)
        sizes = {"image_size": 16, "patch_size": 4, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
        original = VisionTransformer(**sizes, num_classes=10).eval()
        nn.init.normal_(original.heads.head.weight)
        key = make_bundle("rmt")
        disguise = transforms.from_key(key)
        with pytest.warns(UserWarning, match="contains the key"):
            made = predict.match_key(original, disguise, mean=MEAN, std=STD)
        return original, made, key

    def recipe(self, key):
        return data.Recipe.of_disguise(transforms.from_key(key), key=key, scale=1)

    def test_with_a_recipe(self, matched, tmp_path):
        original, made, key = matched
        predict.save(made, tmp_path / "model", like=self.recipe(key), mean=0, std=1, plain_labels=True)
        predictor = Predictor.load(tmp_path / "model", key=key, network=original)
        assert type(original.conv_proj) is nn.Conv2d  # the one that was given is not changed
        plain = make_image(3, 16, 16, dtype=torch.float32)
        mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (MEAN, STD))
        with torch.no_grad():
            wanted = original((plain[None] - mean) / std).softmax(1)[0]
        torch.testing.assert_close(predictor(plain).scores, wanted, rtol=1e-4, atol=1e-5)

    def test_another_key_scale_or_normalisation(self, matched, tmp_path):
        _, made, key = matched
        given = {"path": tmp_path / "model", "plain_labels": True}
        with pytest.raises(KeyKindError, match="was matched to RMTDisguise with key"):
            predict.save(made, like=self.recipe(make_bundle("rmt")), mean=0, std=1, **given)
        for mean, std in ((0.5, 1), (0, 0.25), (0, 1 / 255)):
            with pytest.raises(InputRangeError, match="save it with mean=0, std=1"):
                predict.save(made, like=self.recipe(key), mean=mean, std=std, **given)
        assert not (tmp_path / "model").exists()

    def test_the_mark_stays(self, matched, tmp_path):
        original, made, key = matched
        saved = {"like": self.recipe(key), "mean": 0, "std": 1, "plain_labels": True}

        class Around(nn.Module):
            def __init__(self):
                super().__init__()
                self.patches, self.head = made.conv_proj, nn.Linear(8, 10)

            def forward(self, images):
                return self.head(self.patches(images).mean((2, 3)))

        for number, each in enumerate((Around(), copy.deepcopy(made), nn.Sequential(made))):
            header = predict.save(each, tmp_path / str(number), **saved)
            assert header.security_claim == "none: the weights contain the key"
        with pytest.raises(RuntimeError, match="contains_key"):
            original.load_state_dict(made.state_dict())

    def test_weights_that_left_their_network(self, matched, tmp_path):
        _, made, key = matched
        del made.conv_proj.torchprotect_matched
        with pytest.raises(ModelError, match=r"conv_proj.* comes from a network that was matched to a key"):
            predict.save(made, tmp_path / "model", like=self.recipe(key), mean=0, std=1)

    def test_a_file_of_another_grid_allocates_nothing(self, matched, tmp_path):
        original, made, key = matched
        predict.save(made, tmp_path / "model", like=self.recipe(key), mean=0, std=1, plain_labels=True)
        with safe_open(tmp_path / "model", "pt") as file:
            metadata = file.metadata()
        described = json.loads(metadata["model"])
        described["matched"]["grid_size"] = [4096, 4096]
        save_file(load_file(tmp_path / "model"), tmp_path / "large", {**metadata, "model": json.dumps(described)})
        with pytest.raises(ModelError, match=r"weights \[16777216, 8, 3, 4, 4\], but there are \[16, 8, 3, 4, 4\]"):
            predict.load_network(tmp_path / "large", original)


class Modal(nn.Sequential):
    """A network that answers otherwise in train mode."""

    def forward(self, images):
        return super().forward(images) * (1000 if self.training else 1)


class TestManners:
    def test_threads_share_a_predictor(self, aes):
        predictor = Predictor(Modal(*aes.network), aes.header, key=aes.key)
        expected = predictor.scores(aes.files())
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda _: predictor.scores(aes.files()), range(12)))
        assert all(torch.equal(each, expected) for each in found)
        assert not predictor.network.training

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_other_precisions(self, aes, tmp_path, dtype):
        predict.save(network().to(dtype), tmp_path / "model", like=aes.out, mean=MEAN, std=STD)
        predictor = Predictor.load(tmp_path / "model", key=aes.key, network=lambda: network(seed=1).to(dtype))
        wanted = aes.load().scores(aes.files())
        torch.testing.assert_close(predictor.scores(aes.files()), wanted, rtol=0.1, atol=0.02)

    def test_compiled_networks(self, aes, tmp_path):
        compiled = torch.compile(network(), backend="eager")
        predict.save(compiled, tmp_path / "model", like=aes.out, mean=MEAN, std=STD)
        assert predict.load_network(tmp_path / "model", network)

    def test_a_pipe_is_no_picture(self, aes, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(SourceError, match="is not a regular file"):
            aes.load()(tmp_path / "pipe.png")


class TestPrediction:
    def test_top(self):
        answer = predict.Prediction(torch.tensor([0.1, 0.7, 0.2]), ("cat", "dog"))
        assert (answer.label, answer.name, round(answer.score, 3)) == (1, "dog", 0.7)
        assert [(each.label, each.name) for each in answer.top(5)] == [(1, "dog"), (2, None), (0, "cat")]
        assert [each.label for each in answer.above(0.15)] == [1, 2]
        assert repr(answer) == "Prediction(label=1, name='dog', score=0.700)"
        with pytest.raises(InputRangeError, match="count must be"):
            answer.top(0)


class TestRefusals:
    def test_another_key(self, aes):
        with pytest.raises(KeyKindError, match=r"was made with key \w{12}, the key given is \w{12}"):
            aes.load(key=make_bundle())
        with pytest.raises(KeyKindError, match="key must be a Key, got pathlib.PosixPath"):
            aes.load(key=aes.path)

    def test_the_key_without_its_label_map(self, aes):
        for part in (aes.key.transform, keys.KeyBundle(aes.key.transform, aes.key.permutation)):
            with pytest.raises(KeyKindError):
                aes.load(key=part)

    def test_pictures_of_another_size(self, tmp_path):
        key = make_bundle()
        made = data.Recipe.of_disguise(transforms.from_key(key), key=key, scale=255)
        predict.save(network(), tmp_path / "model", like=made, mean=0, std=1)
        predictor = Predictor.load(tmp_path / "model", key=key, network=network)
        PIL.Image.new("RGB", (20, 16)).save(tmp_path / "wide.png")
        for picture in (tmp_path / "wide.png", make_image(3, 16, 20), make_image(1, 16, 16)):
            with pytest.raises(KeySizeError, match="but the model takes 3 x 16 x 16; resize or convert it first"):
                predictor(picture)

    @pytest.mark.parametrize(
        ("picture", "error", "message"),
        [
            (torch.zeros(3, 16, 16), InputTypeError, "uint8 picture"),
            (np.zeros((16, 16, 3), np.float32), InputTypeError, r"uint8 \[H, W\] or \[H, W, C\]"),
            (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), InputTypeError, r"uint8 \[C, H, W\]"),
            (3, InputTypeError, "got int"),
            ("nowhere.png", SourceError, "cannot read nowhere.png"),
        ],
    )
    def test_what_is_no_picture(self, aes, picture, error, message):
        with pytest.raises(error, match=message):
            aes.load()(picture)

    def test_a_single_picture_where_several_are_expected(self, aes):
        single = (str(aes.files()[0]), np.zeros((16, 16, 3), np.uint8), torch.zeros(3, 16, 16, dtype=torch.uint8))
        for picture in single:
            with pytest.raises(InputTypeError, match="call the predictor for one"):
                list(aes.load().predict(picture))
        with pytest.raises(InputTypeError, match=r"must be \[N, H, W, C\], got \[16, 16, 3\]"):
            aes.load().scores(single[1])

    def test_another_architecture_with_the_same_weights(self, aes):
        def other():
            layers = list(network(seed=1))
            layers[2] = nn.Sigmoid()
            return nn.Sequential(*layers)

        with pytest.raises(ModelError, match="answers otherwise than the one that was saved"):
            aes.load(network=other)

    def test_networks_that_normalise_over_the_batch(self, aes, tmp_path):
        made = nn.Sequential(nn.Flatten(), nn.Linear(768, 10), nn.BatchNorm1d(10, track_running_stats=False))
        with pytest.raises(ModelError, match="normalises over the batch"):
            predict.save(made, tmp_path / "model", like=aes.out, mean=0, std=1)

    def test_means_of_grey_levels(self, aes, tmp_path):
        with pytest.raises(InputRangeError, match="divide those of grey levels by 255"):
            predict.save(aes.network, tmp_path / "model", like=aes.out, mean=127.5, std=64)

    @pytest.mark.parametrize(
        ("made", "message"),
        [
            (lambda: network(classes=9), "do not match the model: .*size mismatch"),
            (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), "do not match the model"),
            (lambda: nn.Sequential(network()), "missing 0.1.bias"),
        ],
    )
    def test_a_network_that_does_not_fit(self, aes, made, message):
        with pytest.raises(ModelError, match=message):
            aes.load(network=made)

    def test_a_network_with_other_answers(self, aes):
        class Two(nn.Sequential):
            def forward(self, images):
                return super().forward(images)[:, :4]

        with pytest.raises(ModelError, match=r"must return scores \[1, 10\], not \[1, 4\]"):
            aes.load(network=Two(*network()))

    def test_what_is_no_network(self, aes):
        with pytest.raises(InputTypeError, match="got int"):
            aes.load(network=lambda: 3)
        with pytest.raises(InputTypeError, match="or a function that returns one, got 'my_nets:make'"):
            aes.load(network="my_nets:make")

    def test_a_device_that_is_not_there(self, aes):
        with pytest.raises(ModelError, match="cannot use device 'warp'"):
            aes.load(device="warp")

    def test_a_disguise_in_place_of_a_recipe(self, aes, tmp_path):
        with pytest.raises(InputTypeError, match=r"data\.Recipe\.of_disguise"):
            predict.save(aes.network, tmp_path / "model", like=transforms.from_key(aes.key), mean=0, std=1)

    def test_names(self, aes):
        with pytest.raises(InputRangeError, match="names of 11 classes, but the network returns 10"):
            aes.load(class_names=[str(n) for n in range(11)])
        with pytest.raises(InputTypeError, match="class_names must be a sequence of str"):
            aes.load(class_names="abc")
        with pytest.raises(InputTypeError, match="class_names must be a sequence of str"):
            aes.load(class_names={str(number): number for number in range(10)})
        with pytest.raises(InputRangeError, match="a class name is empty"):
            aes.load(class_names=[*"abcdefghi", " "])
        with pytest.raises(InputRangeError, match="10 classes need as many names, got 3"):
            aes.load(class_names=["a", "b", "c"])
        with pytest.raises(InputTypeError, match="not both"):
            aes.load(class_names=["a"], export=aes.out)

    def test_a_label_map_of_another_size(self, tmp_path):
        key = make_bundle()
        made = data.Recipe.of_disguise(transforms.from_key(key), key=key, scale=255)
        predict.save(network(7), tmp_path / "model", like=made, mean=0, std=1)
        with pytest.raises(ModelError, match="renames 10 classes, but the network returns 7 scores"):
            Predictor.load(tmp_path / "model", key=key, network=lambda: network(7))


class TestSaving:
    def test_the_header(self, aes):
        with safe_open(aes.path, "pt") as file:
            metadata = file.metadata()
        assert (metadata["format"], metadata["version"]) == ("torchprotect-model", "1")
        assert metadata["security_claim"] == "obfuscation"
        described = json.loads(metadata["model"])
        assert described["recipe"]["key"] == aes.key.fingerprint
        assert described["recipe"]["prepare"] == PREPARE.describe()
        assert (described["classes"], described["shape"], described["mean"]) == (10, [3, 16, 16], list(MEAN))
        assert predict.read_header(aes.path) == aes.header

    def test_there_is_no_secret_in_it(self, world):
        content = world.path.read_bytes()
        for name, tensor in world.key.tensors().items():
            if tensor.numel() >= 16:
                assert tensor.numpy().tobytes() not in content, name
                assert json.dumps(tensor.flatten().tolist()).encode() not in content, name

    def test_files_are_never_overwritten(self, aes, tmp_path):
        before = aes.path.read_bytes()
        with pytest.raises(FileExistsError, match="never overwritten"):
            predict.save(aes.network, aes.path, like=aes.out, mean=0, std=1)
        assert aes.path.read_bytes() == before
        assert sorted(path.name for path in aes.path.parent.iterdir()) == ["model.safetensors", "out", "photos"]

    def test_normalisation_has_no_default(self, aes, tmp_path):
        with pytest.raises(TypeError, match="std"):
            predict.save(aes.network, tmp_path / "model", like=aes.out, mean=0)

    def test_tied_weights(self, tmp_path, aes):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = network(), nn.Linear(10, 10, bias=False)
                self.again = self.head

            def forward(self, images):
                return self.again(self.head(self.body(images)))

        made = Tied()
        predict.save(made, tmp_path / "model", like=aes.out, mean=0, std=1)
        loaded = predict.load_network(tmp_path / "model", Tied)
        assert loaded.again.weight is loaded.head.weight
        assert torch.equal(loaded.again.weight, made.again.weight)

    def test_mode_and_weights_stay(self, aes, tmp_path):
        made = network().train()
        before = copy.deepcopy(made.state_dict())
        predict.save(made, tmp_path / "model", like=aes.out, mean=0, std=1)
        assert all(module.training for module in made.modules())
        assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())

    @pytest.mark.parametrize(
        ("made", "message"),
        [
            (lambda: nn.Linear(3, 3), "does not take images"),
            (lambda: nn.Flatten(0), r"must return scores \[1, classes\]"),
            (lambda: Function(lambda images: images.flatten(1)[:, :4] / 0), "NaN or infinite"),
            (
                lambda: Function(lambda images: images.flatten(1)[:, :1]),
                "returns 1 scores, but the export has at least",
            ),
        ],
    )
    def test_networks_that_do_not_fit(self, tmp_path, made, message):
        images = [(image, 3) for image in make_image(4, 3, 16, 16)]
        transform = transforms.from_key(make_bundle())
        data.export(images, tmp_path / "out", transform=transform)
        with pytest.raises(ModelError, match=message):
            predict.save(made(), tmp_path / "model", like=tmp_path / "out", mean=0, std=1)
        assert not (tmp_path / "model").exists()

    def test_no_export(self, tmp_path, aes):
        with pytest.raises(ExportError):
            predict.save(aes.network, tmp_path / "model", like=tmp_path, mean=0, std=1)

    def test_a_disguise_that_depends_on_a_network(self, tmp_path):
        images = [(image, 0) for image in make_image(4, 3, 16, 16)]
        key = keys.CorrespondenceKey.generate(classes=10)
        perturb = transforms.AdversarialEncrypt(network(), key, eps=0.5, step_size=0.2, steps=1)
        data.export(images, tmp_path / "out", transform=perturb, key=key)
        with pytest.raises(NotInvertibleError, match="depends on a network"):
            predict.save(network(), tmp_path / "model", like=tmp_path / "out", mean=0, std=1)


class TestDamagedFiles:
    def write(self, path, aes, change=None, **metadata):
        with safe_open(aes.path, "pt") as file:
            found = file.metadata()
        if change is not None:
            described = json.loads(found["model"])
            change(described)
            found["model"] = json.dumps(described)
        save_file(load_file(aes.path), path, {**found, **metadata})

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"format": "other"}, "is not a torchprotect model file"),
            ({"version": "2"}, "model format version 2, this package reads 1"),
            ({"model": "{"}, "its header is not JSON"),
            ({"model": "[]"}, "its header is not JSON"),
            ({"model": "{}"}, "lacks or has a wrong check, classes"),
        ],
    )
    def test_headers(self, tmp_path, aes, metadata, message):
        self.write(tmp_path / "model", aes, **metadata)
        with pytest.raises(ModelFileError, match=message):
            Predictor.load(tmp_path / "model", key=aes.key, network=network)

    @pytest.mark.parametrize(
        "change",
        [
            lambda described: described.pop("recipe"),
            lambda described: described["recipe"].pop("key"),
            lambda described: described["recipe"].update(scale=2),
            lambda described: described["recipe"].update(scale=True),
            lambda described: described["recipe"].update(prepare={"blur": 3}),
            lambda described: described["recipe"].update(transform=[3]),
            lambda described: described["recipe"].update(transform=[]),
            lambda described: described["recipe"].update(scale=1.0),
            lambda described: described.update(std=[0]),
            lambda described: described.update(std=[1, 1]),
            lambda described: described.update(mean=[10**400]),
            lambda described: described.update(check=[]),
            lambda described: described.update(plain_labels=1),
            lambda described: described.update(shape=[3, 32, 32]),
            lambda described: described.update(mean=[]),
            lambda described: described.update(shape=[3, 16, 1 << 40]),
            lambda described: described.update(classes=1 << 60),
            lambda described: described.update(matched={}),
            lambda described: described.update(
                matched={"first_layer": "1", "grid_size": [1, 1 << 30], "own_kernels": True, "rotary": None}
            ),
        ],
    )
    def test_members(self, tmp_path, aes, change):
        self.write(tmp_path / "model", aes, change)
        with pytest.raises(ModelFileError, match="is damaged"):
            Predictor.load(tmp_path / "model", key=aes.key, network=network)

    def test_truncated_and_foreign_files(self, tmp_path, aes):
        content = aes.path.read_bytes()
        for cut in (0, 7, 100, len(content) - 1):
            (tmp_path / "model").write_bytes(content[:cut])
            with pytest.raises(ModelFileError, match="is not a torchprotect model file, or it is truncated"):
                predict.read_header(tmp_path / "model")
        save_file({"weight": torch.zeros(2)}, tmp_path / "plain")
        with pytest.raises(ModelFileError, match=r"predict\.save writes one"):
            predict.read_header(tmp_path / "plain")
        keys.save(aes.key, tmp_path / "key")
        assert not predict.is_model_file(tmp_path / "key")
        assert predict.is_model_file(aes.path)
