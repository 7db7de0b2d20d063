#!/usr/bin/env python3
"""Writes a pcap of DNS queries, for ports that replay one (net_pcap) and for generators that send one.

Queries come from a file in the format of dnsperf ("name TYPE" a line), clients from a prefix; both are walked in an
order that the seed fixes, so that a lane asks the same questions in the same order every time.
"""
import argparse
import ipaddress
import itertools
import random
import struct
import sys

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "NAPTR": 35,
         "DS": 43, "DNSKEY": 48, "SVCB": 64, "HTTPS": 65, "ANY": 255, "CAA": 257}
DNS_PORT = 53


def wire_name(name):
    """'www.example.org.' as length-prefixed labels. No escapes: names of tests and benchmarks have none."""
    wire = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode("ascii")
        if not 0 < len(raw) < 64:
            raise ValueError(f"label of {len(raw)} bytes in '{name}'")
        wire += bytes([len(raw)]) + raw
    if len(wire) > 254:
        raise ValueError(f"name too long: '{name}'")
    return wire + b"\0"


def read_queries(path):
    queries = []
    with open(path, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) != 2 or words[1].upper() not in TYPES and not words[1].upper().startswith("TYPE"):
                sys.exit(f"{path}:{number}: expected 'name TYPE', found '{line.strip()}'")
            kind = words[1].upper()
            try:
                queries.append((wire_name(words[0]) if words[0] != "." else b"\0", TYPES.get(kind) or int(kind[4:])))
            except ValueError as error:
                sys.exit(f"{path}:{number}: {error}")
    if not queries:
        sys.exit(f"{path}: no queries")
    return queries


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def message(ident, name, kind, edns, options=b""):
    flags = 0x0100 if ident % 2 else 0x0000  # RD in half of them, as resolvers and stubs do
    body = struct.pack("!6H", ident, flags, 1, 0, 0, 1 if edns else 0) + name + struct.pack("!2H", kind, 1)
    return body + (b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(options)) + options if edns else b"")


def client_subnet(address):
    """An ECS option (RFC 7871) of the /24 of an IPv4 address."""
    return struct.pack("!HHHBB", 8, 7, 1, 24, 0) + address.packed[:3]


def client_cookie(draw):
    """A COOKIE option (RFC 7873) of a client that has no server cookie yet."""
    return struct.pack("!HH", 10, 8) + draw.randbytes(8)


def zipf_order(queries, count, draw, exponent=1.0):
    """`count` queries, the k-th most popular one by 1/k^exponent; which one that is, is drawn."""
    ranked = list(queries)
    draw.shuffle(ranked)
    weights = list(itertools.accumulate(1 / (k + 1) ** exponent for k in range(len(ranked))))
    return draw.choices(ranked, cum_weights=weights, k=count)


def uniform_order(queries, count, draw):
    """`count` queries, each as often as any other, give or take one."""
    order = []
    while len(order) < count:
        turn = list(queries)
        draw.shuffle(turn)
        order += turn[:count - len(order)]
    return order


def frame(mac, source, source_port, destination, payload):
    udp_bytes = 8 + len(payload)
    pseudo = source.packed + destination.packed + struct.pack("!IHBB", udp_bytes, 0, 0, 17)
    udp = struct.pack("!4H", source_port, DNS_PORT, udp_bytes, 0)
    checksum = ~ones_sum(pseudo + udp + payload) & 0xffff or 0xffff
    udp = udp[:6] + struct.pack("!H", checksum)
    if source.version == 4:
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + udp_bytes, 0, 0x4000, 64, 17, 0, source.packed,
                           destination.packed)
        head = head[:10] + struct.pack("!H", ~ones_sum(head) & 0xffff) + head[12:]
        ether = b"\x08\x00"
    else:
        head = struct.pack("!IHBB", 6 << 28, udp_bytes, 17, 64) + source.packed + destination.packed
        ether = b"\x86\xdd"
    return mac + b"\x02\x00\x5e\x00\x53\x01" + ether + head + udp + payload


def write_pcap(path, frames):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for number, data in enumerate(frames):
            out.write(struct.pack("<IIII", 0, number % 1_000_000, len(data), len(data)) + data)


def make(queries, count, mac, destination, clients, edns_share, seed, subnet_share=0.0, zipf=False,
         cookie_share=0.0):
    """Frames of `count` queries to `destination` from clients of the prefix `clients`."""
    draw = random.Random(seed)
    span = min(clients.num_addresses - 2, 1 << 32)
    for name, kind in (zipf_order if zipf else uniform_order)(queries, count, draw):
        source = clients.network_address + 1 + draw.randrange(span)
        options = client_subnet(ipaddress.ip_address(draw.randrange(1 << 24, 224 << 24))) \
            if draw.random() < subnet_share else b""
        options += client_cookie(draw) if draw.random() < cookie_share else b""
        payload = message(draw.randrange(65536), name, kind, options or draw.random() < edns_share, options)
        yield frame(mac, source, draw.randrange(1024, 65536), destination, payload)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queries", help="file with a 'name TYPE' a line, as for dnsperf")
    parser.add_argument("pcap", help="file to write")
    parser.add_argument("--count", type=int, default=4096, help="frames (default %(default)s)")
    parser.add_argument("--mac", default="02:00:5e:00:53:35", help="destination MAC (default %(default)s)")
    parser.add_argument("--destination", default="192.0.2.53", help="destination address (default %(default)s)")
    parser.add_argument("--clients", default="198.18.0.0/16", help="prefix of the sources (default %(default)s)")
    parser.add_argument("--edns", type=float, default=0.7, help="share with an OPT record (default %(default)s)")
    parser.add_argument("--subnets", type=float, default=0.0,
                        help="share with a client subnet of their own (default %(default)s)")
    parser.add_argument("--cookies", type=float, default=0.0,
                        help="share with a client cookie (default %(default)s)")
    parser.add_argument("--zipf", action="store_true", help="the k-th name by 1/k instead of all alike")
    parser.add_argument("--seed", type=int, default=1, help="of every choice (default %(default)s)")
    options = parser.parse_args()
    destination = ipaddress.ip_address(options.destination)
    clients = ipaddress.ip_network(options.clients)
    if destination.version != clients.version:
        parser.error("--destination and --clients are of different families")
    mac = bytes.fromhex(options.mac.replace(":", ""))
    write_pcap(options.pcap, make(read_queries(options.queries), options.count, mac, destination, clients,
                                  options.edns, options.seed, options.subnets, options.zipf,
                                  options.cookies))


if __name__ == "__main__":
    main()
