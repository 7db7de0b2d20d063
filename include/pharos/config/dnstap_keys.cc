// Keys of `dataplane.dnstap`. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <bit>

namespace pharos::config {

namespace {

constexpr std::size_t socket_path_bytes_max = 107;  // sun_path of unix(7), less its end
// The largest DNS message over TCP must fit half of a ring.
constexpr std::uint64_t ring_bytes_min = 256U << 10;

void check_dnstap(Reader& reader, const Node& node, void* object) {
  const auto& dnstap = *static_cast<DnstapConfig*>(object);
  const auto mistake = [&](const char* key, std::string what, std::string hint) {
    if (const Member* member = node.find(key); member != nullptr)
      reader.mistakes.add(member->place, std::move(what), std::move(hint));
  };
  if (dnstap.tcp && !dnstap.socket.empty()) {
    mistake("tcp", "dnstap has both 'socket' and 'tcp'", "give one of them");
  } else if (!dnstap.on() && !node.members.empty()) {
    reader.mistake(node, "dnstap has neither 'socket' nor 'tcp'",
                   "say where the reader is: socket: /run/dnstap.sock");
  }
  if (dnstap.socket.size() > socket_path_bytes_max)
    mistake("socket", "the path of the socket is longer than 107 bytes", "choose a shorter one");
  if (dnstap.tcp && dnstap.tcp->port == 0)
    mistake("tcp", "port 0 is nobody's", "write the port at which the reader listens");
  if (!std::has_single_bit(dnstap.ring_bytes)) {
    mistake("ring", "ring " + size_text(dnstap.ring_bytes) + " is not a power of two",
            "write " + size_text(std::bit_ceil(dnstap.ring_bytes)));
  }
  if (dnstap.clients != DnstapClients::keyed)
    mistake("key_file", "'key_file' without clients: keyed", "add clients: keyed");
}

}  // namespace

template <>
const Table* table_of<DnstapConfig>() {
  using C = DnstapConfig;
  static const Table table{
      "dataplane.dnstap",
      "Copies of queries and responses (AUTH_QUERY and AUTH_RESPONSE of dnstap) for a reader that "
      "listens at a unix socket or over TCP. A reader that is slow or absent costs messages, which "
      "are counted, and no answers.",
      {
          key_into<C>(
              "socket", file_path(), "unix socket at which the reader listens", "/run/dnstap.sock",
              [](Reader&, const Node&, C& to, std::string path) { to.socket = std::move(path); }),
          key("tcp", &C::tcp, maybe(socket_address()),
              "address at which it listens, in place of `socket`", "127.0.0.1:6000"),
          key("sample", &C::sample, as<unsigned>(whole(1, 1'000'000'000)),
              "one of so many queries is copied, by chance; 1: all", "100"),
          key("messages", &C::messages,
              choice<DnstapMessages>({{"both", DnstapMessages::both},
                                      {"queries", DnstapMessages::queries},
                                      {"responses", DnstapMessages::responses}}),
              "what is copied of such a query", "responses"),
          key("clients", &C::clients,
              choice<DnstapClients>(
                  {{"truncated", DnstapClients::truncated}, {"keyed", DnstapClients::keyed}}),
              "what leaves of a client's address: its prefix, or a pseudonym by a secret key: an "
              "address of 240.0.0.0/4 or fd00::/8 that is always the same one's",
              "keyed"),
          key("ipv4_prefix", &C::ipv4_prefix, as<unsigned>(whole(0, 24)),
              "bits that leave of an IPv4 client, and of IPv4 client subnets in messages; 0: none",
              "16"),
          key("ipv6_prefix", &C::ipv6_prefix, as<unsigned>(whole(0, 56)), "the same of IPv6", "48"),
          // The data plane's own, as secrets of cookies are.
          key_into<C>("key_file", file_path(),
                      "a file whose first line is the key of `keyed`, 16 bytes, closed to other "
                      "users; default: a random one at each start",
                      "/etc/pharos/dnstap.key",
                      [](Reader& reader, const Node& node, C& to, const std::string& path) {
                        to.key.emplace();
                        (void)read_secret_file(reader, node, path, *to.key,
                                               reader.secrets ? SecretOwner::other_process
                                                              : SecretOwner::this_process);
                      }),
          key("identity", &C::identity, text("server identity", 128),
              "how the reader knows this server; default: `server_name`", "fra-1"),
          key("ring", &C::ring_bytes, size(ring_bytes_min, 1U << 30),
              "memory of each worker for messages that wait; a power of two", "4MiB"),
      },
      check_dnstap};
  return &table;
}

}  // namespace pharos::config
