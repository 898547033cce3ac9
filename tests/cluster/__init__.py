"""A real Kubernetes cluster for the tests: ``python -m tests.cluster up`` from the repository's root.

The cluster is the one that ``KUBECONFIG`` names, if one answers there; else one of `kind`, if that tool is installed
and a container engine runs; else a single node of our own, the real components in namespaces of this machine, which
needs root and a Debian-like system. What is costly to make (the node's binary, images) is kept in ``$ADZE_CACHE``
(``~/.cache/adze``), and the node's state in ``$ADZE_NODE`` (``/var/tmp/adze-node``). Nodes with different
directories run side by side.
"""
