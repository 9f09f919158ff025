"""The overhead of the actor system, and the time that warm actors save: `python -m tests.bench.bench_system [--quick]`.

Each figure is printed with what it is compared with, measured in the same run, or with its goal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import zmq

from envs.builder import build
from envs.specs import load_spec
from envs.variables import worker_environ
from sandbox_actors.actors import worker_bundle
from sandbox_actors.actors.component_actor import ActorNeeds, Lease
from sandbox_actors.actors.environments import ReadyEnv
from sandbox_actors.actors.pool import Pool
from sandbox_actors.actors.worker_processes import SystemWorkers
from sandbox_actors.actors.worker_records import WorkerRecords
from sandbox_actors.client.client import Client
from sandbox_actors.experiment.model import Experiment, Job, Pipeline, freeze
from sandbox_actors.protocol.frames import encode
from sandbox_actors.protocol.worker_requests import ComponentRef, EndLog
from sandbox_actors.system.paths import find_paths
from sandbox_actors.transport.gateway import Gateway
from sandbox_actors.transport.unix_router import open_router
from tests.bench.figures import print_figure

ROOT = Path(__file__).resolve().parents[2]
CALLS = 3_000
IN_FLIGHT = 64
SPAWNS = 10

ECHO = """
import sys, zmq
socket = zmq.Context().socket(zmq.DEALER)
socket.connect(sys.argv[1])
socket.send(b"here")
while (frame := socket.recv()) != b"stop":
    socket.send(frame)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the demo")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        plain = blocking_round_trip(Path(folder))
        trio.run(measure_actors, Path(folder), plain)
        measure_metrics(Path(folder))
        if not options.quick:
            measure_demo(Path(folder))


# --- calls -----------------------------------------------------------------------------------------------------------


def blocking_round_trip(folder: Path) -> float:
    """Seconds of one round trip between two otherwise idle processes: pyzmq, ROUTER and DEALER over ipc."""
    address = f"ipc://{folder}/plain"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.bind(address)
    peer = subprocess.Popen([sys.executable, "-c", ECHO, address])
    identity, _ = socket.recv_multipart()
    frame = encode(EndLog(run="bench"))

    def call() -> None:
        socket.send_multipart([identity, frame])
        socket.recv_multipart()

    seconds = median(call, CALLS)
    socket.send_multipart([identity, b"stop"])
    peer.wait()
    context.destroy(linger=0)
    return seconds


def median(call: Callable[[], Any], count: int) -> float:
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def measure_actors(folder: Path, plain: float) -> None:
    spec = load_spec("plain")
    built = build(spec, folder / "envs")
    env = ReadyEnv(spec.name, built.python, worker_environ(Path(built.path)))
    async with worker_pool(folder) as pool:
        spawned = [await seconds_to_spawn(pool, env) for _ in range(SPAWNS)]
        async with pool.lease(wanted(env, 0)) as lease:
            taken = []
            for _ in range(CALLS):
                started = time.perf_counter()
                await lease.peer.ask(EndLog(run="bench"))
                taken.append(time.perf_counter() - started)
            rate = await calls_a_second(lease)
    call = statistics.median(taken)
    print_figure("round trip, blocking pyzmq", f"{plain * 1e6:.0f} us", "two otherwise idle processes over ipc")
    print_figure(
        "round trip of an actor call", f"{call * 1e6:.0f} us", f"{call / plain:.2f} times blocking pyzmq (goal: 2)"
    )
    print_figure("actor calls a second", f"{rate:.0f}", f"{IN_FLIGHT} in flight, one worker")
    print_figure(
        "time to spawn a worker", f"{statistics.median(spawned) * 1e3:.0f} ms", f"median of {SPAWNS}, to its greeting"
    )


@asynccontextmanager
async def worker_pool(folder: Path) -> AsyncIterator[Pool]:
    async def serve(peer: object, body: object) -> None:
        return None

    records = WorkerRecords(folder / "records", folder / "scratch")
    bundle = worker_bundle.lay_out(folder / "bundles")
    pool = Pool(SystemWorkers(folder / "workers", bundle, folder / "logs", records))
    async with open_router(folder / "workers") as router, trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        nursery.start_soon(Gateway(router, pool.admit, serve, pool.arrived).run)
        yield pool
        nursery.cancel_scope.cancel()


def wanted(env: ReadyEnv, number: int) -> ActorNeeds:
    component = ComponentRef(target="components.base:Component", paths=[f"/{number}"])
    return ActorNeeds(label="bench", component=component, env=env, model_key="", cpus=1, keep_alive=600.0)


async def seconds_to_spawn(pool: Pool, env: ReadyEnv, numbers: list[int] = []) -> float:  # noqa: B006  # a counter
    numbers.append(len(numbers) + 1)
    started = time.perf_counter()
    async with pool.lease(wanted(env, numbers[-1])):
        return time.perf_counter() - started


async def calls_a_second(lease: Lease) -> float:
    async def caller() -> None:
        for _ in range(CALLS // IN_FLIGHT):
            await lease.peer.ask(EndLog(run="bench"))

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(caller)
    return CALLS // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - started)


# --- metrics ---------------------------------------------------------------------------------------------------------


def measure_metrics(folder: Path) -> None:
    """The time from a component writing a line until a client that follows the experiment receives its metric."""
    environ = {**os.environ, "SANDBOX_HOME": str(folder / "ticks"), "WANDB_MODE": "disabled"}
    os.environ["WANDB_MODE"] = "disabled"
    delays: list[float] = []
    os.environ["SANDBOX_HOME"] = environ["SANDBOX_HOME"]
    with Client(find_paths(environ), autostart=True) as client:
        for changed in client.follow(client.submit_definition(ticking(folder)), interval=0.0):
            now = time.time()
            delays += [now - float(row.value or 0) for row in changed.metrics if row.name == "tick"]
        client.stop_daemon()
    delays.sort()
    shown = f"{delays[len(delays) // 2] * 1e3:.0f} / {delays[int(len(delays) * 0.99)] * 1e3:.0f} ms"
    print_figure("line written to metric received, p50 / p99", shown, f"{len(delays)} lines, 5 ms apart (goal: 100 ms)")


def ticking(folder: Path) -> dict[str, Any]:
    job = Job(
        hook="TrainModelHook",
        meta_name="tick",
        env="plain",
        component_path=str(Path(__file__).parent),
        extra_configs={"type": "ticking:Ticks", "lines": 400, "pause": 0.005},
    )
    pipeline = Pipeline(name="anonymous", execution_jobs=[job])
    names = {"project_name": "bench", "experiment_name": "ticks", "work_dir": str(folder / "work")}
    return freeze(Experiment(pipelines=[pipeline], **names))


# --- the demo ---------------------------------------------------------------------------------------------------------


def measure_demo(folder: Path) -> None:
    """The demo: a run that builds the envs, a cold run by a new daemon, and warm runs by the same daemon."""
    home = folder / "home"
    environ = {**os.environ, "SANDBOX_HOME": str(home), "WANDB_MODE": "disabled"}
    (folder / "configs").symlink_to(ROOT / "configs")
    first = seconds_of_demo(folder, environ)
    stop_daemon(environ)
    for path in (folder / "outputs").iterdir():
        subprocess.run(["rm", "-r", str(path)], check=True)
    cold = seconds_of_demo(folder, environ)
    warm = [seconds_of_demo(folder, environ) for _ in range(2)]
    stop_daemon(environ)
    print_figure("demo, first run, builds the envs", f"{first:.1f} s", "")
    print_figure("demo, cold: a new daemon, envs built before", f"{cold:.1f} s", "goal: under 180 s")
    again = ", ".join(f"{seconds:.1f}" for seconds in warm)
    print_figure(
        "demo, warm: the same daemon",
        f"{warm[0]:.1f} s",
        f"cold is {cold / warm[0]:.1f} times as long (goal: 3); {again}",
    )


def seconds_of_demo(folder: Path, environ: dict[str, str]) -> float:
    command = [sys.executable, "-m", "sandbox_actors", "run", "-q", "configs/demo/sandbox.yaml"]
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def stop_daemon(environ: dict[str, str]) -> None:
    with Client(find_paths(environ), autostart=False) as client:
        client.stop_daemon()


if __name__ == "__main__":
    main()
