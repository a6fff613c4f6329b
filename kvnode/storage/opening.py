"""From the files of a data folder to its segments: which there are, and in which order they stand.

Only the newest segment can have been under way when the process died: its last line, if it lacks its
line break, is cut off and reported. A segment whose header is damaged, missing or another segment's
has no place: its lines count by their rank. A segment that the newest header lists must be there, in
its size, or have been replaced by a merge.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

import structlog

from kvnode.core.identity import Identity
from kvnode.errors import DamageError, StorageError
from kvnode.storage.damage import Damage, sound_lines
from kvnode.storage.disk import Disk, File
from kvnode.storage.line_kinds import HeaderLine
from kvnode.storage.lines import LineError, UnknownLineError, check, decode
from kvnode.storage.segment import (
    DAMAGED,
    TEMPORARY,
    Segment,
    check_header,
    hint_name,
    numbers,
    segment_name,
    split_lines,
)

_CRC_END = re.compile(rb',"crc":\d+}')
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Opened:
    """The segments of a folder: those ``placed`` in order, and those whose place is not known.

    ``newest`` is the highest number or place that was ever used, as far as can be told. ``listed``
    are the segments that the newest header counts on. ``damages`` are those of whole files.
    """

    placed: list[Segment] = field(default_factory=list)
    unplaced: list[Segment] = field(default_factory=list)
    newest: int = 0
    listed: tuple[tuple[int, int], ...] = ()
    damages: list[Damage] = field(default_factory=list)


def sweep(disk: Disk) -> None:
    """Remove what a crash left half made: files that were never given their final names."""
    names = disk.names()
    orphans = set(numbers(names, "hint")) - set(numbers(names, "jsonl"))
    for name in [name for name in names if name.endswith(TEMPORARY)] + [hint_name(n) for n in orphans]:
        disk.remove(name)
    disk.sync_folder()


def open_segments(disk: Disk, identity: Identity, partitions: int) -> Opened:
    """Open all segments but those that a finished merge has replaced, which are removed.

    Raises StorageError for segments of another worker, cluster, layout or release.
    """
    names = disk.names()
    opened = Opened(newest=max([*numbers(names, "jsonl"), *numbers(names, "jsonl" + DAMAGED)], default=0))
    files = {number: disk.open(segment_name(number)) for number in numbers(names, "jsonl")}
    headers: dict[int, HeaderLine] = {}
    flaws: dict[int, Damage] = {}
    blank: list[int] = []
    for number, file in files.items():
        try:
            header = _header(file, number, identity, partitions)
        except DamageError as error:
            flaws[number] = Damage(file.name, 1, 0, 0, error.reason)
        else:
            if header is None:
                blank.append(number)
            else:
                headers[number] = header
    _judge_blank(blank, headers, flaws)
    replaced = {number for header in headers.values() for number in header.replaces}
    _remove(disk, {number: files[number] for number in replaced.union(blank) & files.keys()}, blank)
    for header in sorted(headers.values(), key=lambda header: header.place):
        opened.newest = max(opened.newest, header.place)
        if header.segment not in replaced:
            opened.placed.append(_segment(header, files[header.segment]))
    for number in sorted(flaws.keys() - replaced):
        opened.newest += 1
        opened.unplaced.append(_unplaced(number, opened.newest, files[number]))
        opened.damages.append(flaws[number])
    _check_list(opened, headers, replaced)
    return opened


def mend_tail(disk: Disk, file: File) -> None:
    """Make the newest segment end with a whole line, and durable.

    A write that a crash cut short lacks its line break: it was never acknowledged, and goes. A last
    line that lacks nothing but its line break is kept: only that byte is added. A whole line without
    its break that the file goes on after is damage, and stays for whoever reads the lines.
    """
    offset, last = deque(split_lines(file, file.size()), maxlen=1)[0]
    if not last.endswith(b"\n"):
        if is_whole(last + b"\n"):
            file.write(offset + len(last), b"\n")
            _log.warning("log_tail_completed", file=file.name, offset=offset)
        elif not goes_on(last):
            file.truncate(offset)
            _log.warning("log_tail_cut", file=file.name, offset=offset, cut_bytes=len(last))
    file.sync()
    disk.sync_folder()


def _header(file: File, number: int, identity: Identity, partitions: int) -> HeaderLine | None:
    """Return a segment's header, or None where there is no whole line. Raises DamageError, StorageError."""
    _, first = next(split_lines(file, file.size()), (0, b""))
    if not first.endswith(b"\n"):
        return None
    try:
        return check_header(decode(first), number, identity, partitions)
    except UnknownLineError as error:
        raise StorageError(f"{file.name}: {error} (written by a later release?)") from error
    except LineError as error:
        raise DamageError(file.name, 0, str(error)) from error


def _judge_blank(blank: list[int], headers: dict[int, HeaderLine], flaws: dict[int, Damage]) -> None:
    """Take those without a header for damaged, but those that may just have been begun."""
    newest = max((header.place for header in headers.values()), default=0)
    for number in [number for number in blank if number < newest]:
        blank.remove(number)
        flaws[number] = Damage(segment_name(number), 1, 0, 0, "the segment's header is gone")


def _segment(header: HeaderLine, file: File) -> Segment:
    """Return a segment as its header describes it."""
    segment = Segment(header.segment, header.place, header.clean)
    segment.file = file
    segment.replaces = header.replaces
    if header.replaces:
        _, line = next(split_lines(file, file.size()))
        segment.overhead = len(line)
    return segment


def _unplaced(number: int, place: int, file: File) -> Segment:
    """Return a segment that has lost its header; what replaces it will stand at ``place``."""
    segment = Segment(number, place)
    segment.file = file
    segment.damaged = True
    return segment


def _remove(disk: Disk, files: dict[int, File], blank: list[int]) -> None:
    """Remove segments that a merge replaced, or that were never written; set damaged ones aside."""
    names = disk.names()
    for number, file in files.items():
        name, damages = segment_name(number), list[Damage]()
        if number not in blank:
            deque(sound_lines(file, file.size(), damages), maxlen=0)
        file.close()
        if damages:
            disk.rename(name, name + DAMAGED)
            _log.warning("segment_set_aside", file=name + DAMAGED)
        else:
            disk.remove(name)
            _log.info("segment_removed", file=name)
        if hint_name(number) in names:
            disk.remove(hint_name(number))
    disk.sync_folder()


def _check_list(opened: Opened, headers: dict[int, HeaderLine], replaced: set[int]) -> None:
    """Compare the folder with what the newest segment's header says that there was."""
    appended = [header for header in headers.values() if not header.replaces]
    if not appended:
        return
    opened.listed = max(appended, key=lambda header: header.place).log
    found = {segment.number: segment for segment in opened.placed + opened.unplaced}
    for number, size in opened.listed:
        name = segment_name(number)
        if number in found:
            actual = found[number].opened().size()
            if actual != size:
                found[number].damaged = True
                reason = f"the file has {actual} bytes, and had {size}"
                opened.damages.append(Damage(name, 0, min(actual, size), abs(actual - size), reason))
        elif number not in replaced:
            opened.damages.append(Damage(name, 0, 0, size, "the file is missing"))


def goes_on(piece: bytes) -> bool:
    """Whether a piece without its line break holds a whole line, and more."""
    return any(is_whole(piece[: found.end()] + b"\n") for found in _CRC_END.finditer(piece))


def is_whole(line: bytes) -> bool:
    """Whether a line's checksum holds."""
    try:
        check(line)
    except LineError:
        return False
    return True
