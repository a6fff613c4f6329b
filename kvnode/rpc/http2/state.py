"""h2's state of one connection, set up as both ends want it."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from kvnode.rpc.http2.frames import FRAME_BYTES

STREAMS_AT_ONCE = 4096

_HEADERS_BYTES = 64 * 1024


def new_state(*, client: bool, window_bytes: int) -> H2Connection:
    """Return the state of a connection that has not begun, whose windows are of ``window_bytes``."""
    state = H2Connection(
        H2Configuration(
            client_side=client,
            header_encoding=None,
            validate_inbound_headers=not client,  # grpcio's servers put spaces around their details
        )
    )
    settings = {
        SettingCodes.INITIAL_WINDOW_SIZE: window_bytes,
        SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_AT_ONCE,
        SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
        SettingCodes.MAX_HEADER_LIST_SIZE: _HEADERS_BYTES,
    }
    if client:
        settings[SettingCodes.ENABLE_PUSH] = 0
    state.local_settings = Settings(client=client, initial_values=settings)
    state.max_inbound_frame_size = FRAME_BYTES
    return state
