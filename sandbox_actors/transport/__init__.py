"""Bytes between processes: the routers, the gateway behind them, keys, promises."""
