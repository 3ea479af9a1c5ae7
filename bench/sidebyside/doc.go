// Command sidebyside measures this project beside its peers, in one run: `make bench` sets up what it needs and runs it.
//
// Machines differ, their clocks change and so do their neighbours. So nothing is compared across runs: each program that is
// measured is a process of its own which waits until it is asked for a sample, samples of all programs take turns, and
// beside each stands what register-only loops reach at that moment (bench/limit). What counts is the median over rounds of
// ratios within a round.
//
//	sidebyside [-groups "clip-base decoder"] [-peers "torch ov"] [-types "f16 q8_0"] [-rounds N] [-seconds S] [-commit]
//	sidebyside -prepare     makes what runs need, without measuring anything
//	sidebyside -check       compares with bench/results and fails where something got slower
//	sidebyside -serve ...   is this project's side of the conversation, started by the former
//
// It writes report.md, report.json and report.png to build/bench, and with -commit also to bench/results.
package main
