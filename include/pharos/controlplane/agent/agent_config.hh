// The agent's own small configuration file, checked, with defaults filled in. Reference: controlplane/agent/README.md.
//
// Read by the loader of the daemons' configuration, so that values are written alike ("200ms", "10G", keys) and mistakes
// are reported alike: each with file, line, what is wrong and what would be right.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/agent/overrides.hh"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace pharos::agent {

// An address or a host name, and a port.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
// "192.0.2.1:53", "[2001:db8::1]:53" or "ns1.example.com:53". Errors: invalid.
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text);

struct ResponderConfig {
  HostPort beacon;
  std::optional<HostPort> dns;  // probed for the round-trip time; absent: not measured
};

struct StatsdConfig {
  std::optional<config::SocketAddress> udp;
  std::string unix_path;  // datagram socket; empty: none
  std::string prefix;     // in front of the names that count
  friend bool operator==(const StatsdConfig&, const StatsdConfig&) = default;
};

struct RequestsConfig {  // at most one of the three
  std::string counter_file;
  std::string command;
  std::optional<StatsdConfig> statsd;
};

struct CheckConfig {  // exactly one of the first seven says how
  std::string command;
  std::vector<std::string> exec;  // absolute path and arguments
  std::optional<config::SocketAddress> tcp;
  std::string http;  // URL with an address, https too
  std::optional<config::SocketAddress> tls;
  std::optional<config::SocketAddress> dns;
  std::optional<IpAddress> icmp;
  // Of http and tls: the name that is asked for and has to be in the certificate; empty: the address.
  std::string host;
  std::optional<unsigned> status;   // of http; absent: 200 to 399
  std::string match;                // of http and exec: has to stand in the body, or the output
  bool verify = true;               // of https and tls: chain and name of the certificate
  std::string ca_file;              // of https and tls: trusted in place of the system's roots
  Duration certificate_left{};      // of https and tls: one that ends sooner has failed
  std::string query = ".";          // of dns
  std::string query_type = "SOA";   // A, AAAA, SOA, NS or TXT
  std::optional<IpAddress> expect;  // of dns: has to be among the answers
  Duration interval = seconds(1);
  Duration timeout = seconds(1);
  double jitter = 0.1;  // of the interval, to either side; not of commands
  unsigned rise = 1;    // good in a row until it is up again
  unsigned fall = 1;    // bad in a row until it is down
};

struct EndpointConfig {
  std::string service;
  std::string id;
  std::optional<CheckConfig> check;  // absent: up as long as the agent runs
};

// A look at an endpoint of any site, as a vote of this one.
struct ProbeConfig {
  std::string service;
  std::string id;
  CheckConfig check;
};

inline constexpr std::size_t probes_max = 16'384;

struct AgentConfig {
  std::string file;
  std::string site;
  config::KeyConfig key;
  Duration interval = seconds(1);
  unsigned send_copies = 2;
  std::vector<ResponderConfig> responders;
  std::string rtt_query_name = ".";
  std::string state_directory = "/var/lib/pharos-agent";
  // Empty: those with hardware behind them, else all but loopback.
  std::vector<std::string> interfaces;
  std::optional<double> link_bps;  // bits per second; absent: what the interfaces say
  RequestsConfig requests;
  std::vector<EndpointConfig> endpoints;
  std::vector<ProbeConfig> probes;
  Overrides override;
  std::string override_file;
  std::string log_level = "info";
};

// Settings of the command line, which win over the file's; written and checked like them.
struct AgentOptions {
  std::string file;
  std::string site, key_file, key_id, interval, state_directory, override_file,
      log_level;                        // empty: as in the file
  std::vector<std::string> responders;  // host:port of beacons; replace the file's
};

// Reads the file and the options on top. A file is not needed where the options say enough.
[[nodiscard]] std::expected<AgentConfig, config::Mistakes> load(
    const AgentOptions& options, config::Reading reading = config::Reading::everything);

// Keys of the file with types, defaults and meaning, one a line, for --help-config.
[[nodiscard]] std::string reference();

}  // namespace pharos::agent
