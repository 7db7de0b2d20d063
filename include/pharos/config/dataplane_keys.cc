// Keys of the section `dataplane`. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <algorithm>
#include <bit>
#include <numeric>

namespace pharos::config {

namespace {

constexpr unsigned cores_max = 1024;

Type<unsigned> core() {
  return as<unsigned>(whole(0, cores_max - 1));
}

Type<unsigned> descriptors() {
  return as<unsigned>(whole(64, 32768));
}

// A core, or cores "2-5".
void read_cores(Reader& reader, const Node& node, DataplaneConfig& to) {
  if (!is_list(reader, node, "core")) return;
  for (const Node* item : node.items) {
    const auto dash = item->scalar.find('-', 1);
    unsigned first = 0, last = 0;
    Node part = *item;
    part.scalar = item->scalar.substr(0, dash);
    if (!core().read(reader, part, first)) continue;
    last = first;
    if (dash != std::string::npos) {
      part.scalar = item->scalar.substr(dash + 1);
      if (!core().read(reader, part, last)) continue;
    }
    if (last < first) reader.mistake(*item, "the cores '" + item->scalar + "' run backwards");
    for (unsigned number = first; number <= last; ++number) {
      if (std::ranges::find(to.worker_cores, number) != to.worker_cores.end()) {
        reader.mistake(*item, "core " + std::to_string(number) + " is listed twice");
      } else {
        to.worker_cores.push_back(number);
      }
    }
  }
}

void check_cores(Reader& reader, const Node& node, const DataplaneConfig& dataplane) {
  const Member* cores = node.find("worker_cores");
  if (cores == nullptr || dataplane.worker_cores.empty()) return;
  const auto queues =
      std::accumulate(dataplane.ports.begin(), dataplane.ports.end(), 0U,
                      [](unsigned sum, const PortConfig& port) { return sum + port.queues; });
  if (queues > dataplane.worker_cores.size()) {
    reader.mistakes.add(cores->place,
                        std::to_string(queues) +
                            " queues need as many worker cores, but there are " +
                            std::to_string(dataplane.worker_cores.size()),
                        "list more cores, or lower 'queues' of the ports");
  }
  if (dataplane.control_core &&
      std::ranges::find(dataplane.worker_cores, *dataplane.control_core) !=
          dataplane.worker_cores.end()) {
    reader.mistakes.add(cores->place,
                        "core " + std::to_string(*dataplane.control_core) +
                            " is the control core and a worker core",
                        "workers poll without end: give the control thread a core of its own");
  }
}

// Linux takes 15 characters (IFNAMSIZ) and neither '/' nor the names of folders.
void check_exception(Reader& reader, const Node& node, void* object) {
  constexpr std::size_t name_max = 15;
  const auto& port = *static_cast<PortConfig*>(object);
  const auto mistake = [&](const char* key, std::string what, std::string hint) {
    if (const Member* member = node.find(key); member != nullptr)
      reader.mistakes.add(member->place, std::move(what), std::move(hint));
  };
  const auto& name = port.exception_interface;
  if (name.size() > name_max || name == "." || name == "..") {
    mistake("exception_interface", "'" + name + "' is no name of an interface",
            "at most " + std::to_string(name_max) + " letters, digits, '-', '_' and '.'");
  }
  for (const char* key : {"gateways", "networks"}) {
    if (name.empty())
      mistake(key, std::string("'") + key + "' without an exception interface",
              "add exception_interface");
  }
  const auto ipv4 = std::ranges::count_if(port.gateways, &IpAddress::is_ipv4);
  if (ipv4 > 1 || static_cast<std::ptrdiff_t>(port.gateways.size()) - ipv4 > 1) {
    mistake("gateways", "two gateways of one family", "one IPv4 and one IPv6 address at most");
  }
}

void check_listen(Reader& reader, const Node& node, const DataplaneConfig& dataplane) {
  auto sorted = dataplane.listen;
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  if (twice != sorted.end()) {
    reader.mistakes.add(
        node.find("listen")->place,
        "we listen on " + twice->address.text() + " port " + std::to_string(twice->port) + " twice",
        "remove one of them");
  }
}

void check_dataplane(Reader& reader, const Node& node, void* object) {
  const auto& dataplane = *static_cast<DataplaneConfig*>(object);
  check_cores(reader, node, dataplane);
  check_listen(reader, node, dataplane);
  if (const Member* ring = node.find("beacon_ring");
      ring != nullptr && !std::has_single_bit(dataplane.beacon_ring_bytes)) {
    reader.mistakes.add(
        ring->place,
        "beacon_ring " + size_text(dataplane.beacon_ring_bytes) + " is not a power of two",
        "write " + size_text(std::bit_ceil(dataplane.beacon_ring_bytes)));
  }
  if (dataplane.beacon_port == dataplane.dns_port) {
    const Member* port =
        node.find("beacon_port") != nullptr ? node.find("beacon_port") : node.find("dns_port");
    reader.mistakes.add(port->place,
                        "DNS and beacons have the same port " + std::to_string(dataplane.dns_port),
                        "give one of them another port");
  }
}

Key worker_cores_key() {
  Key key;
  key.name = "worker_cores";
  key.description =
      "cores that poll, one for each queue of each port; default: all but the first "
      "that the process may run on";
  key.example = "[2-5, 8]";
  key.shape = {
      .kind = Shape::Kind::list,
      .word = "list",
      .parts = {
          {.kind = Shape::Kind::either,
           .word = "core or range",
           .parts = {core().shape,
                     {.kind = Shape::Kind::text, .word = "range", .pattern = "^[0-9]+-[0-9]+$"}}}}};
  key.read = [](Reader& reader, const Node& node, void* to) {
    read_cores(reader, node, *static_cast<DataplaneConfig*>(to));
  };
  return key;
}

}  // namespace

template <>
const Table* table_of<PortConfig>() {
  using C = PortConfig;
  static const Table table{
      "dataplane.ports[]",
      "A port that takes queries: a DPDK device and the addresses that we answer at.",
      {
          required(key_into<C>("id", identifier("port id"),
                               "name of the port in status, counters and logs", "front",
                               [](Reader& reader, const Node& node, C& to, std::string id) {
                                 reader.declarations.push_back({Thing::port, {}, id, node.place});
                                 to.id = std::move(id);
                               })),
          required(key_into<C>(
              "device", text("device", 1024),
              "PCI address, or arguments of a virtual device (net_af_packet, net_af_xdp, net_tap, "
              "net_virtio_user, net_memif, net_pcap, net_ring)",
              "\"net_af_packet0,iface=eth1\"",
              [](Reader& reader, const Node& node, C& to, std::string device) {
                if (device.empty()) reader.mistake(node, "the device is empty");
                reader.declarations.push_back({Thing::device, {}, device, node.place});
                to.device = std::move(device);
              })),
          required(key_into<C>(
              "addresses", one_or_more(ip_address(), 64),
              "our addresses: DNS, ARP, neighbour discovery and echo are answered at them",
              "[192.0.2.53, \"2001:db8::53\"]",
              [](Reader& reader, const Node& node, C& to, std::vector<IpAddress> addresses) {
                for (const auto& address : addresses) {
                  reader.declarations.push_back(
                      {Thing::port_address, {}, address.text(), node.place});
                }
                to.addresses = std::move(addresses);
              })),
          key("vlan", &C::vlan, maybe(as<std::uint16_t>(whole(1, 4094))),
              "take only frames with this tag; default: any", "100"),
          key("queues", &C::queues, as<unsigned>(whole(1, 64)),
              "receive and transmit queues, one worker core each", "4"),
          key("receive_descriptors", &C::receive_descriptors, descriptors(),
              "slots of each receive queue", "2048"),
          key("transmit_descriptors", &C::transmit_descriptors, descriptors(),
              "slots of each transmit queue", "2048"),
          key("idle", &C::idle,
              choice<IdlePolicy>({{"poll", IdlePolicy::poll}, {"adaptive", IdlePolicy::adaptive}}),
              "`poll`: the core never sleeps; `adaptive`: it backs off while the queue stays "
              "empty, for shared cores",
              "adaptive"),
          key("checksum_offload", &C::checksum_offload, boolean(),
              "let the port compute checksums where it can", "false"),
          key("promiscuous", &C::promiscuous, boolean(),
              "take frames for other stations' addresses, too", "true"),
          key_into<C>("exception_interface", identifier("interface"),
                      "tap interface for traffic that is not ours to answer: the kernel's end has "
                      "the port's addresses "
                      "and MAC, and does ARP, neighbour discovery, ICMP and TCP; default: none, "
                      "no TCP, and ARP, neighbour "
                      "discovery and echo are answered in place",
                      "pharos0",
                      [](Reader& reader, const Node& node, C& to, std::string name) {
                        reader.declarations.push_back(
                            {Thing::exception_interface, {}, name, node.place});
                        to.exception_interface = std::move(name);
                      }),
          key("gateways", &C::gateways, one_or_more(ip_address(), 2),
              "routers for what the kernel sends from the port's addresses, one of each family; "
              "default: every address is "
              "a neighbour",
              "[192.0.2.1, \"fe80::1\"]"),
          key("networks", &C::networks, one_or_more(ip_prefix(), 64),
              "networks that are reached without the gateway", "192.0.2.0/24"),
      },
      check_exception};
  return &table;
}

template <>
const Table* table_of<TcpConfig>() {
  using C = TcpConfig;
  static const Table table{
      "dataplane.tcp",
      "DNS over TCP, on the addresses of `listen` and of ports with an exception interface. When "
      "there are too many connections, that which has been without a query for longest is closed.",
      {
          key("connections_max", &C::connections_max, as<unsigned>(whole(1, 1'000'000)),
              "connections in total", "20000"),
          key("connections_per_client", &C::connections_per_client,
              as<unsigned>(whole(1, 1'000'000)), "connections of one IPv4 address or IPv6 /56",
              "64"),
          key("idle_timeout", &C::idle_timeout, duration(milliseconds(100), seconds(3600)),
              "a connection without a query for this long is closed; told to clients that ask "
              "(RFC 7828)",
              "30s"),
          key("message_timeout", &C::message_timeout, duration(milliseconds(100), seconds(3600)),
              "limit for one query from its first byte to its last, and for replies to be taken",
              "2s"),
          key("memory", &C::memory_bytes, size(1U << 20, std::uint64_t{1} << 40),
              "for queries that are not whole yet and replies that are not taken yet", "256MiB"),
      }};
  return &table;
}

template <>
const Table* table_of<DataplaneConfig>() {
  using C = DataplaneConfig;
  static const Table table{
      "dataplane",
      "The packet process. `listen`, `tcp`, `nsid`, `udp_payload_max`, `ecs`, "
      "`ecs_resolvers`, `rate_limit`, "
      "`cookies` and `dnstap` change "
      "with a "
      "reload (SIGHUP); all else at a restart of `pharos-dataplane`.",
      {
          key("huge_pages", &C::huge_pages,
              choice<HugePages>({{"automatic", HugePages::automatic},
                                 {"required", HugePages::required},
                                 {"never", HugePages::never}}),
              "for DPDK; `automatic`: where the host has them. Tables take what is left of them, "
              "whatever this says",
              "never"),
          key("memory", &C::memory_bytes, size(16U << 20, std::uint64_t{1} << 40),
              "for DPDK: packet buffers and ports", "512MiB"),
          worker_cores_key(),
          key("control_core", &C::control_core, maybe(core()),
              "core of the control thread; default: the first that the process may run on", "0"),
          key("eal_arguments", &C::eal_arguments, list_of(text("argument", 1024), 0, 64),
              "arguments for DPDK's environment, added as they are", "[\"--no-telemetry\"]"),
          key("ports", &C::ports, list_of(object<PortConfig>(), 0, 32), "see below"),
          key("listen", &C::listen, one_or_more(socket_address(), 256),
              "kernel sockets for DNS over UDP and TCP beside the ports: for loopback and "
              "management "
              "networks. With them "
              "the process runs without any port, too",
              "[127.0.0.1:53, \"[::1]:53\"]"),
          key("tcp", &C::tcp, object<TcpConfig>(), "see below"),
          key("dns_port", &C::dns_port, as<std::uint16_t>(whole(1, 65535)), "UDP port of DNS",
              "5353"),
          key("udp_payload_max", &C::udp_payload_max_bytes, as<std::uint16_t>(size(512, 4096)),
              "largest answer over UDP, whatever the client offers", "1400"),
          key("nsid", &C::nsid, text("name server id", 128),
              "answered to EDNS NSID (RFC 5001); default: none", "fra-1"),
          key("ecs", &C::ecs, ecs_mode(),
              "whose client subnets (RFC 7871) steer answers, where a service does not say it for "
              "itself: of `all` queries, of those from `listed` resolvers, or of none (`ignore`): "
              "then the query's source decides, and the scope is 0. Where no service goes by any, "
              "the option is not answered",
              "listed"),
          key("ecs_resolvers", &C::ecs_resolvers, one_or_more(ip_prefix(), 16384),
              "the resolvers of `ecs: listed`", "[192.0.2.0/24, \"2001:db8:53::/48\"]"),
          key("rate_limit", &C::rate_limit, object<RateLimitConfig>(), "see below"),
          key("cookies", &C::cookies, object<CookiesConfig>(), "see below"),
          key("beacon_port", &C::beacon_port, as<std::uint16_t>(whole(0, 65535)),
              "UDP port whose datagrams go to the control plane as beacons; 0: none", "0"),
          key("beacon_ring", &C::beacon_ring_bytes, size(4096, 1U << 30),
              "memory of the beacon ring of each worker; a power of two", "4MiB"),
          key("allowed_uid", &C::allowed_uid, maybe(user()),
              "user of the control plane, which may hand over tables, beside root and the data "
              "plane's own",
              "pharos"),
          key("user", &C::user, maybe(user()),
              "unprivileged user to become once ports and sockets are open; default: the user that "
              "started us, without capabilities",
              "pharos"),
          key("sandbox", &C::sandbox, boolean(),
              "give up capabilities and all system calls that serving does not need; off where a "
              "driver does not bear it",
              "false"),
          key("dnstap", &C::dnstap, object<DnstapConfig>(), "see below"),
          key("name_samples", &C::name_samples_per_second, as<unsigned>(whole(0, 65536)),
              "queries a second and worker whose names are looked at for `pharosctl names` and "
              "`top`; 0: none",
              "0"),
          key("demand_samples", &C::demand_samples, boolean(),
              "sample steered answers, so that the control plane knows the demand of each locale; "
              "off: "
              "no site is relieved before its own beacons say so, and `pharosctl demand` knows "
              "nothing",
              "false"),
      },
      check_dataplane};
  return &table;
}

}  // namespace pharos::config
