"""``kvnode up``: a controller and workers on loopback, as child processes of this one.

``plan`` decides what runs and writes its configuration, ``child`` keeps one process, ``cluster``
starts and stops all of them, ``screen`` shows them. Standard output here is for people.
"""
