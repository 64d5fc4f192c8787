"""The embedded models, loaded once, and examples for them."""

import pytest
from support import MODELS, examples_for


def pytest_configure(config):
    config.addinivalue_line("markers", "long: a whole run of the workflow, a Slurm or a real model; not in `make test`")


def pytest_collection_modifyitems(items):
    """Files of tests that run the workflow first: they take longest, and one at the end would run alone."""
    items.sort(key=lambda item: "unit" in item.path.parts)


@pytest.fixture(scope="session")
def one_thread():
    """Torch on one thread: with as many as cores in each worker of the tests, small models take forty times as long."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=["tiny-gpt2-medium", "tiny-neox-medium"])
def model(request):
    """An embedded model of each family."""
    from circuit_reuse.engine import models

    return models.load(MODELS / request.param, "cpu", threads=1)


@pytest.fixture(scope="session")
def pairs():
    """Eight IOI examples of several lengths."""
    return examples_for("ioi", 8)


@pytest.fixture(scope="session")
def batch(pairs):
    """Examples of one length as a batch."""
    from circuit_reuse.engine import batching

    length = pairs["length"].mode()[0]
    rows = [row for row, value in enumerate(pairs["length"]) if value == length]
    return batching.batch_of(pairs, rows, "cpu")
