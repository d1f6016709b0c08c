import os

# Before torch is imported: OpenMP threads that spin while they wait would take the cores from the processes that tests
# start, and from whatever else the machine does. Child processes inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Likewise one thread where other workers of pytest have the other cores: small networks took fifteen times as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from support import real_data

# Autograd decides at its first use whether it starts threads, after which forked processes may not use it. On a machine
# without an accelerator it starts none, unless torch.compile came first: some tests compile, and others fork.
torch.zeros(1, requires_grad=True).sum().backward()


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def real():
    root = real_data()
    if root is None:
        pytest.skip("TORCHPROTECT_DATA is not set: no real data sets here")
    return root
