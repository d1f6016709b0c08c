"""Repeatable random initialisation of networks, which draw from torch's global generators."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def seeded(device: torch.device, generator: torch.Generator | None) -> Iterator[None]:
    """Seed torch's global generators from another generator, and restore them at the end; does nothing without one."""
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    accelerator = device.type != "cpu"
    with torch.random.fork_rng([device] if accelerator else [], device_type=device.type if accelerator else "cuda"):
        torch.default_generator.manual_seed(seed)
        if accelerator:
            torch.get_device_module(device).manual_seed(seed)
        yield
