"""gRPC on the wire, for the links between workers: HTTP/2 on the event loop itself, without a thread.

grpcio gives each message to a thread of its own and back, at both ends, which costs more than all that a
worker does with it. So a worker's port, and its peers' connections to it, are served here instead; any
gRPC client can call them. h2 keeps the state of a connection: settings, headers, who may send what. The
two kinds of frames that come with every message, DATA and WINDOW_UPDATE, are read and written here.

Sources: RFC 9113 (HTTP/2); gRPC over HTTP2, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""
