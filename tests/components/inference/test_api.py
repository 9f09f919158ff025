"""The `api` type in its real env, against a server of the test's own that does what real ones do on bad days."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.components.conftest import ComponentProcess, Ran, Start
from tests.components.inference.ugly_server import Asked, Reply, UglyServer, echo, refused, said, serving

TARGET = "components.inference.api:ApiInferExecutor"
CANARY = "sk-canary-0123456789-abcdef"


@pytest.fixture(scope="session")
def keyed(start_component: Start) -> ComponentProcess:
    """A process that has a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", CANARY)
        return start_component("api", TARGET)


def dataset(folder: Path, count: int, name: str = "data") -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(f'{{"query": "q{number}", "n": {number}.0}}\n' for number in range(count)))
    return path


def config(server: UglyServer | None, data: Path, **settings: Any) -> dict[str, Any]:
    return {
        "type": "api",
        "model": "tiny",
        "api_endpoint": server.url if server else None,
        "dataset_path": str(data),
        "export_path": str(data.parent / "out"),
        "retry_delay": 0.01,
        **settings,
    }


def run(process: ComponentProcess, settings: dict[str, Any]) -> Ran:
    ran = process.run(settings, "api")
    assert ran.error is None, ran.error + ran.log
    return ran


def exported(ran: Ran) -> list[dict[str, Any]]:
    (path,) = ran.result
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def results(ran: Ran) -> dict[str, Any]:
    (found,) = [res for res, _, step in ran.watched if step is None]
    return dict(found)


def once(reply: Reply) -> Callable[[Asked], Reply]:
    """This reply to the first attempt of the first request, echoes to everything else."""
    return lambda asked: reply if asked.text == "q0" and asked.attempt == 1 else echo(asked)


def test_each_sample_gets_its_answer_in_its_place_and_leaves_else_as_it_came(
    api: ComponentProcess, tmp_path: Path
) -> None:
    def behave(asked: Asked) -> Reply:
        time.sleep(0.02 if asked.text == "q0" else 0)  # the first is answered last
        return echo(asked)

    data = tmp_path / "data.jsonl"
    data.write_text('{"query":"q0","x":1.50,"é":"\\u00e9"}\n\n{"query": "q1",  "response": "old", "z": 1e3}\r\n')
    with serving(behave) as server:
        ran = run(api, config(server, data))
    (path,) = ran.result
    assert path == str(tmp_path / "out" / "data_inference.jsonl")
    assert Path(path).read_text() == (
        '{"query":"q0","x":1.50,"é":"\\u00e9","response":"echo of q0"}\n'
        '{"query": "q1",  "response": "echo of q1", "z": 1e3}\n'
    )
    assert {key: results(ran)[key] for key in ("samples", "failed", "retries", "taken_over")} == {
        "samples": 2,
        "failed": 0,
        "retries": 0,
        "taken_over": 0,
    }
    assert results(ran)["completion_tokens"] == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["data_inference.jsonl"]


def test_what_is_sent_is_what_openai_takes(api: ComponentProcess, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"prompt": "grade", "question": "2+2?", "answer": "4"}\n')
    functions = {
        "build_messages_func": "build_messages_for_math_qa",
        "func_kwargs": {"system_key": "prompt", "query_key": "question", "response_key": "answer"},
    }
    with serving(lambda asked: said("0.5")) as server:
        ran = run(api, config(server, data, **functions, sampling_params={"temperature": 0}, infer_res_key="grades"))
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "grade"},
            {"role": "user", "content": "Question: 2+2?\nAnswer: 4"},
        ],
        "temperature": 0,
    }
    assert "authorization" not in {name.lower() for name in asked.headers}
    assert exported(ran)[0]["grades"] == "0.5"


def test_as_many_requests_are_under_way_as_may_be_and_not_more(api: ComponentProcess, tmp_path: Path) -> None:
    full = threading.Event()

    def behave(asked: Asked) -> Reply:
        if server.most_under_way == 6:
            full.set()
        assert full.wait(30)
        return echo(asked)

    with serving(behave) as server:
        run(api, config(server, dataset(tmp_path, 30), max_concurrency=6))
    assert server.most_under_way == 6


@pytest.mark.parametrize(
    "bad",
    [
        refused(429, retry_after="0"),
        refused(429, retry_after_ms="5"),
        refused(500),
        refused(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
        Reply(body=b'{"choices": [{"mess'),
        Reply(body=b"<html>gateway</html>", headers={"content-type": "text/html"}),
        Reply(body={"error": {"message": "overloaded"}}),
        said("cut", cut=20),
        said("cut", cut=0),
    ],
    ids=["429", "429ms", "500", "503date", "malformed", "html", "error200", "cut", "cut0"],
)
def test_a_temporary_failure_is_tried_again(api: ComponentProcess, tmp_path: Path, bad: Reply) -> None:
    with serving(once(bad)) as server:
        ran = run(api, config(server, dataset(tmp_path, 3)))
    assert [each["response"] for each in exported(ran)] == ["echo of q0", "echo of q1", "echo of q2"]
    assert results(ran)["retries"] == 1
    assert server.texts().count("q0") == 2


def test_a_request_that_takes_too_long_is_tried_again(api: ComponentProcess, tmp_path: Path) -> None:
    released = threading.Event()

    def behave(asked: Asked) -> Reply:
        if asked.text == "q0" and asked.attempt == 1:
            released.wait(30)
        return echo(asked)

    with serving(behave) as server:
        ran = run(api, config(server, dataset(tmp_path, 2), request_timeout=1.0))
        released.set()
    assert results(ran)["retries"] == 1
    assert "did not answer within 1 s" in ran.log


def test_a_pause_that_the_server_asks_for_holds_all_requests(api: ComponentProcess, tmp_path: Path) -> None:
    times: dict[str, float] = {}

    def behave(asked: Asked) -> Reply:
        times.setdefault(f"{asked.text}.{asked.attempt}", time.monotonic())
        if asked.text == "q1":
            time.sleep(0.7)  # so that the other has its refusal when this one makes room for q2
        return refused(429, retry_after="1.5") if asked.text == "q0" and asked.attempt == 1 else echo(asked)

    with serving(behave) as server:
        run(api, config(server, dataset(tmp_path, 6), max_concurrency=2))
    assert times["q0.2"] - times["q0.1"] >= 1.5
    assert times["q2.1"] - times["q0.1"] >= 1.5


def test_a_budget_of_which_nothing_is_left_is_waited_for(api: ComponentProcess, tmp_path: Path) -> None:
    times: list[float] = []

    def behave(asked: Asked) -> Reply:
        times.append(time.monotonic())
        last = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "400ms"}
        return said("yes", headers=last if asked.text == "q0" else {})

    with serving(behave) as server:
        ran = run(api, config(server, dataset(tmp_path, 2), max_concurrency=1))
    assert times[1] - times[0] >= 0.4
    assert results(ran)["retries"] == 0


def test_a_pause_longer_than_one_wants_to_wait_ends_the_run(api: ComponentProcess, tmp_path: Path) -> None:
    with serving(once(refused(429, "come back tomorrow", retry_after="86400"))) as server:
        ran = api.run(config(server, dataset(tmp_path, 3)), "api")
    assert ran.error is not None
    assert "come back tomorrow; it asks to wait 86400 s, and max_wait is 300" in ran.error


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refused(400, "temperature must be at most 2"), "answered 400: temperature must be at most 2; it refuses the"),
        (refused(401, "who are you"), "no key was sent: the environment variable OPENAI_API_KEY is not set; set it"),
        (refused(404, "no such model"), "answered 404: no such model; does it have this `model`"),
        (Reply(307, {}, {"location": "https://elsewhere.example/v1"}), "write that address as `api_endpoint`"),
        (Reply(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), "see its billing"),
        (Reply(body={"choices": []}), "the answer has nothing at choices.0.message.content: no '0' in a list of 0"),
        (said(None), "has null at choices.0.message.content, finish_reason 'stop'"),
        (Reply(body=b"x" * 100_000), "answered with more than max_answer_bytes, 50000"),
    ],
    ids=["400", "401", "404", "307", "quota", "empty", "null", "huge"],
)
def test_a_permanent_failure_ends_the_run_early_and_says_what_to_do(
    api: ComponentProcess, tmp_path: Path, reply: Reply, message: str
) -> None:
    with serving(lambda _: reply) as server:
        ran = api.run(config(server, dataset(tmp_path, 200), max_concurrency=2, max_answer_bytes=50_000), "api")
    assert ran.error is not None
    assert ran.error.startswith("ComponentFailed: ")
    assert server.url in ran.error
    assert message in ran.error
    assert len(server.asked) <= 4, "the others are not asked in vain"
    assert not (tmp_path / "out" / "data_inference.jsonl").exists()


def test_a_server_that_does_not_answer_is_reported(api: ComponentProcess, tmp_path: Path) -> None:
    with serving() as server:
        pass
    ran = api.run(config(server, dataset(tmp_path, 3), max_retry_num=1), "api")
    assert "cannot be reached" in (ran.error or "")
    assert "is the server running" in (ran.error or "")


def test_a_sample_without_an_answer_has_null_and_the_reason(api: ComponentProcess, tmp_path: Path) -> None:
    def behave(asked: Asked) -> Reply:
        return refused(400, "too long") if asked.text == "q1" else echo(asked)

    with serving(behave) as server:
        ran = run(api, config(server, dataset(tmp_path, 3), max_failed_share=0.5))
    rows = exported(ran)
    assert [row["response"] for row in rows] == ["echo of q0", None, "echo of q2"]
    assert "answered 400: too long" in rows[1]["response_error"]
    assert "response_error" not in rows[0]
    assert results(ran)["failed"] == 1


def test_too_many_samples_without_an_answer_fail_the_run_and_the_answers_are_kept(
    api: ComponentProcess, tmp_path: Path
) -> None:
    def behave(asked: Asked) -> Reply:
        return refused(400, "too long") if is_strict and int(asked.text[1:]) >= 12 else echo(asked)

    data, is_strict = dataset(tmp_path, 20), True
    with serving(behave) as server:
        ran = api.run(config(server, data, max_failed_share=0.3, max_concurrency=1), "api")
        assert "7 of 20 requests got no answer, and max_failed_share is 0.3" in (ran.error or "")
        assert (ran.error or "").endswith("run it again to continue from there")
        assert not (tmp_path / "out" / "data_inference.jsonl").exists()
        is_strict = False
        before = len(server.asked)
        again = run(api, config(server, data))
    assert len(server.asked) - before == 8
    assert results(again)["taken_over"] == 12
    assert [row["response"] for row in exported(again)] == [f"echo of q{number}" for number in range(20)]


def test_a_key_is_sent_in_its_header_and_leaks_nowhere(keyed: ComponentProcess, tmp_path: Path) -> None:
    def behave(asked: Asked) -> Reply:
        key = asked.headers["Authorization"]
        if asked.attempt == 1:
            return refused(500, f"I was sent {key} and also {CANARY[:8]}***{CANARY[-6:]}")
        return said(f"your headers: {key}")

    with serving(behave) as server:
        ran = run(keyed, config(server, dataset(tmp_path, 2)))
        keyed_run = keyed.run(config(server, dataset(tmp_path, 2), response_path="choices.0.text"), "api")
    assert {each.headers["Authorization"] for each in server.asked} == {f"Bearer {CANARY}"}
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    for text in (ran.log, keyed_run.log, keyed_run.error or "", json.dumps(ran.watched), *written):
        assert CANARY not in text
        assert "sk-canary" not in text
        assert CANARY[-6:] not in text
    assert "I was sent Bearer <key> and also <key>" in ran.log
    assert exported(ran)[0]["response"] == "your headers: Bearer <key>"


def test_a_refused_key_is_reported_but_not_shown(keyed: ComponentProcess, tmp_path: Path) -> None:
    def behave(asked: Asked) -> Reply:
        return refused(401, f"Incorrect API key provided: {CANARY[:7]}*****{CANARY[-4:]}.")

    with serving(behave) as server:
        ran = keyed.run(config(server, dataset(tmp_path, 2)), "api")
    assert "it does not accept the key in the environment variable OPENAI_API_KEY" in (ran.error or "")
    assert CANARY[:7] not in (ran.error or "") + ran.log


def test_a_key_may_lie_in_a_file_and_go_in_another_header(api: ComponentProcess, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{CANARY}\n")
    with serving() as server:
        run(api, config(server, dataset(tmp_path, 1), api_key_file=str(tmp_path / "key"), api_key_header="api-key"))
    assert server.asked[0].headers["api-key"] == CANARY


def test_without_a_model_the_first_that_the_server_lists_is_taken(api: ComponentProcess, tmp_path: Path) -> None:
    def behave(asked: Asked) -> Reply:
        return Reply(body={"data": [{"id": "listed"}]}) if asked.path == "/v1/models" else echo(asked)

    with serving(behave) as server:
        run(api, config(server, dataset(tmp_path, 1), model=None))
    assert server.asked[-1].body["model"] == "listed"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset_path": "absent.jsonl"}, "dataset_path: not found from"),
        ({"modl": "tiny"}, "modl: unknown key; did you mean 'model'?"),
        ({"model_params": {"api_key": "sk-1"}}, "model_params.api_key: a key in an experiment file is seen by"),
        ({"model_params": {"default_headers": {"Authorization": "x"}}}, "default_headers.Authorization: a key in"),
        ({"api_endpoint": "http://me:secret@host/v1"}, "api_endpoint: contains a password"),
        ({"api_endpoint": "ftp://host"}, "'ftp://host' is not an address"),
        ({"sampling_params": {"stream": True}}, "sampling_params.stream: cannot be set in sampling_params"),
        ({"build_messages_func": "build_mesages"}, "no function 'build_mesages'; did you mean 'build_messages'?"),
        ({"build_messages_func": "absent_module:f"}, "must be in the job's component_path"),
        (
            {"func_kwargs": {"query_key": "text"}},
            "data.jsonl, line 1: build_messages cannot make messages of it: there",
        ),
        ({"max_failed_share": 2}, "max_failed_share: must be between 0 and 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_settings_are_reported_before_any_request(
    api: ComponentProcess, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with serving() as server:
        ran = api.run({**config(server, dataset(tmp_path, 2)), **settings}, "api")
    assert message in (ran.error or "")
    assert "secret" not in (ran.error or "")
    assert server.asked == []


def test_functions_of_ones_own_make_several_conversations_of_a_sample(api: ComponentProcess, tmp_path: Path) -> None:
    mine = "tests.components.inference.own_functions"
    own = {"build_messages_func": f"{mine}:build", "parse_output_func": f"{mine}:parse", "func_kwargs": {"times": 2}}
    with serving() as server:
        rows = exported(run(api, config(server, dataset(tmp_path, 2), **own)))
    assert [row["response"] for row in rows] == [["ECHO OF Q0.0", "ECHO OF Q0.1"], ["ECHO OF Q1.0", "ECHO OF Q1.1"]]
    assert [row["seen"] for row in rows] == [2, 2]


def test_a_killed_inference_continues_where_it_stopped(start_component: Start, tmp_path: Path) -> None:
    reached, is_over = threading.Event(), False

    def behave(asked: Asked) -> Reply:
        if len(server.asked) >= 40:
            reached.set()
        if reached.is_set() and not is_over:
            time.sleep(0.01)
        return echo(asked)

    data, others = dataset(tmp_path, 60), dataset(tmp_path, 5, "others")
    with serving(behave) as server:
        settings = config(server, data, dataset_path=[str(others), str(data)], max_concurrency=4)
        victim = start_component("api", TARGET)
        victim.send(settings, "api")
        assert reached.wait(30)
        os.kill(victim.pid, signal.SIGKILL)
        os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
        is_over = True
        assert not (tmp_path / "out" / "others_inference.jsonl").exists()
        before = len(server.asked)
        ran = run(start_component("api", TARGET), settings)
        asked_again = len(server.asked) - before
    taken_over = results(ran)["taken_over"]
    assert taken_over >= 30
    assert asked_again == 65 - taken_over
    assert f"continues: {taken_over} of 65 requests were answered before" in ran.log
    for path, count in zip(ran.result, (5, 60), strict=True):
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
        assert rows == [{"query": f"q{n}", "n": n, "response": f"echo of q{n}"} for n in range(count)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "data_inference.jsonl",
        "others_inference.jsonl",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "other"},
        {"sampling_params": {"temperature": 1}},
        {"func_kwargs": {"query_key": "n"}},
        {"response_path": "choices.0.message"},
    ],
    ids=lambda value: next(iter(value)),
)
def test_answers_to_something_else_are_not_taken_over(
    api: ComponentProcess, tmp_path: Path, changed: dict[str, Any]
) -> None:
    def behave(asked: Asked) -> Reply:
        return refused(401) if is_strict and asked.text == "q9" else echo(asked)

    data, is_strict = dataset(tmp_path, 10), True
    with serving(behave) as server:
        assert api.run(config(server, data, max_concurrency=1), "api").error is not None
        is_strict = False
        ran = run(api, config(server, data, **changed))
    assert results(ran)["taken_over"] == 0
