"""The half of the system that runs inside an env, with nothing there but the standard library, pyzmq and msgspec.

A worker is one process with one component in it. Its main thread runs the component, because many libraries insist
on it; a second thread keeps the socket (`link.py`), so that the daemon is answered while the component computes.
"""
