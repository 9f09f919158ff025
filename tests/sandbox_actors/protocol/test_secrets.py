"""Secrets in configs: recognised by their key, by their form or in a URL, found and masked at any depth."""

from __future__ import annotations

import time

import pytest

from sandbox_actors.protocol.secrets import (
    MASK,
    find_secrets,
    is_secret,
    mask_secrets,
    without_credentials,
    without_secrets,
)

SECRETS = [
    ("api_key", "abc"), ("API_KEY", "abc"), ("openai_api_key", "abc"), ("apikey", "abc"), ("api-key", "abc"),
    ("extra_configs.model.api_key", "abc"), ("password", "abc"), ("db_password", "abc"), ("secret_access_key", "abc"),
    ("hf_token", "abc"), ("access_token", "abc"), ("client_secret", "abc"), ("private_key", "abc"),
    ("anything", "sk-0123456789abcdef0123"), ("token", "hf_0123456789abcdefghijkl"), ("", "AKIA0123456789ABCDEF"),
    ("header", "Authorization: Bearer sk-0123456789abcdef0123"), ("x", "glpat-0123456789abcdefghij"),
]  # fmt: skip
OTHERS = [
    ("api_key_env", "OPENAI_API_KEY"), ("api_key_file", "/run/key"), ("api_key", ""), ("api_key", "EMPTY"),
    ("api_key", None), ("max_tokens", "7"), ("tokenizer", "bert"), ("token", "<image>"), ("text_key", "text"),
    ("image_special_token", "<__dj__image>"), ("secretary", "x"), ("key", "a.b"), ("name", "sk-learn"),
    ("dep", "sk-learn-contrib-imbalanced"), ("path", "/data/task-0123456789abcdef0123"),
]  # fmt: skip

WITH_CREDENTIALS = [
    "https://user:hunter2@index.org/simple", "HTTPS://user:hunter2@index.org/simple", "https://hunter2@index.org",
    "https://hunter2:@index.org", "git+https://hunter2@github.com/a/b.git", "pkg @ git+https://hunter2@host/a/b@main",
    "--index-url https://user:hunter2@index.org/simple", "s3://KEY:hunter2@bucket/data.jsonl",
    "redis://:hunter2@host:6379/0", "postgresql://user:hunter2@host/db", "https://user%3Ahunter2@host/",
    "https://user:hunter2%40x@host/", "https://user:hunt/er2@host/x", "https://proxy/?u=https%3A%2F%2Fu%3Ahunter2%40h",
    "https%253A%252F%252Fu%253Ahunter2%2540h", "git+ssh://git:hunter2@host/a.git", "first line\nhttp://u:hunter2@h\n",
    "https://host/data.parquet?token=hunter2", "https://blob.host/c/d?sv=2024&sig=hunter2%3D", "x https://h/?a=1&api_key=hunter2",
    "https://bucket.s3.host/d?X-Amz-Credential=A&X-Amz-Signature=hunter2", "https://host/?X-Amz-Security-Token=hunter2",
    "https://conda.host/t/ab-0123456789abcdef0123/channel/linux-64", "user https://a.org and https://u:hunter2@b.org",
]  # fmt: skip
WITHOUT_CREDENTIALS = [
    "https://index.org/simple", "git+ssh://git@github.com/a/b.git", "ssh://git@host:22/a", "s3://bucket/a@b",
    "https://${USER}:${PASSWORD}@index.org/simple", "https://user:${PASSWORD}@host", "https://$TOKEN@host",
    "https://***@host/simple", "https://host:8080/a@b", "https://host/@scope/package", "https://host:8080/t?x=a@b.org",
    "write to me@example.org, see http://example.org", "https://host/?max_tokens=7&tokenizer=bert",
    "https://host/?token=${TOKEN}", "https://<user>:<password>@host", "pkg @ https://host/p.whl#sha256=ab",
    "hf://datasets/a/b@main/c", "100% of https://host", "https://forum.org/t/a-topic-of-the-forum/12", "sftp://me@host/d",
    '{"a": "http://h:80", "b": "c@d"}', "what? token=5",
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), SECRETS)
def test_a_secret_is_recognised_by_its_key_or_by_its_form(key: str, value: str) -> None:
    assert is_secret(key, value)


@pytest.mark.parametrize(("key", "value"), OTHERS)
def test_a_value_that_only_resembles_a_secret_is_not_one(key: str, value: object) -> None:
    assert not is_secret(key, value)


@pytest.mark.parametrize("text", WITH_CREDENTIALS)
def test_credentials_in_a_url_are_secrets_and_masked(text: str) -> None:
    assert list(find_secrets({"a": [text]})) == [("a", 0)]
    assert list(find_secrets({"a": {text: 1}})) == [("a",)]
    shown = without_secrets(f"error: '{text}' failed")
    assert "hunter2" not in shown
    assert "ab-0123456789abcdef0123" not in shown
    assert list(find_secrets([shown])) == []


@pytest.mark.parametrize("text", WITHOUT_CREDENTIALS)
def test_other_urls_are_no_secrets_and_shown_as_they_are(text: str) -> None:
    assert list(find_secrets({"a": text, text: 1})) == []
    assert without_secrets(text) == without_credentials(text) == text


def test_secrets_are_found_and_masked_at_any_depth() -> None:
    config = {"a": [{"api_key": "x"}, "y"], "passwords": "z", "password": ["p", "q"], "n": 1, "http://u:p@h": 2}
    assert list(find_secrets(config)) == [("a", 0, "api_key"), ("password", 0), ("password", 1), ()]
    masked = {"a": [{"api_key": MASK}, "y"], "passwords": "z", "password": [MASK, MASK], "n": 1, "http://***@h": 2}
    assert mask_secrets(config) == masked


def test_a_package_is_installed_again_from_its_url_without_the_credentials_in_it() -> None:
    assert without_credentials("git+https://me:pw@host/a.git@1f") == "git+https://host/a.git@1f"
    assert without_credentials("git+ssh://git@host/a.git") == "git+ssh://git@host/a.git"


@pytest.mark.parametrize("piece", ["://a:", "a:/", "%3A//a@", "http://", "sk-a", "?a=", "x", "% "])
def test_no_text_takes_long_to_search(piece: str) -> None:
    text = f"https://host {piece * (200_000 // len(piece))}"
    started = time.process_time()
    list(find_secrets(text))
    without_secrets(text)
    assert time.process_time() - started < 5  # one pattern without a bound takes minutes
