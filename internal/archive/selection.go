package archive

// Selection says which of a user's jobs to list, and from where on.
type Selection struct {
	// Cursor is the end of the page before; empty means the start.
	Cursor string
	// Before lists the jobs in front of the cursor, the nearest ones, in the same order.
	// At the start it lists the full first page.
	Before bool
	// Limit is how many jobs to return at most.
	Limit int
	// Oldest lists the job that was submitted first before the others, not last.
	Oldest bool
	// Match tells which jobs to list; nil lists all.
	Match func(Job) bool
	// Look bounds the number of jobs that are read for the page, to within about a
	// thousand, so that a search without results ends too. It has no effect without
	// Match.
	Look int
}

// Listing is a page of a user's jobs.
type Listing struct {
	Jobs []Job
	// Prev is the cursor that leads, with Before, to the previous page; empty at the
	// start. Next leads to the next page; empty at the end.
	Prev, Next string
}
