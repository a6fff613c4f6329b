"""Malformed requests and messages for a live cluster: ``python -m tests.fuzz --count N --seed S``."""
