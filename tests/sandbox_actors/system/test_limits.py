from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_actors.errors import Refused
from sandbox_actors.system.limits import Limit, cgroups, current_limits, memory_limit, require_room


def test_at_four_fifths_of_a_limit_no_more_workers_are_started() -> None:
    require_room([Limit("files", 79, 100), Limit("processes", 0, 10)])
    with pytest.raises(Refused, match="80 of 100 are in use, see processes"):
        require_room([Limit("files", 79, 100), Limit("processes", 80, 100)])


def test_the_control_groups_of_both_versions_are_found_with_their_ancestors(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("12:pids,cpu:/user/me\n4:memory:/other\n0::/slice/me\n")
    found = cgroups("pids", own, tmp_path)
    v1, v2 = tmp_path / "pids", tmp_path
    assert found == [v1 / "user/me", v1 / "user", v1, v2 / "slice/me", v2 / "slice", v2]
    assert cgroups("pids", tmp_path / "none", tmp_path) == []


def test_the_limits_of_this_machine_are_found_and_not_reached() -> None:
    found = list(current_limits())
    assert "RLIMIT_NOFILE" in found[0].name
    assert all(0 <= limit.used < limit.most for limit in found)
    assert memory_limit() > 0
