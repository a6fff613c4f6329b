"""How a call ends when it does not end well."""

from __future__ import annotations

import grpc


class CallError(Exception):
    """A call has failed, or is to fail, with a status code of gRPC's and a reason in words."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name.lower()}: {details}")
        self.code = code
        self.details = details
