"""What a Pod's container becomes here: a process of this machine, or one of docker or podman."""

import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from adze.core import kinds, names
from adze.core.manifest import OUTPUT_PATH
from adze.core.model import Step, WorkflowSpec
from adze.core.model.base import camel
from adze.core.names import DIRECTORY
from adze.core.policy import Policy
from adze.local import variables
from adze.local.variables import Missing, Objects

POLICY = Policy(outputs_url="http://localhost")  # each run has an address of its own
SCRIPTS, HOST = "scripts", "host"
ENGINES = ("docker", "podman")
SELF = shlex.quote(sys.executable)
PLACES = ("outputs", "outputFile")
"""Where a context names files."""
KEPT_VARIABLES = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""What a process inherits of this machine's environment; a container has none of it."""


class NotStarted(RuntimeError):
    """A container that can't be started."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute. `remove` ends for certain what the command has started elsewhere."""

    words: list[str]
    env: Mapping[str, str]
    remove: list[str] = field(default_factory=list)


def command(
    manifest: Mapping[str, Any], folder: Path, runtime: str, objects: Objects, outputs_url: str = ""
) -> Command:
    """How to run a Pod whose files are in `folder`; NotStarted says why it can't be."""
    try:
        if contained(manifest, runtime):
            return _contained(manifest, folder, runtime, variables.environment(manifest, objects, {}))
        own = {"ADZE_CONTEXT": str(folder / "adze" / "context.json"), "ADZE_OUTPUT": str(folder / "output")}
        if outputs_url:
            own |= {"ADZE_OUTPUTS_URL": outputs_url, "ADZE_OUTPUTS_TOKEN": str(folder / "adze" / "token")}
        return _here(manifest, folder, variables.environment(manifest, objects, own))
    except Missing as error:
        raise NotStarted(str(error)) from None


def contained(manifest: Mapping[str, Any], runtime: str) -> bool:
    """Whether a Pod becomes a container; scripts that bring no image never do."""
    plain = names.SCRIPT in manifest["metadata"]["annotations"] and _container(manifest)["image"] == POLICY.worker_image
    return runtime in ENGINES and not plain


def _container(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    container: Mapping[str, Any] = manifest["spec"]["containers"][0]
    return container


def equip(folder: Path) -> None:
    """What the worker image has and processes find here: `adze.sdk`, and the command `adze`."""
    package, programs = folder / "lib" / "adze", folder / "bin"
    package.mkdir(parents=True, exist_ok=True)
    programs.mkdir(exist_ok=True)
    package.joinpath("__init__.py").touch()  # goes before an adze that this machine's Python may have
    if not (package / "sdk").exists():
        (package / "sdk").symlink_to(Path(__file__).parents[1] / "sdk")
    program = programs / "adze"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(folder / "lib"))} exec {SELF} -m adze.sdk "$@"\n')
    program.chmod(0o755)


def write_files(
    manifest: Mapping[str, Any], folder: Path, runtime: str, page: Callable[[str], str | None] = lambda _: None
) -> None:
    """What the step finds in /adze, and an empty output; `page` gives the text of a page.

    NotStarted if one isn't there.
    """
    inside = folder / "adze"
    inside.mkdir(parents=True, exist_ok=True)
    volume = manifest["spec"]["volumes"][0]
    for source in volume.get("projected", {}).get("sources", [volume]):
        for path, text in _files(source, manifest, page):
            (inside / path).parent.mkdir(parents=True, exist_ok=True)
            (inside / path).write_text(text)
    if not contained(manifest, runtime):
        _move(inside / "context.json", inside)
    output = folder / "output"
    output.touch()
    output.chmod(0o666)  # whoever the container's user is


def _files(
    source: Mapping[str, Any], manifest: Mapping[str, Any], page: Callable[[str], str | None]
) -> Iterator[tuple[str, str]]:
    for item in source.get("downwardAPI", {}).get("items", ()):
        annotation = item["fieldRef"]["fieldPath"].split("'")[1]
        yield item["path"], manifest["metadata"]["annotations"][annotation]
    for item in source.get("configMap", {}).get("items", ()):
        text = page(source["configMap"]["name"])
        if text is None:
            raise NotStarted(f"the output in {item['path']} is lost")
        yield item["path"], text
    if "serviceAccountToken" in source:
        yield source["serviceAccountToken"]["path"], secrets.token_urlsafe(32)


def _move(context: Path, inside: Path) -> None:
    """A process finds the files of /adze elsewhere, and its context says so."""
    found = msgspec.json.decode(context.read_bytes())
    places = [(result, key) for result in found["steps"].values() for key in PLACES if key in result]
    for result, key in places:
        result[key] = result[key].replace(DIRECTORY, str(inside), 1)
    if places:
        context.write_bytes(msgspec.json.encode(found))


def _here(manifest: Mapping[str, Any], folder: Path, values: Mapping[str, str]) -> Command:
    container = _container(manifest)
    env = {**{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}, **values}
    run = folder.parents[1]
    env["PYTHONPATH"] = ":".join(filter(None, (str(run / "lib"), env.get("PYTHONPATH"))))
    env["PATH"] = f"{run / 'bin'}:{env.get('PATH', os.defpath)}"
    words = [*variables.words(container.get("command"), values), *variables.words(container.get("args"), values)]
    if not words:
        raise NotStarted("its image's own entrypoint isn't known here")
    if names.SCRIPT in manifest["metadata"]["annotations"] and words[-1] == f"{DIRECTORY}/script":
        words[-1] = str(folder / "adze" / "script")
    words[0] = executable(words[0], env.get("PATH"))
    return Command(words, env)


def executable(name: str, path: str | None = None) -> str:
    """Where the program is; NotStarted if it isn't here. Scripts without a python3 get adze's own."""
    found = shutil.which(name, path=path)
    if found is None and name == "python3":
        return sys.executable
    if found is None:
        raise NotStarted(f"there is no {name!r} on this machine")
    return found


def _contained(manifest: Mapping[str, Any], folder: Path, engine: str, values: Mapping[str, str]) -> Command:
    container = _container(manifest)
    name = manifest["metadata"]["name"]
    program = executable(engine)
    pull = {"Always": "always", "Never": "never"}.get(container.get("imagePullPolicy", ""), "missing")
    options = ["--rm", "--name", name, "--pull", pull, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    options += ["--mount", f"type=bind,src={folder / 'adze'},dst={DIRECTORY},readonly"]
    options += ["--mount", f"type=bind,src={folder / 'output'},dst={OUTPUT_PATH}"]
    for variable, text in values.items():
        options += ["--env", f"{variable}={text}"]
    first = variables.words(container.get("command"), values)
    if first:
        options += ["--entrypoint", first[0]]
    words = [*first[1:], *variables.words(container.get("args"), values)]
    return Command(
        [program, "run", *options, container["image"], *words], dict(os.environ), [program, "rm", "--force", name]
    )


def runtime(*, host: bool) -> str:
    """The runtime without a container engine."""
    return HOST if host else SCRIPTS


def find_engine() -> str:
    """docker or podman, whichever is here and answers; NotStarted if none is."""
    found = [engine for engine in ENGINES if shutil.which(engine)]
    if not found:
        raise NotStarted("--containers needs docker or podman; neither is on this machine")
    said = []
    for engine in found:
        try:
            answer = subprocess.run([engine, "version"], capture_output=True, text=True, check=False, timeout=30)
        except subprocess.TimeoutExpired:
            said.append(f"{engine}: no answer within 30 s")
            continue
        if answer.returncode == 0:
            return engine
        said.append(f"{engine}: {(answer.stderr.strip() or answer.stdout.strip() or 'no answer').splitlines()[-1]}")
    raise NotStarted(f"--containers needs docker or podman, and none answers ({'; '.join(said)})")


def refusals(spec: WorkflowSpec, runtime: str, objects: Objects) -> Iterator[str]:
    """Why a workflow can't be run here, before any of it is."""
    steps = [*spec.steps, *([spec.on_failure] if spec.on_failure else []), *spec.finally_]
    imaged = [step.name for step in steps if _brings_image(step)]
    if imaged and runtime == SCRIPTS:
        yield (
            f"{_list('step', imaged)} an image: add --containers to run it with docker or podman, "
            "or --host-processes to run its command on this machine"
        )
        return
    for step in steps:
        if isinstance(kinds.of(step), kinds.ByObject) or step.wait_for:
            yield f"step {step.name}: {camel(kinds.name(step))} steps need a cluster"
        if step.large_output and runtime in ENGINES and _brings_image(step):
            yield f"step {step.name}: largeOutput in a container needs a cluster; --host-processes can do without"
    defaults = spec.defaults.env if spec.defaults else ()
    for step in steps:
        for check in (_check_command, _check_variables):
            try:
                check(step, runtime, objects)
            except (NotStarted, Missing) as error:
                yield f"step {step.name}: {error}"
    try:
        variables.check(({"valueFrom": variable.value_from} for variable in defaults), (), objects)
    except Missing as error:
        yield f"defaults: {error}"


def _list(what: str, members: list[str]) -> str:
    return f"{what} {members[0]} brings" if len(members) == 1 else f"{what}s {', '.join(members)} bring"


def _brings_image(step: Step) -> bool:
    return bool(step.script.image if step.script else step.image or step.command or step.args)


def _check_command(step: Step, runtime: str, _objects: Objects) -> None:
    if step.script:
        words = step.script.command or ("python3",)
    elif not _brings_image(step):
        return  # nothing that runs in a container
    else:
        words = step.command or ()
    if _brings_image(step) and runtime in ENGINES:
        return
    if not words:
        raise NotStarted("its image's own entrypoint isn't known here: give it a command, or use --containers")
    if "$" not in words[0]:
        executable(words[0])


def _check_variables(step: Step, _runtime: str, objects: Objects) -> None:
    variables.check(({"valueFrom": variable.value_from} for variable in step.env), step.env_from or (), objects)
