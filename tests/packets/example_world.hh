// The world that the query tests, the fuzz target and its corpus share: one of everything.
#pragma once

#include "world.hh"

namespace pharos::packets {

inline World::Root example_world() {
  World world;
  std::string text = R"(
$TTL 300
@ 3600 SOA ns1 hostmaster 2026010100 7200 3600 1209600 60
@ NS ns1
@ NS ns2
@ MX 10 mail
ns1 A 192.0.2.1
ns1 AAAA 2001:db8::1
ns2 A 192.0.2.2
www A 192.0.2.80
www AAAA 2001:db8::80
WWW TXT "Hello, world"
mail A 192.0.2.25
alias 600 CNAME www
alias2 CNAME Alias
across CNAME www.other.test.
outside CNAME www.elsewhere.net.
dangling CNAME nothing.example.
intocut CNAME host.cut.example.
tosvc CNAME svc.example.
toignored CNAME Ignored.example.
loop1 CNAME loop2
loop2 CNAME loop1
*.wild A 192.0.2.99
*.wild MX 5 mail
below.some.wild TXT "here"
*.wc CNAME www
*.deep.wc A 192.0.2.98
*.ring CNAME again.ring
cut NS ns.cut
cut NS ns.elsewhere.net.
cut DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
ns.cut A 192.0.2.53
plaincut NS ns.elsewhere.net.
dn DNAME target
x.target A 192.0.2.77
x.target TXT "mapped"
y.target CNAME x.dn
long DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.example.
a.ent TXT "leaf"
svc TXT "static beside ranked"
)";
  for (int i = 1; i < 16; ++i) {
    text += "c" + std::to_string(i) + " CNAME c" + std::to_string(i + 1) + "\n";
  }
  text += "c16 A 192.0.2.16\n";
  for (int i = 1; i < 18; ++i)
    text += "d" + std::to_string(i) + " CNAME d" + std::to_string(i + 1) + "\n";
  text += "d18 A 192.0.2.18\n";
  for (int i = 0; i < 40; ++i) text += "big A 198.18.0." + std::to_string(i) + "\n";
  for (int i = 0; i < 8; ++i) {
    const auto host = "mx" + std::to_string(i) + ".hosts";
    text += "mxs MX " + std::to_string(i) + " " + host + "\n" + host + " A 198.18.1." +
            std::to_string(i) + "\n" + host + " AAAA 2001:db8:1::" + std::to_string(i) + "\n";
  }
  text += "huge TXT " + std::string(4, ' ');
  for (int i = 0; i < 12; ++i) text += "\"" + std::string(200, static_cast<char>('a' + i)) + "\" ";
  text += "\n";
  world.zone("example.", text);
  world.zone(
      "other.test.",
      "$TTL 30\n@ SOA ns1.example. h.example. 1 2 3 4 20\n@ NS ns1.example.\nwww A 203.0.113.80\n");
  world.zone(
      "child.example.",
      "$TTL 40\n@ SOA ns1.example. h.example. 1 2 3 4 50\n@ NS ns1.example.\nwww A 203.0.113.81\n");

  const auto eu = world.locale("eu", {"198.51.100.0/24", "203.0.112.0/20", "2001:db8:e000::/36"});
  const auto host = world.locale("host", {"203.0.113.77/32"});
  const auto svc = world.pool("svc.example.", 1);
  const auto svc6 = world.pool("svc.example.", 28);
  const auto dealt = world.pool("dealt.example.", 1);
  const auto closed = world.pool("closed.example.", 1);
  world.bind("*.svcs.example.", 1, svc);
  world.bind("ignored.example.", 1, svc, catalog::EcsMode::ignore);
  world.bind("*.listed.example.", 1, svc, catalog::EcsMode::listed);
  world.bind("listed.example.", 1, dealt, catalog::EcsMode::listed);
  world.answer(svc, 0, 1, 20, {{"10.0.0.1", "10.0.0.2"}});
  world.answer(svc, eu, 1, 15, {{"10.0.1.1", "10.0.0.2"}});
  world.answer(svc, host, 1, 5, {{"10.0.9.9"}});
  world.answer(svc6, 0, 28, 20, {{"2001:db8:5::1"}});
  std::vector<std::vector<std::string>> slots;
  for (int i = 0; i < 64; ++i) slots.push_back({"10.1.0." + std::to_string(i)});
  world.answer(dealt, 0, 1, 10, slots);
  world.answer(dealt, eu, 1, 10, {{"10.1.1.1"}});
  static_cast<void>(closed);
  return world.build();
}

}  // namespace pharos::packets
