import pytest
import torch
from support import real_data


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
