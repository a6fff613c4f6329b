"""The structs of ``kvnode.core`` ↔ the bytes of ``proto/``.

This is the hot path of everything between nodes: fields are set and read one by one, because that
is what protobuf's C implementation does fastest. Decoding is strict and raises MessageError; what
comes out of it can be given to the state machines as it is. Encoding trusts its own side.
"""
