"""Mutual TLS below the links: each platform shows a certificate with its name, signed by a common authority.

A ``TlsSocket`` is a TLS connection that is used like a plain one: one thread sends, another one receives. A TLS session
must not be read and written at once. It therefore works in memory, under a lock that nobody holds while waiting; a
plain socket carries its bytes. There is no closing alert: the frames themselves mark where a stream ends.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import select
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional, Union

from eprune.runtime.kernel.errors import Refused, UsageError
from eprune.runtime.net import wire

#: Bytes that are encrypted before they are sent, and the most that are received at once: what fits a core's cache.
_SEND_BYTES = 64 * 1024
_RECEIVE_BYTES = 64 * 1024
#: Smaller buffers are put together, for each write makes a TLS record of its own.
_SMALL = 4 * 1024

#: OpenSSL's numbers for what may be wrong with a certificate (X509_V_ERR_...)
_NOT_YET_VALID, _EXPIRED = 9, 10
#: A peer's alert -> what is wrong with this platform's certificate.
_ALERTS = {
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REQUIRED": "it received none",
    "UNKNOWN_CA": "it is not signed by the authority that the peer trusts",
    "BAD_CERTIFICATE": "it is not valid at the peer, perhaps not yet: compare the clocks of the two machines",
}


Buffer = Union[bytes, bytearray, memoryview]


def is_loopback(host: str) -> bool:
    """Whether an address certainly belongs to this machine; no name but localhost is resolved for that."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class NotTls(Refused):
    """The other side greets without TLS."""


class Keys:
    """A platform's certificate and key, and the authority that it trusts: NAME.crt, NAME.key and ca.crt in a folder.

    Raises UsageError if they are missing, malformed, do not belong together, or are not valid now.
    """

    def __init__(self, folder: str, platform: str) -> None:
        self.platform = platform
        self.authority = Path(folder, "ca.crt")
        self._certificate = Path(folder, f"{platform}.crt")
        self._key = Path(folder, f"{platform}.key")
        for path in (self.authority, self._certificate, self._key):
            try:
                path.read_bytes()
            except OSError as error:
                raise UsageError(
                    f"{path}: {error.strerror}; 'eprune certify {folder} {platform}' makes the missing files"
                ) from None
        self._client = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self._server = self._context(ssl.PROTOCOL_TLS_SERVER)
        self._server.num_tickets = 0  # each connection shows certificates anew
        self._prove()

    @property
    def warning(self) -> str:
        """What a person should know about the files, or ''."""
        found = self._key.stat()
        others = stat.S_IRWXG | stat.S_IRWXO
        if found.st_uid == 0 and found.st_gid == os.getegid() != 0:
            others &= ~stat.S_IRGRP  # so Kubernetes delivers it: root lends it to the group of this program
        if found.st_mode & others:
            return f"{self._key} is readable by others: chmod 600 {self._key}"
        return ""

    def dialling(self, connection: socket.socket, peer: str) -> TlsSocket:
        """TLS over a connection that this end dialled; the other side must be platform ``peer``."""
        return TlsSocket(connection, self._client, False, peer, self.authority)

    def answering(self, connection: socket.socket, peer: str) -> TlsSocket:
        """TLS over a connection that this end accepted; the other side must be platform ``peer``."""
        return TlsSocket(connection, self._server, True, peer, self.authority)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # a platform is who it is, wherever it is reached
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(self.authority)
        except ssl.SSLError:
            raise UsageError(f"{self.authority}: this is not a certificate") from None
        try:
            # A key with a password would be asked for on the terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
        except ssl.SSLError as error:
            mismatch = error.reason == "KEY_VALUES_MISMATCH"
            problem = "do not belong together" if mismatch else "are not a certificate and a key"
            raise UsageError(f"{self._certificate}, {self._key}: these {problem}") from None
        return context

    def _prove(self) -> None:
        """Shake hands with this program itself, to learn before a peer does if the certificate is wrong."""
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [self._client.wrap_bio(back, there), self._server.wrap_bio(there, back, server_side=True)]
        try:
            for end in (*ends, *ends):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        except ssl.SSLError as error:
            raise UsageError(f"{self._certificate}: this certificate {_wrong(error, self.authority)}") from None
        names = _names(ends[0])
        if self.platform not in names:
            raise UsageError(
                f"{self._certificate}: this is the certificate of {_listed(names)}, not of {self.platform!r}"
            )


class TlsSocket:
    """A TLS connection over the socket ``transport``, with the methods of a socket that links use.

    It shakes hands when it is first used. Nothing can be received before the other side has proved to be platform
    ``peer``; if it does not, calls raise Refused, or NotTls where the other side uses no TLS. What was not reported as
    sent must be sent again before anything else: it may be under way already.
    """

    def __init__(
        self, transport: socket.socket, context: ssl.SSLContext, answering: bool, peer: str, authority: Path
    ) -> None:
        self.transport = transport
        self._timeout = transport.gettimeout()
        transport.settimeout(None)
        self._peer = peer
        self._authority = authority
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=answering)
        #: guards the session and what is to be sent
        self._lock = threading.Lock()
        #: what was encrypted but not sent
        self._unsent = memoryview(b"")
        #: how many bytes (0 or 1) were encrypted but not reported as sent, so that the caller comes back
        self._held = 0
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._begun = self._shaken = self._decrypted = False
        self._refusal: Optional[Refused] = None

    def fileno(self) -> int:
        """The transport's, which can be written to when this can; what was received already does not show there."""
        return self.transport.fileno()

    @property
    def shaken(self) -> bool:
        """Whether the handshake is done."""
        return self._shaken

    def settimeout(self, seconds: Optional[float]) -> None:
        """How long a call may wait: None for ever, 0 not at all."""
        self._timeout = seconds

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option of the transport."""
        self.transport.setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """End the transport's directions; calls that wait return."""
        self.transport.shutdown(how)

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    # The handshake.

    def shake(self, deadline: float = math.inf) -> None:
        """Shake hands, unless that is done; raises TimeoutError if it takes until ``deadline`` (time.monotonic)."""
        while not self._shaken:
            if time.monotonic() > deadline:
                raise TimeoutError("timed out")
            with self._lock:
                try:
                    self._session.do_handshake()
                    self._shaken = True
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    self._refusal = Refused(self._explain(error))
                    self._tell_why()
                    raise self._refusal from None
                self._flush()
            if not self._shaken and not self._fetch():
                raise ConnectionResetError("the peer closed the connection during the handshake")
            if self._shaken and self._peer not in (names := _names(self._session)):
                self._refusal = Refused(f"the certificate shown is that of {_listed(names)}, not of {self._peer!r}")
                raise self._refusal

    def _explain(self, error: ssl.SSLError) -> str:
        reason = error.reason or ""
        for alert, problem in _ALERTS.items():
            if alert in reason:
                return f"{self._peer} does not accept this platform's certificate: {problem}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate shown {_wrong(error, self._authority)}"
        return f"the TLS handshake failed: {reason.lower().replace('_', ' ') or error}"

    def _tell_why(self) -> None:
        """Send the alert that OpenSSL has written; the lock is held."""
        with contextlib.suppress(OSError):
            self._flush()

    # Receiving, which one thread does.

    def recv(self, count: int) -> bytes:
        """At most ``count`` bytes; none at the end."""
        buffer = bytearray(count)
        return bytes(buffer[: self.recv_into(buffer)])

    def recv_into(self, target: Union[bytearray, memoryview]) -> int:
        """Receive what is there, waiting for the first byte; how many bytes, 0 at the end."""
        return self._read(memoryview(target), True)

    def recvmsg_into(self, targets: Sequence[memoryview]) -> tuple[int, list[object], int, None]:
        """The same into several buffers; the number of bytes comes first."""
        done = 0
        for target in targets:
            count = self._read(target, not done)
            done += count
            if count < len(target):
                break
        return done, [], 0, None

    def _read(self, target: memoryview, wait: bool) -> int:
        self.shake()
        if self._refusal is not None:
            raise self._refusal
        done = 0
        while done < len(target):
            count = self._decrypt(target[done:])
            if count:
                done += count
            elif count == 0 or done or not (wait and self._fetch()):
                break
        return done

    def _decrypt(self, target: memoryview) -> Optional[int]:
        """Decrypt into ``target``: how many bytes, 0 at the end, None where more must be received first."""
        with self._lock:
            if not self._incoming.pending and not self._session.pending():
                return None
            try:
                count: int = self._session.read(len(target), target)  # type: ignore[assignment]
                self._decrypted = True
                return count
            except ssl.SSLWantReadError:
                return None
            except ssl.SSLZeroReturnError:
                return 0
            except ssl.SSLError as error:
                self._tell_why()
                if not self._decrypted:  # in TLS 1.3 a dialler's handshake is done before its certificate is seen
                    raise Refused(self._explain(error)) from None
                raise ConnectionAbortedError(f"TLS: {(error.reason or '').lower().replace('_', ' ')}") from None
            finally:
                if self._outgoing.pending:
                    self._flush()

    def _fetch(self) -> int:
        """Receive what the transport has; how many bytes, 0 at the end."""
        if self._timeout is not None:
            self._wait([self.transport], [])
        count = self.transport.recv_into(self._received, 0, 0 if self._timeout is None else socket.MSG_DONTWAIT)
        with self._lock:
            if count and not self._begun:
                self._begun = True
                if wire.MAGIC.startswith(self._received[: min(count, len(wire.MAGIC))]):
                    self._refusal = NotTls(wire.NO_TLS)
                    raise self._refusal
            self._incoming.write(self._received[:count])
        return count

    def _wait(self, reads: list[socket.socket], writes: list[socket.socket]) -> None:
        try:
            if any(select.select(reads, writes, [], self._timeout)):
                return
        except ValueError:
            raise ConnectionAbortedError("the connection was closed") from None
        if self._timeout == 0:
            raise BlockingIOError
        raise TimeoutError("timed out")

    # Sending, which one thread does at a time.

    def sendall(self, data: Union[bytes, memoryview]) -> None:
        """Send all of it."""
        self.sendmsg([memoryview(data)])

    def sendmsg(self, buffers: Sequence[Buffer], ancillary: Sequence[object] = (), flags: int = 0) -> int:
        """Send the buffers one after the other: all, or with MSG_DONTWAIT what the transport takes; how many bytes."""
        self.shake()
        if flags & socket.MSG_DONTWAIT:
            return self._send(buffers, 0)
        done, size = 0, sum(map(len, buffers))
        while done < size:
            try:
                done += self._send(buffers, done)
            except BlockingIOError:
                self._wait([], [self.transport])
        return done

    def _send(self, buffers: Sequence[Buffer], skip: int) -> int:
        """Send what the transport takes of what follows the first ``skip`` bytes; raises BlockingIOError if nothing."""
        with self._lock:
            self._flush()
            if self._unsent:
                raise BlockingIOError
            count, self._held = self._held, 0
            fresh = 0
            for piece in _pieces(buffers, skip + count):
                fresh += self._session.write(piece)
                if fresh >= _SEND_BYTES:
                    count += fresh
                    fresh = 0
                    self._flush()
                    if self._unsent:
                        break
            count += fresh
            self._flush()
            if self._unsent:
                count -= 1
                self._held = 1
        if not count:
            raise BlockingIOError
        return count

    def _flush(self) -> None:
        """Send what is encrypted, as far as the transport takes it; the lock is held."""
        if self._outgoing.pending:
            data = self._outgoing.read()
            self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        while self._unsent:
            try:
                self._unsent = self._unsent[self.transport.send(self._unsent, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                return


#: What connections run over.
Stream = Union[socket.socket, TlsSocket]


def _pieces(buffers: Sequence[Buffer], skip: int) -> Iterator[Buffer]:
    """What follows the first ``skip`` bytes of the buffers, in pieces for one write each: small ones put together."""
    small = bytearray()
    for buffer in buffers:
        if skip >= len(buffer):
            skip -= len(buffer)
            continue
        rest = memoryview(buffer)[skip:]
        skip = 0
        if len(rest) < _SMALL:
            small += rest
            if len(small) >= _SEND_BYTES:
                yield small
                small = bytearray()
            continue
        if small:
            yield small
            small = bytearray()
        for begin in range(0, len(rest), _SEND_BYTES):
            yield rest[begin : begin + _SEND_BYTES]
    if small:
        yield small


def _names(session: ssl.SSLObject) -> list[str]:
    """The platforms that the other side's certificate is for."""
    certificate = session.getpeercert() or {}
    alternatives: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())  # type: ignore[assignment]
    return [name for kind, name in alternatives if kind == "DNS"]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names)) or "nobody"


def _wrong(error: ssl.SSLError, authority: Path) -> str:
    """What is wrong with a certificate, and the remedy."""
    code = getattr(error, "verify_code", None)
    if code == _EXPIRED:
        return "has expired, or its authority's has: renew it with 'eprune certify --renew'"
    if code == _NOT_YET_VALID:
        return "is not valid yet: is this machine's clock right?"
    hint = "all platforms need certificates from one folder of 'eprune certify'"
    return f"is not signed by the authority in {authority}: {hint}"
