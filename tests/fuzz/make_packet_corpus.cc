// Writes the corpora that `frame`, `query` and `tcp_stream` start from:  make_packet_corpus FOLDER
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "packets/octets.hh"

namespace {

using namespace pharos::packets;  // NOLINT

void write(const std::filesystem::path& folder, const std::string& stem, const Octets& head,
           const Octets& bytes) {
  std::filesystem::create_directories(folder);
  std::ofstream file(folder / stem, std::ios::binary);
  for (const auto& part : {head, bytes}) {
    file.write(reinterpret_cast<const char*>(part.data()),
               static_cast<std::streamsize>(part.size()));
  }
}

void write_queries(const std::filesystem::path& folder) {
  const struct {
    const char* stem;
    const char* name;
    unsigned type;
  } plain[] = {{"a", "www.example", 1},          {"mx", "mxs.example", 15},
               {"nodata", "mail.example", 28},   {"nxdomain", "a.b.no.example", 1},
               {"refused", "www.net", 1},        {"wildcard", "x.wild.example", 15},
               {"chain", "alias2.example", 1},   {"loop", "loop1.example", 1},
               {"steps", "d1.example", 1},       {"dname", "y.dn.example", 1},
               {"referral", "x.cut.example", 1}, {"ds", "child.example", 43},
               {"ranked", "svc.example", 1},     {"dealt", "dealt.example", 1},
               {"closed", "closed.example", 1},  {"big", "big.example", 1},
               {"any", "example", 255},          {"axfr", "example", 252}};
  for (const auto& row : plain) {
    write(folder, row.stem, hex("0004"),
          query({.name = row.name, .type = static_cast<std::uint16_t>(row.type)}));
    write(folder, std::string(row.stem) + "_tcp", hex("0105"),
          query({.name = row.name, .type = static_cast<std::uint16_t>(row.type)},
                Edns{.payload = 4096, .dnssec_ok = true}));
  }
  Octets all = option(3, {});
  put(all, option(8, hex("0001 18 00 c63364")));
  put(all, option(10, hex("2464c4abcf10c957 010000006553f100 0102030405060708")));
  put(all, option(65001, hex("0102")));
  write(folder, "options", hex("0000"), query({.name = "svc.example"}, Edns{.options = all}));
  write(
      folder, "subnet6", hex("0000"),
      query({.name = "svc.example"}, Edns{.options = option(8, hex("0002 38 00 20010db8e00001"))}));
  const Edns of_eu{.options = option(8, hex("0001 18 00 c63364"))};
  write(folder, "subnet_ignored", hex("0000"), query({.name = "ignored.example"}, of_eu));
  write(folder, "subnet_listed", hex("0080"), query({.name = "x.listed.example"}, of_eu));
  write(folder, "version1", hex("0000"), query({.name = "svc.example"}, Edns{.version = 1}));
  write(folder, "chaos", hex("0000"), query({.name = "version.bind", .type = 16, .klass = 3}));
  write(folder, "update", hex("0000"), query({.name = "example", .type = 6, .flags = 0x2800}));
  write(folder, "limited", hex("0800"), query({.name = "big.example"}, Edns{}));
  write(folder, "limited_options", hex("0800"),
        query({.name = "huge.example"}, Edns{.options = all}));
  write(folder, "limited_update", hex("0800"),
        query({.name = "example", .type = 6, .flags = 0x2800}));
  write(folder, "limited_refused", hex("0800"), query({.name = "elsewhere"}));
  write(folder, "small", hex("0210"), query({.name = "www.example"}, Edns{}));
}

// Scripts of tests/fuzz/tcp_stream_fuzz.cc: receive n bytes (n << 2, n < 64), serve (2), send (n << 2 | 3).
void write_streams(const std::filesystem::path& folder) {
  const auto framed = [](const Octets& message) {
    Octets out;
    put16(out, static_cast<unsigned>(message.size()));
    put(out, message);
    return out;
  };
  const auto script = [](const Octets& stream, unsigned step, const Octets& between) {
    Octets out;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      const auto bytes = std::min<std::size_t>(step, stream.size() - at);
      put8(out, static_cast<unsigned>(bytes) << 2);
      out.insert(out.end(), stream.begin() + static_cast<std::ptrdiff_t>(at),
                 stream.begin() + static_cast<std::ptrdiff_t>(at + bytes));
      put(out, between);
    }
    return out;
  };
  Octets three = framed(query({.name = "www.example", .id = 1}));
  put(three, framed(query({.name = "big.example", .id = 2}, Edns{.options = option(11, {})})));
  put(three, framed(query({.name = "a.b.no.example", .id = 3})));
  write(folder, "joined", {}, script(three, 63, hex("02 ff")));
  write(folder, "bytewise", {}, script(three, 1, hex("02 ff")));
  write(folder, "slow_reader", {}, script(three, 30, hex("02 0b")));
  write(folder, "never_reads", {}, script(three, 30, hex("02")));
  Octets broken = framed(query({.name = "www.example"}));
  put(broken, hex("0000"));
  write(folder, "zero_length", {}, script(broken, 60, hex("02")));
  write(folder, "long_announced", {}, script(hex("ffff 0102030405060708"), 5, hex("02")));
  write(folder, "response", {},
        script(framed(query({.name = "example", .flags = 0x8000})), 40, hex("02")));
}

void write_frames(const std::filesystem::path& folder) {
  const Octets question = query({.name = "www.example"}, Edns{});
  const FrameText v4;
  const FrameText v6{.from = "2001:db8:7::9", .to = "2001:db8::53"};
  write(folder, "ipv4", hex("00"), udp_frame(v4, 4000, 53, question));
  write(folder, "ipv6", hex("00"), udp_frame(v6, 4000, 53, question));
  write(folder, "offload", hex("18"), udp_frame(v4, 4000, 53, question));
  write(folder, "beacon", hex("00"), udp_frame(v4, 4000, 5380, question));
  write(folder, "exception", hex("02"), udp_frame(v4, 4000, 80, question));
  write(folder, "vlan", hex("04"), udp_frame({.tags = {{0x8100, 100}}}, 4000, 53, question));
  write(folder, "qinq", hex("00"),
        udp_frame({.tags = {{0x88a8, 7}, {0x8100, 100}}}, 4000, 53, question));
  write(folder, "options", hex("00"),
        udp_frame({.ip_options = hex("01830304")}, 4000, 53, question));
  write(folder, "padding", hex("00"), udp_frame({.padding = Octets(9)}, 4000, 53, question));
  write(folder, "arp", hex("00"),
        hex("ffffffffffff 020000000002 0806 0001 0800 06 04 0001 020000000002 c0000209 "
            "000000000000 c0000201"));
  Octets echo = hex("08 00 0000 beef 0007 61626364");
  const unsigned sum = ~internet_sum(echo);
  echo[2] = static_cast<std::byte>(sum >> 8 & 0xff);
  echo[3] = static_cast<std::byte>(sum & 0xff);
  write(folder, "echo", hex("00"), ip_frame({.protocol = 1}, echo));
  const FrameText icmp6{
      .from = "2001:db8:7::9", .to = "2001:db8::53", .protocol = 58, .hop_limit = 255};
  write(folder, "echo6", hex("00"),
        ip_frame(icmp6, summed(icmp6, hex("80 00 0000 beef 0007 61626364"), 2)));
  Octets neighbor = hex("87 00 0000 00000000");
  put(neighbor, address_octets("2001:db8::53"));
  put(neighbor, hex("01 01 020000000002"));
  write(folder, "neighbor", hex("00"), ip_frame(icmp6, summed(icmp6, neighbor, 2)));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "make_packet_corpus FOLDER\n");
    return 2;
  }
  write_queries(std::filesystem::path(argv[1]) / "query");
  write_frames(std::filesystem::path(argv[1]) / "frame");
  write_streams(std::filesystem::path(argv[1]) / "tcp_stream");
  return 0;
}
