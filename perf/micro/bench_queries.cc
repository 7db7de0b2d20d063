#include "bench_queries.hh"

namespace pharos::bench {

using packets::Octets;

namespace {
constexpr unsigned type_aaaa = 28;
}

std::string host_name(unsigned i) {
  return "host" + std::to_string(i * 2654435761U % 100000007U) + ".bench.example";
}
std::string service_name(unsigned i) {
  return "svc" + std::to_string(i) + ".bench.example";
}

Octets message_of(Kind kind, unsigned pick, std::mt19937& random) {
  packets::Question question{.name = {}, .id = static_cast<std::uint16_t>(random())};
  packets::Edns edns;
  std::string name = host_name(pick);
  switch (kind) {
    case Kind::a:
      question.name = name;
      return packets::query(question);
    case Kind::a_edns:
      break;
    case Kind::a_4:
      name = host_name(pick / 4 * 4 + 1);
      break;
    case Kind::a_8:
      name = host_name(pick / 4 * 4 + 2);
      break;
    case Kind::aaaa:
      question.type = type_aaaa;
      break;
    case Kind::nodata:
      question.type = 16;
      break;
    case Kind::nxdomain:
      name = "no" + std::to_string(random()) + ".bench.example";
      break;
    case Kind::deep_nxdomain:
      name = "a.b." + std::to_string(random()) + ".bench.example";
      break;
    case Kind::wildcard:
      name = "any" + std::to_string(random()) + ".wild.bench.example";
      break;
    case Kind::ranked:
      name = service_name(pick % services);
      break;
    case Kind::ranked_subnet: {
      name = service_name(pick % services);
      Octets subnet = packets::hex("0001 18 00");
      packets::put16(subnet, static_cast<unsigned>(random() & 0xffff));
      packets::put8(subnet, static_cast<unsigned>(random() & 0xff));
      edns.options = packets::option(8, subnet);
      break;
    }
    case Kind::cookie:
      edns.options = packets::option(10, packets::hex("2464c4abcf10c957"));
      break;
    case Kind::refused:
      name = "no" + std::to_string(random()) + ".elsewhere.test";
      break;
  }
  question.name = name;
  return packets::query(question, edns);
}

dataplane::Interface make_bench_interface(bool port_checksums) {
  dataplane::InterfaceSettings settings;
  settings.mac = dataplane::MacAddress{packets::server_mac};
  settings.addresses = {*IpAddress::parse("192.0.2.1")};
  settings.transmit_ipv4_checksum = settings.transmit_udp_checksum = port_checksums;
  return *dataplane::make_interface(settings);
}

}  // namespace pharos::bench
