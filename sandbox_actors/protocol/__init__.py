"""Every message on the wire. A frame is one msgpack document, which holds one tagged Struct.

Two sockets speak this protocol: clients to the daemon, workers to the daemon. Both open with `Hello`, answered by
`Welcome` or `TurnedAway`. After that, either side may send `Ask`, and gets exactly one `Reply` or `Failed` with the
same id. Nothing is pushed: a client that follows an experiment asks for what has changed since the last answer, so a
slow client delays only itself and nothing needs to be dropped.

Importable with the standard library and msgspec alone, on Python 3.10 and later: workers use it inside their envs.
"""
