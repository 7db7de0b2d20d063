// What each key of the agent's file is, means and may be.
#include "agent_keys.hh"

#include "pharos/controlplane/agent/rtt_probe.hh"
#include "pharos/controlplane/probe/probe.hh"
#include "pharos/wire/site_report.hh"

#include <algorithm>

namespace pharos::agent {
namespace {

constexpr const char* host_port_hint =
    "write 192.0.2.1:5380, \"[2001:db8::1]:5380\" or ns1.example.com:5380";

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  const auto wrong = [&] {
    return fail(ErrorCode::invalid, "'" + std::string(text.substr(0, 300)) + "' is not host:port",
                {}, host_port_hint);
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  auto host = text.substr(0, colon);
  const auto port = config::parse_unsigned(text.substr(colon + 1));
  if (!port || *port == 0 || *port > 65535) return wrong();
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto is_host_character = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
  };
  const bool has_colon = host.find(':') != std::string_view::npos;
  if (bracketed || has_colon) {
    if (!bracketed || !IpAddress::parse(host)) return wrong();
  } else if (host.empty() || host.size() > 253 || !std::ranges::all_of(host, is_host_character)) {
    return wrong();
  }
  return HostPort{std::string(host), static_cast<std::uint16_t>(*port)};
}

}  // namespace pharos::agent

namespace pharos::config {
namespace {

// host:port; where `port_alone`, a port suffices and the host stays empty.
Type<agent::HostPort> host_port(bool port_alone) {
  return {Shape{.kind = Shape::Kind::text, .word = port_alone ? "host:port or port" : "host:port"},
          [port_alone](Reader& reader, const Node& node, agent::HostPort& to) {
            const auto* text = scalar_of(reader, node, "host:port");
            if (text == nullptr) return false;
            if (port_alone && text->find(':') == std::string::npos) {
              return as<std::uint16_t>(whole(1, 65535)).read(reader, node, to.port);
            }
            auto parsed = agent::parse_host_port(*text);
            if (!parsed) {
              reader.mistake(node, parsed.error());
              return false;
            }
            to = std::move(*parsed);
            return true;
          },
          [](const agent::HostPort& value) { return value.host; }};
}

Key override_key() {
  Key key;
  key.name = "override";
  key.description = "fixed values in place of measured ones, for drills: names and values";
  key.example = "{cpu: 0.95}";
  key.shape = {
      .kind = Shape::Kind::map, .word = "numbers by metric", .parts = {number(0, 1e15).shape}};
  key.read = [](Reader& reader, const Node& node, void* object) {
    auto& to = static_cast<agent::AgentConfig*>(object)->override;
    if (node.kind != Node::Kind::map)
      return reader.mistake(node, "here belong metrics and values", "{cpu: 0.95}");
    for (const auto& member : node.members) {
      double value = 0;
      if (!number(0, 1e15).read(reader, *member.value, value)) continue;
      if (auto status = agent::check_override(member.key, static_cast<float>(value)); !status) {
        reader.mistake(*member.value, status.error());
      } else {
        to[member.key] = static_cast<float>(value);
      }
    }
  };
  return key;
}

void check_requests(Reader& reader, const Node& node, void* object) {
  const auto& requests = *static_cast<agent::RequestsConfig*>(object);
  const int sources =
      !requests.counter_file.empty() + !requests.command.empty() + requests.statsd.has_value();
  if (sources > 1)
    reader.mistake(node, "requests come from more than one source", "keep one of the three");
}

void check_statsd(Reader& reader, const Node& node, void* object) {
  const auto& statsd = *static_cast<agent::StatsdConfig*>(object);
  if (!statsd.udp && statsd.unix_path.empty()) {
    reader.mistake(node, "statsd listens nowhere", "give `udp`, `unix` or both");
  }
}

void check_check(Reader& reader, const Node& node, void* object) {
  const auto& check = *static_cast<agent::CheckConfig*>(object);
  const int ways = !check.command.empty() + !check.exec.empty() + check.tcp.has_value() +
                   !check.http.empty() + check.tls.has_value() + check.dns.has_value() +
                   check.icmp.has_value();
  if (ways != 1) {
    reader.mistake(node,
                   "a check needs one of `tcp`, `http`, `tls`, `dns`, `icmp`, `exec` and `command`",
                   "check: {tcp: 127.0.0.1:80}");
  }
  if (!check.exec.empty() && !check.exec.front().starts_with('/'))
    reader.mistake(node, "a program is named by its whole path",
                   "exec: [/usr/local/bin/check, www]");
  if (!check.ca_file.empty() && reader.secrets) {
    if (check.http.empty() && !check.tls)
      reader.mistake(node, "`ca_file` is for checks that speak TLS", "tls: 192.0.2.1:443");
    else if (const auto trusted = probe::TlsContext::make(check.ca_file); !trusted)
      reader.mistake(node, trusted.error());
  }
  if (check.http.empty()) return;
  if (const auto url = probe::parse_url(check.http); !url)
    reader.mistake(node, url.error().what, url.error().hint);
}

void check_probe(Reader& reader, const Node& node, void* object) {
  const auto& probe = *static_cast<agent::ProbeConfig*>(object);
  if (!probe.check.command.empty())
    reader.mistake(node, "probes run no shell", "write `exec` with a program and its arguments");
}

void check_responder(Reader&, const Node&, void* object) {
  auto& responder = *static_cast<agent::ResponderConfig*>(object);
  if (responder.dns && responder.dns->host.empty()) responder.dns->host = responder.beacon.host;
}

Key query_name_key() {
  return key_into<agent::AgentConfig>(
      "rtt_query_name", text("domain name"),
      "name whose SOA is asked for to measure the round-trip time; any reply will do",
      "example.com.",
      [](Reader& reader, const Node& node, agent::AgentConfig& to, std::string name) {
        if (const auto query = agent::make_probe_query(name); !query)
          reader.mistake(node, query.error());
        to.rtt_query_name = std::move(name);
      });
}

}  // namespace

template <>
const Table* table_of<agent::ResponderConfig>() {
  using C = agent::ResponderConfig;
  static const Table table{"responders[]",
                           "A responder that gets our beacons.",
                           {
                               required(key("beacon", &C::beacon, host_port(false),
                                            "where beacons go", "192.0.2.53:5380")),
                               key("dns", &C::dns, maybe(host_port(true)),
                                   "where the round-trip time is measured, with a DNS query; a "
                                   "port alone means the same "
                                   "host; default: not measured",
                                   "53"),
                           },
                           check_responder};
  return &table;
}

template <>
const Table* table_of<agent::StatsdConfig>() {
  using C = agent::StatsdConfig;
  static const Table table{
      "requests.statsd",
      "Datagrams that services send.",
      {
          key("udp", &C::udp, maybe(socket_address()), "UDP socket to listen at", "127.0.0.1:8125"),
          key("unix", &C::unix_path, file_path(), "unix datagram socket to listen at",
              "/run/pharos-agent/statsd.sock"),
          key("prefix", &C::prefix, text("prefix", 64), "only names that begin with it count",
              "shop."),
      },
      check_statsd};
  return &table;
}

template <>
const Table* table_of<agent::RequestsConfig>() {
  using C = agent::RequestsConfig;
  static const Table table{
      "requests",
      "Where the load of the services comes from: one of these.",
      {
          key("counter_file", &C::counter_file, file_path(),
              "file that holds the number of requests so far", "/run/shop/requests"),
          key("command", &C::command, text("command", 4096),
              "shell command that prints the number of requests so far", "curl -s localhost/count"),
          key("statsd", &C::statsd, maybe(object<agent::StatsdConfig>()),
              "statsd datagrams; see below"),
      },
      check_requests};
  return &table;
}

template <>
const Table* table_of<agent::CheckConfig>() {
  using C = agent::CheckConfig;
  static const Table table{
      "endpoints[].check",
      "How to find out whether an endpoint is up: one of the first seven, and what it needs.",
      {
          key("tcp", &C::tcp, maybe(socket_address()), "up where a TCP connection succeeds",
              "127.0.0.1:80"),
          key("http", &C::http, text("URL", 2048),
              "up where this URL, which holds an address, answers with a good status",
              "https://192.0.2.1/health"),
          key("tls", &C::tls, maybe(socket_address()),
              "up where a TLS handshake succeeds and the certificate is good", "192.0.2.1:443"),
          key("dns", &C::dns, maybe(socket_address()), "up where a DNS server answers `query`",
              "192.0.2.53:53"),
          key("icmp", &C::icmp, maybe(ip_address()), "up where an echo is answered", "192.0.2.1"),
          key("exec", &C::exec, list_of(text("word", 4096), 1, 64),
              "up where this program succeeds; run without a shell, killed with its children at "
              "`timeout` or when it writes more than 64 KiB",
              "[/usr/local/bin/check-www, --quick]"),
          key("command", &C::command, text("command", 4096), "up where this shell command succeeds",
              "curl -fs localhost/health"),
          key("host", &C::host, domain_name(false),
              "of http and tls: the name asked for, and expected in the certificate; default: the "
              "address",
              "www.example.com"),
          key("status", &C::status, maybe(as<unsigned>(whole(100, 599))),
              "of http: the status wanted; default: any from 200 to 399", "204"),
          key("match", &C::match, text("text", 1024),
              "of http and exec: has to stand in the body, or the output", "ok"),
          key("verify", &C::verify, boolean(),
              "of https and tls: judge chain and name of the certificate", "false"),
          key("ca_file", &C::ca_file, file_path(),
              "of https and tls: file of the certificates (PEM) that are trusted, in place of the "
              "system's",
              "/etc/pharos/private-ca.pem"),
          key("certificate_left", &C::certificate_left, duration({}, seconds(86400 * 365)),
              "of https and tls: a certificate that ends sooner has failed", "7d"),
          key("query", &C::query, domain_name(false), "of dns: the name asked for",
              "www.example.com."),
          key("query_type", &C::query_type,
              choice<std::string>(
                  {{"A", "A"}, {"AAAA", "AAAA"}, {"SOA", "SOA"}, {"NS", "NS"}, {"TXT", "TXT"}}),
              "of dns: the type asked for", "A"),
          key("expect", &C::expect, maybe(ip_address()),
              "of dns: this address has to be among the answers", "192.0.2.7"),
          key("interval", &C::interval, duration(milliseconds(100), seconds(3600)),
              "time between checks", "500ms"),
          key("timeout", &C::timeout, duration(milliseconds(10), seconds(600)),
              "a check that takes longer has failed", "200ms"),
          key("jitter", &C::jitter, ratio(),
              "share of the interval by which checks come earlier or later; not of commands",
              "20%"),
          key("rise", &C::rise, as<unsigned>(whole(1, 100)),
              "good checks in a row until it is up again", "2"),
          key("fall", &C::fall, as<unsigned>(whole(1, 100)), "bad checks in a row until it is down",
              "3"),
      },
      check_check};
  return &table;
}

template <>
const Table* table_of<agent::EndpointConfig>() {
  using C = agent::EndpointConfig;
  static const Table table{
      "endpoints[]",
      "An endpoint of this site, by the names that the responders' configuration gives it.",
      {
          required(
              key("service", &C::service, identifier("service id"), "id of its service", "www")),
          required(
              key("id", &C::id, identifier("endpoint id"), "its id within the service", "fra-a")),
          key("check", &C::check, maybe(object<agent::CheckConfig>()),
              "see below; default: up as long as the agent runs"),
      }};
  return &table;
}

template <>
const Table* table_of<agent::ProbeConfig>() {
  using C = agent::ProbeConfig;
  static const Table table{
      "probes[]",
      "A look from here at an endpoint of any site: one vote of the quorum that the responders "
      "make of all such sites.",
      {
          required(
              key("service", &C::service, identifier("service id"), "id of its service", "www")),
          required(
              key("id", &C::id, identifier("endpoint id"), "its id within the service", "nyc-a")),
          required(key("check", &C::check, object<agent::CheckConfig>(), "see below")),
      },
      check_probe};
  return &table;
}

template <>
const Table* table_of<agent::AgentConfig>() {
  using C = agent::AgentConfig;
  static const Table table{
      "the agent's configuration",
      "What this site reports, and to whom. SIGHUP reloads it.",
      {
          key("site", &C::site, identifier("site id"), "id of this site; needed", "fra"),
          key("key", &C::key, object<KeyConfig>(),
              "key that signs the beacons, as at the responders; needed",
              "{id: 1, file: /etc/pharos/fra.key}"),
          key("interval", &C::interval, duration(milliseconds(10), seconds(3600)),
              "time between beacons", "200ms"),
          key("send_copies", &C::send_copies, as<unsigned>(whole(1, copies_max)),
              "how often each beacon is sent, spread over half of the interval, against loss on "
              "the way",
              "3"),
          key("responders", &C::responders, list_of(object<agent::ResponderConfig>(), 1, 64),
              "who gets the beacons; needed; see below"),
          query_name_key(),
          key("state_directory", &C::state_directory, file_path(),
              "keeps the boot epoch; each agent needs its own", "/var/lib/pharos-agent"),
          key("interfaces", &C::interfaces, one_or_more(identifier("interface"), 64),
              "network interfaces that count; default: those with hardware behind them, else all "
              "but loopback",
              "[eth0]"),
          key("link_speed", &C::link_bps, maybe(rate()),
              "capacity of the network link, bits a second; default: what the interfaces say",
              "10G"),
          key("requests", &C::requests, object<agent::RequestsConfig>(),
              "load of the services; see below"),
          key("endpoints", &C::endpoints, list_of(object<agent::EndpointConfig>(), 0, 1024),
              "endpoints whose state is reported; see below"),
          key("probes", &C::probes, list_of(object<agent::ProbeConfig>(), 0, agent::probes_max),
              "endpoints of any site that are looked at from here; see below"),
          override_key(),
          key("override_file", &C::override_file, file_path(),
              "file of overrides that is read again for each beacon, for drills",
              "/run/pharos-agent/overrides"),
          key("log_level", &C::log_level, log_level(), "what is logged", "debug"),
      },
      {},
      true};
  return &table;
}

}  // namespace pharos::config
