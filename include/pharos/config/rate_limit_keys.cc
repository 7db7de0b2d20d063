// Keys of `dataplane.rate_limit` and `dataplane.cookies`. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <algorithm>
#include <bit>

namespace pharos::config {

namespace {

// The packet path counts in units of 2^-20 s: one reply must take at least one, and less than half of 2^32.
constexpr double rate_min = 0.01, rate_max = 1e6;

Type<double> reply_rate() {
  const auto any = rate();
  return {any.shape,
          [any](Reader& reader, const Node& node, double& to) {
            double value = 0;
            if (!any.read(reader, node, value)) return false;
            if (value < rate_min || value > rate_max) {
              reader.mistake(
                  node, "rate " + rate_text(value) + " is out of range",
                  "write one from " + rate_text(rate_min) + " to " + rate_text(rate_max));
              return false;
            }
            to = value;
            return true;
          },
          any.write};
}

void check_rate_limit(Reader& reader, const Node& node, void* object) {
  const auto& limit = *static_cast<RateLimitConfig*>(object);
  if (const Member* memory = node.find("memory");
      memory != nullptr && !std::has_single_bit(limit.memory_bytes)) {
    reader.mistakes.add(memory->place,
                        "memory " + size_text(limit.memory_bytes) + " is not a power of two",
                        "write " + size_text(std::bit_ceil(limit.memory_bytes)));
  }
  const auto& classes = limit.classes;
  for (auto it = classes.begin(); it != classes.end(); ++it) {
    if (std::find_if(classes.begin(), it, [&](const auto& c) { return c.id == it->id; }) != it) {
      reader.mistakes.add(node.find("classes")->place,
                          "two rate classes are called '" + it->id + "'",
                          "give each an id of its own");
    }
  }
}

void check_cookie_secret(Reader& reader, const Node& node, void*) {
  const bool secret = node.find("secret") != nullptr, file = node.find("file") != nullptr;
  if (secret == file) {
    reader.mistake(node,
                   secret ? "a cookie secret has both 'secret' and 'file'"
                          : "a cookie secret has neither 'secret' nor 'file'",
                   "give one of them: {file: /etc/pharos/cookie.key}");
  }
}

}  // namespace

template <>
const Table* table_of<RateClassConfig>() {
  using C = RateClassConfig;
  static const Table table{
      "dataplane.rate_limit.classes[]",
      "A rate of its own for what a name policy with the action `limit` matches.",
      {
          required(key("id", &C::id, identifier("class id"), "name by which policies refer to it",
                       "slow")),
          required(key_into<C>(
              "responses_per_second", reply_rate(), "to one client prefix, by one worker", "5",
              [](Reader&, const Node&, C& to, double value) { to.responses_per_second = value; })),
      }};
  return &table;
}

template <>
const Table* table_of<RateLimitConfig>() {
  using C = RateLimitConfig;
  static const Table table{
      "dataplane.rate_limit",
      "Response rate limiting: how many replies over UDP one worker gives one client prefix in "
      "each "
      "class of answers. Never limited are TCP, valid server cookies and the prefixes of `exempt`.",
      {
          key("responses_per_second", &C::responses_per_second, maybe(reply_rate()),
              "of answers to one name, and of each class below without a rate of its own; default: "
              "no limit",
              "200"),
          key("nxdomains_per_second", &C::nxdomains_per_second, maybe(reply_rate()),
              "of NXDOMAIN from one zone", "50"),
          key("nodata_per_second", &C::nodata_per_second, maybe(reply_rate()),
              "of answers without data from one zone", "50"),
          key("referrals_per_second", &C::referrals_per_second, maybe(reply_rate()),
              "of referrals from one zone", "50"),
          key("errors_per_second", &C::errors_per_second, maybe(reply_rate()),
              "of FORMERR, REFUSED and other errors", "10"),
          key("all_per_second", &C::all_per_second, maybe(reply_rate()),
              "of all classes together; default: no limit", "1k"),
          key("window", &C::window, duration(milliseconds(10), seconds(60)),
              "a client that was silent this long may have as many replies at once as it lasts",
              "500ms"),
          key("slip", &C::slip, as<unsigned>(whole(0, 255)),
              "every n-th reply above the limit becomes a short one with TC, so that a true client "
              "comes back over TCP; 0: none, 1: all",
              "4"),
          key("dry_run", &C::dry_run, boolean(), "count what would be limited, but limit nothing",
              "true"),
          key("ipv4_prefix", &C::ipv4_prefix, as<unsigned>(whole(8, 32)),
              "bits of an IPv4 client that count", "28"),
          key("ipv6_prefix", &C::ipv6_prefix, as<unsigned>(whole(16, 64)),
              "bits of an IPv6 client that count", "64"),
          key("memory", &C::memory_bytes, size(4096, std::uint64_t{1} << 30),
              "of each worker, a power of two; 8 bytes a client and class", "4MiB"),
          key("exempt", &C::exempt, one_or_more(ip_prefix(), 4096),
              "clients that are never limited", "[192.0.2.0/24]"),
          key("classes", &C::classes, list_of(object<RateClassConfig>(), 0, 64),
              "rates that name policies refer to", "[{id: slow, responses_per_second: 5}]"),
      },
      check_rate_limit};
  return &table;
}

template <>
const Table* table_of<CookieSecretConfig>() {
  using C = CookieSecretConfig;
  static const Table table{
      "dataplane.cookies.secrets[]",
      "A secret of server cookies, the same on all hosts that share an address.",
      {
          key_into<C>("secret", text("secret", 128), "16 bytes, hexadecimal or base64",
                      "\"<32 hexadecimal digits>\"",
                      [](Reader& reader, const Node& node, C& to, const std::string& text) {
                        (void)read_secret(reader, node, text, to.secret);
                      }),
          // The data plane's own: it reads without the secrets of others.
          key_into<C>("file", file_path(),
                      "a file whose first line is the secret, closed to other users",
                      "/etc/pharos/cookie.key",
                      [](Reader& reader, const Node& node, C& to, const std::string& path) {
                        (void)read_secret_file(reader, node, path, to.secret,
                                               reader.secrets ? SecretOwner::other_process
                                                              : SecretOwner::this_process);
                      }),
      },
      check_cookie_secret};
  return &table;
}

template <>
const Table* table_of<CookiesConfig>() {
  using C = CookiesConfig;
  static const Table table{
      "dataplane.cookies",
      "Server cookies (RFC 7873) in the form of RFC 9018. To roll a secret, add the new one as the "
      "second on all hosts, then swap the two, and an hour later take the old one away.",
      {
          key("secrets", &C::secrets, list_of(object<CookieSecretConfig>(), 0, 4),
              "the first makes cookies, all are accepted; default: a random one at each start",
              "[{file: /etc/pharos/cookie.key}]"),
          key("badcookie", &C::badcookie, boolean(),
              "above the rate limit, clients that sent a cookie, but no valid one of ours, get "
              "BADCOOKIE with one instead of TC",
              "false"),
      }};
  return &table;
}

}  // namespace pharos::config
