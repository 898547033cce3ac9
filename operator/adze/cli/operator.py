"""What runs inside a cluster: the operator, and its goodbye."""

import click


@click.command()
def operator() -> None:
    """Run the operator: in a cluster, or outside with a kubeconfig. Settings are ADZE_* variables."""
    from adze.shell.main import run

    run()


@click.command()
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
