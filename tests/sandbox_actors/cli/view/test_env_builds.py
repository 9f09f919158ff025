"""The progress of a build."""

from __future__ import annotations

from envs.builder import Progress
from sandbox_actors.cli.view.env_builds import BuildLines, draw_build


def test_the_line_of_a_build_fits_the_width_and_has_no_control_characters() -> None:
    line = draw_build(Progress(message="installing \x1b[31mtorch\x07", done=1, total=3), 65.0, 80)
    assert line.plain == "⠋ 1:05  2/3 installing torch"
    assert draw_build(Progress(message="x" * 100), 0.0, 20).cell_len == 20


def test_without_a_terminal_there_is_a_line_for_each_stage_and_every_few_seconds() -> None:
    written: list[str] = []
    seconds = iter([100.0, 100.0, 101.0, 102.0, 103.0, 109.0])
    view = BuildLines(written.append, lambda: next(seconds))
    for message, done in [("making", 0), ("wheel 1", 0), ("filling", 1), ("wheel 2", 1), ("wheel 3", 1)]:
        view.show(Progress(message=message, done=done, total=2))
    assert written == ["[0:00] 1/2 making", "[0:02] 2/2 filling", "[0:09] 2/2 wheel 3"]
