"""The tests' own tools: waiting, and the units' check."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import verify_units
from tests.support.waiting import eventually, eventually_sync


class Countdown:
    """A condition that is true from its fourth call on."""

    def __init__(self) -> None:
        self.calls = 0

    def done(self) -> int:
        """Return how often it was asked, once that is enough."""
        self.calls += 1
        return self.calls if self.calls > 3 else 0

    async def done_async(self) -> int:
        """Do the same as a coroutine that asserts."""
        assert self.done()
        return self.calls


async def test_eventually_returns_the_first_truthy_result() -> None:
    """Plain and asynchronous conditions are asked until they hold."""
    assert await eventually(Countdown().done) == 4
    assert await eventually(Countdown().done_async) == 4
    assert eventually_sync(Countdown().done) == 4


async def test_eventually_says_what_it_waited_for_in_vain() -> None:
    """A failure names the condition and its last result, and shows the last assertion."""

    def never() -> bool:
        return False

    async def asserting() -> None:
        raise AssertionError("two is not three")

    with pytest.raises(AssertionError, match=r"never was not true within 0\.05 s; its last result was False"):
        eventually_sync(never, timeout_s=0.05)
    with pytest.raises(AssertionError, match="asserting was not true") as failure:
        await eventually(asserting, timeout_s=0.05)
    assert "two is not three" in str(failure.value.__cause__)


def test_the_units_image_has_every_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template is checked as an instance, and the programs of all Exec lines exist."""
    system = tmp_path / "system-units"
    system.mkdir()
    monkeypatch.setattr(verify_units, "SYSTEM_UNITS", system)
    unit = tmp_path / "x@.service"
    unit.write_text("[Service]\nExecStart=/opt/x/bin/x --n %i\nExecStop=-/bin/y\n", encoding="utf-8")
    root = tmp_path / "root"
    assert verify_units.make_image(root, [unit]) == ["/etc/systemd/system/x@1.service"]
    for program in ("opt/x/bin/x", "bin/y"):
        assert (root / program).stat().st_mode & 0o111
