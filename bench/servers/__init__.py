"""Servers under load, side by side: ``python -m bench.servers``; see bench/README.md."""
