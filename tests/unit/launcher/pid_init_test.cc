#include "launcher/inside/pid_init.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace varve::launcher {
namespace {

// Runs `body` in a child as the command of an init that is a process of its own too. Returns: what the init ended with.
template <class Body>
int status_of_init(Body body, int signal_to_init = 0) {
  const pid_t init = ::fork();
  if (init == 0) {
    block_forwarded_signals();
    const pid_t command = ::fork();
    if (command == 0) {
      restore_default_signals();
      body();
    }
    ::_exit(run_init(command));
  }
  if (signal_to_init != 0) {
    ::usleep(100'000);  // after this the init has blocked its signals and started its command
    ::kill(init, signal_to_init);
  }
  int wait_status = 0;
  ::waitpid(init, &wait_status, 0);
  return exit_status_of(wait_status);
}

TEST(PidInit, EndsWithTheStatusOfItsCommand) {
  EXPECT_EQ(status_of_init([] { ::_exit(7); }), 7);
}

TEST(PidInit, TellsOfASignalAsAShellDoes) {
  EXPECT_EQ(status_of_init([] { ::raise(SIGKILL); }), 128 + SIGKILL);
}

TEST(PidInit, ForwardsSignals) {
  EXPECT_EQ(status_of_init(
                [] {
                  for (;;) ::pause();
                },
                SIGTERM),
            128 + SIGTERM);
  EXPECT_EQ(status_of_init(
                [] {
                  for (;;) ::pause();
                },
                SIGUSR1),
            128 + SIGUSR1);
}

TEST(PidInit, CommandStartsWithoutBlockedOrIgnoredSignals) {
  ::signal(SIGHUP, SIG_IGN);
  EXPECT_EQ(status_of_init([] {
              sigset_t blocked;
              ::sigprocmask(SIG_SETMASK, nullptr, &blocked);
              struct sigaction hangup = {};
              ::sigaction(SIGHUP, nullptr, &hangup);
              ::_exit(::sigisemptyset(&blocked) != 0 && hangup.sa_handler == SIG_DFL ? 0 : 1);
            }),
            0);
  ::signal(SIGHUP, SIG_DFL);
}

TEST(ExitStatus, FollowsTheShell) {
  EXPECT_EQ(exit_status_of(3 << 8), 3);
  EXPECT_EQ(exit_status_of(SIGTERM), 143);
}

}  // namespace
}  // namespace varve::launcher
