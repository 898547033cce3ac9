"""A list of the API server, page by page."""

from collections.abc import AsyncIterator

import msgspec

from adze.shell.cluster import Cluster

PAGE = "500"
"""Objects of a page."""


class ListMeta(msgspec.Struct, rename="camel"):
    """Which version the list shows, and where it goes on."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """A part of a list, its objects not yet decoded."""

    metadata: ListMeta
    items: list[msgspec.Raw] = []


async def pages(cluster: Cluster, path: str, **params: str) -> AsyncIterator[Page]:
    """Consistent at one version, which each page tells. ApiError as `Cluster.call`: 410 if the list took too long."""
    selection = {**params, "limit": PAGE}
    while True:
        page = msgspec.json.decode(await cluster.call("GET", path, **selection), type=Page)
        yield page
        if not page.metadata.continue_:
            return
        selection["continue"] = page.metadata.continue_
