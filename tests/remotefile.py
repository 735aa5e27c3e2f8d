"""What tests of remote files share: a file, and a server that has it as /f."""

from contextlib import AbstractContextManager

from servers import Behaviour, Misbehaving, misbehaving

DATA = bytes(range(251)) * 2000
SMALL = 16 * 1024


def serve(data: bytes = DATA, **how) -> AbstractContextManager[Misbehaving]:
    """A server with the file, which behaves as the keywords of Behaviour say."""
    return misbehaving({"/f": data}, Behaviour(**how))
