"""Limits of the server: sizes of requests, length of the queue, and times."""

from dataclasses import asdict, dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits of a single request, and of all requests together.

    Memory for requests is about three times ``max_held`` (bodies, parsed bodies and picture files),
    and ``max_decoded`` for the pictures that are decoded.

    Attributes:
        max_body: Bytes of a request.
        max_held: Bytes of all requests that are in the server at a time.
        max_posts: Posts of a request.
        max_characters: Characters of a text.
        max_pixels: Pixels of a picture; a larger one is not decoded, and its post has no picture.
        max_request_decoded: Bytes that decoding the pictures of a request takes one by one, in sum;
            a pixel counts 28 bytes, or 36 if its channels have more than 8 bits.
        max_decoded: Bytes that decoding takes for all pictures that are decoded at a time; a larger
            picture is not decoded, and its post has no picture.
        max_waiting: Posts in the queue.
        batch_size: Posts of several requests that are computed together.
        linger: Seconds that a post waits for others to share its batch.
        head_seconds: Seconds until the head of a request must have arrived.
        body_seconds: Seconds until the body of a request must have arrived.
        answer_seconds: Seconds after which a request that has arrived is given up.
        max_connections: Connections, including idle ones.
    """

    max_body: int = 16 * _MIB
    max_held: int = 128 * _MIB
    max_posts: int = 32
    max_characters: int = 5_000
    max_pixels: int = 25_000_000
    max_request_decoded: int = 2_048 * _MIB
    max_decoded: int = 1_024 * _MIB
    max_waiting: int = 128
    batch_size: int = 32
    linger: float = 0.005
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    answer_seconds: float = 30.0
    max_connections: int = 512

    def __post_init__(self) -> None:
        """Check that requests are possible under these limits.

        Raises:
            ValueError: A limit is not above 0, or ``max_body`` exceeds ``max_held``.
        """
        for name, value in asdict(self).items():
            if value < 0 or (value == 0 and name != "linger"):
                raise ValueError(f"limits.{name} is {value}: expected more than 0")
        if self.max_body > self.max_held:
            raise ValueError(
                f"limits.max_body is {self.max_body}, max_held {self.max_held}: expected max_held "
                "to hold one request"
            )
