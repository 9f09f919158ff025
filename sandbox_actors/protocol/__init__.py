"""Every message on the wire: one msgpack document a frame, a tagged Struct in it.

Two sockets speak this protocol: clients to the daemon, workers to the daemon. Both open with `Hello`, answered by
`Welcome` or `TurnedAway`, and then speak in asks: whoever wants something sends `Ask`, and gets exactly one `Reply`
or `Failed` with the same id. Nothing is ever pushed: a client that follows an experiment asks for what has changed
since the last answer, so that a slow one slows only itself and nothing needs to be dropped.

Importable with the standard library and msgspec alone, on Python 3.10 and later: workers use it inside their envs.
"""
