"""``kvnode fsck``: names each kind of damage with its place, changes nothing, and repairs as a start does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kvnode.cli import app
from kvnode.core.versions import Ballot, Version
from kvnode.storage.disk import PosixDisk
from kvnode.storage.findings import Finding, FolderReport, Severity
from kvnode.storage.fsck import check_folder
from kvnode.storage.identity import IDENTITY_NAME
from kvnode.storage.lines import encode_promise, encode_record, seal
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.repair import repair_folder
from kvnode.storage.segment import DAMAGED, hint_name, segment_name
from tests.unit.storage.support import PARTITIONS, commit, open_store, record, state_of, tidy

SEGMENT_BYTES = 900
FIRST, SECOND = segment_name(1), segment_name(2)


def sound() -> MemoryDisk:
    """Return the disk of a worker that stopped in good order: sealed segments with hints, and a newest."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    for partition in range(PARTITIONS):
        store.set_voting(partition)
    store.promise(0, Ballot(2, 1))
    for seq in range(1, 24):
        value = None if seq % 6 == 0 else b'{"n":%d}' % seq
        store.append(record(f"key {seq}", seq, value, partition=seq % PARTITIONS))
    commit(store)
    tidy(store)
    store.close()
    return disk


def newest(disk: MemoryDisk) -> str:
    """Return the name of the newest segment."""
    return max(name for name in disk.names() if name.endswith(".jsonl"))


def change(disk: MemoryDisk, name: str, edit: Callable[[bytes], bytes]) -> None:
    """Replace a file by an edited one."""
    disk.replace(name, edit(disk.contents(name)))


def check(disk: MemoryDisk) -> FolderReport:
    """Check a disk, and see that nothing on it was written to."""

    def refuse(operation: str, name: str) -> None:
        assert operation in {"open", "read", "size"}

    disk.fault = refuse
    report = check_folder(disk, "data")
    disk.fault = None
    return report


def found(disk: MemoryDisk) -> dict[str, Finding]:
    """Check a disk; return the findings by kind."""
    return {finding.kind: finding for finding in check(disk).findings}


def flip(line: int, column: int) -> Callable[[bytes], bytes]:
    """Return an edit that changes one byte."""

    def edit(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        changed = bytearray(lines[line - 1])
        changed[column] ^= 1
        return b"".join([*lines[: line - 1], bytes(changed), *lines[line:]])

    return edit


def append(line: bytes) -> Callable[[bytes], bytes]:
    """Return an edit that adds bytes at the end."""
    return lambda data: data + line


def test_a_sound_folder_is_clean() -> None:
    """After a stop in good order there is nothing to report, and everything is counted."""
    report = check(sound())
    assert (report.findings, report.worst(), report.worker) == ([], None, 1)
    assert (report.counts.values, report.counts.tombstones) == (20, 3)
    assert report.counts.segments > 3
    assert check(MemoryDisk()).findings == []


OLD_PROMISE = encode_promise(0, Ballot(1, 1))
OLD_RECORD = encode_record(record("key 4", 1, b"1", partition=0))
LONG_KEY = encode_record(record("k" * 1025, 90))
LONG_VALUE = encode_record(record("long", 90, b'"%s"' % (b"x" * (9 << 20))))


@pytest.mark.parametrize(
    ("kind", "severity", "edit"),
    [
        ("torn_tail", Severity.HARMLESS, append(b'{"t":"v","p":0,"k":"half')),
        ("torn_tail", Severity.HARMLESS, append(encode_record(record("key", 90))[:-1])),
        ("wrong_line", Severity.DAMAGE, append(encode_record(record("key", 90))[:-1] + b"rest")),
        ("wrong_checksum", Severity.DAMAGE, append(b"garbage\n")),
        ("wrong_line", Severity.DAMAGE, append(seal(b'{"t":"i","format":1,"segment":1'))),
        ("unknown_line", Severity.FATAL, append(seal(b'{"t":"x","p":0'))),
        ("unknown_line", Severity.FATAL, append(seal(b'{"t":"w","p":0,"later":1'))),
        ("wrong_partition", Severity.FATAL, append(seal(b'{"t":"w","p":4'))),
        ("promise_falls", Severity.SUSPECT, append(OLD_PROMISE)),
        ("record_falls", Severity.SUSPECT, append(OLD_RECORD)),
        ("size_limit", Severity.SUSPECT, append(LONG_KEY)),
        ("size_limit", Severity.SUSPECT, append(LONG_VALUE)),
    ],
)
def test_what_is_wrong_at_the_end_is_named(
    kind: str, severity: Severity, edit: Callable[[bytes], bytes]
) -> None:
    """File, line, offset and reason of what stands after the last sound line."""
    disk = sound()
    name = newest(disk)
    before = disk.contents(name)
    change(disk, name, edit)
    findings = check(disk).findings
    assert [(f.kind, f.severity, f.file) for f in findings] == [(kind, severity, name)]
    assert (findings[0].line, findings[0].offset) == (before.count(b"\n") + 1, len(before))
    assert findings[0].reason


@pytest.mark.parametrize("line", [2, 5, 7])
def test_a_wrong_checksum_is_found_behind_a_whole_hint(line: int) -> None:
    """A start would trust the hint file; the check reads the lines, and knows the number of each."""
    disk = sound()
    data = disk.contents(FIRST)
    change(disk, FIRST, flip(line, 9))
    (finding,) = check(disk).findings
    offset = sum(len(before) for before in data.splitlines(keepends=True)[: line - 1])
    assert (finding.kind, finding.file, finding.line, finding.offset) == (
        "wrong_checksum",
        FIRST,
        line,
        offset,
    )


def test_wrong_headers_are_named() -> None:
    """A header that is damaged, of another segment, of another worker, gone, or inside."""
    disk = sound()
    change(disk, FIRST, flip(1, 9))
    assert found(disk)["wrong_header"].file == FIRST
    disk = sound()
    disk.replace(SECOND, disk.contents(FIRST))
    assert found(disk)["wrong_header"].reason == "this is segment 1"
    disk = sound()
    disk.replace(SECOND, b"")
    assert found(disk)["wrong_header"].file == SECOND
    disk = sound()
    disk.replace(FIRST, sound().contents(FIRST))
    assert found(disk)["foreign_segment"].severity is Severity.FATAL
    disk = sound()
    change(disk, newest(disk), lambda data: data + data.splitlines(keepends=True)[0])
    assert found(disk)["wrong_line"].reason == "a header stands inside the segment"


def test_missing_and_shortened_segments_are_named() -> None:
    """What the newest header counts on must be there, in its size."""
    disk = sound()
    disk.remove(SECOND)
    assert (found(disk)["missing_segment"].file, "leftover" in found(disk)) == (SECOND, True)
    disk = sound()
    change(disk, SECOND, lambda data: data[: data.rindex(b"\n", 0, -1) + 1])
    assert {"wrong_size"} == set(found(disk))


def test_a_doubled_place_is_named() -> None:
    """Two segments with the same place leave undecided which line of a key is later."""
    disk = sound()
    header, rest = disk.contents(SECOND).split(b"\n", 1)
    body = header[: header.rindex(b',"crc":')].replace(b'"segment":2,', b'"segment":90,')
    disk.replace(segment_name(90), seal(body) + rest)
    assert found(disk)["duplicate_place"].file == segment_name(90)


def test_hints_and_leftovers_are_named() -> None:
    """What a start puts right by itself: hints missing, stale or damaged, and half-written files."""
    disk = sound()
    disk.remove(hint_name(1))
    disk.replace(hint_name(2), disk.contents(hint_name(3)))
    change(disk, hint_name(3), flip(3, 4))
    disk.replace("log-00000077.jsonl.tmp", b"half")
    disk.replace("log-00000078.hint", b"left")
    disk.replace("notes.txt", b"not ours")
    report = check(disk)
    assert {(finding.kind, finding.file) for finding in report.findings} == {
        ("missing_hint", hint_name(1)),
        ("stale_hint", hint_name(2)),
        ("damaged_hint", hint_name(3)),
        ("leftover", "log-00000077.jsonl.tmp"),
        ("leftover", "log-00000078.hint"),
        ("stranger", "notes.txt"),
    }
    assert report.worst() is Severity.HARMLESS


def test_a_damaged_or_missing_identity_is_named() -> None:
    """Without it the folder cannot be used, and the rest is checked all the same."""
    for lose in (True, False):
        disk = sound()
        change(disk, newest(disk), append(b"garbage\n"))
        if lose:
            disk.remove(IDENTITY_NAME)
        else:
            change(disk, IDENTITY_NAME, flip(1, 12))
        kinds = found(disk)
        assert kinds["missing_identity" if lose else "damaged_identity"].severity is Severity.FATAL
        assert "wrong_checksum" in kinds


def on_files(disk: MemoryDisk, folder: Path) -> None:
    """Write a disk's files to a real folder."""
    folder.mkdir(exist_ok=True)
    for name in disk.names():
        (folder / name).write_bytes(disk.contents(name))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return each file's bytes and time of change, and the folder's own."""
    found = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    return {**found, ".": (b"", folder.stat().st_mtime_ns)}


def run(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["fsck", *(str(argument) for argument in arguments)])


def damaged_folder(folder: Path) -> MemoryDisk:
    """Write a folder with every kind of damage that a worker survives; return its disk."""
    disk = sound()
    change(disk, FIRST, flip(7, 9))
    change(disk, SECOND, flip(1, 9))
    change(disk, newest(disk), append(b'garbage\n{"t":"v"'))
    disk.remove(hint_name(3))
    disk.replace("log-00000077.jsonl.tmp", b"half")
    on_files(disk, folder)
    return disk


def test_without_repair_nothing_is_touched(tmp_path: Path) -> None:
    """Bytes and times of all files stay, with a lock file there and without."""
    damaged_folder(tmp_path)
    for _ in range(2):
        before = snapshot(tmp_path)
        assert run(tmp_path).exit_code == 1
        assert run(tmp_path, "--json").exit_code == 1
        assert snapshot(tmp_path) == before
        (tmp_path / "lock").write_text("99\n")


def test_the_exit_code_says_what_it_comes_to(tmp_path: Path) -> None:
    """0 in order, 1 findings, 74 not to be used."""
    on_files(sound(), tmp_path / "sound")
    result = run(tmp_path / "sound")
    assert (result.exit_code, "is in order" in result.stdout) == (0, True)
    damaged_folder(tmp_path / "damaged")
    result = run(tmp_path / "damaged")
    assert (result.exit_code, f"{FIRST}, line 7, byte" in result.stdout) == (1, True)
    (tmp_path / "damaged" / IDENTITY_NAME).write_text("{}")
    assert run(tmp_path / "damaged").exit_code == 74
    assert run(tmp_path / "damaged", "--repair").exit_code == 74
    assert run(tmp_path / "nothing").exit_code == 74
    assert run(tmp_path / "nothing", "--repair").exit_code == 74
    assert not (tmp_path / "nothing").exists()


def test_json_says_the_same(tmp_path: Path) -> None:
    """One object with findings, counts and a verdict."""
    damaged_folder(tmp_path)
    told = json.loads(run(tmp_path, "--json").stdout)
    assert {"severity", "kind", "file", "line", "offset", "reason"} == set(told["findings"][0])
    assert told["counts"]["segments"] > 3
    assert "peers" in told["verdict"]


def test_a_running_worker_is_named(tmp_path: Path) -> None:
    """While a worker has the folder it is left alone, repair or not."""
    store = open_store(PosixDisk(tmp_path))
    for arguments in ([], ["--repair"]):
        result = run(tmp_path, *arguments)
        assert result.exit_code == 74
        assert "worker 1 is running" in result.stderr
    store.close()


def test_a_repair_does_what_a_start_does(tmp_path: Path) -> None:
    """Damaged files are set aside, what is sound is kept, votes are gone, and the next check is clean."""
    disk = damaged_folder(tmp_path)
    damaged = {FIRST: disk.contents(FIRST), SECOND: disk.contents(SECOND), newest(disk): b""}
    result = run(tmp_path, "--repair")
    assert result.exit_code == 1
    assert "rebuilt from its peers" in result.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert {name + DAMAGED for name in damaged} <= names
    assert (tmp_path / (FIRST + DAMAGED)).read_bytes() == damaged[FIRST]
    assert run(tmp_path).exit_code == 0
    repaired = open_store(PosixDisk(tmp_path))
    held, promised, _, _, voting = state_of(repaired)
    assert len(held) == 22
    assert promised[0] == Ballot(2, 1)
    assert not any(voting)
    repaired.close()


def test_a_repair_leaves_what_needs_a_person(tmp_path: Path) -> None:
    """Nothing is changed where a start would refuse."""
    disk = sound()
    change(disk, newest(disk), append(seal(b'{"t":"x","p":0')))
    names = {name: disk.contents(name) for name in disk.names()}
    report = repair_folder(disk, "data")
    assert report.repaired == ["nothing was changed: this needs a person"]
    assert {name: disk.contents(name) for name in disk.names()} == names
    assert report.worst() is Severity.FATAL


def test_a_floor_is_no_finding() -> None:
    """Tombstones that were forgotten, and keys written again afterwards, are as they should be."""
    disk = sound()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    store.raise_floor(0, Version(1, 1, 20), Version(1, 1, 12))
    store.append(record("key 12", 40, partition=0))
    commit(store)
    tidy(store)
    store.close()
    assert check(disk).findings == []
