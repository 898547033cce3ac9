"""The command line of the test cluster: ``python -m tests.cluster COMMAND`` from the repository's root."""

from __future__ import annotations

import argparse
import signal
import sys

from . import binary, components, images, provider
from .node import Node
from .progress import CommandError, say


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (CommandError, RuntimeError, ValueError, OSError) as error:
        say(f"{options.command}: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="have a cluster Ready; prints its kubeconfig").set_defaults(run=_up)
    commands.add_parser("down", help="remove it, leaving nothing behind").set_defaults(run=_down)
    commands.add_parser("status", help="say which cluster there is and how it does").set_defaults(run=_status)
    commands.add_parser("kubeconfig", help="print the path of the kubeconfig").set_defaults(run=_kubeconfig)
    tools = commands.add_parser("tools", help="print the directory with kubectl and helm, built if needed")
    tools.set_defaults(run=_tools)
    load = commands.add_parser("load", help="bring image archives into the cluster")
    load.add_argument("images", nargs="+", metavar="IMAGE", help="an archive, or pause, busybox or python-base")
    load.set_defaults(run=_load)
    for action, text in (
        ("start", "start a component that was stopped"),
        ("stop", "end a component until it is started"),
        ("restart", "end a component and start it again"),
        ("kill", "send a component a signal"),
    ):
        one = commands.add_parser(action, help=f"{text} (embedded node only)")
        one.add_argument("component", choices=components.NAMES, metavar="COMPONENT")
        one.set_defaults(run=_act)
        if action == "kill":
            one.add_argument("-s", "--signal", type=_signal, default=signal.SIGKILL, help="name or number [KILL]")
    return parser


def _signal(text: str) -> signal.Signals:
    """The signal that a name (with or without SIG) or a number means."""
    try:
        return signal.Signals(int(text)) if text.isdigit() else signal.Signals[f"SIG{text.removeprefix('SIG')}"]
    except KeyError as error:
        raise ValueError(text) from error


def _up(_: argparse.Namespace) -> None:
    cluster = provider.choose()
    seconds = cluster.up()
    print(f"KUBECONFIG={cluster.kubeconfig}")
    print(f"Ready after {seconds:.1f}s ({cluster.kind})")


def _down(_: argparse.Namespace) -> None:
    cluster = provider.choose()
    cluster.down()
    if cluster.kind != "external":
        say(f"nothing is left of the {cluster.kind} cluster")


def _status(_: argparse.Namespace) -> int:
    cluster = provider.choose()
    ready = cluster.is_ready()
    print(f"{cluster.kind}: {'Ready' if ready else 'not Ready'}, kubeconfig {cluster.kubeconfig}")
    if isinstance(cluster, Node) and cluster.runs():
        for name, state in cluster.status().items():
            running = f"pid {state['pid']}" if state["pid"] else "down"
            print(f"  {name:24} {running:10} {'' if state['wanted'] else 'stopped, '}started {state['starts']} times")
    return 0 if ready else 1


def _kubeconfig(_: argparse.Namespace) -> None:
    print(provider.choose().kubeconfig)


def _tools(_: argparse.Namespace) -> None:
    print(binary.tools())


def _load(options: argparse.Namespace) -> None:
    cluster = provider.choose()
    for name in options.images:
        cluster.load(images.archive(name))
        say(f"loaded {name}")


def _act(options: argparse.Namespace) -> None:
    node = Node()
    if options.command == "kill":
        node.kill(options.component, options.signal)
    else:
        getattr(node, options.command)(options.component)


if __name__ == "__main__":
    sys.exit(main())
