"""kvnode beside its peers on the same cores: ``make bench`` (``python -m tests.bench.versus``)."""
