#include "pharos/wire/svc_params.hh"

#include <gtest/gtest.h>

namespace pharos::dns {
namespace {

using namespace std::string_literals;  // NOLINT: values with zeros in them

std::string fault_of(const SvcParams& params) {
  return svc_params_fault(svc_params_wire(params));
}
std::string text_of(const SvcParams& params) {
  return svc_params_text(svc_params_wire(params));
}

TEST(SvcParamsTest, NamesOfKeysLeadThereAndBack) {
  EXPECT_EQ(svc_param_of("alpn"), svc_param::alpn);
  EXPECT_EQ(svc_param_of("no-default-alpn"), svc_param::no_default_alpn);
  EXPECT_EQ(svc_param_of("key65280"), 65280);
  EXPECT_EQ(svc_param_of("key0"), svc_param::mandatory);
  for (const char* word : {"", "key", "ALPN", "key65536", "key01", "key1x", "key-1", "hint"}) {
    EXPECT_EQ(svc_param_of(word), std::nullopt) << word;
  }
  for (std::uint16_t key = 0; key < 12; ++key) EXPECT_EQ(svc_param_of(svc_param_name(key)), key);
}

TEST(SvcParamsTest, WireFormIsKeyLengthValueInOrder) {
  const auto wire = svc_params_wire({{svc_param::port, "\x20\xfb"}, {svc_param::alpn, "\2h2"}});
  EXPECT_EQ(as_text(wire), "\0\1\0\3\2h2\0\3\0\2\x20\xfb"s);
  EXPECT_EQ(svc_params_fault(wire), "");
  EXPECT_EQ(svc_params_text(wire), " alpn=h2 port=8443");
}

TEST(SvcParamsTest, EveryTruncationIsAFaultButBetweenParameters) {
  const auto wire = svc_params_wire({{svc_param::alpn, "\2h2"}, {svc_param::port, "\1\xbb"}});
  for (std::size_t bytes = 0; bytes <= wire.size(); ++bytes) {
    const bool whole = bytes == 0 || bytes == 7 || bytes == wire.size();
    EXPECT_EQ(svc_params_fault(ConstBytes(wire).first(bytes)).empty(), whole) << bytes;
  }
}

TEST(SvcParamsTest, ValuesAreOfTheirKeysForm) {
  const std::vector<std::pair<SvcParams, std::string>> cases = {
      {{{svc_param::alpn, ""}}, "'alpn' is no list of protocols"},
      {{{svc_param::alpn, "\0"s}}, "'alpn' is no list of protocols"},
      {{{svc_param::alpn, "\3h2"}}, "'alpn' is no list of protocols"},
      {{{svc_param::no_default_alpn, ""}}, "'no-default-alpn' needs 'alpn'"},
      {{{svc_param::alpn, "\2h2"}, {svc_param::no_default_alpn, "x"}},
       "'no-default-alpn' takes no value"},
      {{{svc_param::port, "1"}}, "'port' is no port"},
      {{{svc_param::ipv4hint, ""}}, "'ipv4hint' is no list of IPv4 addresses"},
      {{{svc_param::ipv4hint, "12345"}}, "'ipv4hint' is no list of IPv4 addresses"},
      {{{svc_param::ipv6hint, "1234"}}, "'ipv6hint' is no list of IPv6 addresses"},
      {{{svc_param::ech, ""}}, "'ech' has no value"},
      {{{svc_param::dohpath, ""}}, "'dohpath' has no value"},
      {{{svc_param::ohttp, "x"}}, "'ohttp' takes no value"},
      {{{svc_param::invalid, "x"}}, "key65535 is reserved"},
      {{{svc_param::mandatory, ""}}, "'mandatory' is no list of keys"},
      {{{svc_param::mandatory, "\0"s}}, "'mandatory' is no list of keys"},
      {{{svc_param::mandatory, "\0\0"s}}, "'mandatory' lists itself"},
      {{{svc_param::mandatory, "\0\3"s}}, "the mandatory parameter 'port' is not there"},
      {{{svc_param::mandatory, "\0\3\0\3"s}, {svc_param::port, "12"}},
       "'mandatory' lists 'port' twice"},
      {{{svc_param::mandatory, "\0\3\0\1"s}, {svc_param::port, "12"}, {svc_param::alpn, "\1x"}},
       "the keys of 'mandatory' are out of order"},
  };
  for (const auto& [params, fault] : cases) EXPECT_EQ(fault_of(params), fault);
  const auto one = svc_params_wire({{svc_param::port, "12"}});
  auto twice = one;
  twice.insert(twice.end(), one.begin(), one.end());
  EXPECT_EQ(svc_params_fault(twice), "the parameter 'port' stands there twice");
  auto backwards = one;
  const auto alpn = svc_params_wire({{svc_param::alpn, "\2h2"}});
  backwards.insert(backwards.end(), alpn.begin(), alpn.end());
  EXPECT_EQ(svc_params_fault(backwards), "the parameters are out of order");
}

TEST(SvcParamsTest, TextIsWhatAZoneFileWouldSay) {
  EXPECT_EQ(text_of({{svc_param::mandatory, "\0\1\0\4"s},
                     {svc_param::alpn, "\2h2\5h3-19"},
                     {svc_param::no_default_alpn, ""},
                     {svc_param::ipv4hint, "\xc0\0\2\1\xc0\0\2\2"s},
                     {svc_param::ech, "\0\1"s},
                     {svc_param::ipv6hint, "\x20\1\x0d\xb8"s + std::string(11, '\0') + "\1"},
                     {svc_param::dohpath, "/q{?dns}"},
                     {667, "hello\xd2qoo"}}),
            " mandatory=alpn,ipv4hint alpn=h2,h3-19 no-default-alpn ipv4hint=192.0.2.1,192.0.2.2 "
            "ech=AAE= ipv6hint=2001:db8::1 dohpath=/q{?dns} key667=hello\\210qoo");
  EXPECT_EQ(text_of({{svc_param::alpn, "\x8"s + "f\\oo,bar" + "\2h2"}}),
            " alpn=f\\\\\\\\oo\\\\,bar,h2")
      << "RFC 9460, D.2, figure 10";
  EXPECT_EQ(text_of({{svc_param::port, "1"}}), " 0003000131") << "not sound: hexadecimal";
}

}  // namespace
}  // namespace pharos::dns
