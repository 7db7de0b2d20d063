// Keys of the sections `controlplane.api` and `controlplane.history`. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <algorithm>

namespace pharos::config {

std::string_view name_of(ApiRole role) noexcept {
  return role == ApiRole::write ? "write" : "read";
}

namespace {

Type<ApiRole> role() {
  return choice<ApiRole>({{"read", ApiRole::read}, {"write", ApiRole::write}});
}

template <typename Things, typename Name>
void check_unique(Reader& reader, const Node& node, const Things& things, Name name,
                  const char* what) {
  for (auto at = things.begin(); at != things.end(); ++at) {
    const auto same = [&](const auto& other) { return other.*name == (*at).*name; };
    if (std::find_if(things.begin(), at, same) != at) {
      reader.mistake(node, std::string(what) + " '" + (*at).*name + "' stands here again");
    }
  }
}

// No door that lets strangers in: promise 13.
void check_api(Reader& reader, const Node& node, void* object) {
  const auto& api = *static_cast<ApiConfig*>(object);
  const bool tls = !api.certificate.empty();
  const bool knows_callers = !api.tokens.empty() || !api.clients.empty();
  if (tls != !api.key.empty())
    reader.mistake(node, "a certificate needs its key, and a key its certificate",
                   "set both `certificate` and `key`");
  if (!api.client_ca.empty() && !tls)
    reader.mistake(node, "client certificates need TLS", "set `certificate` and `key`");
  if (!api.clients.empty() && api.client_ca.empty())
    reader.mistake(node, "nothing says who issues the certificates of `clients`",
                   "set `client_ca`");
  for (const auto& address : api.listen) {
    if (is_loopback(address.address)) continue;
    const auto at = "the API would listen beyond loopback, at " + address.address.text() + ", ";
    if (!tls) reader.mistake(node, at + "without TLS", "set `certificate` and `key`");
    if (!knows_callers)
      reader.mistake(node, at + "and knows no caller",
                     "add `tokens` (pharosctl token generate), or `client_ca` and `clients`");
    if (api.anonymous_read)
      reader.mistake(node, at + "and let strangers read", "anonymous_read is for loopback only");
  }
  check_unique(reader, node, api.tokens, &ApiTokenConfig::id, "token");
  check_unique(reader, node, api.clients, &ApiClientConfig::name, "client");
}

}  // namespace

template <>
const Table* table_of<ApiTokenConfig>() {
  using C = ApiTokenConfig;
  static const Table table{
      "controlplane.api.tokens[]",
      "A bearer token. `pharosctl token generate` prints one, and the line that belongs here; the "
      "token itself is not kept anywhere.",
      {
          required(key("id", &C::id, identifier("token id"), "who holds it: for the audit log",
                       "grafana")),
          key("role", &C::role, role(), "`read`: may look; `write`: may change", "write"),
          required(
              key_into<C>("hash", text("hash", 64), "64 hexadecimal digits: its BLAKE2b hash",
                          "\"<64 hexadecimal digits>\"",
                          [](Reader& reader, const Node& node, C& to, const std::string& digits) {
                            (void)read_secret(reader, node, digits, to.hash);
                          })),
      }};
  return &table;
}

template <>
const Table* table_of<ApiClientConfig>() {
  using C = ApiClientConfig;
  static const Table table{
      "controlplane.api.clients[]",
      "A holder of a client certificate that `client_ca` issued.",
      {
          required(key("name", &C::name, text("common name", 64),
                       "the common name of the certificate's subject", "ops.example.org")),
          key("role", &C::role, role(), "`read`: may look; `write`: may change", "write"),
      }};
  return &table;
}

template <>
const Table* table_of<ApiConfig>() {
  using C = ApiConfig;
  static const Table table{
      "controlplane.api",
      "The HTTPS door: REST, metrics and dashboard. Off without `listen`. Beyond loopback it needs "
      "TLS and callers that it knows. A reload takes over everything but `listen`; certificates "
      "are read again when their files change.",
      {
          key("listen", &C::listen, one_or_more(socket_address(), 16), "where it listens",
              "127.0.0.1:8053"),
          key("certificate", &C::certificate, file_path(),
              "PEM file with the certificate and its chain; with it every address speaks TLS",
              "/etc/pharos/api.crt"),
          key("key", &C::key, file_path(), "PEM file with the key of the certificate",
              "/etc/pharos/api.key"),
          key("client_ca", &C::client_ca, file_path(),
              "PEM file with the issuers of client certificates", "/etc/pharos/clients.crt"),
          key("anonymous_read", &C::anonymous_read, boolean(),
              "on loopback, callers without a token may look: for one's own browser", "true"),
          key("requests_per_second", &C::requests_per_second, rate(),
              "of each caller; twice as many may come at once", "10"),
          key("tokens", &C::tokens, list_of(object<ApiTokenConfig>(), 0, 1000), "see below",
              "[{id: grafana, role: read, hash: \"...\"}]"),
          key("clients", &C::clients, list_of(object<ApiClientConfig>(), 0, 1000), "see below",
              "[{name: ops.example.org, role: write}]"),
      },
      check_api};
  return &table;
}

template <>
const Table* table_of<HistoryConfig>() {
  using C = HistoryConfig;
  static const Table table{
      "controlplane.history",
      "What was decided, and why, in `<state_directory>/history.db`: for `pharosctl history`, "
      "`explain --at` and `rollback`. Takes effect at a restart.",
      {
          key("on", &C::on, boolean(), "keep it", "false"),
          key("max_age", &C::max_age, duration(seconds(60), seconds(3650LL * 86'400)),
              "what is older is forgotten", "7d"),
          key("max_size", &C::max_size_bytes, size(4U << 20, 1ULL << 40),
              "above this size the oldest is forgotten first", "1GiB"),
      }};
  return &table;
}

}  // namespace pharos::config
