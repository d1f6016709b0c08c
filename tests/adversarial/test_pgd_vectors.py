import json
from pathlib import Path

import pytest
import safetensors
from nets import make_net

from torchprotect.adversarial import pgd_l2

FILE = Path(__file__).parent / "pgd_l2.safetensors"
with safetensors.safe_open(FILE, "pt") as file:
    VALUES = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    HEADER = file.metadata()
SETTINGS = json.loads(HEADER["settings"])


@pytest.mark.parametrize("name", SETTINGS)
def test_equal_to_torchattacks(name):
    """PGDL2 of torchattacks 3.5.1; ``generate_pgd.py`` made the values."""
    assert HEADER["torchattacks"] == "3.5.1"
    net = make_net(seed=1)
    net.load_state_dict({k.removeprefix("net."): v for k, v in VALUES.items() if k.startswith("net.")})
    images, expected = VALUES["images"], VALUES[f"out.{name}"]
    found = pgd_l2(net, images, VALUES["targets"], keep_best=False, **SETTINGS[name])
    assert float((expected - images).flatten(1).norm(dim=1).min()) > 0.05  # something was done
    assert float((found.images - expected).abs().max()) < 1e-5
    single = pgd_l2(net.float(), images.float(), VALUES["targets"], keep_best=False, **SETTINGS[name])
    assert float((single.images - expected).abs().max()) < 1e-4
