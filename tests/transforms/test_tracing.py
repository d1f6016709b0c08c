"""Disguises in programs that torch.export and torch.compile trace."""

import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from support import make_bundle, make_image
from torch import nn
from torchvision.transforms import v2

from torchprotect import keys, ops, transforms
from torchprotect.errors import InputTypeError, KeyPickledWarning, KeySizeError, PixelScaleWarning, ProtectError

SIZE = {"size": (16, 16), "block": (8, 8)}
AES, RMT, ORDER = (make_bundle(kind, **SIZE) for kind in ("aes", "rmt", "permutation"))
LEFT = make_bundle("rmt", **SIZE, side="left", channels=3)
LEVELS = make_image(4, 3, 16, 16)
FLOATS = make_image(4, 3, 16, 16, dtype=torch.float32)
WITHOUT_NOISE = {
    "permute": (transforms.from_key(ORDER), FLOATS),
    "permute-uint8": (transforms.from_key(ORDER), LEVELS),
    "permute-inverse": (transforms.from_key(ORDER, inverse=True), FLOATS),
    **{f"aes-{n}": (transforms.from_key(AES, unit_pixels=n), LEVELS) for n in (16, 8, 4, 2)},
    "aes-inverse": (transforms.from_key(AES, inverse=True), LEVELS),
    "rmt": (transforms.from_key(RMT), FLOATS),
    "rmt-left": (transforms.from_key(LEFT), FLOATS),
    "rmt-inverse": (transforms.from_key(RMT, inverse=True), FLOATS),
}
NOISY = {
    "rmt-noise": (transforms.from_key(RMT, noise=25), FLOATS),
    "salt": (transforms.SaltAndPepper(0.2), FLOATS),
    "salt-uint8": (nn.Sequential(transforms.SaltAndPepper(0.2), transforms.from_key(AES)), LEVELS),
}
CASES = WITHOUT_NOISE | NOISY
STRICT = pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])


class Scaled(nn.Module):
    """A network for images of any dtype."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 16 * 16, 3)

    def forward(self, images):
        return self.linear(images.flatten(1).float() / 255)


def with_network(disguise):
    torch.manual_seed(0)
    return nn.Sequential(disguise, Scaled())


def export(disguise, images, strict=False, batch=None):
    shapes = None if batch is None else ({0: torch.export.Dim("batch", min=batch)},)
    return torch.export.export(with_network(disguise), (images,), strict=strict, dynamic_shapes=shapes)


def saved(program, folder):
    torch.export.save(program, folder / "owner.pt2")
    return torch.export.load(folder / "owner.pt2")


def names_of(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def under_seed(model, images):
    torch.manual_seed(5)
    return model(images)


@pytest.mark.parametrize(
    ("name", "strict"),
    [
        *((name, False) for name in CASES),
        *((name, True) for name in ("permute", "permute-inverse", "aes-inverse", "aes-2", "rmt-inverse", "rmt-left")),
        *((name, True) for name in NOISY),
    ],
)
def test_exported_programs_equal_the_modules(tmp_path, name, strict):
    disguise, images = CASES[name]
    model = with_network(disguise)
    program = export(disguise, images, strict, batch=0)
    runs = [program.module(), saved(program, tmp_path).module()]
    for batch in (images, images[:1], images.repeat(2, 1, 1, 1), images[:0]):
        expected = under_seed(model, batch)
        for run in runs:
            assert torch.equal(under_seed(run, batch), expected)


@STRICT
@pytest.mark.parametrize("name", ["permute", "rmt-noise"])
def test_static_batches(name, strict):
    disguise, images = CASES[name]
    program = export(disguise, images, strict).module()
    assert torch.equal(under_seed(program, images), under_seed(with_network(disguise), images))
    with pytest.raises((AssertionError, RuntimeError), match="Guard failed"):
        program(images[:2])


@STRICT
def test_samples_with_labels(strict):
    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.pipeline = v2.Compose([v2.ToDtype(torch.float32, scale=True), transforms.from_key(RMT)])

        def forward(self, images, labels):
            return self.pipeline((images, labels))

    labels = torch.arange(4)
    owner = Owner()
    out, same = torch.export.export(owner, (LEVELS, labels), strict=strict).module()(LEVELS, labels)
    assert torch.equal(out, owner(LEVELS, labels)[0])
    assert torch.equal(same, labels)


@STRICT
@pytest.mark.parametrize("name", NOISY)
def test_noise_is_drawn_by_the_program(name, strict):
    disguise, images = NOISY[name]
    program = export(disguise, images, strict)
    assert "aten.rand.default" in names_of(program)
    assert not torch.equal(program.module()(images), program.module()(images))


def test_a_source_of_noise_that_would_be_the_same_at_each_call_is_refused():
    disguise = transforms.RMTDisguise(RMT.transform, noise=25)
    disguise.noise_source = lambda shape: torch.full(shape, 0.5)
    with pytest.raises(InputTypeError, match="the same at each call; leave noise_source of RMTDisguise"):
        export(disguise, FLOATS)
    disguise(FLOATS)


class TestChecks:
    """What raises before, raises while a program is traced; a check of values becomes a part of it."""

    WRONG = [
        (transforms.from_key(ORDER), FLOATS[..., :8], KeySizeError, "covers images of 16 x 16 pixels, but the"),
        (transforms.from_key(LEFT), FLOATS[:, :1], KeySizeError, "covers images of 3 channels, but the image has 1"),
        (transforms.from_key(AES), FLOATS, InputTypeError, "AES takes uint8 pixels, not torch.float32"),
        (transforms.from_key(RMT), LEVELS.long(), InputTypeError, "must be uint8 in 0..255 or floating point"),
        (transforms.from_key(RMT, inverse=True), LEVELS, InputTypeError, "must be floating point, not torch.uint8"),
        (transforms.from_key(RMT), FLOATS[0, 0, 0], InputTypeError, "found no picture in the sample"),
    ]

    @pytest.mark.parametrize(("disguise", "images", "error", "message"), WRONG)
    def test_wrong_pictures(self, disguise, images, error, message):
        with pytest.raises(error, match=message):
            torch.export.export(disguise, (images,))
        for trace in (  # dynamo raises its own error, which quotes ours
            lambda: torch.export.export(disguise, (images,), strict=True),
            lambda: torch.compile(disguise, fullgraph=True, backend="eager")(images),
        ):
            torch._dynamo.reset()
            with pytest.raises(torch._dynamo.exc.Unsupported, match=f"{error.__name__}.*{message}"):
                trace()

    @STRICT
    def test_a_second_tensor(self, strict):
        with pytest.raises((InputTypeError, torch._dynamo.exc.Unsupported), match="cannot tell which tensors"):
            torch.export.export(transforms.from_key(ORDER), (FLOATS, FLOATS), strict=strict)

    @pytest.mark.parametrize(("name", "strict"), [("rmt", True), ("rmt-noise", False), ("salt", False)])
    def test_values_outside_the_range(self, tmp_path, name, strict):
        disguise, images = CASES[name]
        program = export(disguise, images, strict, batch=0)
        for kept in (saved(program, tmp_path), program.run_decompositions(ops.decompositions())):
            run = kept.module()
            for wrong in (images + 0.01, images - 0.01, torch.full_like(images, float("nan"))):
                with pytest.raises(RuntimeError, match=r"must lie in 0\.\.1; place the disguise before Normalize"):
                    run(wrong)

    def test_pictures_of_another_size_or_dtype_than_the_program(self):
        program = export(transforms.from_key(AES), LEVELS, batch=0).module()
        for wrong in (LEVELS[..., :8], LEVELS[:, :1], FLOATS):
            with pytest.raises((AssertionError, RuntimeError, ProtectError)):
                program(wrong)

    def test_8_bit_pixels_under_rmt_warn_in_python_only(self):
        disguise = transforms.RMTDisguise(RMT.transform)
        with warnings.catch_warnings():
            warnings.simplefilter("error", PixelScaleWarning)
            torch.export.export(disguise, (LEVELS,), strict=True)
            with pytest.raises(PixelScaleWarning):
                torch.export.export(transforms.RMTDisguise(RMT.transform), (LEVELS,))
        with pytest.warns(PixelScaleWarning):
            disguise(LEVELS)


class TestKeysInPrograms:
    @STRICT
    @pytest.mark.parametrize(
        ("name", "secrets"),
        [
            ("permute", [ORDER.transform.order]),
            ("aes-16", [AES.transform.keys, AES.permutation.order]),
            ("rmt", [RMT.transform.matrices, RMT.permutation.order]),
        ],
    )
    def test_the_program_contains_the_key_but_no_root(self, tmp_path, name, secrets, strict):
        constants = list(saved(export(*CASES[name], strict), tmp_path).constants.values())
        assert all(any(torch.equal(secret, constant) for constant in constants) for secret in secrets)
        roots = [key.root for bundle in (ORDER, AES, RMT) for key in (bundle, bundle.transform)]
        written = (tmp_path / "owner.pt2").read_bytes()
        assert all(bytes(secret.numpy().tobytes()) in written for secret in secrets)  # they are not even compressed
        assert not any(bytes(root.tolist()) in written for root in roots)

    @STRICT
    def test_the_file_contains_the_example_images(self, tmp_path, strict):
        saved(export(transforms.from_key(ORDER), LEVELS, strict), tmp_path)
        assert LEVELS.numpy().tobytes() in (tmp_path / "owner.pt2").read_bytes()

    def test_only_pickles_warn(self, tmp_path):
        disguise = transforms.from_key(RMT)
        model = with_network(disguise)
        compiled = torch.compile(model, backend="eager")
        compiled(FLOATS)
        with warnings.catch_warnings():
            warnings.simplefilter("error", KeyPickledWarning)
            saved(export(disguise, FLOATS), tmp_path)
            saved(export(disguise, FLOATS, strict=True), tmp_path)
        for pickled in (model, compiled):
            with pytest.warns(KeyPickledWarning):
                torch.save(pickled, tmp_path / "pickled.pt")

    @STRICT
    @pytest.mark.parametrize("kind", ["permutation", "aes", "rmt"])
    def test_tracing_leaves_the_key_as_it_was(self, kind, strict):
        """The first use of an inverse computes tensors that a key keeps: not those of a tracer, without values."""
        bundle = make_bundle(kind, **SIZE)
        images = LEVELS if kind == "aes" else FLOATS
        expected = transforms.from_key(bundle)(images)
        inverse = transforms.from_key(bundle, inverse=True)
        program = torch.export.export(inverse, (expected,), strict=strict).module()
        torch.testing.assert_close(program(expected), images, rtol=0, atol=1e-5)
        torch.testing.assert_close(inverse(expected), images, rtol=0, atol=1e-5)

    def test_a_new_key_is_written_without_a_warning(self, tmp_path):
        key = keys.RMTKey.generate(image_size=(16, 16), block_size=(8, 8))
        for inverse in (False, True):
            disguise = transforms.RMTDisguise(key, inverse=inverse)
            disguise(FLOATS)
            saved(export(disguise, FLOATS), tmp_path)  # torch warns of tensors that are not contiguous


IN_A_NEW_PROCESS = """
import sys, torch
images = torch.zeros(3, 3, 16, 16)
print("plain", torch.export.load("plain.pt2").module()(images).shape, "torchprotect" in sys.modules)
import torchprotect
try:
    torch.export.load("owner.pt2")
except RuntimeError:
    print("refused")
import torchprotect.ops
print("owner", torch.export.load("owner.pt2").module()(images).shape)
"""


@pytest.mark.slow
def test_in_a_new_process(tmp_path):
    program = export(transforms.from_key(RMT, noise=5), FLOATS, batch=0)
    torch.export.save(program, tmp_path / "owner.pt2")
    torch.export.save(program.run_decompositions(ops.decompositions()), tmp_path / "plain.pt2")
    command = [sys.executable, "-c", IN_A_NEW_PROCESS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["plain torch.Size([3, 3]) False", "refused", "owner torch.Size([3, 3])"]
    assert "import the custom op" in done.stderr


@pytest.mark.parametrize("name", ["permute", "rmt-left", "rmt-noise"])
def test_decomposed_programs_are_plain_pytorch(name):
    disguise, images = CASES[name]
    program = export(disguise, images, batch=0)
    assert any(name.startswith("torchprotect.") for name in names_of(program))
    plain = program.run_decompositions(ops.decompositions())
    assert all(not name.startswith("torchprotect.") for name in names_of(plain))
    for batch in (images, images[:3]):
        assert torch.equal(under_seed(plain.module(), batch), under_seed(program.module(), batch))


def compare_compiled(name, backend):
    """Compare results and gradients of the weights for two sizes of the batch."""
    torch._dynamo.reset()
    disguise, images = CASES[name]
    model = with_network(disguise)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for batch in (images, images[:3]):
        results = []
        for run in (compiled, model):
            model.zero_grad()
            out = run(batch)
            out.square().sum().backward()
            results.append((out.detach(), model[1].linear.weight.grad.clone()))
        if name in WITHOUT_NOISE:
            torch.testing.assert_close(results[0], results[1])
        else:
            assert not torch.equal(compiled(batch), compiled(batch))
    if name in ("rmt", "rmt-noise", "salt"):
        with pytest.raises(RuntimeError, match=r"must lie in 0\.\.1"):
            compiled(images + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["permute", "aes-inverse", "rmt-inverse", "rmt-noise", "salt"])
def test_compiled(name):
    compare_compiled(name, "aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("name", ["rmt-noise"])
def test_compiled_to_code(name):
    compare_compiled(name, "inductor")
