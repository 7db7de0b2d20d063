// Services that answer SRV, SVCB and HTTPS: what their keys mean, and what is wrong with some.
#include "pharos/config/service_records.hh"

#include <gtest/gtest.h>

#include "small_config.hh"

namespace pharos::config {
namespace {

// A service with these keys, and endpoints a and b.
std::string with(const std::string& keys, const std::string& endpoint_keys = ", port: 443") {
  return "sites: [{id: fra, location: [50.11, 8.68]}]\n"
         "zones: [{id: example.com}]\n"
         "services:\n"
         "  - id: www\n"
         "    " +
         keys +
         "\n"
         "    endpoints:\n"
         "      - {id: a, site: fra, addresses: [192.0.2.1, \"2001:db8::1\"]" +
         endpoint_keys + "}\n" + "      - {id: B, site: fra, address: 192.0.2.2, port: 8443}\n";
}

ServiceConfig service_of(const std::string& text) {
  auto config = load_text(text, "test.yaml", Reading::without_secrets);
  EXPECT_TRUE(config) << (config ? "" : config.error().text());
  return config ? config->services.at(0) : ServiceConfig{};
}

std::vector<std::string> names_of(const ServiceConfig& service) {
  std::vector<std::string> names;
  for (const auto& [name, type] : record_names_of(service))
    names.push_back(name + " " + std::to_string(static_cast<unsigned>(type)));
  return names;
}
using Names = std::vector<std::string>;

TEST(ServiceRecordsTest, AServiceAnswersNoneByDefault) {
  const auto service = service_of(with("names: www.example.com"));
  EXPECT_TRUE(record_types_of(service).empty());
  EXPECT_TRUE(record_names_of(service).empty());
  EXPECT_TRUE(alias_records_of(service).empty());
}

TEST(ServiceRecordsTest, PrefixesStandBeforeEveryNameThatIsNoWildcard) {
  const auto service = service_of(
      with("names: [www.example.com, \"*.w.example.com\"]\n    srv: [_https._tcp, _HTTP._tcp]\n"
           "    svcb: _dns\n    https: [443, 8443]"));
  EXPECT_EQ(record_types_of(service),
            (std::vector{dns::Type::srv, dns::Type::svcb, dns::Type::https}));
  EXPECT_EQ(names_of(service),
            (Names{"_https._tcp.www.example.com. 33", "_http._tcp.www.example.com. 33",
                   "_dns.www.example.com. 64", "www.example.com. 65", "*.w.example.com. 65",
                   "_8443._https.www.example.com. 65"}));
  EXPECT_EQ(target_of(service, service.endpoints[0]), "a.www.example.com.");
  EXPECT_EQ(target_of(service, service.endpoints[1]), "b.www.example.com.");
}

TEST(ServiceRecordsTest, TheRootIsANameAsWell) {
  ServiceConfig service;
  service.names = {"."};
  service.srv = {"_https._tcp"};
  service.https = {443, 8443};
  EXPECT_EQ(names_of(service), (Names{"_https._tcp. 33", ". 65", "_8443._https. 65"}));
  service.endpoints.resize(1);
  service.endpoints[0].id = "a";
  EXPECT_EQ(target_of(service, service.endpoints[0]), "a.");
}

TEST(ServiceRecordsTest, AliasNamesLeadToTheFirstName) {
  const auto service = service_of(
      with("names: [\"*.w.example.com\", www.example.com]\n    alias_names: example.com\n"
           "    https: [443, 8443]\n    svcb: _dns\n    srv: _x._tcp"));
  Names aliases;
  for (const auto& [at, to] : alias_records_of(service)) aliases.push_back(at.name + " " + to);
  EXPECT_EQ(aliases,
            (Names{"_dns.example.com. _dns.www.example.com.", "example.com. www.example.com.",
                   "_8443._https.example.com. _8443._https.www.example.com."}));
  EXPECT_EQ(names_of(service)[1], "_x._tcp.example.com. 33") << "SRV has no aliases";
}

TEST(ServiceRecordsTest, ParametersComeFromServiceAndEndpoint) {
  const auto service = service_of(
      with("names: www.example.com\n    https: 443\n    ttl_ceiling: 50s\n"
           "    parameters: {alpn: [h2, h3], ech: AAE=, mandatory: [port, alpn], key667: x}",
           ", port: 443, ttl_max: 7s, parameters: {alpn: h2, no-default-alpn: true}"));
  const auto text = [&](unsigned endpoint) {
    return dns::svc_params_text(
        dns::svc_params_wire(svc_params_of(service, service.endpoints[endpoint])));
  };
  EXPECT_EQ(text(0),
            " mandatory=alpn,port alpn=h2 no-default-alpn port=443 ipv4hint=192.0.2.1 ech=AAE= "
            "ipv6hint=2001:db8::1 key667=x");
  EXPECT_EQ(text(1),
            " mandatory=alpn,port alpn=h2,h3 port=8443 ipv4hint=192.0.2.2 ech=AAE= key667=x");
  EXPECT_EQ(target_ttl_s(service, service.endpoints[0]), 7U);
  EXPECT_EQ(target_ttl_s(service, service.endpoints[1]), 50U);
  const auto bare =
      service_of(with("names: www.example.com\n    https: 443\n    address_hints: false", ""));
  EXPECT_TRUE(svc_params_of(bare, bare.endpoints[0]).empty());
}

TEST(ServiceRecordsTest, TargetsMayBeNamedOtherwise) {
  const auto service = service_of(
      with("names: \"*.w.example.com\"\n    https: 443\n    target_domain: hosts.example.com",
           ", port: 5, target: far.example.net"));
  EXPECT_EQ(target_of(service, service.endpoints[0]), "far.example.net.");
  EXPECT_EQ(target_of(service, service.endpoints[1]), "b.hosts.example.com.");
}

TEST(ServiceRecordsTest, MistakesAreReportedWhereTheyStand) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"names: www.example.com\n    srv: https",
       "test.yaml:6: 'https' is no prefix of a service (write one such as _https._tcp)"},
      {"names: www.example.com\n    srv: _https",
       "test.yaml:6: '_https' is no prefix of a service (write one such as _https._tcp)"},
      {"names: www.example.com\n    svcb: _8443.foo",
       "test.yaml:6: '_8443.foo' is no prefix of a service (write one such as _dns or _8443._foo)"},
      {"names: www.example.com\n    https: 0",
       "test.yaml:6: number 0 is out of range (write one from 1 to 65535)"},
      {"names: www.example.com\n    https: 443\n    parameters: {port: 1}",
       "test.yaml:7: 'port' is made from the endpoint (set its port and addresses, and "
       "'address_hints' of the service)"},
      {"names: www.example.com\n    https: 443\n    parameters: {alnp: h2}",
       "test.yaml:7: 'alnp' is no parameter of SVCB and HTTPS (known are alpn, no-default-alpn, "
       "ech, mandatory, dohpath, ohttp, and others as key65280)"},
      {"names: www.example.com\n    https: 443\n    parameters: {ech: \"?\"}",
       "test.yaml:7: 'ech' is no base64 text (write the ECHConfigList in base64)"},
      {"names: www.example.com\n    https: 443\n    parameters: {no-default-alpn: false}",
       "test.yaml:7: 'no-default-alpn' is there or it is not (write true, or leave it out)"},
      {"names: www.example.com\n    https: 443\n    parameters: {mandatory: [hint]}",
       "test.yaml:7: 'hint' is no parameter (write [alpn, port] or key65280)"},
      {"names: www.example.com\n    parameters: {alpn: h2}",
       "test.yaml:6: 'parameters' of service 'www' says nothing without 'https' or 'svcb' (add "
       "one, or leave it out)"},
      {"names: www.example.com\n    target_domain: example.com",
       "test.yaml:6: 'target_domain' of service 'www' says nothing without 'srv', 'svcb' or "
       "'https' (add one, or leave it out)"},
      {"names: \"*.example.com\"\n    https: 443",
       "test.yaml:4: service 'www' has only wildcards as names: its endpoints need names in SRV, "
       "SVCB and HTTPS records (target_domain: hosts.example.com)"},
      {"names: \"*.example.com\"\n    https: 443\n    target_domain: example.com\n    "
       "alias_names: example.com",
       "test.yaml:8: service 'www' has only wildcards as names: an alias needs one to lead to (add "
       "a name that is no wildcard)"},
      {"names: \"*.example.com\"\n    https: [443, 8443]\n    target_domain: example.com",
       "test.yaml:6: 'https: 8443' of service 'www' is answered nowhere: all of its names are "
       "wildcards, which have no names with a prefix (RFC 4592, 2.1.1) (add a name that is no "
       "wildcard)"},
      {"names: \"*.example.com\"\n    srv: _https._tcp\n    target_domain: example.com",
       "test.yaml:6: 'srv' of service 'www' is answered nowhere: all of its names are wildcards, "
       "which have no names with a prefix (RFC 4592, 2.1.1) (add a name that is no wildcard)"},
      {"names: \"*.example.com\"\n    svcb: _dns\n    target_domain: example.com",
       "test.yaml:6: 'svcb' of service 'www' is answered nowhere: all of its names are wildcards, "
       "which have no names with a prefix (RFC 4592, 2.1.1) (add a name that is no wildcard)"},
      {"names: [www.example.com, a.www.example.com]\n    https: 443",
       "test.yaml:8: service name 'a.www.example.com.' stands here again (the first one is at "
       "test.yaml:5)"},
  };
  for (const auto& [keys, message] : cases) expect_mistake(with(keys), message);
  expect_mistake(with("names: www.example.com\n    srv: _x._tcp", ""),
                 "test.yaml:8: endpoint 'a' of service 'www' has no port, which SRV records need "
                 "(port: 443)");
  expect_mistake(
      with("names: www.example.com\n    https: 443\n    parameters: {mandatory: port}", ""),
      "test.yaml:9: endpoint 'a' of service 'www': the mandatory parameter 'port' is "
      "not there (see RFC 9460, 7 and 8)");
  expect_mistake(with("names: www.example.com\n    https: 443\n    target_domain: example.org"),
                 "test.yaml:9: service name 'a.example.org.' lies in no zone of ours (did you mean "
                 "a name in 'example.com.'?)\n"
                 "test.yaml:10: service name 'b.example.org.' lies in no zone of ours (did you "
                 "mean a name in 'example.com.'?)");
}

TEST(ServiceRecordsTest, AWildcardBesideAnotherNameTakesNoPrefix) {
  const auto service = service_of(
      with("names: [www.example.com, \"*.www.example.com\"]\n    https: [443, 8443]\n    srv: "
           "_https._tcp\n    target_domain: example.com"));
  std::vector<std::string> names;
  for (const auto& [name, type] : record_names_of(service)) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"_https._tcp.www.example.com.", "www.example.com.",
                                      "*.www.example.com.", "_8443._https.www.example.com."}));
}

TEST(ServiceRecordsTest, AServiceFailsOnlyToOneThatAnswersTheSameTypes) {
  const std::string text = with("names: www.example.com\n    https: 443\n    fail: to spare") +
                           "  - id: spare\n    names: spare.example.com\n";
  const std::string endpoints = "    endpoints: [{id: x, site: fra, address: 192.0.2.9}]\n";
  expect_mistake(text + endpoints,
                 "test.yaml:4: service 'www' answers HTTPS and fails to 'spare', which does not "
                 "(let 'spare' answer HTTPS as well)");
  EXPECT_EQ(mistakes_of(text + "    https: 443\n" + endpoints), "");
}

}  // namespace
}  // namespace pharos::config
