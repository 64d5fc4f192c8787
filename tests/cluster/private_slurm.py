"""A real Slurm of one node on this machine, of Debian's packages, for as long as a test lasts."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare")
CONFIG = """ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MinJobAge=3600
SlurmUser={user}
SlurmdUser={user}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
GresTypes=gpu
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Two devices that are there on every machine stand for GPUs: Slurm only hands out their numbers.
GPUS = "".join(f"NodeName=localhost Name=gpu File={path} Count=1\n" for path in ("/dev/null", "/dev/zero"))


def missing():
    """What is not installed, as text; empty if all is."""
    path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    lacking = [name for name in (*DAEMONS, "sbatch", "squeue") if not shutil.which(name, path=path)]
    return ", ".join(lacking)


def free_ports(count):
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Slurm:
    """Daemons with a configuration of their own.

    env:  for processes that use it; clients are found in a folder of wrappers that know the
          configuration, since the environment that says where it is does not reach every step
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        for name in ("spool", "state", "bin"):
            (self.folder / name).mkdir(parents=True)
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(
            CONFIG.format(
                folder=folder,
                host=socket.gethostname().split(".")[0],
                user=getpass.getuser(),
                ports=free_ports(2),
                cpus=os.cpu_count(),
            )
        )
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        (self.folder / "gres.conf").write_text(GPUS)
        path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
        for name in CLIENTS:
            real = shutil.which(name, path=path)
            if real:
                self.wrap(name, real)
        self.env = os.environ | {"PATH": f"{self.folder / 'bin'}:{path}", "SLURM_CONF": str(self.conf)}
        self.processes = []

    def wrap(self, name, real):
        """A client that knows the configuration; what sbatch is given is written down."""
        note = f"printf '%s\\n' \"$*\" >> {self.folder}/sbatch.log\n" if name == "sbatch" else ""
        script = self.folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexport SLURM_CONF={self.conf}\n{note}exec {real} "$@"\n')
        script.chmod(0o755)

    @property
    def submitted(self):
        """The command lines that sbatch was given."""
        path = self.folder / "sbatch.log"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, *command):
        """A client's output."""
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout

    def start(self):
        """Start both daemons in the foreground, as children, and wait until the node is idle."""
        for command in (["slurmctld", "-c", "-D"], ["slurmd", "-D", "-N", "localhost"]):
            path = shutil.which(command[0], path=self.env["PATH"])
            log = (self.folder / f"{command[0]}.out").open("w")
            self.processes.append(
                subprocess.Popen([path, *command[1:], "-f", str(self.conf)], env=self.env, stdout=log, stderr=log)
            )
        for _ in range(100):
            with contextlib.suppress(subprocess.CalledProcessError):
                if "idle" in self.run("sinfo", "-h", "-o", "%T"):
                    return self
            time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"Slurm did not start: {(self.folder / 'slurmctld.log').read_text()[-2000:]}")

    def jobs(self, state):
        """{job id: comment (rule and wildcards)} of the jobs in a state, such as RUNNING."""
        lines = self.run("squeue", "-h", "-t", state, "-o", "%A|%k").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def stop(self):
        """End every job and both daemons."""
        with contextlib.suppress(Exception):
            self.run("scancel", "-u", getpass.getuser())
        for process in reversed(self.processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
