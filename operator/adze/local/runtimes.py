"""What a Pod's container becomes here: a process of this machine, or one of docker or podman."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adze.core import kinds, names
from adze.core.manifest import OUTPUT_PATH
from adze.core.model import Step, WorkflowSpec
from adze.core.model.base import camel
from adze.core.names import DIRECTORY
from adze.core.policy import Policy
from adze.local import variables
from adze.local.variables import Missing, Objects

POLICY = Policy()
SCRIPTS, HOST = "scripts", "host"
ENGINES = ("docker", "podman")
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


def command(manifest: Mapping[str, Any], folder: Path, runtime: str, objects: Objects) -> Command:
    """How to run a Pod whose files are in `folder`; NotStarted says why it can't be."""
    plain = names.SCRIPT in manifest["metadata"]["annotations"] and _container(manifest)["image"] == POLICY.worker_image
    try:
        if runtime in ENGINES and not plain:
            return _contained(manifest, folder, runtime, variables.environment(manifest, objects, {}))
        own = {"ADZE_CONTEXT": str(folder / "adze" / "context.json"), "ADZE_OUTPUT": str(folder / "output")}
        return _here(manifest, folder, variables.environment(manifest, objects, own))
    except Missing as error:
        raise NotStarted(str(error)) from None


def _container(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    container: Mapping[str, Any] = manifest["spec"]["containers"][0]
    return container


def write_files(manifest: Mapping[str, Any], folder: Path) -> None:
    """What the step finds in /adze, and an empty output."""
    inside = folder / "adze"
    inside.mkdir(parents=True, exist_ok=True)
    for item in manifest["spec"]["volumes"][0]["downwardAPI"]["items"]:
        annotation = item["fieldRef"]["fieldPath"].split("'")[1]
        (inside / item["path"]).write_text(manifest["metadata"]["annotations"][annotation])
    output = folder / "output"
    output.touch()
    output.chmod(0o666)  # whoever the container's user is


def _here(manifest: Mapping[str, Any], folder: Path, values: Mapping[str, str]) -> Command:
    container = _container(manifest)
    env = {**{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}, **values}
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
