"""``python -m kvnode``: the same as the ``kvnode`` command."""

from kvnode.cli import main

main()
