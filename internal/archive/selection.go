package archive

// Selection says which of a user's jobs to list, and from where on.
type Selection struct {
	// Cursor is where the page before ended; empty begins at the start.
	Cursor string
	// Before lists the jobs in front of the cursor, those next to it, in the same
	// order; at the start it lists the first page, full.
	Before bool
	// Limit is how many jobs to return at most.
	Limit int
	// Oldest lists the job that was submitted first before the others, not last.
	Oldest bool
	// Match tells which jobs to list; nil lists all.
	Match func(Job) bool
	// Look bounds how many jobs are looked at for the page, at about a thousand
	// more: a search for what is not there ends too. Without Match it means
	// nothing.
	Look int
}

// Listing is a page of a user's jobs.
type Listing struct {
	Jobs []Job
	// Prev is the cursor that, with Before, leads to the page in front; empty at the
	// start. Next leads to the one behind, empty at the end.
	Prev, Next string
}
