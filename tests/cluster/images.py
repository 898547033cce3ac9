"""Container images without a registry: the small ones that tests run, a Python base, and the project's own."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import binary, packages
from .components import PAUSE_IMAGE
from .progress import CommandError, run, run_long, say

BUSYBOX_IMAGE = "localhost/adze/busybox:1"
PYTHON_IMAGE = "localhost/adze/python-base:1"
NODE_IMAGES = (PAUSE_IMAGE, BUSYBOX_IMAGE)
BUSYBOX = Path("/bin/busybox")
# Builds take turns: the clean-up after one would remove what another has made so far.
LOCK = "images"

PAUSE_RECIPE = """FROM scratch
COPY busybox /bin/busybox
ENTRYPOINT ["/bin/busybox", "sleep", "2147483647"]
"""
BUSYBOX_RECIPE = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
CMD ["/bin/sh"]
"""
# Stands in for the public slim Python image: `python` and `pip` are on PATH and pip installs for the whole system.
PYTHON_RECIPE = """FROM scratch
ADD root.tar /
RUN ln -s /usr/bin/python3 /usr/local/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
ENV PYTHONUNBUFFERED=1 LANG=C.UTF-8
CMD ["python3"]
"""
PYTHON_PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")
# Settings of the host's pip that say how a registry is reached, which a build needs as well.
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "cert")
# Where the host's own distribution is listed, in the newer and in the older form.
APT_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
CERTIFICATES_IN_BUILD = "/run/adze-ca.crt"


def ensure(names: Sequence[str]) -> list[Path]:
    """Return the archives of the named images of this module, making those that the cache lacks."""
    packages.ensure(packages.IMAGE_PACKAGES)
    with binary.alone(LOCK):
        return [_ensure_one(name) for name in names]


def archive(name: str) -> Path:
    """The archive that ``name`` means: a file, or the short name of an image of this module (made if needed)."""
    named = {_short(image): image for image in (PAUSE_IMAGE, BUSYBOX_IMAGE, PYTHON_IMAGE)}
    if name in named:
        return ensure([named[name]])[0]
    if not Path(name).is_file():
        raise FileNotFoundError(f"{name} is neither an archive nor one of {', '.join(named)}")
    return Path(name)


def _short(image: str) -> str:
    return image.rpartition("/")[2].partition(":")[0]


def _ensure_one(name: str) -> Path:
    recipe, fill, inputs = _recipes()[name]
    digest = hashlib.sha256(f"{name}\n{recipe}\n{inputs}".encode()).hexdigest()[:12]
    tar = binary.cache_root() / "images" / f"{_short(name)}-{digest}.tar"
    if not tar.exists():
        with tempfile.TemporaryDirectory(prefix="adze-image-") as work:
            context = Path(work)
            fill(context)
            (context / "Containerfile").write_text(recipe)
            _build(name, context / "Containerfile", context, [], tar)
    return tar


def _recipes() -> dict[str, tuple[str, Callable[[Path], None], str]]:
    """For each image its Containerfile, what fills its context, and what else its content depends on."""
    busybox = hashlib.sha256(BUSYBOX.read_bytes()).hexdigest()
    debian = f"{_debian_release()} {' '.join(PYTHON_PACKAGES)}"
    return {
        PAUSE_IMAGE: (PAUSE_RECIPE, _copy_busybox, busybox),
        BUSYBOX_IMAGE: (BUSYBOX_RECIPE, _copy_busybox, busybox),
        PYTHON_IMAGE: (PYTHON_RECIPE, _bootstrap_debian, debian),
    }


def _copy_busybox(context: Path) -> None:
    shutil.copy(BUSYBOX, context / "busybox")


def _debian_release() -> str:
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")


def _bootstrap_debian(context: Path) -> None:
    """Make a minimal Debian with Python from wherever the host takes its own packages."""
    mirror = [str(each) for each in APT_SOURCES if each.exists() and each.stat().st_size][:1]
    options = ["--variant=minbase", f"--include={','.join(PYTHON_PACKAGES)}"]
    target = str(context / "root.tar")
    run_long("making a minimal Debian with Python", ["mmdebstrap", *options, _debian_release(), target, *mirror])


def build(containerfile: Path, context: Path, tag: str, *, base: str | None = PYTHON_IMAGE) -> Path:
    """Build an image of the project and return its archive, which is made anew each time.

    With ``base`` (an image of this module) the build gets ``--build-arg BASE=<base>``, for a Containerfile that
    starts with ``ARG BASE`` and ``FROM ${BASE}``; with None the Containerfile's own default is fetched.
    """
    packages.ensure(packages.IMAGE_PACKAGES)
    tar = binary.cache_root() / "images" / f"project-{hashlib.sha256(tag.encode()).hexdigest()[:12]}.tar"
    with binary.alone(LOCK), tempfile.TemporaryDirectory(prefix="adze-pip-") as work:
        # With layers kept, a step whose inputs are the same is not run again.
        arguments = ["--layers", *_pip_volumes(Path(work))]
        if base:
            _have_in_store(base)
            arguments += ["--build-arg", f"BASE={base}"]
        _build(tag, containerfile, context, arguments, tar)
    return tar


def _have_in_store(name: str) -> None:
    tar = _ensure_one(name)
    if not run([*_buildah(), "images", "--quiet", "--filter", f"reference={name}"]).strip():
        run_long(f"loading {name} into the build store", [*_buildah(), "pull", "--quiet", f"docker-archive:{tar}"])


def _pip_volumes(work: Path) -> list[str]:
    """Volumes that give pip inside a build the host's way to a package registry, and leave no setting in the image."""
    settings = _pip_settings()
    volumes = []
    if certificates := settings.get("cert"):
        volumes = ["--volume", f"{certificates}:{CERTIFICATES_IN_BUILD}:ro"]
        settings["cert"] = CERTIFICATES_IN_BUILD
    config = work / "pip.conf"
    config.write_text("\n".join(["[global]", *(f"{key} = {value}" for key, value in settings.items())]) + "\n")
    return [*volumes, "--volume", f"{config}:/etc/pip.conf:ro"]


def _pip_settings() -> dict[str, str]:
    """How the host's pip reaches its registry, from its files and its environment (which goes first)."""
    try:
        listed = run([sys.executable, "-m", "pip", "config", "list"])
    except CommandError:
        return {}
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        name = name.removeprefix("default-")
        if name in PIP_SETTINGS and (section == ":env:" or name not in settings):
            settings[name] = value.strip("'\"")
    return settings


def _build(tag: str, containerfile: Path, context: Path, arguments: Sequence[str], tar: Path) -> None:
    tar.parent.mkdir(parents=True, exist_ok=True)
    command = [*_buildah(), "build", "--tag", tag, "--file", str(containerfile)]
    run_long(f"building {tag}", [*command, *arguments, context])
    partial = tar.with_suffix(f".{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    run([*_buildah(), "push", "--quiet", tag, f"docker-archive:{partial}:{tag}"])
    partial.rename(tar)
    say(f"{tag}: {tar} ({tar.stat().st_size // 1_000_000} MB)")


def _buildah() -> list[str]:
    """The buildah command with a store in the cache, in a mount namespace so that its mounts end with it."""
    store = binary.cache_root() / "buildah"
    options = ["--root", f"{store}/root", "--runroot", f"{store}/run", "--storage-driver", "overlay"]
    isolation = ["env", "BUILDAH_ISOLATION=chroot"]
    return ["unshare", "--mount", "--propagation", "private", *isolation, "buildah", *options]
