"""Builds and runs images in a folder of the test's own, as root and without a registry.

The Dockerfile is built as it stands. What a registry would give it is made here under the same names: the base image by
debootstrap, from the mirror that the machine's apt uses; and a folder of wheels, from the index that its pip uses.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.process import ROOT
from tests.servers.require import do_without, require

DOCKERFILE = ROOT / "Dockerfile"
IMAGE = "rollback-watchdog"
_SUITE = "bookworm"
#: Nothing here depends on these, and packing them takes time.
_LEFT_OUT = (
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "usr/share/doc/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "dev/*",
)
#: In containers as here podman's own defaults are above what may be set.
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")


class Engine:
    """podman and buildah on one storage; `close` leaves nothing of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        for binary in ("podman", "buildah", "runc", "debootstrap"):
            require(binary)
        if os.geteuid() != 0:
            do_without("the right to make containers (root)")
        storage = ("--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--storage-driver", "overlay")
        self._buildah = (require("buildah"), *storage)
        self._podman = (
            require("podman"),
            *storage,
            "--tmpdir",
            f"{folder}/tmp",
            "--runtime",
            require("runc"),
        )

    def base(self) -> str:
        """What both stages of the Dockerfile begin with."""
        names = set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE))
        assert len(names) == 1
        return str(names.pop())

    def make_base(self) -> None:
        """A Debian with Python under the name of the Dockerfile's base, whose pip knows the folder of wheels.

        It has a systemd, too, for `Booted`.
        """
        root = self.folder / "root"
        root.mkdir()
        # In memory: dpkg waits for the disk after every file.
        run(["mount", "-t", "tmpfs", "-o", "mode=755,size=1g", "tmpfs", str(root)], must=True)
        words = ("--variant=minbase", "--include=python3-minimal,python3-venv,ca-certificates,systemd")
        done = run([require("debootstrap"), *words, _SUITE, str(root), _mirror()], within=900)
        if done.returncode != 0:
            do_without(f"Debian's packages, for a base image ({done.stdout.splitlines()[-1:]})")
        (root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        context = self.folder / "base"
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
        left_out = [f"--exclude=./{name}" for name in _LEFT_OUT]
        run(["tar", "-C", str(root), *left_out, "-cf", str(context / "root.tar"), "."], must=True)
        run(["umount", str(root)], must=True)
        self.buildah(
            "build", "--isolation", "chroot", "--tag", f"docker.io/library/{self.base()}", str(context)
        )
        shutil.rmtree(context)

    def make_wheels(self) -> None:
        """What the Dockerfile installs, for the Python of the base image."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        extras = project["project"]["optional-dependencies"]
        wanted = [
            *project["build-system"]["requires"],
            *project["project"]["dependencies"],
            *(one for name in ("charts", "kubernetes", "postgres") for one in extras[name]),
        ]
        pins = self.folder / "pins"
        locked = (ROOT / "requirements.lock").read_text()
        pins.write_text("\n".join(re.findall(r"^[\w.-]+==[^\\\n]+", locked, re.MULTILINE)))
        words = ("--python-version", "3.11", "--only-binary", ":all:", "--constraint", str(pins))
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(self.wheels), *words)
        done = run([*pip, *wanted], within=600)
        if done.returncode != 0:
            do_without("an index of Python packages, for an image")

    def make_image(self) -> None:
        """`make image`, with a builder that reaches nobody."""
        words = ("build", "--isolation", "chroot", "--format", "docker", "--pull-never")
        build = " ".join([*self._buildah, *words, "--volume", f"{self.wheels}:/wheels:ro"])
        run(["make", "--no-print-directory", "image"], env={"IMAGE_BUILD": build}, within=600, must=True)

    def buildah(self, *words: str) -> str:
        return run([*self._buildah, *words], must=True).stdout

    def podman(self, *words: str, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """What `podman WORDS…` says; its warnings (no systemd for timers) go where nobody reads them."""
        return run([*self._podman, *words], within=within)

    def run_argv(self, name: str, *words: str, options: Sequence[str] = ()) -> list[str]:
        """The command that runs the image, in the foreground, with no right that it could do without."""
        rights = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host")
        return [*self._podman, "run", "--rm", "--name", name, *LIMITS, *rights, *options, IMAGE, *words]

    def close(self) -> None:
        """Remove containers, volumes and images; then the folder."""
        self.podman("rm", "--all", "--force", "--time", "0")
        for line in Path("/proc/mounts").read_text().splitlines():
            place = line.split()[1]
            if Path(place).is_relative_to(self.folder):
                run(["umount", "--lazy", place])
        shutil.rmtree(self.folder, ignore_errors=True)


def run(
    argv: Sequence[str], *, within: float = 60.0, env: Mapping[str, str] | None = None, must: bool = False
) -> subprocess.CompletedProcess[str]:
    """A command at the root of the repository, to its end; with `must`, its failure is the test's."""
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    assert done.returncode == 0 or not must, f"{argv}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def _mirror() -> str:
    """Where this machine's apt gets the base image's packages from."""
    words = ("--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    lines = run(["apt-get", "indextargets", *words]).stdout.splitlines()
    found = [line.split()[2] for line in lines if line.startswith(f"{_SUITE} main ")]
    if not found:
        do_without(f"a mirror of Debian {_SUITE} in apt's sources, for a base image")
    return found[0]
