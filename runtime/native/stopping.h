// How signals end a run: with its file finished and its summary said.
#pragma once

namespace edge {

// Lets SIGTERM, SIGINT and SIGHUP ask for an end. A second one of a kind ends the process at once.
// What is ignored from outside, as by nohup, stays so.
void CatchSignals();
// The first signal that came, or 0.
int Stopped();

}  // namespace edge
