"""Secrets in configs: recognised by their key or form, found and masked at any depth."""

from __future__ import annotations

import pytest

from sandbox_actors.experiment.secrets import MASK, find_secrets, is_secret, mask_secrets

SECRETS = [
    ("api_key", "abc"), ("API_KEY", "abc"), ("openai_api_key", "abc"), ("apikey", "abc"), ("api-key", "abc"),
    ("extra_configs.model.api_key", "abc"), ("password", "abc"), ("db_password", "abc"), ("secret_access_key", "abc"),
    ("hf_token", "abc"), ("access_token", "abc"), ("client_secret", "abc"), ("private_key", "abc"),
    ("anything", "sk-0123456789abcdef0123"), ("token", "hf_0123456789abcdefghijkl"), ("", "AKIA0123456789ABCDEF"),
]  # fmt: skip
OTHERS = [
    ("api_key_env", "OPENAI_API_KEY"), ("api_key_file", "/run/key"), ("api_key", ""), ("api_key", "EMPTY"),
    ("api_key", None), ("max_tokens", "7"), ("tokenizer", "bert"), ("token", "<image>"), ("text_key", "text"),
    ("image_special_token", "<__dj__image>"), ("secretary", "x"), ("key", "a.b"), ("name", "sk-learn"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), SECRETS)
def test_a_secret_is_recognised_by_its_key_or_by_its_form(key: str, value: str) -> None:
    assert is_secret(key, value)


@pytest.mark.parametrize(("key", "value"), OTHERS)
def test_a_value_that_only_resembles_a_secret_is_not_one(key: str, value: object) -> None:
    assert not is_secret(key, value)


def test_secrets_are_found_and_masked_at_any_depth() -> None:
    config = {"a": [{"api_key": "x"}, "y"], "passwords": "z", "password": ["p", "q"], "n": 1}
    assert list(find_secrets(config)) == [("a", 0, "api_key"), ("password", 0), ("password", 1)]
    assert mask_secrets(config) == {"a": [{"api_key": MASK}, "y"], "passwords": "z", "password": [MASK, MASK], "n": 1}
