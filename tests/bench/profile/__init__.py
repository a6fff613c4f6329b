"""Where the workers' time goes: ``make profile`` (``python -m tests.bench.profile``)."""
