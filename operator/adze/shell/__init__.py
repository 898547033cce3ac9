"""What adze does: it watches the API server, asks the core what to do, and does it."""
