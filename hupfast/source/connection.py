"""Connections to servers, through a proxy where there is one, and what went wrong with them, in words."""

from __future__ import annotations

import errno
import http.client
import re
import select
import socket
import ssl

from hupfast.errors import SourceError, UsageError
from hupfast.source.address import Address, one_line
from hupfast.source.proxy import Proxy
from hupfast.source.retry import Temporary
from hupfast.source.transport import Transport
from hupfast.source.wire import CutOff, Nonsense, Response, Slow

_SEND_PIECE = 2**16
_RECEIVE = 2**19
_RECEIVE_LEAST = 2**14

_EXPIRED = (9, 10)
_UNKNOWN_CA = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)
"""Of OpenSSL's X509_V_ERR_* numbers (x509_vfy.h)."""

_NO_TLS_TO_HAVE = (
    "BAD_PROTOCOL_VERSION_NUMBER",
    "CA_KEY_TOO_SMALL",
    "CA_MD_TOO_WEAK",
    "DH_KEY_TOO_SMALL",
    "EE_KEY_TOO_SMALL",
    "HTTP_REQUEST",
    "NO_CIPHERS_AVAILABLE",
    "NO_PROTOCOLS_AVAILABLE",
    "NO_SHARED_CIPHER",
    "NO_SUITABLE_SIGNATURE_ALGORITHM",
    "PACKET_LENGTH_TOO_LONG",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_ACCESS_DENIED",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_UNRECOGNIZED_NAME",
    "UNKNOWN_PROTOCOL",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
    "UNSUPPORTED_PROTOCOL",
    "WRONG_SSL_VERSION",
    "WRONG_VERSION_NUMBER",
)
"""OpenSSL's reasons (sslerr.h) that another try does not change: the two sides have nothing in common."""


def tls_context(transport: Transport) -> ssl.SSLContext:
    """What servers are checked against. Raises UsageError when the file of --ca-file will not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if transport.ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(transport.ca_file)
    except ssl.SSLError:
        raise UsageError(f"the file of --ca-file, {transport.ca_file}, has no certificate in PEM form in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"the file of --ca-file, {transport.ca_file}, cannot be read: {reason}") from None
    return context


def connect(
    address: Address, proxy: Proxy | None, transport: Transport, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    """A connection that stands. context: for https. Raises OSError and HTTPException, for `explained`."""
    host, port = (address.host, address.port) if proxy is None else (proxy.host, proxy.port)
    timeout = transport.connect_timeout
    connection: http.client.HTTPConnection
    if context is None:
        connection = http.client.HTTPConnection(host, port, timeout, blocksize=_SEND_PIECE)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context, blocksize=_SEND_PIECE)
        if proxy is not None:
            connection.set_tunnel(address.host, address.port, proxy.headers)
    connection.response_class = Response
    connection.auto_open = 0  # it would come back without the time-outs below
    try:
        connection.connect()
        connection.sock.settimeout(transport.stall_timeout)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _receive_buffer(transport.limit_rate))
    except BaseException:
        connection.close()
        raise
    return connection


def _receive_buffer(limit_rate: int) -> int:
    """
    Bytes that may wait in a socket of ours, of which the kernel makes about twice as many.

    By itself it would let six megabytes wait as soon as the medium is slower than the line: memory that a small board
    lacks, and bytes that have to come again after a power cut. A limit is kept by not reading.
    """
    return min(_RECEIVE, max(limit_rate // 64, _RECEIVE_LEAST)) if limit_rate else _RECEIVE


def is_stale(connection: http.client.HTTPConnection) -> bool:
    """Has the server closed an idle connection, or sent what nobody asked for?"""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])


def explained(error: OSError | http.client.HTTPException, doing: str, transport: Transport) -> SourceError:
    """
    The error for a connection that failed, Temporary when it is worth another try.

    doing: the start of the sentence, "cannot read http://host/file".
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return SourceError(f"{doing}: {_certificate(error, transport)}")
    if isinstance(error, TimeoutError):
        return Temporary(f"{doing}: {_silence(error, transport)}", errno=errno.ETIMEDOUT)
    if isinstance(error, socket.gaierror):
        unknown = error.errno == socket.EAI_NONAME
        return Temporary(f"{doing}: the server's name cannot be found ({error.strerror})", at_first_final=unknown)
    if isinstance(error, ssl.SSLError):
        kind = SourceError if error.reason in _NO_TLS_TO_HAVE else Temporary
        return kind(f"{doing}: TLS failed ({one_line(error.reason or error)})")
    if isinstance(error, http.client.HTTPException):
        return _no_answer(error, doing)
    refused = re.fullmatch(r"Tunnel connection failed: (\d+) (.*)", str(error), re.DOTALL)
    if refused is not None:  # http.client's only way of saying so
        kind = Temporary if refused[1].startswith("5") else SourceError
        hint = "; give its user and password with its address in the environment" if refused[1] == "407" else ""
        return kind(f"{doing}: the proxy answered {refused[1]} {one_line(refused[2])}{hint}")
    reason = error.strerror or one_line(error) or type(error).__name__
    nobody = isinstance(error, ConnectionRefusedError)
    return Temporary(f"{doing}: {reason}", errno=error.errno, at_first_final=nobody)


def _no_answer(error: http.client.HTTPException, doing: str) -> SourceError:
    if isinstance(error, http.client.RemoteDisconnected):
        return Temporary(f"{doing}: the server closed the connection without an answer")
    if isinstance(error, CutOff):
        return Temporary(f"{doing}: the server closed the connection in the middle of an answer")
    if isinstance(error, http.client.IncompleteRead):
        return Temporary(f"{doing}: the connection ended in the middle of the file")
    if isinstance(error, http.client.BadStatusLine):
        return SourceError(f"{doing}: the server does not speak HTTP, it says {one_line(error, 80)}")
    if isinstance(error, Nonsense):
        return SourceError(f"{doing}: {one_line(error)}")
    return Temporary(f"{doing}: the answer cannot be understood ({type(error).__name__}: {one_line(error, 80)})")


def _silence(error: TimeoutError, transport: Transport) -> str:
    if error.errno is not None:  # the kernel's own time-out
        return error.strerror or "timed out"
    if getattr(error, "connecting", False):
        return f"no connection within {transport.connect_timeout:g} s"
    if isinstance(error, Slow):
        return f"the server began an answer, and did not come to the file within {transport.stall_timeout:g} s"
    return f"the server sent nothing for {transport.stall_timeout:g} s"


def _certificate(error: ssl.SSLCertVerificationError, transport: Transport) -> str:
    code = error.verify_code
    said = one_line(error.verify_message).rstrip(".")
    if code in _EXPIRED:
        return f"the server's certificate is not valid today ({said}); if it should be, set this machine's clock"
    if code in _OTHER_NAME:
        return f"the server's certificate is for another host name ({said})"
    if code in _UNKNOWN_CA:
        if transport.ca_file is not None:
            return f"the server's certificate is not vouched for by {transport.ca_file} ({said})"
        return f"nobody that this system trusts vouches for the server's certificate ({said}); name its CA: --ca-file"
    return f"the server's certificate is not good ({said})"
