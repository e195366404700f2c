"""The probe takes only a Kafka broker for one."""

import socket
import threading

import pytest

from streams.broker.ports import free_port
from streams.broker.probe import cluster_at


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x08\0\0\0\1\0\0\0\0"])
def test_what_is_no_broker_is_not_taken_for_one(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert cluster_at("{}:{}".format(*server.getsockname()), 5) is None
        thread.join()
    assert cluster_at(f"127.0.0.1:{free_port()}", 5) is None
