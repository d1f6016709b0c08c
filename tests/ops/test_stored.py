"""Reading images that are stored alike: the compiled function, the one in Python, and the decoder as reference."""

import os

import numpy as np
import pytest
import torch
from support import make_image

from torchprotect import ops
from torchprotect.data._encode import encode
from torchprotect.data._layout import Layout
from torchprotect.ops import _kernels

IMAGES = {
    "png, rgb": make_image(9, 3, 8, 5),
    "png, grey": make_image(9, 1, 7, 16),
    "png of three blocks": make_image(3, 3, 210, 250),
    "png of a full block": make_image(2, 1, 255, 256),  # 65,535 bytes
    "npy": make_image(9, 3, 8, 5, dtype=torch.float32),
    "npy, two channels": make_image(9, 2, 8, 5),
    "npy, 16 bits": make_image(9, 1, 4, 4).half(),
}


@pytest.fixture(params=["compiled", "python"])
def way(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(_kernels, "function", lambda name, result: None)
    elif _kernels.function("torchprotect_read_stored", None) is None:
        pytest.skip("there are no compiled kernels")


class Shelf:
    """Two files with stored images at odd places, and a reader."""

    def __init__(self, folder, images, change=None):
        self.stored = list(encode(images))
        self.layout = Layout("png" if self.stored[0].startswith(b"\x89PNG") else "npy", self.stored[0])
        if change is not None:
            self.stored = change(self.stored)
        places, bodies = [], [b"first", b""]
        for number, stored in enumerate(self.stored):
            places.append((number % 2, len(bodies[number % 2])))
            bodies[number % 2] += stored + bytes(number)
        self.paths = [folder / str(number) for number in range(2)]
        for path, body in zip(self.paths, bodies):
            path.write_bytes(body)
        self.files = [os.open(path, os.O_RDONLY) for path in self.paths]
        self.which, self.offsets = (np.array(part) for part in zip(*places))

    def read(self, numbers):
        files = np.array([self.files[self.which[number]] for number in numbers], np.int32)
        return self.layout.as_images(self.layout.reader().read(files, self.offsets[numbers]))

    def close(self):
        for file in self.files:
            os.close(file)


@pytest.fixture
def shelf(tmp_path):
    made = []

    def make(*given):
        made.append(Shelf(tmp_path, *given))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.usefixtures("way")
class TestReading:
    @pytest.mark.parametrize("kind", IMAGES)
    def test_in_any_order(self, shelf, kind):
        images, made = IMAGES[kind], shelf(IMAGES[kind])
        numbers = [1, 0, len(images) - 1, 1]
        found = made.read(numbers)
        assert found.dtype == images.dtype
        assert torch.equal(found, images[numbers])

    def test_more_than_fit_into_the_cache(self, shelf):
        images = make_image(700, 3, 16, 16)
        order = torch.randperm(700, generator=torch.Generator().manual_seed(0))
        assert torch.equal(shelf(images).read(order.tolist()), images[order])

    def test_none(self, shelf):
        assert shelf(IMAGES["npy"]).read(np.array([], np.int64)).shape == (0, 3, 8, 5)

    @pytest.mark.parametrize("byte", [0, 17, 40, 42, 45, 48, 64, -1, -12])
    def test_every_byte_but_pixels_and_checksums_is_compared(self, shelf, byte):
        """Signature, header, chunk, begin of the stream, block, filters of two rows, end."""

        def change(stored):
            damaged = bytearray(stored[4])
            damaged[byte] ^= 1
            return [*stored[:4], bytes(damaged), *stored[5:]]

        made = shelf(IMAGES["png, rgb"], change)
        assert torch.equal(made.read([0, 8]), IMAGES["png, rgb"][[0, 8]])
        with pytest.raises(ops.StoredError, match="image 2 is not stored as the others are") as error:
            made.read([0, 8, 4, 1])
        assert error.value.image == 2

    @pytest.mark.parametrize("byte", [0, 20, 100])
    def test_a_header_of_npy_is_compared(self, shelf, byte):
        def change(stored):
            damaged = bytearray(stored[0])
            damaged[byte] ^= 1
            return [bytes(damaged), *stored[1:]]

        with pytest.raises(ops.StoredError, match="image 1 is not stored"):
            shelf(IMAGES["npy"], change).read([3, 0])

    @pytest.mark.parametrize("kind", ["npy", "png, grey"])
    def test_a_file_that_ends_early(self, shelf, kind):
        made = shelf(IMAGES[kind])
        os.truncate(made.paths[0], made.offsets[8] + len(made.stored[8]))
        assert torch.equal(made.read([8]), IMAGES[kind][[8]])
        os.truncate(made.paths[0], made.offsets[8] + len(made.stored[8]) - 1)
        with pytest.raises(ops.StoredError, match="image 1 cannot be read in full"):
            made.read([6, 8])

    def test_no_file(self, shelf):
        with pytest.raises(ops.StoredError, match="image 0 cannot be read in full"):
            shelf(IMAGES["npy"]).layout.reader().read(np.array([-1], np.int32), np.array([0]))
