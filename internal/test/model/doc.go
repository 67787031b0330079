// Package model explores every interleaving of the steps that request one archive, bring
// it back, and archive it again. The site, an operator, the planner, two
// requesters, two restorers and the sweep take steps, and each of them can die after each of
// its writes. Messages are doubled and lost, retrievals fail and expire, and indexes are
// behind.
//
// The model makes no decision of its own. It calls the functions of the services:
// [gate.Decide] and [gate.Entitled], [archive.Account.Opens], [archive.History.Spent],
// [thaw.RetryOf], [reconcile.Act] and [archive.Job.State]. A write takes effect if its
// condition holds. The condition is the string that the adapter sends ([Writes]), and the
// model evaluates it. Only the order of each process's steps is written here by hand, in
// the file with the name of the process.
//
// The model leaves out budgets and held plans, tiers beyond the fallback, and the parts of
// a large file. It knows no length of time: each wait may be over at any moment. One wait
// is an exception, because money depends on it: see [State.standsStill].
package model
