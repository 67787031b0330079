package archive

// Selection says which of a user's jobs to list, and from where on.
type Selection struct {
	// Cursor is where the page before ended; empty begins at the start.
	Cursor string
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
