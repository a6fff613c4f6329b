"""Short ways to write operations down: times in microseconds, values and versions by number."""

from __future__ import annotations

from kvnode.verify.history import Asked, Op, Told


def op(asked: Asked, start_us: int, end_us: int | None, told: Told, number: int = 0, **fields: object) -> Op:
    """Return an operation on one key; ``number`` (not 0) stands for its value and its version."""
    known = told in {Told.OK, Told.UNKNOWN}
    has_value = asked is Asked.PUT or (asked is Asked.GET and told is Told.OK)
    standard: dict[str, object] = {
        "client": 1,
        "op": asked,
        "key": "a",
        "value": f'"{number}"' if has_value else None,
        "version": f"1.1.{number}" if number and known and told is Told.OK else None,
        "told": told,
        "start_us": start_us,
        "end_us": None if told is Told.UNKNOWN else end_us,
    }
    return Op(**{**standard, **fields})  # type: ignore[arg-type]


def put(start_us: int, end_us: int, number: int, told: Told = Told.OK, **fields: object) -> Op:
    """Return a PUT of a number's value."""
    return op(Asked.PUT, start_us, end_us, told, number, **fields)


def get(start_us: int, end_us: int, number: int, **fields: object) -> Op:
    """Return a read of what ``put`` of the same number wrote; 0: it found nothing."""
    return op(Asked.GET, start_us, end_us, Told.OK if number else Told.ABSENT, number, **fields)


def delete(start_us: int, end_us: int, number: int, told: Told = Told.OK, **fields: object) -> Op:
    """Return a DELETE; the number is its tombstone's version."""
    return op(Asked.DELETE, start_us, end_us, told, number, **fields)


def match(*numbers: int) -> tuple[str, ...]:
    """Return the condition that the version is that of one of these numbers."""
    return tuple(f"1.1.{number}" for number in numbers)
