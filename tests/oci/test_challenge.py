"""WWW-Authenticate, as RFC 9110 draws it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import SourceError
from hupfast.oci.challenge import Challenge, parse_challenges

WORDS = st.text("abcdefgXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
GAPS = st.sampled_from(["", " ", "\t", "  "])


def test_what_registries_send() -> None:
    """A Bearer challenge of docker-registry."""
    text = 'Bearer realm="https://auth.example.org/token",service="a, b",scope="repository:os:pull,push"'
    assert parse_challenges(text) == (
        Challenge(
            "bearer",
            {"realm": "https://auth.example.org/token", "service": "a, b", "scope": "repository:os:pull,push"},
        ),
    )


def test_the_example_of_the_rfc() -> None:
    """RFC 9110, 11.6.1: two challenges in one value."""
    text = 'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'
    assert parse_challenges(text) == (
        Challenge("basic", {"realm": "simple"}),
        Challenge("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
    )


@pytest.mark.parametrize(
    ("text", "schemes"),
    [
        ("", []),
        ("Negotiate", ["negotiate"]),
        ("Negotiate, Basic realm=x", ["negotiate", "basic"]),
        ("Negotiate dG9rZW42OA==, Basic realm=x", ["negotiate", "basic"]),
        (", ,Basic realm=x,,", ["basic"]),
        ('Digest realm = "x" ,\tnonce= y', ["digest"]),
    ],
)
def test_forms_that_are_allowed(text: str, schemes: list[str]) -> None:
    """Bare words, empty list elements, blanks around =."""
    assert [challenge.scheme for challenge in parse_challenges(text)] == schemes


@pytest.mark.parametrize(
    "text",
    [
        'Bearer realm="open',
        'Bearer realm="a" b',
        "Bearer realm=a, realm=b",
        "=",
        'Bearer "x"',
        "B\x00 a=b",
        "x" * 20000,
    ],
)
def test_forms_that_are_not(text: str) -> None:
    """Malformed is an error of the server, never half a challenge."""
    with pytest.raises(SourceError):
        parse_challenges(text)


@given(st.data())
def test_any_challenges_come_back(data: st.DataObject) -> None:
    """Whatever the values hold, quoted or not, and however blanks and empty elements stand."""
    expected, texts = [], []
    for scheme in data.draw(st.lists(WORDS, min_size=1, max_size=4)):
        parameters = data.draw(st.dictionaries(WORDS.map(str.lower), VALUES | WORDS, max_size=4))
        parts = []
        for name, value in parameters.items():
            plain = bool(value) and all(letter in "abcdefgXYZ019!#$%&'*+.^_`|~-" for letter in value)
            if not plain or data.draw(st.booleans()):
                value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            parts.append(name + data.draw(GAPS) + "=" + data.draw(GAPS) + value)
        between = data.draw(GAPS) + data.draw(st.sampled_from([",", ", ,"])) + data.draw(GAPS)
        texts.append(scheme + (" " if parts else "") + between.join(parts))
        expected.append(Challenge(scheme.lower(), parameters))
    assert parse_challenges(", ".join(texts)) == tuple(expected)


@given(st.text('abB="\\, \t~\x00é', max_size=40))
def test_nothing_else_comes_out(text: str) -> None:
    """Any text is understood or refused."""
    try:
        found = parse_challenges(text)
    except SourceError:
        return
    assert all(isinstance(challenge, Challenge) for challenge in found)
