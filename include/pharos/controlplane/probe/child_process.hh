// A program that runs beside us: started without inheriting anything, watched at descriptors, ended with all its children.
// One thread; nothing here waits for the program, since end() kills what it waits for.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <sys/types.h>

#include <span>
#include <string>

namespace pharos {

enum class ErrorOutput : bool { ours, nowhere };  // where its standard error goes

class ChildProcess {
 public:
  // Starts the program `words[0]`, a path, in a process group of its own: standard input empty, standard output a pipe
  // to us, signals as in a fresh process (ours block what a loop reads from a signalfd). `environment` is all that it is
  // given, as "NAME=value"; empty: our own. Errors: unavailable.
  [[nodiscard]] static Result<ChildProcess> start(std::span<const std::string> words,
                                                  std::span<const std::string> environment,
                                                  ErrorOutput error_output);

  ChildProcess() = default;  // none
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess() { end(); }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  // A pidfd: readable when the program itself has ended; it is not reaped before end().
  [[nodiscard]] int exit_fd() const noexcept { return exit_.get(); }
  // Our end of its standard output; does not block.
  [[nodiscard]] int output_fd() const noexcept { return output_.get(); }

  // Kills what still runs of the group, and reaps: the status as waitpid() gives it, 0 where there is none.
  int end() noexcept;

 private:
  pid_t pid_ = -1;
  UniqueFd exit_, output_;
};

}  // namespace pharos
