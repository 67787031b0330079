package sqs

// timeHeap orders entries by a time of theirs, and those of one time as they
// were sent. It knows where each of them is, so that any can leave it.
type timeHeap struct {
	entries []*entry
	time    func(*entry) int64
	index   func(*entry) *int32 // where the entry's place in this heap is kept, -1 outside
}

func (h *timeHeap) before(a, b *entry) bool {
	if at, bt := h.time(a), h.time(b); at != bt {
		return at < bt
	}
	return a.seq < b.seq
}

func (h *timeHeap) len() int { return len(h.entries) }

// first returns the earliest entry, or nil.
func (h *timeHeap) first() *entry {
	if len(h.entries) == 0 {
		return nil
	}
	return h.entries[0]
}

func (h *timeHeap) push(e *entry) {
	h.entries = append(h.entries, e)
	*h.index(e) = int32(len(h.entries) - 1)
	h.up(len(h.entries) - 1)
}

// remove takes e out, if it is in.
func (h *timeHeap) remove(e *entry) {
	i := int(*h.index(e))
	if i < 0 {
		return
	}
	last := len(h.entries) - 1
	h.swap(i, last)
	h.entries[last] = nil
	h.entries = h.entries[:last]
	*h.index(e) = -1
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *timeHeap) swap(i, j int) {
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	*h.index(h.entries[i]), *h.index(h.entries[j]) = int32(i), int32(j)
}

func (h *timeHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(h.entries[i], h.entries[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *timeHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.entries) {
			return
		}
		if right := child + 1; right < len(h.entries) && h.before(h.entries[right], h.entries[child]) {
			child = right
		}
		if !h.before(h.entries[child], h.entries[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}
