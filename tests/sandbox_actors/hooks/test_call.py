"""What a call says of its component and model."""

from __future__ import annotations

import math

from components.factories import Entry
from sandbox_actors.hooks.call import LONGEST_LABEL, Call


def test_names_of_workers_and_models_stay_short_and_models_distinct() -> None:
    entry = Entry(target=f"module:{'VeryLong' * 100_000}", is_own=True, model_fields=("model",))
    calls = [Call(entry=entry, config={"model": "m" * 1_000_000 + end}) for end in "ab"]
    assert len(calls[0].label) < 2 * LONGEST_LABEL
    assert len(calls[0].model_key) < 2 * LONGEST_LABEL
    assert calls[0].model_key != calls[1].model_key


def test_models_whose_configs_differ_in_numbers_that_json_lacks_are_distinct() -> None:
    entry = Entry(target="module:Class", is_own=True, model_fields=("scale",))
    scales = (math.nan, math.inf, -math.inf, None)
    assert len({Call(entry=entry, config={"scale": scale}).model_key for scale in scales}) == len(scales)
