#include "random_zone.hh"

#include "pharos/controlplane/zone/load_zone.hh"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <vector>

namespace pharos::oracle {
namespace {

class Generator {
 public:
  Generator(std::string origin, std::uint64_t seed) : origin_(std::move(origin)), random_(seed) {}

  std::string record() {
    const std::string owner = name();
    switch (pick(13)) {
      case 0:
      case 1:
        return owner + " A 192.0.2." + std::to_string(pick(4));
      case 2:
        return owner + " AAAA 2001:db8::" + std::to_string(pick(4));
      case 3:
        return owner + " TXT \"" + std::to_string(pick(4)) + "\"";
      case 4:
      case 5:
        return owner + " CNAME " + target();
      case 6:
      case 7:
        return owner + " NS " + target();
      case 8:
        return owner + " DNAME " + target();
      case 9:
        return owner + " MX 10 " + target();
      case 10:
        return owner + " SRV 1 1 1 " + target();
      case 11:
        return owner + (pick(2) == 0 ? " HTTPS " : " SVCB ") +
               (pick(3) == 0 ? "0 " + target()
                             : "1 " + (pick(2) == 0 ? "." : target()) + " alpn=h2");
      default:
        return owner + " DS 1 8 2 " + std::string(64, 'a');
    }
  }

 private:
  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }

  std::string name() {
    static constexpr const char* labels[] = {"a", "b", "c", "d", "*", "A"};
    std::string text;
    for (unsigned depth = 1 + pick(4); depth > 0; --depth) {
      if (!text.empty()) text += '.';
      text += labels[pick(6)];
    }
    return text;
  }

  std::string target() {
    switch (pick(8)) {
      case 0:
        return "www.elsewhere.invalid.";
      case 1:
        return name() + ".random0.test.";
      default:
        return name() + "." + origin_;
    }
  }

  std::string origin_;
  std::mt19937_64 random_;
};

[[nodiscard]] std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

// The numbers of the lines that the zone check refuses, or says to be hidden: NSD refuses some of those.
[[nodiscard]] std::set<std::size_t> refused_lines(const std::string& origin,
                                                  const std::string& path) {
  config::ZoneConfig config;
  config.id = origin;
  config.file = path;
  std::set<std::size_t> lines;
  const auto report = controlplane::check_zone(config);
  const auto add = [&](const Error& error) {
    lines.insert(std::stoul(error.where.substr(error.where.rfind(':') + 1)));
  };
  for (const auto& error : report.errors) add(error);
  for (const auto& warning : report.warnings) {
    if (warning.what.contains("is hidden by")) add(warning);
  }
  return lines;
}

}  // namespace

std::string random_zone(const std::string& origin, std::uint64_t seed, unsigned records) {
  std::vector<std::string> lines{"$TTL 300", "@ SOA ns host 1 3600 600 86400 60", "@ NS ns",
                                 "@ NS ns.elsewhere.invalid.", "ns AAAA 2001:db8::53"};
  Generator generator(origin, seed);
  for (unsigned i = 0; i < records; ++i) lines.push_back(generator.record());
  std::string path = (std::filesystem::temp_directory_path() / "pharos-random-XXXXXX").string();
  const int fd = ::mkstemp(path.data());
  if (fd >= 0) ::close(fd);
  for (;;) {
    std::ofstream(path) << joined(lines);
    const auto refused = refused_lines(origin, path);
    if (refused.empty()) break;
    for (auto line = refused.rbegin(); line != refused.rend(); ++line) {
      lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(*line - 1));
    }
  }
  std::filesystem::remove(path);
  return joined(lines);
}

}  // namespace pharos::oracle
