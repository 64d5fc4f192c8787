"""One tiny run of the workflow, in a copy of the project that tests may edit."""

import pytest
from workflow_config import copy_project


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A finished run; tests that change it put back what they changed."""
    run = copy_project(tmp_path_factory.mktemp("run"))
    run.snakemake()
    return run
