"""What adze decides. Pure: no I/O, no clock, no chance; `planner.plan` is the file to read first."""
