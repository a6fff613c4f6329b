"""The controller: it watches the cluster, answers questions about it and serves the dashboard.

It is never on the data path.
"""
