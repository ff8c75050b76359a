#include "priority.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace gs {

void lower_priority(int niceness) {
  if (niceness <= 0) return;
  // In Linux a thread has a priority of its own, under its own number.
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  errno = 0;
  const int now = getpriority(PRIO_PROCESS, thread);
  if (errno == 0) setpriority(PRIO_PROCESS, thread, now + niceness);
}

}  // namespace gs
