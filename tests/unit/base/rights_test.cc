#include "pharos/base/rights.hh"

#include <linux/capability.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <thread>

namespace pharos {
namespace {

std::map<std::string, std::string> own_status() {
  std::map<std::string, std::string> fields;
  std::ifstream in("/proc/thread-self/status");
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(":\t");
    if (colon != std::string::npos) fields[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return fields;
}

TEST(RightsTest, AreKeptAsNamedAndInheritedByThreads) {
  const bool root = ::geteuid() == 0;
  const pid_t child = ::fork();
  if (child == 0) {
    if (!keep_only(Capabilities{1} << CAP_NET_BIND_SERVICE)) ::_exit(1);
    int code = 0;
    std::thread([&] {
      auto status = own_status();
      const std::string kept = root ? "0000000000000400" : "0000000000000000";
      if (status["CapEff"] != kept || status["CapPrm"] != kept) code = 2;
      if (root && status["CapBnd"] != kept) code = 3;
      if (status["NoNewPrivs"] != "1") code = 4;
    }).join();
    ::_exit(code);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace pharos
