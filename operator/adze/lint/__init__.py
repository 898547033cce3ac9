"""Workflows and runs checked at the desk: the API server's and the operator's verdict, with file, line and column."""
