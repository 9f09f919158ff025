"""Text of unknown length and content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.errors import ComponentFailed, Refused
from sandbox_actors.protocol.faults import fault_of
from sandbox_actors.protocol.texts import LONGEST, bounded, bounded_line


@given(text=st.text(st.characters(), max_size=600), limit=st.integers(128, 400))
def test_a_bounded_text_fits_can_be_encoded_and_is_unchanged_by_a_second_time(text: str, limit: int) -> None:
    once = bounded(text, limit)
    assert len(once) <= limit
    once.encode()
    assert bounded(once, limit) == once


def test_a_long_text_keeps_its_beginning_and_end_and_says_how_much_is_left_out() -> None:
    shown = bounded("first line\n" + "x" * 1_000_000 + "\nlast line", whole="`sandbox logs 7 train` has all of it")
    assert shown.startswith("first line\n")
    assert shown.endswith("\nlast line")
    assert "[983,765 characters are left out here; `sandbox logs 7 train` has all of it]" in shown


def test_bytes_that_are_not_utf_8_are_shown_as_such() -> None:
    assert bounded("caf\udce9 é") == "caf\\xe9 é"
    assert bounded("half of a character: \ud800 é") == "half of a character: \\ud800 é"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("ten letter", "ten letter"),
        ("eleven lett", "eleven le…"),
        ("ten letter\nmore", "ten letter"),
        ("one\ntwo", "one"),
        ("\n one \n", "one"),
        ("", ""),
        ("\udcff", "\\xff"),
    ],
)
def test_a_line_of_a_list_ends_at_its_limit_or_at_its_end(text: str, shown: str) -> None:
    assert bounded_line(text, 10) == shown


def test_a_fault_keeps_what_was_raised_and_where() -> None:
    try:
        raise ValueError("m" * 1_000_000 + " the end")
    except ValueError as error:
        fault = fault_of(error)
    assert fault.message.startswith("ValueError: mmm")
    assert fault.message.endswith("the end")
    assert "test_a_fault_keeps_what_was_raised_and_where" in fault.traceback
    assert len(fault.message + fault.traceback) <= LONGEST
    again = fault_of(ComponentFailed(fault.message, fault.kind, fault.traceback))
    assert (again.message, again.traceback) == (fault.message, fault.traceback), "cut once, not once for each process"


def test_a_short_error_is_unchanged() -> None:
    assert fault_of(Refused("not now")).message == "not now"
