"""The dashboard's files, read once into memory: there is no path from a request to the file system."""

from __future__ import annotations

import re
from hashlib import blake2b
from importlib.resources.abc import Traversable
from typing import Final

import msgspec
from sanic.response import HTTPResponse

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self' data:; "
    "font-src 'self'; "
    "connect-src 'self'; "
    "manifest-src 'self'; "
    "base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'"
)

_INDEX: Final = "index.html"
_SECURITY: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "webp": "image/webp",
    "woff2": "font/woff2",
    "txt": "text/plain; charset=utf-8",
}
_HASHED: Final = re.compile(r"assets/.*-[\w-]{8}\.\w+")
"""How Vite names a file whose content its name depends on."""

_NOT_BUILT: Final = b"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>kvnode: the dashboard is not built</title></head>
<body>
<h1>The dashboard is not built</h1>
<p>This controller runs, but its package holds no dashboard. In a checkout, run
<code>make dashboard</code> and start the controller again; an installed wheel has it inside.</p>
<p>Everything else answers: <a href="/status">/status</a>, <a href="/logs">/logs</a>,
<a href="/metrics">/metrics</a>.</p>
</body>
</html>
"""


class Asset(msgspec.Struct, frozen=True):
    """One file, ready to be sent."""

    body: bytes
    content_type: str
    cache_control: str
    etag: str


class Assets:
    """The files by path (``index.html``, ``assets/index-1a2b3c4d.js``)."""

    def __init__(self, folder: Traversable) -> None:
        self._files = dict(_read(folder, ""))

    @property
    def built(self) -> bool:
        """Whether there is a dashboard."""
        return _INDEX in self._files

    @property
    def paths(self) -> list[str]:
        """All files, as paths without a leading slash."""
        return sorted(self._files)

    def answer(self, path: str, if_none_match: str | None = None) -> HTTPResponse:
        """Answer for one of ``paths``, or for the first page (an empty path), which may not be built."""
        asset = self._files.get(path or _INDEX)
        if asset is None:
            return _page(503, _NOT_BUILT)
        head = {**_SECURITY, "cache-control": asset.cache_control, "etag": asset.etag}
        if if_none_match is not None and asset.etag in if_none_match:
            return HTTPResponse(None, 304, head)
        return HTTPResponse(asset.body, 200, head, content_type=asset.content_type)


def _page(status: int, body: bytes) -> HTTPResponse:
    return HTTPResponse(body, status, {**_SECURITY, "cache-control": "no-store"}, content_type=_TYPES["html"])


def _read(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    """Read all files below a folder; none when it does not exist."""
    if not folder.is_dir():
        return []
    files: list[tuple[str, Asset]] = []
    for child in folder.iterdir():
        path = prefix + child.name
        if child.is_dir():
            files += _read(child, f"{path}/")
        else:
            files.append((path, _asset(path, child.read_bytes())))
    return files


def _asset(path: str, body: bytes) -> Asset:
    suffix = path.rpartition(".")[2].lower()
    hashed = _HASHED.fullmatch(path) is not None
    return Asset(
        body=body,
        content_type=_TYPES.get(suffix, "application/octet-stream"),
        cache_control="public, max-age=31536000, immutable" if hashed else "no-cache",
        etag=f'"{blake2b(body, digest_size=12).hexdigest()}"',
    )
