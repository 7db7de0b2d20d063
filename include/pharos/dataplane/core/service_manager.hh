// Words to systemd (sd_notify); without it, all of these do nothing. Control thread.
#pragma once

#include "pharos/base/clock.hh"

#include <string>

namespace pharos::dataplane {

class ServiceManager {
 public:
  ServiceManager();
  void ready(const std::string& status) const;
  void status(const std::string& text) const;
  void reloading() const;
  void stopping() const;
  void alive() const;  // the watchdog's keep-alive

  // How often alive() is wanted: half of WatchdogSec; zero where there is no watchdog.
  [[nodiscard]] Duration watchdog_interval() const noexcept { return watchdog_interval_; }

 private:
  Duration watchdog_interval_;
};

}  // namespace pharos::dataplane
