"""Digest: producer and id of a message as one number, by which messages and attempts are found together."""

from hashlib import blake2b


def digest(producer: str, id_: str) -> int:
    """Producer and id as a number of 64 bits with a sign."""
    raw = f"{producer}\0{id_}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), signed=True)
