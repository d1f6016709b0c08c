"""Make pgd_l2.safetensors with torchattacks, which the tests do not need. Run once, from any folder.

torchattacks pins old versions of what it needs, so it is installed apart:

    pip install --no-deps --target DIR torchattacks==3.5.1 scipy requests charset_normalizer idna urllib3 certifi tqdm
    PYTHONPATH=DIR python tests/adversarial/generate_pgd.py
"""

import json
import sys
from pathlib import Path

import safetensors.torch
import torch
import torchattacks
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from nets import make_net  # noqa: E402
from textbook import make_batch  # noqa: E402

SETTINGS = {
    "few": {"eps": 0.5, "step_size": 0.1, "steps": 5},
    "projected": {"eps": 0.3, "step_size": 0.25, "steps": 7},
    "clipped": {"eps": 4.0, "step_size": 1.5, "steps": 4},
    "away": {"eps": 0.5, "step_size": 0.2, "steps": 4, "targeted": False},
}


def attacked(net: nn.Module, images: torch.Tensor, targets: torch.Tensor, targeted: bool = True, **settings: float):
    attack = torchattacks.PGDL2(
        net, eps=settings["eps"], alpha=settings["step_size"], steps=settings["steps"], random_start=False
    )
    if targeted:
        attack.set_mode_targeted_by_label(quiet=True)
    return attack(images, targets)


if __name__ == "__main__":
    net, (images, targets) = make_net(), make_batch(6)
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= {"images": images, "targets": targets}
    tensors |= {f"out.{name}": attacked(net, images, targets, **settings) for name, settings in SETTINGS.items()}
    header = {"torchattacks": torchattacks.__version__, "settings": json.dumps(SETTINGS)}
    safetensors.torch.save_file(tensors, HERE / "pgd_l2.safetensors", header)
