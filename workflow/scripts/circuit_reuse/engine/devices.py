"""Several GPUs on one machine: each job takes one that no other job of this user holds.

Snakemake limits how many jobs with a GPU run at once (`resources: gpu`), but does not say which device a
job gets.  A device is held by a lock on a file, which ends with the process, however that ends.
"""

import os
import tempfile
import time
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")
# Open locks of this process; closing the file would give the device up.
HELD = []


def count():
    """How many NVIDIA GPUs this machine has, without touching any."""
    return len(list(DRIVER.iterdir())) if DRIVER.is_dir() else 0


def check(device):
    """Refuse a kind of device that this machine, or this build of torch, does not have.

    raises: ValueError that names what can be set instead
    """
    import torch

    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in there and not there[device]():
        built = "" if device != "cuda" or torch.version.cuda else " (this build of torch is for CPUs only)"
        raise ValueError(f"compute.device is {device}, but torch finds no such device here{built}; set auto or cpu")


def claim(devices=None, folder=None, patience=60, log=None):
    """Take a device for this process and make it the only one that it sees.

    devices:  how many there are; counted without it
    folder:   of the locks; one of the user's own without it
    patience: seconds to wait for a device that is given up
    returns:  its number, or None where there is no choice: fewer than two devices, or something
              above this process (Slurm, the user) has chosen already
    raises:   RuntimeError if all stay taken
    """
    devices = count() if devices is None else devices
    if devices < 2 or VARIABLE in os.environ or HELD:
        return None
    # Not on Windows, where there is no choice of devices.
    import fcntl

    folder = Path(folder or Path(tempfile.gettempdir()) / f"circuit-reuse-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    deadline = time.monotonic() + patience
    while True:
        for number in range(devices):
            lock = (folder / f"gpu{number}").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            HELD.append(lock)
            os.environ[VARIABLE] = str(number)
            if log:
                log.info("GPU %d of %d", number, devices)
            return number
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"all {devices} GPUs are taken by other jobs of this user: run with at most as many at once "
                f"(--resources gpu={devices}), or set {VARIABLE}"
            )
        time.sleep(0.2)
