"""What adze costs, measured: ``python -m tests.bench`` from the repository's root. See README.md here."""
