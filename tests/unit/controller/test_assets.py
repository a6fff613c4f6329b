"""The dashboard's files as they are served."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvnode.controller.assets import Assets


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    """Return a dashboard as Vite builds one."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "index-Ab3_-9xZ.js").write_text("1")
    (tmp_path / "assets" / "index-12345678.css").write_text("a{}")
    (tmp_path / "assets" / "font-12345678.woff2").write_bytes(b"\0")
    return Assets(tmp_path)


@pytest.mark.parametrize(
    ("path", "content_type", "immutable"),
    [
        ("", "text/html; charset=utf-8", False),
        ("index.html", "text/html; charset=utf-8", False),
        ("favicon.svg", "image/svg+xml", False),
        ("assets/index-Ab3_-9xZ.js", "text/javascript; charset=utf-8", True),
        ("assets/index-12345678.css", "text/css; charset=utf-8", True),
        ("assets/font-12345678.woff2", "font/woff2", True),
    ],
)
def test_types_and_caching(assets: Assets, path: str, content_type: str, immutable: bool) -> None:  # noqa: FBT001
    """Each file has its type; only names that change with the content are cached for ever."""
    answer = assets.answer(path)
    assert answer.content_type == content_type
    assert ("immutable" in answer.headers["cache-control"]) == immutable
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_an_unchanged_file_is_not_sent_again(assets: Assets) -> None:
    """If-None-Match with the file's ETag is answered by 304."""
    first = assets.answer("")
    again = assets.answer("", first.headers["etag"])
    assert again.status == 304
    assert not again.body


def test_nothing_else_can_be_named(assets: Assets) -> None:
    """Paths are names in a table, not places in a file system."""
    assert assets.paths == [
        "assets/font-12345678.woff2",
        "assets/index-12345678.css",
        "assets/index-Ab3_-9xZ.js",
        "favicon.svg",
        "index.html",
    ]


def test_a_dashboard_that_was_not_built_is_explained(tmp_path: Path) -> None:
    """Without files, the first page says what to do."""
    assets = Assets(tmp_path / "missing")
    assert not assets.built
    page = assets.answer("")
    assert page.status == 503
    assert page.body is not None
    assert b"make dashboard" in page.body
