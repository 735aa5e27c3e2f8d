"""
What a server asks for in WWW-Authenticate.

```
WWW-Authenticate: Bearer realm="https://auth.example.org/token",service="registry",scope="repository:os:pull",
                  Basic realm="a \"quoted\" word", Negotiate dG9rZW42OA==
```
Challenges are separated by commas, and so are the parameters of one: a word with a `=` behind it is a parameter, else
it begins the next challenge. A value is a word or a quoted string; some schemes have one bare word (token68) instead of
parameters, which nobody here wants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hupfast.errors import SourceError

_LIMIT = 16 * 1024
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GAP = re.compile(r"[ \t,]*")
_SCHEME = re.compile(rf"({_WORD})(?:[ \t]+|(?=,)|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[^"\\]|\\.)*)")[ \t]*(?=,|$)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One way to log in. scheme and the names of the parameters are in small letters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """All challenges of a header's value, in their order. Raises: SourceError when it is malformed."""
    if len(text) > _LIMIT:
        raise SourceError(f"a WWW-Authenticate of the server has {len(text)} characters, which is no login to ask for")
    found = []
    position = _skip(text, 0)
    while position < len(text):
        scheme = _SCHEME.match(text, position)
        if not scheme:
            raise _malformed(text, position)
        position = scheme.end()
        parameters: dict[str, str] = {}
        bare = _TOKEN68.match(text, position) if position > scheme.end(1) else None
        # Behind a comma that nothing stands before, parameters may come as well as the next challenge.
        position = bare.end() if bare else _parameters(text, position, parameters)
        found.append(Challenge(scheme[1].lower(), parameters))
        position = _skip(text, position)
    return tuple(found)


def _parameters(text: str, position: int, parameters: dict[str, str]) -> int:
    """Fill `parameters` from what stands at `position`; return where something else begins."""
    while found := _PARAMETER.match(text, _skip(text, position)):
        name = found[1].lower()
        if name in parameters:
            raise _malformed(text, found.start())
        parameters[name] = found[2] if found[3] is None else _ESCAPE.sub(r"\1", found[3])
        position = found.end()
    return position


def _skip(text: str, position: int) -> int:
    gap = _GAP.match(text, position)
    return gap.end() if gap else position


def _malformed(text: str, position: int) -> SourceError:
    return SourceError(
        f"the server asks for a login in a way that cannot be understood (WWW-Authenticate, at character {position} of"
        f" {text[:200]!r}); tell who runs it"
    )
