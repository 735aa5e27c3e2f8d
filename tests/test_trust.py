"""Who may have signed a bundle, and what is refused."""

from dataclasses import dataclass

import pytest
from signer import make_pair, sign

from hupfast.bundle import Front
from hupfast.errors import DataError, DigestError, Refused
from hupfast.keys import Key, read_key
from hupfast.signatures import Signature, make_signature, serialize_signatures
from hupfast.trust import check_trust

MANIFEST = b'{"not": "even a manifest"}'


@dataclass(frozen=True)
class Signer:
    """A key, and its signature over MANIFEST."""

    key: Key
    good: Signature

    @property
    def bad(self) -> Signature:
        """With one bit changed."""
        raw = bytearray.fromhex(self.good.value)
        raw[5] ^= 1
        return make_signature(self.key.id, bytes(raw))


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, Signer]:
    """Two people."""
    folder = tmp_path_factory.mktemp("keys")
    made = []
    for name in ("one", "two"):
        private, public = make_pair(folder, name)
        key = read_key(public)
        made.append(Signer(key, make_signature(key.id, sign(private, MANIFEST))))
    return made[0], made[1]


def front(*signatures: Signature, manifest: bytes = MANIFEST) -> Front:
    """The front of a bundle with these signatures."""
    return Front(manifest, serialize_signatures(signatures) if signatures else None)


def test_one_good_signature_is_enough(signers: tuple[Signer, Signer]) -> None:
    """Whichever of the trusted keys it is of, beside those of keys that nobody here knows."""
    one, two = signers
    later = Signature("later", "ef" * 32, "00")
    assert check_trust(front(one.good), [one.key, two.key], allow_unsigned=False) == one.key
    assert check_trust(front(one.good, two.good), [two.key], allow_unsigned=False) == two.key
    assert check_trust(front(later, two.good), [two.key], allow_unsigned=False) == two.key
    assert check_trust(front(two.good), [two.key], allow_unsigned=True) == two.key


@pytest.mark.parametrize("allow", [False, True])
def test_a_wrong_signature_of_a_trusted_key(signers: tuple[Signer, Signer], allow: bool) -> None:
    """Exit 5, also with --allow-unsigned, also beside a good one; a changed manifest is the same."""
    one, two = signers
    for changed in (front(one.bad), front(two.good, one.bad), front(one.good, manifest=MANIFEST + b" ")):
        with pytest.raises(DigestError, match=f"{one.key.id}.*wrong"):
            check_trust(changed, [one.key, two.key], allow_unsigned=allow)


@pytest.mark.parametrize("allow", [False, True])
def test_a_malformed_signature_file(signers: tuple[Signer, Signer], allow: bool) -> None:
    """Exit 5, whoever is trusted."""
    for data in (b"", b"\0" * 512, b"ed25519\n"):
        with pytest.raises(DataError, match=r"manifest\.sig"):
            check_trust(Front(MANIFEST, data), [signers[0].key], allow_unsigned=allow)


def test_nobody_trusted_has_signed(signers: tuple[Signer, Signer]) -> None:
    """Exit 4 with the keys on both sides, and the way out; --allow-unsigned lets all of it through."""
    one, two = signers
    cases = [
        (front(), [one.key], "the bundle is not signed; .*--allow-unsigned"),
        (front(), [], "the bundle is not signed; .*--allow-unsigned"),
        (front(one.good), [], f"by the key {one.key.id}, and this system has no key.*/etc/hupfast/keys"),
        (front(one.good), [two.key], f"by the key {one.key.id}, which is not trusted here.*{two.key.id}"),
        (front(Signature("later", one.key.id, "00")), [one.key], "not trusted here"),
    ]
    for untrusted, keys, reason in cases:
        with pytest.raises(Refused, match=reason):
            check_trust(untrusted, keys, allow_unsigned=False)
        assert check_trust(untrusted, keys, allow_unsigned=True) is None


def test_a_signature_under_the_id_of_another_key(signers: tuple[Signer, Signer]) -> None:
    """The id only chooses the key: a stranger's good signature does not pass under it."""
    one, two = signers
    with pytest.raises(DigestError):
        check_trust(front(make_signature(one.key.id, bytes.fromhex(two.good.value))), [one.key], allow_unsigned=False)
