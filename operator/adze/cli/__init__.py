"""The command line. Heavy imports stay inside the verbs, so that `adze --help` is quick."""

import click

from adze import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="adze")
def main() -> None:
    """adze runs workflows as Kubernetes custom resources."""


@main.command()
def operator() -> None:
    """Run the operator: in a cluster, or outside with a kubeconfig. Settings are ADZE_* variables."""
    from adze.shell.main import run

    run()
