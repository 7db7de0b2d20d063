// The files of a small daemon, in a directory of its own: two sites, a locale and a zone; services and the rest are the
// test's. Tests only.
#pragma once

#include <filesystem>
#include <string>

#include "temporary_files.hh"

namespace pharos::controlplane {

class DaemonFiles {
 protected:
  DaemonFiles() { std::filesystem::create_directories(directory_ + "/run"); }

  // A service of that id, under its name in example.org.
  static std::string services(const std::string& id, const std::string& endpoints) {
    return "services:\n  - id: " + id + "\n    names: [" + id +
           ".example.org]\n    endpoints: " + endpoints + "\n";
  }
  void write_config(const std::string& rest) const {
    files_.write("pharos.yaml",
                 "run_directory: " + directory_ + "/run\nstate_directory: " + directory_ + R"(/state
dataplane:
  ports: [{id: front, device: net_ring0, addresses: [198.18.0.1]}]
sites:
  - {id: fra, region: eu, location: [50.1, 8.7]}
  - {id: sin, region: asia, location: [1.3, 103.8]}
locales:
  - {id: eu, location: [50, 8], prefixes: [198.18.1.0/24]}
zones:
  - {id: example.org, hosts: {ns1: [192.0.2.1]}}
)" + rest);
  }
  [[nodiscard]] std::string file() const { return directory_ + "/pharos.yaml"; }

  TemporaryFiles files_;
  const std::string directory_ = files_.directory();
};

}  // namespace pharos::controlplane
