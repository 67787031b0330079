// Package model explores every interleaving of the protocol by which one archive is
// asked for, brought back, and archived again: the site, an operator, the planner, two
// requesters, the restorer and the sweep, each of which can die after each of its writes;
// messages that are doubled and lost; retrievals that fail and expire; indexes that are
// behind.
//
// What decides is the project's own: [gate.Decide] and [gate.Entitled],
// [archive.Account.Opens], [archive.History.Spent], [thaw.RetryOf], [reconcile.Act] and
// [archive.Job.State] are called and not copied. A write goes through if its condition
// holds, and the condition is the very string that the adapter sends ([Writes]), read and
// evaluated here. What is a model, and not the thing, is the order of the steps of each
// process; it is in the file that is named after the process.
//
// What is left out: budgets and held plans, tiers beyond the fallback, the parts of a
// large file, and the length of any time. A wait is a choice: it may have passed. The one
// wait on which money depends is not, see [State.standsStill].
package model
