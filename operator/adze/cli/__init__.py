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


@main.command()
@click.option("--deployment", help="The operator's Deployment, scaled to zero first.")
@click.option("-n", "--namespace", default="adze-system", show_default=True, help="Namespace of that Deployment.")
@click.option("--patience", default=60.0, show_default=True, help="Seconds to wait for the operator's end.")
def release(deployment: str | None, namespace: str, patience: float) -> None:
    """Let go of all Pods, before an uninstall: nothing then stays in deletion for want of an operator."""
    from adze.shell.main import release as release_pods

    try:
        click.echo(f"released {release_pods(deployment, namespace, patience)} Pods")
    except TimeoutError:
        raise click.ClickException(f"the operator still runs after {patience:.0f} s; nothing was released") from None
