"""A DNS client small enough to measure with: builds queries, reads replies, and waits no longer than it must."""

import random
import socket
import struct
import time
from dataclasses import dataclass, field

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "ANY": 255,
         "CAA": 257}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN"}


def wire_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(name, rrtype="A", edns_bytes=1232, ecs=None, identifier=None):
    """The bytes of one query. ecs: ("192.0.2.0", 24) adds a client subnet (RFC 7871)."""
    identifier = random.randrange(65536) if identifier is None else identifier
    options = b""
    if ecs is not None:
        address, length = ecs
        family = 2 if ":" in address else 1
        packed = socket.inet_pton(socket.AF_INET6 if family == 2 else socket.AF_INET, address)[:(length + 7) // 8]
        body = struct.pack("!HBB", family, length, 0) + packed
        options = struct.pack("!HH", 8, len(body)) + body
    opt = b"" if edns_bytes is None else b"\0" + struct.pack("!HHIH", 41, edns_bytes, 0, len(options)) + options
    header = struct.pack("!6H", identifier, 0, 1, 0, 0, 1 if opt else 0)
    return header + wire_name(name) + struct.pack("!HH", TYPES[rrtype], 1) + opt


@dataclass
class Record:
    name: str
    type: int
    ttl: int
    data: bytes

    @property
    def address(self):
        return socket.inet_ntop(socket.AF_INET if self.type == 1 else socket.AF_INET6, self.data)


@dataclass
class Reply:
    identifier: int
    flags: int
    answers: list = field(default_factory=list)
    authority: list = field(default_factory=list)
    additional: list = field(default_factory=list)

    @property
    def rcode(self):
        return RCODES.get(self.flags & 15, str(self.flags & 15))

    @property
    def addresses(self):
        return [r.address for r in self.answers if r.type in (1, 28)]

    @property
    def ttl(self):
        return min((r.ttl for r in self.answers), default=None)


def _name(message, at):
    labels, end, jumps = [], None, 0
    while message[at] != 0:
        if message[at] >= 0xC0:
            end = at + 2 if end is None else end
            target = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            jumps += 1
            if target >= at or jumps > 20:
                raise ValueError("compression pointer that does not point back")
            at = target
        else:
            labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
            at += 1 + message[at]
    return ".".join(labels) + ".", at + 1 if end is None else end


def parse(message):
    identifier, flags, questions, *counts = struct.unpack_from("!6H", message)
    reply, at = Reply(identifier, flags), 12
    for _ in range(questions):
        at = _name(message, at)[1] + 4
    for section, count in zip((reply.answers, reply.authority, reply.additional), counts):
        for _ in range(count):
            name, at = _name(message, at)
            rrtype, _, ttl, length = struct.unpack_from("!HHIH", message, at)
            section.append(Record(name, rrtype, ttl, message[at + 10:at + 10 + length]))
            at += 10 + length
    if at != len(message):
        raise ValueError(f"{len(message) - at} bytes behind the last record")
    return reply


class Client:
    """Asks one server from one source address. Make it inside the namespace that it shall live in."""

    def __init__(self, source, server, port=53):
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((source, 0))
        self.socket.connect((server, port))

    def close(self):
        self.socket.close()

    def send(self, message):
        """One datagram as it is, with no wait for a reply."""
        self.socket.send(message)

    def ask(self, name, rrtype="A", timeout_s=1.0, **options):
        """The reply, or None when none came in time."""
        message = query(name, rrtype, **options)
        return self.exchange(message, timeout_s)

    def exchange(self, message, timeout_s=1.0):
        deadline = time.monotonic() + timeout_s
        try:
            self.socket.send(message)
            while (rest := deadline - time.monotonic()) > 0:
                self.socket.settimeout(rest)
                reply = parse(self.socket.recv(65535))
                if reply.identifier == struct.unpack_from("!H", message)[0]:
                    return reply
        except (TimeoutError, ConnectionRefusedError):
            pass
        return None
