"""The part of the system that runs inside an env. It needs only the standard library, pyzmq and msgspec there.

A worker is one process with one component in it. Its main thread runs the component, because many libraries insist
on it; a second thread reads the socket (`link.py`), so that the daemon is answered while the component computes.
"""
