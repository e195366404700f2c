"""Request head: the limit on what a caller sends before the app hears of it.

uvicorn's httptools protocol limits neither an address nor headers. It keeps them until the head is complete, so one connection
that sends a header without end would take all memory.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from control_api.http.problems import Problem

MAX_HEAD_BYTES = 64 * 1024
_PIECE_BYTES = 8 * 1024  # given to the parser at once; the limit is exact to this


class LimitedHead(HttpToolsProtocol):
    """uvicorn's protocol. It answers 431 and closes the connection where a head is longer than `MAX_HEAD_BYTES`.

    What counts is what came since a request began or brought a part of its body. So the headers behind a chunked body
    count too, and a body does not.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head = 0
        self._went_on = False  # whether the parser, in this piece, came to a request's beginning or its body

    @property
    def has_begun(self) -> bool:
        """Whether a part of a head is here."""
        return self._head > 0

    def data_received(self, data: bytes) -> None:
        """Gives the parser what came, piece by piece."""
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            self._went_on = False
            super().data_received(piece)
            if self.transport.is_closing():
                return
            self._head = 0 if self._went_on else self._head + len(piece)
            if self._head > MAX_HEAD_BYTES:
                self.refuse(Problem(431, f"the address and the headers may have {MAX_HEAD_BYTES} bytes at most"))
                return

    def on_message_begin(self) -> None:
        """A request begins."""
        self._went_on = True
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """A part of a body is here."""
        self._went_on = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, as every error is answered."""
        self.refuse(Problem(400, "this is no HTTP request, or has a method that nobody knows"))

    def refuse(self, problem: Problem) -> None:
        """Answers with a problem, where no other answer is under way, and closes the connection."""
        if self.cycle is None or self.cycle.response_complete:  # else it would stand in the middle of another answer
            answer = problem.response()
            headers = [b"%b: %b\r\n" % header for header in [*answer.raw_headers, (b"connection", b"close")]]
            self.transport.write(b"".join([STATUS_LINE[problem.status], *headers, b"\r\n", answer.body]))
        self.transport.close()
