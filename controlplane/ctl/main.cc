// pharosctl: the operator's tool. Its work is in command_line.cc.
#include "pharos/controlplane/ctl/command_line.hh"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>

int main(int count, char** arguments) {
  ::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of the output, not the end
  using namespace pharos::controlplane::ctl;
  const bool screen = ::isatty(STDOUT_FILENO) == 1;
  const bool colours = screen && std::getenv("NO_COLOR") == nullptr;
  try {
    return run_command_line(count, arguments, {std::cout, std::cerr, colours, screen});
  } catch (const std::exception& thrown) {
    std::cerr << "pharosctl: " << thrown.what() << "\n";
    return exit_failed;
  }
}
