"""
Certificates for servers of tests, made by openssl.

    pki = PKI(folder)             # a CA of our own; pki.ca is its certificate
    pki.issue("localhost")        # a certificate that it signed
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    """A certificate and its key, as files in PEM form."""

    file: Path
    key: Path


class PKI:
    """A CA of our own, made by openssl. ca: its certificate."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._openssl("req", "-x509", *self._NEW_KEY, "-days", "2", "-subj", f"/CN={name}")(self._key, self.ca)

    _NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def issue(self, name: str = "localhost", *, days: int = 2) -> Certificate:
        """A certificate for a host name and for 127.0.0.1 with "localhost"; one of -1 days has expired yesterday."""
        made = Certificate(self._folder / f"{name}{days}.pem", self._folder / f"{name}{days}.key")
        names = f"DNS:{name}" + (",IP:127.0.0.1" if name == "localhost" else "")
        request = self._folder / "request.csr"
        self._openssl("req", *self._NEW_KEY, "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}")(
            made.key, request
        )
        signing = ["-CA", self.ca, "-CAkey", self._key, "-days", str(days), "-copy_extensions", "copy"]
        command = ["openssl", "x509", "-req", "-in", request, *signing, "-out", made.file]
        subprocess.run(command, check=True, capture_output=True)
        return made

    @staticmethod
    def _openssl(*arguments: str) -> Callable[[Path, Path], object]:
        return lambda key, out: subprocess.run(
            ["openssl", *arguments, "-keyout", key, "-out", out], check=True, capture_output=True
        )
