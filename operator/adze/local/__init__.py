"""Runs without a cluster: the operator's planner, protocol and engine, over an API server in memory and processes.

`api` answers the protocol's calls, `state` keeps every object on disk, `kubelet` makes processes of Pods,
`runner` holds the three together. A run survives the end of `adze run` as it survives the end of the operator.
"""
