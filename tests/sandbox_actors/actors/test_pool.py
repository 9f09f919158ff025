"""What the pool decides, on workers that are kept in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from sandbox_actors.actors import pool as pools
from sandbox_actors.actors.component_actor import ActorNeeds
from sandbox_actors.actors.pool import DropReserved, FindWarm, Pool, ReserveActor
from sandbox_actors.errors import ActorStopped, NotFound, ProtocolError, Refused, WorkerLost
from sandbox_actors.protocol.client_requests import ListWorkers, StopWorker
from sandbox_actors.protocol.frames import PROTOCOL_VERSION, Hello
from sandbox_actors.protocol.rows import WorkerRow
from tests.sandbox_actors.actors.memory_workers import MemoryWorkers, greet, needs, pool_of


async def rows(pool: Pool) -> dict[str, WorkerRow]:
    return {row.worker: row for row in await pool.ask(ListWorkers())}


async def states(pool: Pool) -> dict[str, str]:
    return {name: row.state for name, row in (await rows(pool)).items()}


async def use(pool: Pool, wanted: ActorNeeds) -> tuple[str, bool]:
    """One run that ends well: the actor's name, and whether it was warm."""
    async with pool.lease(wanted) as lease:
        lease.actor.warm_model = wanted.model_key
        return lease.actor.name, lease.warm


# --- leases ---


async def test_an_actor_stays_and_is_warm_for_the_same_model() -> None:
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:
        assert await use(pool, needs("small")) == ("trainer-1", False)
        assert await pool.ask(FindWarm(needs=needs("small"))) == "model"
        assert await pool.ask(FindWarm(needs=needs("large"))) == "process"
        assert await pool.ask(FindWarm(needs=needs(label="other"))) == "none"
        assert await use(pool, needs("small")) == ("trainer-1", True)
        row = (await rows(pool))["trainer-1"]
        assert (row.state, row.runs, row.model) == ("idle", 2, "small")


async def test_another_model_gets_a_process_of_its_own_and_the_first_stays_warm() -> None:
    async with pool_of(MemoryWorkers()) as pool:
        await use(pool, needs("small"))
        assert await use(pool, needs("large")) == ("trainer-2", False)
        assert await use(pool, needs("small")) == ("trainer-1", True)
        assert await states(pool) == {"trainer-1": "idle", "trainer-2": "idle"}


async def test_leases_at_the_same_time_get_actors_of_their_own() -> None:
    workers, names, release = MemoryWorkers(), list[str](), trio.Event()

    async def hold(pool: Pool) -> None:
        async with pool.lease(needs()) as lease:
            names.append(lease.actor.name)
            await release.wait()

    async with pool_of(workers) as pool, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(hold, pool)
        await trio.testing.wait_all_tasks_blocked()
        assert len(set(names)) == len(names) == 5
        release.set()


async def test_a_process_in_which_a_run_failed_is_never_reused() -> None:
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:

        async def fail() -> None:
            async with pool.lease(needs("small")):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert workers.children["trainer-1"].has_ended()
        assert await states(pool) == {}
        assert await use(pool, needs("small")) == ("trainer-2", False)


async def test_a_lease_that_is_cancelled_while_its_process_starts_leaves_none() -> None:
    workers = MemoryWorkers()
    workers.may_start = trio.Event()
    async with pool_of(workers) as pool:
        with trio.move_on_after(0.01) as scope:
            await use(pool, needs())
        assert scope.cancelled_caught
        assert await states(pool) == {}
        assert workers.children == {}
        assert workers.forgotten["trainer-1"].is_set()
        workers.may_start.set()
        assert await use(pool, needs()) == ("trainer-2", False)


async def test_a_lease_that_is_cancelled_before_its_worker_greets_ends_it() -> None:
    workers = MemoryWorkers()
    workers.greets = lambda name: False
    async with pool_of(workers) as pool:
        with trio.move_on_after(0.01):
            await use(pool, needs())
        assert workers.children["trainer-1"].has_ended()
        assert await states(pool) == {}


async def test_a_process_that_cannot_be_started_is_an_error_of_its_lease_alone() -> None:
    workers = MemoryWorkers()
    workers.refusal = Refused("too many processes")
    async with pool_of(workers) as pool:
        with pytest.raises(Refused, match="too many processes"):
            await use(pool, needs())
        assert await states(pool) == {}
        workers.refusal = None
        assert (await use(pool, needs()))[0] == "trainer-2"


async def test_a_worker_that_ends_before_it_greets_says_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ARRIVAL_TIMEOUT", 0.01)
    workers = MemoryWorkers()
    workers.greets = lambda name: False
    async with pool_of(workers) as pool:
        with pytest.raises(WorkerLost, match="trainer-1 was ended by SIGTERM before it had started\nthe last line"):
            await use(pool, needs())


async def test_who_waits_for_an_actor_that_ends_learns_how() -> None:
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:

        async def run() -> None:
            async with pool.lease(needs()) as lease:
                workers.children[lease.actor.name].exit(3)
                await lease.actor.gone.wait()
                raise WorkerLost(lease.actor.last_words())

        with pytest.raises(WorkerLost, match="exited with status 3 without delivering a result"):
            await run()
        assert await states(pool) == {}


async def test_a_killed_worker_that_counts_as_idle_still_is_not_leased() -> None:
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:
        await use(pool, needs())
        workers.children["trainer-1"].exit(-9)
        assert (await use(pool, needs()))[0] == "trainer-2"


async def test_an_idle_actor_whose_code_has_changed_is_sent_away_by_the_next_lease() -> None:
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:
        await use(pool, needs(code="1"))
        assert await use(pool, needs(code="2")) == ("trainer-2", False)
        await workers.wait_forgotten("trainer-1")
        assert await states(pool) == {"trainer-2": "idle"}


async def test_an_actor_may_be_stopped_unless_it_is_in_use() -> None:
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:
        with pytest.raises(NotFound, match="no worker is called trainer-1"):
            await pool.ask(StopWorker(worker="trainer-1"))
        async with pool.lease(needs()) as lease:
            lease.actor.job = "7 base.train"
            with pytest.raises(Refused, match="runs 7 base"):
                await pool.ask(StopWorker(worker="trainer-1"))
        assert (await pool.ask(StopWorker(worker="trainer-1"))).runs == 1
        assert await states(pool) == {}
        async with pool.lease(needs()) as lease:
            assert (await pool.ask(StopWorker(worker="trainer-2", force=True))).worker == "trainer-2"
            assert lease.actor.gone.is_set()


async def test_only_who_knows_the_token_is_admitted() -> None:
    async with pool_of(MemoryWorkers()) as pool, pool.lease(needs()) as lease:
        for name, token in ((lease.actor.name, "guess"), ("stranger", "stranger")):
            with pytest.raises(ProtocolError, match="not a worker that this daemon knows"):
                pool.admit(Hello(protocol=PROTOCOL_VERSION, version="0", name=name, pid=1, token=token))


# --- eviction ---


async def test_an_actor_is_ended_when_its_keep_alive_is_over() -> None:
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:
        await use(pool, needs("kept"))
        await use(pool, needs("short", keep_alive=0.0))
        await workers.wait_forgotten("trainer-2")
        assert await states(pool) == {"trainer-1": "idle"}


async def test_the_least_recently_used_is_ended_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_LIMITS", replace(pools.IDLE_LIMITS, actors=2))
    workers = MemoryWorkers()
    async with pool_of(workers) as pool:
        for model in ("a", "b", "a", "c"):
            await use(pool, needs(model))
        await workers.wait_forgotten("trainer-2")
        assert await states(pool) == {"trainer-1": "idle", "trainer-3": "idle"}


# --- adoption ---


async def test_an_idle_worker_of_an_earlier_daemon_is_warm_as_before() -> None:
    workers = MemoryWorkers({"trainer-7": needs("small")})
    async with pool_of(workers) as pool, trio.open_nursery() as nursery:

        async def lease() -> None:
            assert await use(pool, needs("small")) == ("trainer-7", True)

        nursery.start_soon(lease)
        await trio.testing.wait_all_tasks_blocked()  # the lease waits for the greeting
        greet(pool, "trainer-7", workers.children["trainer-7"], model="small")
    assert list(workers.children) == ["trainer-7"]


async def test_new_names_follow_those_of_an_earlier_daemon() -> None:
    workers = MemoryWorkers({"trainer-7": needs()})
    async with pool_of(workers) as pool:
        assert (await use(pool, needs(label="other")))[0] == "other-8"


async def test_a_reserved_worker_is_kept_in_its_run_until_a_job_rejoins_it() -> None:
    workers = MemoryWorkers({"trainer-7": needs()})
    async with pool_of(workers) as pool:
        await pool.ask(ReserveActor(worker="trainer-7", run="1.1.0.1"))
        greet(pool, "trainer-7", workers.children["trainer-7"], run="1.1.0.1")
        assert (await states(pool))["trainer-7"] == "running"
        with pytest.raises(WorkerLost, match="ended together with the daemon"):
            async with pool.rejoin("trainer-7", "another.1.0.1"):
                raise AssertionError("it was leased")
        async with pool.rejoin("trainer-7", "1.1.0.1") as lease:
            assert lease.warm
        assert await states(pool) == {"trainer-7": "idle"}


async def test_a_worker_in_a_run_that_no_job_takes_up_is_ended() -> None:
    workers = MemoryWorkers({"trainer-7": needs(), "trainer-8": needs()})
    async with pool_of(workers) as pool:
        await pool.ask(ReserveActor(worker="trainer-8", run="1.1.0.1"))
        for name in list(workers.children):
            greet(pool, name, workers.children[name], run="1.1.0.1")
        await workers.wait_forgotten("trainer-7")
        await pool.ask(DropReserved(worker="trainer-8", run="1.1.0.1"))
        assert workers.children["trainer-8"].has_ended()
        assert await states(pool) == {}


async def test_an_adopted_worker_that_does_not_greet_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ARRIVAL_TIMEOUT", 0.01)
    workers = MemoryWorkers({"trainer-7": needs()})
    async with pool_of(workers):
        await workers.wait_forgotten("trainer-7")


# --- the end ---


async def test_a_pool_that_has_ended_says_so() -> None:
    async with pool_of(MemoryWorkers()) as pool:
        await use(pool, needs())
    with pytest.raises(ActorStopped, match="pool"):
        await use(pool, needs())
