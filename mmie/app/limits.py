"""What the server takes at most, and how long it waits."""

from dataclasses import asdict, dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What a request may bring, and what the server holds at a time.

    Memory for requests is about three times ``max_held``: bodies, what they are parsed to, and the pictures' files.

    Attributes:
        max_body: Bytes of a request.
        max_held: Bytes of all requests that are being read, wait or are answered.
        max_posts: Posts of a request.
        max_characters: Characters of a text.
        max_pixels: Larger pictures are not decoded; the post is answered without.
        max_waiting: Posts that wait to be answered.
        batch_size: Posts of several requests that are answered together.
        linger: Seconds that a post waits for others to be answered with.
        head_seconds: Seconds that a connection may take for the head of a request.
        body_seconds: Seconds that a request may take to arrive.
        answer_seconds: Seconds after which a request that has arrived is given up.
        max_connections: Connections, idle ones included.
    """

    max_body: int = 16 * _MIB
    max_held: int = 128 * _MIB
    max_posts: int = 32
    max_characters: int = 5_000
    max_pixels: int = 25_000_000
    max_waiting: int = 128
    batch_size: int = 32
    linger: float = 0.005
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    answer_seconds: float = 30.0
    max_connections: int = 512

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could be answered.

        Raises:
            ValueError: One is not above 0, or no request would fit.
        """
        for name, value in asdict(self).items():
            if value < 0 or (value == 0 and name != "linger"):
                raise ValueError(f"limits.{name} is {value}: expected more than 0")
        if self.max_body > self.max_held:
            raise ValueError(
                f"limits.max_body is {self.max_body}, max_held {self.max_held}: one request must fit"
            )
